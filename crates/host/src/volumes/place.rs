//! Where a hostPath volume may be: below one of the folders that the host's owner allowed (L41). Pure: paths in, a decision out.
//!
//! Paths come in as they were resolved, without links, `.` and `..`. Names are compared part by part, so that `/srv/data2` isn't below
//! `/srv/data`.

use std::path::{Path, PathBuf};

/// The innermost of `roots` that `path` is in or is itself, and the rest of the way from there; none: it is below none of them.
pub(super) fn below<'a>(path: &Path, roots: &'a [PathBuf]) -> Option<(&'a Path, PathBuf)> {
    let places = roots.iter().filter_map(|root| Some((root.as_path(), path.strip_prefix(root).ok()?.to_owned())));
    places.min_by_key(|(_, rest)| rest.components().count())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn roots(list: &[&str]) -> Vec<PathBuf> {
        list.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn l41_a_path_is_below_the_innermost_root_that_holds_it() {
        let allowed = roots(&["/srv", "/srv/data", "/var/lib/x"]);
        let below = |path: &str| below(Path::new(path), &allowed).map(|(root, rest)| (root.to_owned(), rest));
        assert_eq!(below("/srv/data/a/b"), Some(("/srv/data".into(), "a/b".into())));
        assert_eq!(below("/srv/data"), Some(("/srv/data".into(), "".into())));
        assert_eq!(below("/srv/data2"), Some(("/srv".into(), "data2".into())));
        for outside in ["/", "/var", "/var/lib", "/var/lib/xy", "/etc", "/srvx"] {
            assert_eq!(below(outside), None, "{outside}");
        }
    }

    #[test]
    fn l41_without_roots_nothing_is_allowed() {
        assert_eq!(below(Path::new("/"), &[]), None);
        assert_eq!(below(Path::new("/srv"), &[]), None);
    }

    proptest! {
        #[test]
        fn l41_what_is_allowed_lies_in_its_root(
            path in "(/[a-c]{1,2}){0,5}", list in prop::collection::vec("(/[a-c]{1,2}){0,3}", 0..4)
        ) {
            let path = PathBuf::from(format!("/{}", path.trim_start_matches('/')));
            let allowed: Vec<PathBuf> = list.iter().map(|root| format!("/{}", root.trim_start_matches('/')).into()).collect();
            match below(&path, &allowed) {
                Some((root, rest)) => prop_assert_eq!(root.join(rest), path),
                None => prop_assert!(!allowed.iter().any(|root| path.ancestors().any(|above| above == root))),
            }
        }
    }
}
