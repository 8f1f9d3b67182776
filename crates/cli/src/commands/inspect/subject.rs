//! What `berth inspect` is asked about: a path or an object, by how it is written and by what is there.

use std::path::{Path, PathBuf};

use berth_node::model::resource::Kind;

use crate::args::kinds;

/// A path, an image in a registry, or an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// What `berth up` takes as a path.
    Path(PathBuf),
    /// An object by name, and its kind where it is given.
    Object(Option<Kind>, String),
}

/// The rule: KIND NAME and KIND/NAME are objects; what begins as paths do is a path, and so is what `exists`; of the rest, what has a slash
/// or a file's ending is a path or an image, and any other word a name.
pub(super) fn subject(word: &str, name: Option<&str>, exists: &dyn Fn(&Path) -> bool) -> Result<Subject, String> {
    if name.is_some() {
        return object(word, name);
    }
    let looks_like_path = word.starts_with(['.', '/', '~']);
    let named = word.split_once('/').filter(|(kind, name)| !looks_like_path && !name.contains('/') && kinds(kind, None).is_ok());
    if named.is_some() {
        return object(word, None);
    }
    let path = Path::new(word);
    let has_ending = [".wasm", ".yaml", ".yml", ".json"].iter().any(|ending| word.ends_with(ending));
    if looks_like_path || exists(path) || word.contains('/') || has_ending {
        return Ok(Subject::Path(path.to_owned()));
    }
    Ok(Subject::Object(None, word.to_owned()))
}

fn object(word: &str, name: Option<&str>) -> Result<Subject, String> {
    let (found, name) = kinds(word, name)?;
    match (found.as_slice(), name) {
        ([kind @ (Kind::WorkloadDeployment | Kind::WorkloadReplicaSet | Kind::Workload)], Some(name)) => {
            Ok(Subject::Object(Some(*kind), name))
        }
        ([kind], _) => Err(format!("a {kind} has no workload to inspect: name a deployment (wd), a replicaset (wrs) or a workload (ww)")),
        _ => Err("name one deployment, replicaset or workload".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(word: &str, there: &str) -> Subject {
        subject(word, None, &|path| path == Path::new(there)).unwrap()
    }

    #[test]
    fn a_path_wins_over_a_name_and_either_can_be_forced() {
        let path = |word: &str| Subject::Path(word.into());
        assert_eq!(of("shop", ""), Subject::Object(None, "shop".into()));
        assert_eq!(of("shop", "shop"), path("shop"));
        assert_eq!(of("./shop", ""), path("./shop"));
        assert_eq!(of("..", ""), path(".."));
        assert_eq!(of("wd/shop", "wd/shop"), Subject::Object(Some(Kind::WorkloadDeployment), "shop".into()));
        assert_eq!(of("./wd/shop", ""), path("./wd/shop"));
        for word in ["shop.wasm", "shop.yaml", "a/b", "ghcr.io/me/hello:1.0", "/tmp/x"] {
            assert_eq!(of(word, ""), path(word));
        }
        assert_eq!(of("my.app", ""), Subject::Object(None, "my.app".into()));
        let two = subject("workload", Some("shop-1"), &|_| true).unwrap();
        assert_eq!(two, Subject::Object(Some(Kind::Workload), "shop-1".into()));
        assert!(subject("cm/shop", None, &|_| false).unwrap_err().contains("no workload"));
    }
}
