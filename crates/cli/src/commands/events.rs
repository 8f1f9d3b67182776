//! `berth events`.

use berth_node::api::Client;
use berth_node::model::event::{Event, Severity};
use jiff::Timestamp;

use super::is_json;
use crate::args::Events;
use crate::exit::{Exit, Failure};
use crate::output::{Output, Table, Tone, age};

const HEADERS: [&str; 6] = ["LAST SEEN", "NAMESPACE", "TYPE", "REASON", "OBJECT", "MESSAGE"];

pub(super) async fn run(args: &Events, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    let mut lines = client.events(args.follow).await?;
    let mut table = Table::new(HEADERS);
    let mut empty = true;
    while let Some(event) = lines.next().await? {
        if args.namespace.as_ref().is_some_and(|namespace| *namespace != event.namespace) {
            continue;
        }
        empty = false;
        if is_json(args.output) {
            out.json_line(&event)?;
            continue;
        }
        table.row(row(&event));
        if args.follow {
            // A stream can't wait for its widest cell: each line is a table of its own.
            out.table(&std::mem::take(&mut table))?;
        }
    }
    if !is_json(args.output) && !args.follow {
        if empty {
            super::note("no events");
        } else {
            out.table(&table)?;
        }
    }
    Ok(Exit::Ok)
}

fn row(event: &Event) -> [(String, Option<Tone>); 6] {
    let (severity, tone) = match event.severity {
        Severity::Normal => ("Normal", None),
        Severity::Warning => ("Warning", Some(Tone::Warn)),
    };
    let seen = age(Some(event.time), Timestamp::now());
    let seen = if event.count > 1 { format!("{seen} (x{})", event.count) } else { seen };
    let object = format!("{}/{}", event.kind.as_str().to_ascii_lowercase(), event.name);
    [
        (seen, None),
        (event.namespace.clone(), None),
        (severity.to_owned(), tone),
        (event.reason.clone(), tone),
        (object, None),
        (event.message.clone(), None),
    ]
}
