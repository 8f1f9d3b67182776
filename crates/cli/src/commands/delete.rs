//! `berth delete`.

use berth_node::api::{Client, ResourceRef};
use berth_node::intake;
use berth_node::model::resource::Kind;

use super::apply::manifests;
use super::{tell, usage};
use crate::args::{Delete, kinds};
use crate::exit::{Exit, Failure};
use crate::output::{Output, object_name};

pub(super) async fn run(args: &Delete, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    let objects = match args.files.is_empty() {
        true => named(&args.objects, &args.namespaced.namespace).map_err(usage)?,
        false => from_files(args)?,
    };
    let mut exit = Exit::Ok;
    for object in objects {
        match client.delete(&object).await {
            Ok(()) => out.line(format!("{} deleted", object_name(object.kind, &object.name)))?,
            Err(error) if error.is_not_found() && args.ignore_not_found => {}
            Err(error) => {
                let failure = Failure::from(error);
                if failure.exit == Exit::Unreachable {
                    return Err(failure);
                }
                tell(&failure.message);
                exit = failure.exit;
            }
        }
    }
    Ok(exit)
}

/// `KIND NAME...`, or `KIND/NAME...`.
fn named(objects: &[String], namespace: &str) -> Result<Vec<ResourceRef>, String> {
    let one = |kind: Kind, name: &str| ResourceRef { kind, namespace: namespace.to_owned(), name: name.to_owned() };
    let single = |word: &str, name: Option<&str>| match kinds(word, name)? {
        (found, Some(name)) if found.len() == 1 => Ok(one(found[0], &name)),
        _ => Err(format!("`{word}` names no object: give KIND NAME, or KIND/NAME")),
    };
    if objects.iter().any(|object| object.contains('/')) {
        return objects.iter().map(|object| single(object, None)).collect();
    }
    match objects.split_first() {
        Some((kind, names)) if !names.is_empty() => names.iter().map(|name| single(kind, Some(name))).collect(),
        _ => Err(format!("`{}` names no object: give KIND NAME, or KIND/NAME", objects.join(" "))),
    }
}

fn from_files(args: &Delete) -> Result<Vec<ResourceRef>, Failure> {
    let intake = intake::read(&manifests(&args.files), &mut std::io::stdin())?;
    let reference = |resource: &berth_node::model::resource::Resource| {
        let key = resource.key();
        let namespace = if key.namespace.is_empty() { args.namespaced.namespace.clone() } else { key.namespace };
        ResourceRef { kind: key.kind, namespace, name: key.name }
    };
    Ok(intake.resources.iter().map(reference).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_in_two_ways() {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let names = |objects: &[&str]| {
            named(&words(objects), "ns")
                .map(|list| list.iter().map(|o| format!("{}/{}/{}", o.kind, o.namespace, o.name)).collect::<Vec<_>>())
        };
        assert_eq!(names(&["wd", "a", "b"]).unwrap(), ["WorkloadDeployment/ns/a", "WorkloadDeployment/ns/b"]);
        assert_eq!(names(&["wd/a", "cm/b"]).unwrap(), ["WorkloadDeployment/ns/a", "ConfigMap/ns/b"]);
        for bad in [&["wd"][..], &["all", "a"], &["wd/a", "b"], &["pod", "a"]] {
            assert!(names(bad).is_err(), "{bad:?}");
        }
    }
}
