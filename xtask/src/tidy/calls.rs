//! Calls that have no place: prints and `dbg!` in libraries, sleeps and `#[ignore]` in tests, tasks and threads without an owner.

use super::Finding;
use super::tokens::{Token, closing, occurrences};

/// Whose output is its purpose.
const MAY_PRINT: [&str; 3] = ["crates/cli/", "xtask/", "crates/host/benches/"];

/// Where a task may be spawned outside a `JoinSet` or `TaskTracker`, because its handle is kept: one runtime per core with its own tasks.
const MAY_SPAWN: [&str; 2] = ["crates/host/src/", "crates/http/src/"];

/// Every forbidden call.
pub fn check(path: &str, tokens: &[Token]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for at in occurrences(tokens, "dbg !") {
        findings.push(Finding::new("dbg", path, tokens[at].line, "dbg! is for the desk: use tracing, or remove it"));
    }
    if !MAY_PRINT.iter().any(|prefix| path.starts_with(prefix)) {
        for at in occurrences(tokens, "println !").chain(occurrences(tokens, "print !")) {
            findings.push(Finding::new("print", path, tokens[at].line, "only commands print: a library uses tracing, a test asserts"));
        }
    }
    for at in occurrences(tokens, "# [ ignore") {
        let message = "an ignored test tests nothing: put it under a nextest profile with a name";
        findings.push(Finding::new("ignore", path, tokens[at].line, message));
    }
    findings.extend(sleeps(path, tokens));
    findings.extend(spawns(path, tokens));
    findings
}

/// Sleeps in tests.
fn sleeps(path: &str, tokens: &[Token]) -> Vec<Finding> {
    let named = ["sleep (", "sleep_until ("].into_iter().flat_map(|pattern| occurrences(tokens, pattern));
    named
        .filter(|at| tokens[*at].test && !matches!(before(tokens, *at), "fn" | "."))
        .map(|at| Finding::new("sleep", path, tokens[at].line, "a test doesn't sleep: await the condition, with a deadline"))
        .collect()
}

/// Tasks and threads whose handle nobody keeps, and free tasks outside [`MAY_SPAWN`].
fn spawns(path: &str, tokens: &[Token]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let named = ["spawn (", "spawn_local (", "spawn_blocking ("].into_iter().flat_map(|pattern| occurrences(tokens, pattern));
    for at in named.filter(|at| !matches!(before(tokens, *at), "fn" | ".")) {
        let line = tokens[at].line;
        let start = path_start(tokens, at);
        let free_task = tokens[at].text != "spawn_blocking"
            && !tokens[start..at].iter().any(|token| token.text == "thread")
            && !is_handed_to(tokens, start, "AbortOnDropHandle");
        // The runtime of a test ends with it, and its tasks with the runtime; a thread would go on.
        let owned_by_test = tokens[at].test && free_task;
        if is_dropped(tokens, start, at + 1) && !owned_by_test {
            findings.push(Finding::new("spawn", path, line, "nobody owns this: keep its handle, or spawn it on a JoinSet or TaskTracker"));
        } else if free_task && !tokens[at].test && !MAY_SPAWN.iter().any(|prefix| path.starts_with(prefix)) {
            findings.push(Finding::new("spawn", path, line, "spawn it on a JoinSet or TaskTracker, which ends it on shutdown"));
        }
    }
    findings
}

/// Where the path that ends at `at` starts: the index of `tokio` for `tokio::task::spawn`.
fn path_start(tokens: &[Token], at: usize) -> usize {
    let mut start = at;
    while start >= 3 && tokens[start - 1].text == ":" && tokens[start - 2].text == ":" {
        start -= 3;
    }
    start
}

