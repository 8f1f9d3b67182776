//! `berth logs`.

use berth_node::api::Client;
use berth_node::host::logs::{LogLine, Stream};

use super::is_json;
use crate::args::Logs;
use crate::exit::{Exit, Failure};
use crate::output::{Output, Tone, printable};

pub(super) async fn run(args: &Logs, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    let mut lines = client.logs(&args.namespaced.namespace, &args.name, args.tail, args.follow).await?;
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
