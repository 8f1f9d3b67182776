//! `berth describe`.

use std::collections::HashSet;

use berth_node::api::Client;
use berth_node::model::event::Event;
use berth_node::model::resource::{Kind, Resource};
use jiff::Timestamp;

use super::usage;
use crate::args::{Describe, kinds};
use crate::exit::{Exit, Failure};
use crate::output::{Output, describe};

pub(super) async fn run(args: &Describe, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    let (kinds, name) = kinds(&args.kind, args.name.as_deref()).map_err(usage)?;
    let ([kind], Some(name)) = (kinds.as_slice(), name) else {
        return Err(usage("name one object: KIND NAME, or KIND/NAME".to_owned()));
    };
    let namespace = args.namespaced.namespace.as_str();
    let object = client.get(*kind, namespace, &name).await?;
    let owned = owned(&object, namespace, client).await?;
    let events = events(&object, &owned, client).await?;
    out.text(&describe(&object, &owned, &events, Timestamp::now())?)?;
    Ok(Exit::Ok)
}

/// What the object owns, and what that owns.
async fn owned(object: &Resource, namespace: &str, client: &Client) -> Result<Vec<Resource>, Failure> {
    let below: &[Kind] = match object.kind() {
        Kind::WorkloadDeployment => &[Kind::WorkloadReplicaSet, Kind::Workload],
        Kind::WorkloadReplicaSet => &[Kind::Workload],
        Kind::Workload | Kind::Host | Kind::Artifact | Kind::ConfigMap | Kind::Secret => &[],
    };
    let mut owners: HashSet<String> = HashSet::from([object.metadata().uid.clone()]);
    let mut owned = Vec::new();
    for kind in below {
        for child in client.list(*kind, Some(namespace)).await?.items {
            if child.metadata().controller().is_some_and(|owner| owners.contains(&owner.uid)) {
                owners.insert(child.metadata().uid.clone());
                owned.push(child);
            }
        }
    }
    Ok(owned)
}

async fn events(object: &Resource, owned: &[Resource], client: &Client) -> Result<Vec<Event>, Failure> {
    let about: HashSet<_> = std::iter::once(object).chain(owned).map(Resource::key).collect();
    let mut lines = client.events(false).await?;
    let mut events = Vec::new();
    while let Some(event) = lines.next().await? {
        let is_about = |key: &berth_node::model::resource::ObjectKey| {
            key.kind == event.kind && key.namespace == event.namespace && key.name == event.name
        };
        if about.iter().any(is_about) {
            events.push(event);
        }
    }
    Ok(events)
}
