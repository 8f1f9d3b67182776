//! How a registry wants its clients to show who they are. Pure.
//!
//! RFC 9110 section 11.6.1, and the distribution project's token authentication.

use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

/// What a registry asks for in `WWW-Authenticate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A token from a token server.
    Bearer {
        /// The token server's address.
        realm: String,
        /// What the token server calls the registry.
        service: Option<String>,
        /// What the token must allow.
        scope: Option<String>,
    },
    /// User and password.
    Basic,
}

impl Challenge {
    /// The first challenge that can be met, tokens before passwords.
    pub fn of<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut basic = None;
        for header in headers {
            for challenge in http_auth::parser::ChallengeParser::new(header).map_while(Result::ok) {
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    basic = Some(Challenge::Basic);
                }
                let parameter = |name: &str| {
                    challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_unescaped())
                };
                if challenge.scheme.eq_ignore_ascii_case("bearer")
                    && let Some(realm) = parameter("realm")
                {
                    return Some(Challenge::Bearer { realm, service: parameter("service"), scope: parameter("scope") });
                }
            }
        }
        basic
    }
}

/// What a token must allow to pull from a repository.
pub fn pull_scope(repository: &str) -> String {
    format!("repository:{repository}:pull")
}

/// The address to get a token from.
pub fn token_url(realm: &Url, service: Option<&str>, scope: &str) -> Url {
    let mut url = realm.clone();
    let mut query = url.query_pairs_mut();
    if let Some(service) = service {
        query.append_pair("service", service);
    }
    query.append_pair("scope", scope);
    drop(query);
    url
}

/// The form to exchange an identity token with (RFC 6749 section 6).
pub fn refresh_form(service: Option<&str>, scope: &str, identity: &str) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token").append_pair("client_id", "berth");
    if let Some(service) = service {
        form.append_pair("service", service);
    }
    form.append_pair("scope", scope).append_pair("refresh_token", identity).finish()
}

/// The token in a token server's answer.
pub fn token(answer: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    answer.token.or(answer.access_token).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_preferred_to_a_password() {
        let bearer = r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull""#;
        let wanted = Challenge::Bearer {
            realm: "https://auth.example/token".to_owned(),
            service: Some("registry.example".to_owned()),
            scope: Some("repository:a/b:pull".to_owned()),
        };
        assert_eq!(Challenge::of([r#"Basic realm="x""#, bearer]), Some(wanted.clone()));
        assert_eq!(Challenge::of([format!(r#"Basic realm="x", {bearer}"#).as_str()]), Some(wanted));
        assert_eq!(Challenge::of([r#"basic realm="x""#]), Some(Challenge::Basic));
        assert_eq!(Challenge::of(["Negotiate", "Bearer service=\"x\""]), None);
        assert_eq!(Challenge::of([]), None);
    }

    #[test]
    fn what_is_asked_of_a_token_server_is_escaped() {
        let realm = Url::parse("https://auth.example/token?account=a").unwrap();
        let url = token_url(&realm, Some("a&b"), &pull_scope("x/y"));
        assert_eq!(url.as_str(), "https://auth.example/token?account=a&service=a%26b&scope=repository%3Ax%2Fy%3Apull");
        assert!(refresh_form(None, "s", "i&j=k").ends_with("&scope=s&refresh_token=i%26j%3Dk"));
    }

    #[test]
    fn a_token_has_two_names() {
        assert_eq!(token(br#"{"token":"a","access_token":"b"}"#).as_deref(), Some("a"));
        assert_eq!(token(br#"{"access_token":"b","expires_in":60}"#).as_deref(), Some("b"));
        assert_eq!(token(br#"{"token":""}"#), None);
        assert_eq!(token(b"no"), None);
    }

    proptest! {
        #[test]
        fn no_header_makes_the_parser_panic(header in "\\PC{0,80}") {
            let _ = Challenge::of([header.as_str()]);
        }
    }
}
