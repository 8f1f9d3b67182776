//! Names of siblings: which of a guest's outgoing requests stay in its workload.

use http::uri::Scheme;

/// Below this domain are the components of the caller's workload: no request to it, or to a name below it, ever leaves the workload.
pub(crate) const DOMAIN: &str = "workload.internal";

/// Where a request below the domain leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sibling<'a> {
    /// To the component of this name.
    Named(&'a str),
    /// Nowhere: plain HTTP and its default port are all there is between components.
    NotPlain,
}

/// Where the request leads, if that is within the workload. Names are compared without case; a dot at their end is the root's.
pub(crate) fn sibling(uri: &http::Uri) -> Option<Sibling<'_>> {
    let authority = uri.authority()?;
    let host = authority.host();
    let host = host.strip_suffix('.').unwrap_or(host);
    let name = below(host)?;
    let plain = uri.scheme() == Some(&Scheme::HTTP) && authority.port_u16().is_none_or(|port| port == 80);
    Some(if plain { Sibling::Named(name) } else { Sibling::NotPlain })
}

/// What stands before the domain; nothing, for the domain itself.
fn below(host: &str) -> Option<&str> {
    let start = host.len().checked_sub(DOMAIN.len())?;
    if !host.get(start..)?.eq_ignore_ascii_case(DOMAIN) {
        return None;
    }
    let name = &host[..start];
    if name.is_empty() { Some(name) } else { name.strip_suffix('.') }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str) -> Option<String> {
        let uri = uri.parse().unwrap();
        sibling(&uri).map(|found| match found {
            Sibling::Named(name) => name.to_owned(),
            Sibling::NotPlain => "(not plain)".to_owned(),
        })
    }

    #[test]
    fn a_name_below_the_domain_is_a_component_whatever_its_case() {
        assert_eq!(of("http://inner.workload.internal/x").as_deref(), Some("inner"));
        assert_eq!(of("http://Inner.WORKLOAD.Internal:80/").as_deref(), Some("Inner"));
        assert_eq!(of("http://a.b.workload.internal./").as_deref(), Some("a.b"));
        assert_eq!(of("http://workload.internal/").as_deref(), Some(""), "it stays in the workload too");
    }

    #[test]
    fn only_plain_http_at_its_default_port_is_spoken_there() {
        for uri in ["https://inner.workload.internal/", "http://inner.workload.internal:8080/"] {
            assert_eq!(of(uri).as_deref(), Some("(not plain)"), "{uri}");
        }
    }

    #[test]
    fn other_names_lead_out() {
        for uri in ["http://workload.internal.example/", "http://notworkload.internal/", "http://internal/", "http://127.0.0.1/", "/path"] {
            assert_eq!(of(uri), None, "{uri}");
        }
        for odd in ["http://é.workload.internal/", "http://xworkload.internal/"] {
            assert!(odd.parse::<http::Uri>().is_err() || of(odd).is_none(), "{odd}");
        }
    }
}
