//! A well-behaved workload beside one that misbehaves: the benchmark `neighbours` of `benches/`, whose table becomes part of the page.

use std::time::Duration;

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::json;

use super::figures::{median_time, parse_time, time};
use super::inner;
use super::lab::Lab;
use super::outcome::{Report, Table};

/// A line of the benchmark's table: the 50th and 99th percentile alone and beside the neighbour.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Line {
    neighbour: String,
    times: [Duration; 4],
}

/// Builds the benchmark, runs it, and takes over its table.
pub async fn measure(lab: &Lab) -> Result<Report> {
    let lines: Vec<Line> = inner::run(lab, "neighbours").await?.iter().filter_map(|line| parse(line)).collect();
    if lines.is_empty() {
        bail!("the benchmark printed no line of its table");
    }
    Ok(report(&lines))
}

/// A line of the table; `None` of the head and of anything else.
fn parse(line: &str) -> Option<Line> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (name, times) = words.split_at_checked(words.len().checked_sub(4)?)?;
    let times: Vec<Duration> = times.iter().map_while(|word| parse_time(word)).collect();
    let times = times.try_into().ok()?;
    (!name.is_empty()).then(|| Line { neighbour: name.join(" "), times })
}

fn report(lines: &[Line]) -> Report {
    let mut table = Table::new(&["neighbour", "p50 alone", "p50 beside", "p99 alone", "p99 beside"]);
    let mut names: Vec<&str> = lines.iter().map(|line| line.neighbour.as_str()).collect();
    names.dedup();
    for name in names {
        let middle = |at: usize| {
            let times: Vec<Duration> = lines.iter().filter(|line| line.neighbour == name).map(|line| line.times[at]).collect();
            time(median_time(&times))
        };
        table.row([name.to_owned(), middle(0), middle(1), middle(2), middle(3)]);
    }
    let notes = vec![
        "Medians of three rounds. The first two rows are what to hold the others against: a neighbour that is as busy and behaves, and \
         threads of another program that compute on every core. The good workload is asked by eight clients, each 2 ms after its last \
         answer was due; the bad one by eight without pause, with limits of 32 MiB, 1 s and 4 requests in flight."
            .to_owned(),
    ];
    Report {
        commands: vec!["cargo bench -p berth-benches --bench neighbours".into()],
        notes,
        tables: vec![table],
        raw: json!(lines),
        ..Report::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_benchmark_s_table_is_read() {
        let line = parse("busy, well-behaved       1.2ms      3.4ms     10.5ms    890.1µs").expect("it is a line");
        assert_eq!((line.neighbour.as_str(), line.times[3]), ("busy, well-behaved", Duration::from_nanos(890_100)));
        assert_eq!(parse("neighbour               p50 alone   p50 beside    p99 alone   p99 beside"), None);
        assert_eq!(["", "guests: building", "1.2ms 3.4ms 10.5ms 890.1µs"].map(parse), [None, None, None]);
    }

    #[test]
    fn rounds_of_one_neighbour_become_one_row() {
        let line = |name: &str, ms| Line { neighbour: name.into(), times: [Duration::from_millis(ms); 4] };
        let report = report(&[line("spins", 1), line("spins", 9), line("spins", 2), line("traps", 4)]);
        assert_eq!(report.tables[0].rows.len(), 2);
        assert_eq!(report.tables[0].rows[0][..2], ["spins".to_owned(), "2.00 ms".to_owned()]);
    }
}