/// Whether the value of the call from `start`, whose arguments open at `open`, is thrown away.
fn is_dropped(tokens: &[Token], start: usize, open: usize) -> bool {
    let after = tokens.get(closing(tokens, open) + 1).map_or("", |token| token.text.as_str());
    let ends = matches!(after, ";" | ")" | "");
    let bound_to_nothing = before(tokens, start) == "=" && start >= 2 && tokens[start - 2].text.starts_with('_');
    let statement = matches!(before(tokens, start), ";" | "{" | "}" | "") && after == ";";
    let dropped = before(tokens, start) == "(" && start >= 2 && tokens[start - 2].text == "drop";
    ends && (bound_to_nothing || statement || dropped)
}

/// Whether what starts at `start` is the argument of `owner::new(`.
fn is_handed_to(tokens: &[Token], start: usize, owner: &str) -> bool {
    occurrences(&tokens[start.saturating_sub(5)..start], &format!("{owner} : : new (")).next().is_some()
}

fn before(tokens: &[Token], at: usize) -> &str {
    at.checked_sub(1).map_or("", |previous| tokens[previous].text.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tokens;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        check(path, &tokens::of(path, text)).into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn libraries_and_tests_do_not_print() {
        let text = "fn f() { println!(\"a\"); dbg!(1); }";
        assert_eq!(rules("crates/host/src/a.rs", text), ["dbg", "print"]);
        assert_eq!(rules("crates/host/tests/it/a.rs", text), ["dbg", "print"]);
        assert_eq!(rules("crates/cli/src/a.rs", text), ["dbg"]);
    }

    #[test]
    fn tests_do_not_sleep_or_hide() {
        let text = "#[cfg(test)] mod tests { #[test] #[ignore] fn f() { std::thread::sleep(a); tokio::time::sleep(b).await; sleep(c) } }";
        assert_eq!(rules("crates/host/src/a.rs", text), ["ignore", "sleep", "sleep", "sleep"]);
    }

    #[test]
    fn code_may_sleep_and_name_things_sleep() {
        assert_eq!(rules("crates/host/src/a.rs", "async fn f() { tokio::time::sleep(d).await; } fn sleep(d: u8) {}"), [""; 0]);
    }

    #[test]
    fn a_task_without_an_owner_is_found() {
        for text in [
            "fn f() { tokio::spawn(async {}); }",
            "fn f() { let _ = tokio::spawn(async {}); }",
            "fn f() { let _task = tokio::task::spawn_local(async {}); }",
            "fn f() { drop(tokio::spawn(async {})); }",
            "fn f() { std::thread::spawn(|| ()); }",
        ] {
            assert_eq!(rules("crates/http/src/a.rs", text), ["spawn"], "{text}");
        }
    }

    #[test]
    fn a_test_owns_its_tasks_but_not_its_threads() {
        assert_eq!(rules("crates/http/tests/it/a.rs", "fn f() { tokio::spawn(async {}); }"), [""; 0]);
        assert_eq!(rules("crates/http/tests/it/a.rs", "fn f() { std::thread::spawn(|| ()); }"), ["spawn"]);
    }

    #[test]
    fn a_kept_handle_is_fine_where_a_runtime_per_core_needs_it() {
        let text = "fn f() { let task = tokio::spawn(async {}); tasks.push(tokio::spawn(async {})); }";
        assert_eq!(rules("crates/host/src/a.rs", text), [""; 0]);
        assert_eq!(rules("crates/operator/src/a.rs", text), ["spawn", "spawn"]);
        assert_eq!(rules("crates/operator/tests/it/a.rs", text), [""; 0]);
    }

    #[test]
    fn a_task_that_ends_with_its_handle_is_fine_anywhere() {
        let text = "fn f() { let connection = AbortOnDropHandle::new(tokio::spawn(async {})); }";
        assert_eq!(rules("crates/node/src/a.rs", text), [""; 0]);
    }

    #[test]
    fn join_sets_trackers_and_awaited_blocking_work_are_fine() {
        let text = "async fn f() { set.spawn(async {}); tracker.spawn(async {}); tokio::task::spawn_blocking(|| ()).await; \
                    let thread = std::thread::spawn(|| ()); thread.join(); }";
        assert_eq!(rules("crates/operator/src/a.rs", text), [""; 0]);
    }
}
