//! Names of children: decided by their owner, so that the same decision made twice gives the same name (L16).

use super::hash;

/// Longest name of an object (RFC 1123 subdomain).
const LONGEST: usize = 253;
/// Longest value of a label.
const LONGEST_LABEL: usize = 63;

/// `<owner>-<suffix>`; an owner's name that leaves no room is cut and told apart by its hash.
pub(super) fn child(owner: &str, suffix: &str) -> String {
    if owner.len() + 1 + suffix.len() <= LONGEST {
        return format!("{owner}-{suffix}");
    }
    let digest = hash::short(owner.as_bytes());
    let room = LONGEST - digest.len() - suffix.len() - 2;
    format!("{}-{digest}-{suffix}", cut(owner, room))
}

/// `name` as a value of a label.
pub(super) fn label_value(name: &str) -> String {
    if name.len() <= LONGEST_LABEL {
        return name.to_owned();
    }
    let digest = hash::short(name.as_bytes());
    format!("{}-{digest}", cut(name, LONGEST_LABEL - digest.len() - 1))
}

/// A host's friendly name as an object's name.
pub(super) fn host(friendly: &str, id: &str) -> String {
    let simple: String =
        friendly.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '-' }).collect();
    // Each part between dots has to begin and end with a letter or digit.
    let parts: Vec<&str> = simple.split('.').map(|part| part.trim_matches('-')).filter(|part| !part.is_empty()).collect();
    let name = parts.join(".");
    if name.is_empty() { format!("host-{}", &id[..8.min(id.len())]) } else { cut(&name, LONGEST - 9).to_owned() }
}

/// At most `room` bytes of an ASCII name, ending well.
fn cut(name: &str, room: usize) -> &str {
    let end = (0..=room.min(name.len())).rev().find(|&i| name.is_char_boundary(i)).unwrap_or(0);
    name[..end].trim_end_matches(['-', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_children_fit_and_stay_apart() {
        assert_eq!(child("web", "0a1b2c3d4e"), "web-0a1b2c3d4e");
        let (long, other) = (format!("{}a", "x".repeat(252)), format!("{}b", "x".repeat(252)));
        assert!(child(&long, "0a1b2c3d4e").len() <= LONGEST);
        assert_ne!(child(&long, "0"), child(&other, "0"));
    }

    #[test]
    fn a_hosts_friendly_name_becomes_a_valid_object_name() {
        assert_eq!(host("Elastic_Invention.6676-", "50425788-0374"), "elastic-invention.6676");
        assert_eq!(host("..--", "50425788-0374"), "host-50425788");
        assert_eq!(host("é", "50425788-0374"), "host-50425788");
    }
}
