//! Rounds of sync: whole sets that came in parts, and reports that leave in pages, as a bus bounds its messages.

use crate::parts::{MAX_PARTS, fitting};
use crate::wire::{compact, ext};

/// The one round that is open, and the one whose reports haven't all been fetched.
#[derive(Default)]
pub(super) struct Rounds {
    open: Option<Open>,
    done: Option<Done>,
}

struct Open {
    round: String,
    parts: u32,
    next: u32,
    wanted: Vec<ext::Wanted>,
}

struct Done {
    round: String,
    reports: Vec<ext::Report>,
}

/// What to do with a request.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Wait for the next part.
    Wait,
    /// The set is whole.
    Whole { round: String, wanted: Vec<ext::Wanted> },
    /// Answer with these reports.
    Page(ext::SyncResponse),
}

impl Rounds {
    /// Takes a request; `limit` is the largest answer, bytes. An error is for the peer to read.
    pub(super) fn take(&mut self, request: ext::SyncRequest, limit: usize) -> Result<Step, String> {
        if request.reports_from > 0 {
            return self.page(&request.round, request.reports_from, limit).map(Step::Page);
        }
        self.done = None;
        let ext::SyncRequest { round, part, parts, wanted, .. } = request;
        if parts == 0 || parts > MAX_PARTS || part >= parts {
            self.open = None;
            return Err(format!("part {part} of {parts} makes no sense: a round has 1 to {MAX_PARTS} parts, counted from 0"));
        }
        let mut open = match self.open.take() {
            Some(open) if part > 0 && open.round == round && open.parts == parts && open.next == part => open,
            _ if part == 0 => Open { round, parts, next: 0, wanted: Vec::new() },
            _ => return Err(format!("part {part} of {parts} came out of order or after another round's; begin again with part 0")),
        };
        open.wanted.extend(wanted);
        open.next += 1;
        if open.next < open.parts {
            self.open = Some(open);
            return Ok(Step::Wait);
        }
        Ok(Step::Whole { round: open.round, wanted: open.wanted })
    }

    /// The first page of a round's reports; the rest is kept until it is fetched or another round begins.
    pub(super) fn finish(&mut self, round: String, reports: Vec<ext::Report>, limit: usize) -> ext::SyncResponse {
        let first = page_of(&reports, limit);
        if first.more {
            self.done = Some(Done { round, reports });
        }
        first
    }

    fn page(&mut self, round: &str, from: u32, limit: usize) -> Result<ext::SyncResponse, String> {
        let rest = self.done.as_ref().filter(|done| done.round == round).and_then(|done| done.reports.get(from as usize..));
        let Some(rest) = rest else {
            return Err("the reports of that round are gone; begin another".to_owned());
        };
        let page = page_of(rest, limit);
        if !page.more {
            self.done = None;
        }
        Ok(page)
    }
}

/// As many reports as fit into `limit` bytes, but one at least.
fn page_of(reports: &[ext::Report], limit: usize) -> ext::SyncResponse {
    let count = fitting(reports.iter().map(|report| compact(report).len()), limit);
    ext::SyncResponse { reports: reports[..count].to_vec(), more: count < reports.len(), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 64 << 10;

    fn part(round: &str, part: u32, parts: u32, ids: &[&str]) -> ext::SyncRequest {
        let wanted = ids.iter().map(|id| ext::Wanted { workload_id: (*id).to_owned(), ..Default::default() }).collect();
        ext::SyncRequest { round: round.to_owned(), part, parts, wanted, ..Default::default() }
    }

    #[test]
    fn a_round_is_whole_with_its_last_part() {
        let mut rounds = Rounds::default();
        assert_eq!(rounds.take(part("r", 0, 2, &["a"]), LIMIT), Ok(Step::Wait));
        let Ok(Step::Whole { round, wanted }) = rounds.take(part("r", 1, 2, &["b"]), LIMIT) else { panic!("not whole") };
        assert_eq!(round, "r");
        assert_eq!(wanted.iter().map(|w| w.workload_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn parts_of_different_rounds_never_mix() {
        let mut rounds = Rounds::default();
        assert_eq!(rounds.take(part("old", 0, 2, &["a"]), LIMIT), Ok(Step::Wait));
        assert_eq!(rounds.take(part("new", 0, 2, &["b"]), LIMIT), Ok(Step::Wait));
        assert!(rounds.take(part("old", 1, 2, &["c"]), LIMIT).is_err());
        assert!(rounds.take(part("new", 1, 2, &["d"]), LIMIT).is_err(), "a refused part ends what was open");
        assert_eq!(rounds.take(part("new", 0, 2, &["b"]), LIMIT), Ok(Step::Wait));
        assert!(matches!(rounds.take(part("new", 1, 2, &["d"]), LIMIT), Ok(Step::Whole { wanted, .. }) if wanted.len() == 2));
    }

    #[test]
    fn parts_out_of_order_or_out_of_range_are_refused() {
        let mut rounds = Rounds::default();
        assert!(rounds.take(part("r", 1, 2, &[]), LIMIT).is_err());
        assert!(rounds.take(part("r", 0, 0, &[]), LIMIT).is_err());
        assert!(rounds.take(part("r", 0, MAX_PARTS + 1, &[]), LIMIT).is_err());
        assert_eq!(rounds.take(part("r", 0, 3, &[]), LIMIT), Ok(Step::Wait));
        assert!(rounds.take(part("r", 2, 3, &[]), LIMIT).is_err());
    }

    fn fetch(rounds: &mut Rounds, reports: Vec<ext::Report>, limit: usize) -> Vec<ext::Report> {
        let mut page = rounds.finish("r".to_owned(), reports, limit);
        let mut all = page.reports;
        while page.more {
            let request = ext::SyncRequest { round: "r".to_owned(), reports_from: all.len() as u32, ..Default::default() };
            let Ok(Step::Page(next)) = rounds.take(request, limit) else { panic!("no page") };
            assert!(compact(&next).len() <= limit);
            page = next;
            all.append(&mut page.reports);
        }
        all
    }

    proptest! {
        #[test]
        fn pages_hold_every_report_once_and_in_order(lengths in prop::collection::vec(0usize..3000, 0..40)) {
            let reports: Vec<ext::Report> = lengths
                .iter()
                .enumerate()
                .map(|(i, length)| ext::Report { workload_id: i.to_string(), message: "\u{1}".repeat(*length), ..Default::default() })
                .collect();
            let mut rounds = Rounds::default();
            prop_assert_eq!(fetch(&mut rounds, reports.clone(), LIMIT), reports);
            prop_assert!(rounds.done.is_none());
        }
    }

    #[test]
    fn reports_of_a_past_round_are_gone() {
        let mut rounds = Rounds::default();
        let long = ext::Report { message: "m".repeat(2000), ..Default::default() };
        assert!(rounds.finish("r".to_owned(), vec![long; 100], LIMIT).more);
        assert_eq!(rounds.take(part("next", 0, 2, &[]), LIMIT), Ok(Step::Wait));
        assert!(rounds.take(ext::SyncRequest { round: "r".to_owned(), reports_from: 1, ..Default::default() }, LIMIT).is_err());
    }
}
