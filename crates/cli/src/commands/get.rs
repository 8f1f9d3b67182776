//! `berth get`.

use berth_node::api::{Client, Lines, WatchEvent, WatchKind};
use berth_node::model::resource::{Kind, Resource};
use jiff::Timestamp;
use serde::Serialize;

use super::usage;
use crate::args::{Get, GetFormat, kinds};
use crate::exit::{Exit, Failure};
use crate::output::{Output, Table, Tone, columns, object_name};

pub(super) async fn run(args: &Get, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    let (kinds, name) = kinds(&args.kind, args.name.as_deref()).map_err(usage)?;
    let namespace = (!args.all_namespaces).then_some(args.namespaced.namespace.as_str());
    if args.all_namespaces && name.is_some() {
        return Err(usage("a name is one object of one namespace: give -n NAMESPACE, not -A".to_owned()));
    }
    if args.watch {
        let [kind] = kinds.as_slice() else { return Err(usage("--watch shows one kind".to_owned())) };
        let changes = client.watch(*kind, namespace, name.as_deref()).await?;
        return watch(*kind, changes, args, out).await;
    }
    if let (Some(name), [kind], Some(namespace)) = (&name, kinds.as_slice(), namespace) {
        let object = client.get(*kind, namespace, name).await?;
        return show_one(&object, args, out).map(|()| Exit::Ok);
    }
    let mut lists = Vec::new();
    for kind in &kinds {
        lists.push((*kind, client.list(*kind, namespace).await?.items));
    }
    show_lists(&lists, args, out)?;
    Ok(Exit::Ok)
}

fn show_one(object: &Resource, args: &Get, out: &mut Output) -> Result<(), Failure> {
    match args.output {
        GetFormat::Json => out.json(object)?,
        GetFormat::Yaml => out.yaml(object)?,
        GetFormat::Table | GetFormat::Wide | GetFormat::Name => {
            show_lists(&[(object.kind(), vec![object.clone()])], args, out)?;
        }
    }
    Ok(())
}

fn show_lists(lists: &[(Kind, Vec<Resource>)], args: &Get, out: &mut Output) -> Result<(), Failure> {
    let all = lists.iter().flat_map(|(_, items)| items);
    match args.output {
        GetFormat::Json => out.json(&list(all))?,
        GetFormat::Yaml => out.yaml(&list(all))?,
        GetFormat::Name => {
            for object in all {
                out.line(object_name(object.kind(), &object.metadata().name))?;
            }
        }
        GetFormat::Table | GetFormat::Wide => tables(lists, args, out)?,
    }
    Ok(())
}

/// Kubernetes' form of several objects.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<&'a Resource>,
}

fn list<'a>(items: impl Iterator<Item = &'a Resource>) -> List<'a> {
    List { api_version: "v1", kind: "List", items: items.collect() }
}

fn tables(lists: &[(Kind, Vec<Resource>)], args: &Get, out: &mut Output) -> Result<(), Failure> {
    let several = lists.len() > 1;
    let mut first = true;
    for (kind, items) in lists.iter().filter(|(_, items)| !items.is_empty()) {
        if !std::mem::take(&mut first) {
            out.line("")?;
        }
        let mut table = table(*kind, args);
        for object in items {
            table.row(row(object, args, several));
        }
        out.table(&table)?;
    }
    if first {
        // On standard error, as kubectl does: an empty table is no output.
        let place = if args.all_namespaces { "any namespace".to_owned() } else { format!("namespace {}", args.namespaced.namespace) };
        super::note(&format!("no {} in {place}", if several { "objects" } else { lists[0].0.plural() }));
    }
    Ok(())
}

fn table(kind: Kind, args: &Get) -> Table {
    let namespace = args.all_namespaces.then_some("NAMESPACE");
    Table::new(namespace.into_iter().chain(columns(kind, args.output == GetFormat::Wide).map(|c| c.header)))
}

fn row(object: &Resource, args: &Get, with_kind: bool) -> Vec<(String, Option<Tone>)> {
    let now = Timestamp::now();
    let namespace = args.all_namespaces.then(|| (object.metadata().namespace.clone(), None));
    let mut row: Vec<_> = columns(object.kind(), args.output == GetFormat::Wide).map(|column| column.cell(object, now)).collect();
    if with_kind {
        row[0].0 = object_name(object.kind(), &object.metadata().name);
    }
    namespace.into_iter().chain(row).collect()
}

async fn watch(kind: Kind, mut changes: Lines<WatchEvent>, args: &Get, out: &mut Output) -> Result<Exit, Failure> {
    let mut headers = matches!(args.output, GetFormat::Table | GetFormat::Wide);
    while let Some(event) = changes.next().await? {
        match args.output {
            GetFormat::Json => out.json_line(&event)?,
            GetFormat::Yaml => {
                out.line("---")?;
                out.yaml(&event)?;
            }
            GetFormat::Name => out.line(object_name(kind, &event.object.metadata().name))?,
            GetFormat::Table | GetFormat::Wide => {
                // A stream can't wait for its widest cell, so each line is a table of its own, the first one with headers.
                let mut table = if std::mem::take(&mut headers) { self::table(kind, args) } else { Table::default() };
                let mut row = row(&event.object, args, false);
                if event.kind == WatchKind::Deleted {
                    row.push(("deleted".to_owned(), Some(Tone::Warn)));
                }
                table.row(row);
                out.table(&table)?;
            }
        }
    }
    Ok(Exit::Ok)
}
