//! `berth config` and `berth secret`: values, one by one.
//!
//! Nothing said here of a value that is to become a Secret's quotes it: not even where it should be a key.

mod sources;

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use berth_node::api::{Change, Client, EditValues, Outcome, ResourceRef};
use berth_node::model::resource::{Kind, Resource, SecretData, SecretValue};
use berth_node::roles::local;
use serde_json::{Map, Value, json};

use super::{delete, get, is_json, usage};
use crate::args::values::{Config, ConfigGet, DeleteValues, List, Secret, SecretGet, Set, ValuesFormat};
use crate::args::{Delete, Get, Namespaced, TextOrJson};
use crate::exit::{Exit, Failure};
use crate::output::{Output, Table, object_name};

pub(super) async fn config(command: Config, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Config::Set(args) => set(Kind::ConfigMap, args, None, client, out).await,
        Config::Get(args) => get_config(&args, client, out).await,
        Config::List(args) => list(Kind::ConfigMap, args, client, out).await,
        Config::Delete(args) => delete(Kind::ConfigMap, args, client, out).await,
    }
}

pub(super) async fn secret(command: Secret, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Secret::Set(args) => set(Kind::Secret, args.set, args.secret_type, client, out).await,
        Secret::Get(args) => get_secret(&args, client, out).await,
        Secret::List(args) => list(Kind::Secret, args, client, out).await,
        Secret::Delete(args) => delete(Kind::Secret, args, client, out).await,
        Secret::Discard(_) => unreachable!("it doesn't talk to a running berth"),
    }
}

/// Removes Secrets whose key is lost.
pub(super) fn discard(format: TextOrJson, data_dir: &Path, out: &mut Output) -> Result<Exit, Failure> {
    let discarded = local::discard_unopened_secrets(data_dir)?;
    if is_json(format) {
        let all: Vec<Value> = discarded.iter().map(|object| json!({"namespace": object.namespace, "name": object.name})).collect();
        out.json(&all)?;
        return Ok(Exit::Ok);
    }
    if discarded.is_empty() {
        super::note("every Secret can be opened: nothing was removed");
    }
    for object in discarded {
        out.line(format!("secret/{} in namespace {} removed", object.name, object.namespace))?;
    }
    Ok(Exit::Ok)
}

fn reference(kind: Kind, namespaced: &Namespaced, name: &str) -> ResourceRef {
    ResourceRef { kind, namespace: namespaced.namespace.clone(), name: name.to_owned() }
}

async fn set(kind: Kind, args: Set, secret_type: Option<String>, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    let values = sources::read(&args, &mut std::io::stdin())?;
    if values.is_empty() && !args.replace && secret_type.is_none() {
        return Err(usage("no value is given: say KEY=VALUE, --from-file or --from-env-file".to_owned()));
    }
    let edit = EditValues { set: values, replace: args.replace, secret_type, ..EditValues::default() };
    let change = client.edit_values(&reference(kind, &args.namespaced, &args.name), &edit).await?;
    tell(&change, args.output, out)
}

fn tell(change: &Change, format: TextOrJson, out: &mut Output) -> Result<Exit, Failure> {
    if is_json(format) {
        out.json(change)?;
        return Ok(Exit::Ok);
    }
    let word = match change.outcome {
        Outcome::Created => "created",
        Outcome::Unchanged => "unchanged",
        Outcome::Configured | Outcome::Refused => "configured",
    };
    out.line(format!("{} {word}", object_name(change.object.kind, &change.object.name)))?;
    Ok(Exit::Ok)
}

async fn get_config(args: &ConfigGet, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    let object = reference(Kind::ConfigMap, &args.namespaced, &args.name);
    if let Some(key) = &args.key {
        let value = client.reveal(&object, key).await?;
        return one(key, &value, args.output, out);
    }
    let Resource::ConfigMap(map) = client.get(object.kind, &object.namespace, &object.name).await? else {
        return Err(Failure::new(Exit::Failure, "the running berth answers with an object of another kind"));
    };
    match args.output {
        ValuesFormat::Json => out.json(&map.data)?,
        ValuesFormat::Yaml => out.yaml(&map.data)?,
        ValuesFormat::Text => {
            let mut table = Table::new(["KEY", "VALUE"]);
            for (key, value) in map.data {
                table.row([key, value].map(|cell| (cell, None)));
            }
            out.table(&table)?;
        }
    }
    Ok(Exit::Ok)
}

async fn get_secret(args: &SecretGet, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    let object = reference(Kind::Secret, &args.namespaced, &args.name);
    if let Some(key) = &args.reveal {
        let value = client.reveal(&object, key).await?;
        return one(key, &value, args.output, out);
    }
    let Resource::Secret(secret) = client.get(object.kind, &object.namespace, &object.name).await? else {
        return Err(Failure::new(Exit::Failure, "the running berth answers with an object of another kind"));
    };
    // Whatever the other end sent.
    let data: SecretData = secret.withheld().data;
    match args.output {
        ValuesFormat::Json => out.json(&data)?,
        ValuesFormat::Yaml => out.yaml(&data)?,
        ValuesFormat::Text => {
            let mut table = Table::new(["KEY"]);
            data.into_keys().for_each(|key| table.row([(key, None)]));
            out.table(&table)?;
        }
    }
    Ok(Exit::Ok)
}

/// One value as it is; to a terminal with a line's end.
fn one(key: &str, value: &SecretValue, format: ValuesFormat, out: &mut Output) -> Result<Exit, Failure> {
    if format == ValuesFormat::Text {
        let mut bytes = value.bytes().unwrap_or_default().to_vec();
        if std::io::stdout().is_terminal() && !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        std::io::stdout().write_all(&bytes)?;
        std::io::stdout().flush()?;
        return Ok(Exit::Ok);
    }
    let text = value.text().ok_or_else(|| {
        Failure::new(Exit::Failure, format!("the value of `{key}` isn't UTF-8 text: get it without -o, which gives its bytes"))
    })?;
    let map: Map<String, Value> = [(key.to_owned(), Value::from(text))].into_iter().collect();
    match format {
        ValuesFormat::Yaml => out.yaml(&map)?,
        _ => out.json(&map)?,
    }
    Ok(Exit::Ok)
}

async fn list(kind: Kind, args: List, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    let List { namespaced, all_namespaces, output } = args;
    let args = Get { kind: kind.plural().to_owned(), name: None, namespaced, all_namespaces, output, watch: false };
    get::run(&args, client, out).await
}

async fn delete(kind: Kind, args: DeleteValues, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    let DeleteValues { name, keys, namespaced, ignore_not_found } = args;
    if keys.is_empty() {
        let objects = vec![kind.plural().to_owned(), name];
        return delete::run(&Delete { objects, files: Vec::new(), namespaced, ignore_not_found }, client, out).await;
    }
    let edit = EditValues { remove: keys, ignore_missing: ignore_not_found, ..EditValues::default() };
    match client.edit_values(&reference(kind, &namespaced, &name), &edit).await {
        Ok(change) => tell(&change, TextOrJson::Text, out),
        Err(error) if error.is_not_found() && ignore_not_found => Ok(Exit::Ok),
        Err(error) => Err(error.into()),
    }
}
