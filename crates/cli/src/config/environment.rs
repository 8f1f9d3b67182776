//! Environment variables: each that begins with `BERTH_` is a setting's, or is refused with the one it was meant to be (L60).

use std::ffi::{OsStr, OsString};

use berth_node::model::suggest::closest;

use super::table::SETTINGS;

const PREFIX: &str = "BERTH_";

/// Variables that are no settings: where the configuration file is, a log filter, and those of this repository's own scripts.
const OTHERS: [&str; 4] = ["BERTH_CONFIG", "BERTH_LOG", "BERTH_CACHE", "BERTH_TOOLS"];

/// What is wrong with the environment.
pub(super) fn check(variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<String> {
    let known: Vec<String> = SETTINGS.iter().map(|setting| setting.variable()).chain(OTHERS.map(str::to_owned)).collect();
    let mut errors: Vec<String> = variables.filter_map(|(name, value)| wrong(&name.to_string_lossy(), &value, &known)).collect();
    errors.sort();
    errors
}

fn wrong(name: &str, value: &OsStr, known: &[String]) -> Option<String> {
    // An empty one says the same as none.
    if !name.starts_with(PREFIX) || value.is_empty() {
        return None;
    }
    if known.iter().any(|known| known == name) {
        return value.to_str().is_none().then(|| format!("{name}: its value isn't text in UTF-8"));
    }
    if is_of_kubernetes(name, &value.to_string_lossy()) {
        return None;
    }
    // Without what all of them begin with, which would make any two look alike.
    let bare = |name: &str| name.strip_prefix(PREFIX).unwrap_or_default().to_owned();
    let candidates: Vec<String> = known.iter().map(|known| bare(known)).collect();
    let hint = closest(&bare(name), candidates.iter().map(String::as_str)).map(|meant| format!("did you mean `{PREFIX}{meant}`?"));
    let hint = hint.unwrap_or_else(|| "see `berth up --help` for the settings, or unset it".to_owned());
    Some(format!("unknown environment variable `{}`; {hint}", name.escape_debug()))
}

/// Whether Kubernetes wrote it: in every container it describes each Service of the namespace, also one called `berth` or `berth-gateway`.
/// <https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables>
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let has_number = |text: &str| text.split('_').next().is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && value.contains("://"))
        || name.split("_PORT_").skip(1).any(has_number)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn errors(variables: &[(&str, &str)]) -> Vec<String> {
        check(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())))
    }

    #[test]
    fn l60_an_unknown_variable_is_refused_with_a_suggestion() {
        let found = errors(&[("BERTH_HTP_ADDR", "x"), ("BERTH_SLOTS", "1"), ("PATH", "/"), ("BERTH_PORT", "8000"), ("BERTH_LOG", "warn")]);
        let expected = [
            "unknown environment variable `BERTH_HTP_ADDR`; did you mean `BERTH_HTTP_ADDR`?",
            "unknown environment variable `BERTH_PORT`; see `berth up --help` for the settings, or unset it",
        ];
        assert_eq!(found, expected);
        assert_eq!(errors(&[("BERTH_WHATEVER", "")]), Vec::<String>::new());
    }

    #[test]
    fn what_kubernetes_says_of_services_is_no_mistake() {
        let variables = [
            ("BERTH_SERVICE_HOST", "10.0.0.1"),
            ("BERTH_SERVICE_PORT", "80"),
            ("BERTH_SERVICE_PORT_HTTP", "80"),
            ("BERTH_PORT", "tcp://10.0.0.1:80"),
            ("BERTH_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("BERTH_GATEWAY_PORT_80_TCP_ADDR", "10.0.0.1"),
        ];
        assert_eq!(errors(&variables), Vec::<String>::new());
    }

    #[test]
    fn a_value_that_is_no_text_is_refused() {
        let found = check([("BERTH_SLOTS".into(), OsString::from_vec(vec![0xff]))].into_iter());
        assert_eq!(found, ["BERTH_SLOTS: its value isn't text in UTF-8"]);
    }
}
