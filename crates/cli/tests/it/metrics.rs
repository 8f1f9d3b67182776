//! The metrics that `/metrics` exposes are those that docs/observability.md has.

use std::collections::{BTreeMap, BTreeSet};

use berth_testkit::guests::path;

use crate::process::{Home, get, manifest};

/// Name, as it stands in the text format, to type and labels.
type Metrics = BTreeMap<String, (String, BTreeSet<String>)>;

/// The families of an OpenMetrics text. Labels of the format's own (`le`) don't count.
fn exposed(text: &str) -> Metrics {
    let mut metrics = Metrics::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            // What a counter's and an info's samples are called.
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            metrics.insert(format!("{name}{suffix}"), (kind.to_owned(), BTreeSet::new()));
        }
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = line.split_once('{').map_or((line, ""), |(name, rest)| (name, rest.split_once('}').unwrap().0));
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        let Some((_, found)) = metrics.get_mut(family) else { continue };
        // No value of ours has a comma.
        let names = labels.split(',').filter_map(|pair| pair.split_once('=')).map(|(name, _)| name.to_owned());
        found.extend(names.filter(|name| name != "le"));
    }
    metrics
}

/// The rows of the page's table of metrics.
fn documented() -> Metrics {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/observability.md")).unwrap();
    let mut metrics = Metrics::new();
    for row in page.lines().skip_while(|line| !line.starts_with("| metric |")).skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
        for name in words(cells[0]) {
            metrics.insert(name, (cells[1].to_owned(), words(cells[2])));
        }
    }
    metrics
}

/// L63: whoever builds a dashboard from the page finds each metric there, with its type and labels, and no other.
#[test]
fn l63_the_page_on_metrics_has_what_is_exposed() {
    let home = Home::new();
    home.write("shop.yaml", manifest("shop", &path("p2"), "shop.test", "1"));
    let mut up = home.up(&["-f", "shop.yaml", "--admin-addr", "127.0.0.1:0"]);
    let line = up.wait_for("/metrics on http://");
    let admin = line.rsplit_once("//").unwrap().1.trim().parse().unwrap();
    up.wait_for("curl ");
    assert_eq!(up.get("shop.test", "/").status, 200);
    let exposed = exposed(&get(admin, "admin", "/metrics").unwrap().text);
    let documented = documented();
    assert_eq!(exposed.keys().collect::<Vec<_>>(), documented.keys().collect::<Vec<_>>());
    assert_eq!(exposed, documented);
}
