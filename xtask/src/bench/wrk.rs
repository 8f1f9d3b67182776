//! wrk: a client that asks as fast as it is answered. Runs it and reads what it prints.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::figures::parse_time;
use super::lab::Lab;

/// wrk must end this long after the time it was told to take.
const GRACE: Duration = Duration::from_secs(30);

/// What wrk counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// Requests that were answered.
    pub requests: u64,
    /// Time that it took, seconds.
    pub seconds: f64,
    /// Half of the answers took at most this, seconds.
    pub p50: f64,
    /// 99 of 100 answers took at most this, seconds.
    pub p99: f64,
    /// Answers that were not 2xx or 3xx, and errors of connections.
    pub errors: u64,
}

impl Counted {
    /// Requests per second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// The command line for people, who see `PORT` for the port.
pub fn line(path: &str, connections: u32, seconds: u32) -> String {
    let url = format!("http://127.0.0.1:PORT{path}");
    // What a shell would read as its own is quoted.
    let url = if path.contains(['?', '&']) { format!("'{url}'") } else { url };
    format!("wrk {} {url}", arguments(connections, seconds).join(" "))
}

fn arguments(connections: u32, seconds: u32) -> [String; 4] {
    ["-t1".into(), format!("-c{connections}"), format!("-d{seconds}s"), "--latency".into()]
}

/// Asks for `path` with so many connections for so long.
pub async fn run(lab: &Lab, addr: SocketAddr, path: &str, connections: u32, seconds: u32) -> Result<Counted> {
    let mut wrk = Command::new(&lab.wrk);
    wrk.args(arguments(connections, seconds)).arg(format!("http://{addr}{path}")).kill_on_drop(true);
    let limit = Duration::from_secs(seconds.into()) + GRACE;
    let output = tokio::time::timeout(limit, wrk.output()).await.map_err(|_| anyhow!("wrk didn't end within {limit:?}"))?;
    let output = output.context("cannot run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("wrk failed: {}: {}{text}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    parse(&text).with_context(|| format!("wrk printed what can't be read:\n{text}"))
}

/// Reads what wrk prints with `--latency`.
pub fn parse(text: &str) -> Option<Counted> {
    let mut counted = Counted::default();
    let mut seen = [false; 3];
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [requests, "requests", "in", time, ..] => {
                counted.requests = requests.parse().ok()?;
                counted.seconds = parse_time(time.trim_end_matches(','))?.as_secs_f64();
                seen[0] = true;
            }
            ["50%", time] => {
                counted.p50 = parse_time(time)?.as_secs_f64();
                seen[1] = true;
            }
            ["99%", time] => {
                counted.p99 = parse_time(time)?.as_secs_f64();
                seen[2] = true;
            }
            ["Non-2xx", "or", "3xx", "responses:", number] => counted.errors += number.parse::<u64>().ok()?,
            ["Socket", "errors:", ..] => {
                counted.errors += words.iter().filter_map(|word| word.trim_end_matches(',').parse::<u64>().ok()).sum::<u64>();
            }
            _ => {}
        }
    }
    (seen == [true; 3] && counted.seconds > 0.0).then_some(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Running 2s test @ http://127.0.0.1:18000/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   780.12us  301.05us  12.11ms   92.31%
    Req/Sec    20.51k     1.08k   22.12k    70.00%
  Latency Distribution
     50%  735.00us
     75%    0.88ms
     90%    1.05ms
     99%    1.73ms
  40853 requests in 2.00s, 5.65MB read
Requests/sec:  20410.27
Transfer/sec:      2.82MB
";

    #[test]
    fn what_wrk_counted_is_read() {
        let counted = parse(GOOD).expect("it is right");
        assert_eq!(counted, Counted { requests: 40853, seconds: 2.0, p50: 0.000735, p99: 0.00173, errors: 0 });
        assert_eq!(counted.rate(), 20426.5);
    }

    #[test]
    fn the_command_line_can_be_pasted() {
        assert_eq!(line("/", 16, 4), "wrk -t1 -c16 -d4s --latency http://127.0.0.1:PORT/");
        assert!(line("/a?b=c&d", 1, 1).ends_with(" 'http://127.0.0.1:PORT/a?b=c&d'"));
    }

    #[test]
    fn errors_are_summed() {
        let text = format!("{GOOD}  Socket errors: connect 1, read 20, write 0, timeout 3\n  Non-2xx or 3xx responses: 100\n");
        assert_eq!(parse(&text).expect("it is right").errors, 124);
    }

    #[test]
    fn a_run_without_answers_is_nothing() {
        assert_eq!(parse("unable to connect to 127.0.0.1:1 Connection refused\n"), None);
        assert_eq!(parse(""), None);
    }
}
