//! Subjects: who is talked to, and NATS' rules for names and wildcards (docs.nats.io, "Subject-Based Messaging").

use berth_model::id::HostId;

/// Command: say how you are.
pub const HEARTBEAT: &str = "heartbeat";
/// Command: start a workload.
pub const START: &str = "workload.start";
/// Command: say where a workload stands.
pub const STATUS: &str = "workload.status";
/// Command: stop a workload.
pub const STOP: &str = "workload.stop";
/// Berth's command: this is the whole set of workloads.
pub const SYNC: &str = "sync";
/// Berth's command: take nothing new.
pub const DRAIN: &str = "drain";

/// Heartbeats of all hosts.
pub const ALL_HEARTBEATS: &str = "runtime.operator.heartbeat.>";
/// Announcements of all Berth hosts.
pub const ALL_REPORTS: &str = "berth.operator.report.>";

/// Where a host publishes its heartbeats.
pub fn heartbeats_of(host: HostId) -> String {
    format!("runtime.operator.heartbeat.{host}")
}

/// Where a Berth host announces changes.
pub fn reports_of(host: HostId) -> String {
    format!("berth.operator.report.{host}")
}

/// Where a host takes an upstream command; `>` for all of them.
pub fn command(host: HostId, command: &str) -> String {
    format!("runtime.host.{host}.{command}")
}

/// Where a Berth host takes a command of Berth's extension; `>` for all of them.
pub fn extension(host: HostId, command: &str) -> String {
    format!("berth.host.{host}.{command}")
}

/// The host that a heartbeat's or an announcement's subject names: its last token.
pub fn host_of(subject: &str) -> Option<HostId> {
    subject.rsplit('.').next()?.parse().ok()
}

/// Whether `pattern` covers `subject`: `*` stands for one token, a final `>` for one or more.
pub fn matches(pattern: &str, subject: &str) -> bool {
    let mut subject = subject.split('.');
    for token in pattern.split('.') {
        match (token, subject.next()) {
            (">", Some(_)) => return true,
            (_, None) => return false,
            ("*", Some(_)) => {}
            (token, Some(actual)) if token != actual => return false,
            _ => {}
        }
    }
    subject.next().is_none()
}

/// Checks a subject to send to: tokens joined by dots, none empty, without white space and wildcards.
pub fn check_subject(subject: &str) -> Result<(), InvalidSubject> {
    if subject.split('.').all(is_token) {
        return Ok(());
    }
    Err(invalid(subject, "a subject has tokens without white space, `*` and `>`, joined by dots"))
}

/// Checks a pattern to listen to: as a subject, but any token may be `*` and the last one `>`.
pub fn check_pattern(pattern: &str) -> Result<(), InvalidSubject> {
    let tokens = pattern.strip_suffix(".>").unwrap_or(pattern);
    if pattern == ">" || tokens.split('.').all(|token| token == "*" || is_token(token)) {
        return Ok(());
    }
    Err(invalid(pattern, "a pattern has tokens joined by dots, each `*` or without wildcards, the last one perhaps `>`"))
}

/// Whether a pattern matches more than itself.
pub(crate) fn has_wildcard(pattern: &str) -> bool {
    pattern.split('.').any(|token| token == "*" || token == ">")
}

fn is_token(token: &str) -> bool {
    !token.is_empty() && !token.contains(|c: char| c.is_whitespace() || c.is_control() || c == '*' || c == '>')
}

fn invalid(text: &str, rule: &'static str) -> InvalidSubject {
    InvalidSubject { text: text.chars().take(128).flat_map(char::escape_debug).collect(), rule }
}

/// A text that is no subject or pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` can't be used on the bus: {rule}")]
pub struct InvalidSubject {
    text: String,
    rule: &'static str,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wildcards_stand_for_whole_tokens() {
        for (pattern, subject, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.b.c", "a.b", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("*.b", "a.b", true),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.b.d", false),
            ("a.>", "a.b", true),
            ("a.>", "a.b.c.d", true),
            ("a.>", "a", false),
            ("a.>", "ab.c", false),
            (">", "a", true),
            (">", "a.b", true),
            ("a.*.>", "a.b", false),
            ("a.*.>", "a.b.c", true),
        ] {
            assert_eq!(matches(pattern, subject), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn subjects_and_patterns_that_nats_refuses_are_refused() {
        for text in ["", ".", "a.", ".a", "a..b", "a b", "a.\t", "a.*", "a.>", "*", ">", "a*"] {
            assert!(check_subject(text).is_err(), "{text:?}");
        }
        for text in ["", "a.", "a..b", "a.>.b", ">.a", "a*", "a.b*", "a>", "a b", ".>"] {
            assert!(check_pattern(text).is_err(), "{text:?}");
        }
        for text in ["a", "a.*", "*", ">", "a.>", "*.b.>", "_INBOX.1"] {
            assert!(check_pattern(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn a_host_is_found_in_its_subjects() {
        let host = HostId::random();
        assert_eq!(host_of(&heartbeats_of(host)), Some(host));
        assert_eq!(host_of(&reports_of(host)), Some(host));
        assert_eq!(host_of("runtime.operator.heartbeat.me"), None);
        assert!(matches(ALL_HEARTBEATS, &heartbeats_of(host)) && matches(ALL_REPORTS, &reports_of(host)));
        assert!(matches(&command(host, ">"), &command(host, START)) && matches(&extension(host, ">"), &extension(host, SYNC)));
    }

    /// The same rule, said by recursion over token lists.
    fn by_definition(pattern: &[&str], subject: &[&str]) -> bool {
        match (pattern, subject) {
            ([], []) => true,
            ([">"], [_, ..]) => true,
            (["*", pattern @ ..], [_, subject @ ..]) => by_definition(pattern, subject),
            ([p, pattern @ ..], [s, subject @ ..]) => p == s && by_definition(pattern, subject),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_follows_its_definition(
            pattern in prop::collection::vec(prop_oneof!["[ab]{1,2}", Just("*".to_owned())], 1..5),
            rest in any::<bool>(),
            subject in prop::collection::vec("[ab]{1,2}", 1..6),
        ) {
            let mut pattern: Vec<&str> = pattern.iter().map(String::as_str).collect();
            if rest {
                pattern.push(">");
            }
            let subject: Vec<&str> = subject.iter().map(String::as_str).collect();
            prop_assert!(check_pattern(&pattern.join(".")).is_ok());
            prop_assert!(check_subject(&subject.join(".")).is_ok());
            prop_assert_eq!(matches(&pattern.join("."), &subject.join(".")), by_definition(&pattern, &subject));
        }

        #[test]
        fn a_subject_matches_itself_and_its_generalizations(tokens in prop::collection::vec("[a-z0-9_-]{1,8}", 1..6), at in any::<prop::sample::Index>()) {
            let subject = tokens.join(".");
            let at = at.index(tokens.len());
            let mut star = tokens.clone();
            star[at] = "*".into();
            let mut rest = tokens[..at].to_vec();
            rest.push(">".into());
            prop_assert!(matches(&subject, &subject));
            prop_assert!(matches(&star.join("."), &subject));
            prop_assert!(matches(&rest.join("."), &subject));
        }

        #[test]
        fn any_text_is_matched_without_panic(pattern in ".*", subject in ".*") {
            matches(&pattern, &subject);
            let _ = check_pattern(&pattern);
            let _ = check_subject(&subject);
        }
    }
}
