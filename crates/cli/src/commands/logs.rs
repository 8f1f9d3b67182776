//! `berth logs`.

use berth_node::api::Client;
use berth_node::host::HostConfig;
use berth_node::host::logs::{LogLine, Stream};
use berth_node::model::resource::Kind;

use super::{is_json, note, usage};
use crate::args::{Logs, kinds};
use crate::exit::{Exit, Failure};
use crate::output::{Output, Tone, printable};

pub(super) async fn run(args: &Logs, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    let namespace = args.namespaced.namespace.as_str();
    let (kind, name) = named(args).map_err(usage)?;
    if let Some(kind) = kind {
        // Names of different kinds may be alike: the one that was named must be there.
        client.get(kind, namespace, &name).await?;
    }
    let kept = HostConfig::default().log_lines;
    if args.tail > kept {
        note(&format!("of each workload the last {kept} lines are kept"));
    }
    let mut lines = client.logs(namespace, &name, args.tail, args.follow).await?;
    while let Some(line) = lines.next().await? {
        if is_json(args.output) {
            out.json_line(&line)?;
        } else {
            let text = text(&line, out);
            out.line(text)?;
        }
    }
    Ok(Exit::Ok)
}

/// The name, and the kind where it is given: NAME, KIND/NAME or KIND NAME.
fn named(args: &Logs) -> Result<(Option<Kind>, String), String> {
    if args.name.is_none() && !args.object.contains('/') {
        return Ok((None, args.object.clone()));
    }
    let (found, name) = kinds(&args.object, args.name.as_deref())?;
    match (found.as_slice(), name) {
        ([kind @ (Kind::WorkloadDeployment | Kind::WorkloadReplicaSet | Kind::Workload)], Some(name)) => Ok((Some(*kind), name)),
        ([kind], _) => Err(format!("a {kind} has no logs: name a deployment (wd), a replicaset (wrs) or a workload (ww)")),
        _ => Err("name one deployment, replicaset or workload".to_owned()),
    }
}

/// Who wrote it, for which request, and what (L44).
fn text(line: &LogLine, out: &Output) -> String {
    let (stream, tone) = match line.stream {
        Stream::Stdout => ("stdout", None),
        Stream::Stderr => ("stderr", Some(Tone::Warn)),
        Stream::Host => ("host", Some(Tone::Bad)),
    };
    let time = line.time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
    let request = line.request.as_deref().map_or_else(String::new, |id| format!(" {}", printable(id)));
    let head = format!("{time} {}/{}{request} {stream}:", line.workload, line.component);
    let body = printable(&line.text);
    let body = tone.map_or_else(|| body.clone(), |tone| out.paint(tone, &body));
    format!("{} {body}", out.paint(Tone::Faint, &head))
}
