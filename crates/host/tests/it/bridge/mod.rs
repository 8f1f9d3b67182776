//! HTTP between the components of a workload: every pair of versions, by name and by import.

mod bounds;
mod failing;
mod fused;
mod names;
mod passing;

use berth_model::limits::Limits;
use berth_model::workload::{Reuse, Workload};

use crate::harness::workload;

/// How a component calls the other: 0.2 and 0.3 by its name, 0.3 by its import too.
pub const CALLERS: [&str; 3] = ["p2", "p3", "p3-middleware"];
/// Who is called.
pub const CALLEES: [&str; 2] = ["p2", "p3"];

/// Reuse of both components: none, and instances that serve several requests.
pub fn reuses() -> [Reuse; 2] {
    [Reuse::default(), Reuse { pool_size: 4, max_invocations: 0, max_concurrency: 4 }]
}

/// All pairs, and whether instances are reused.
pub fn pairs() -> impl Iterator<Item = (&'static str, &'static str, Reuse)> {
    let pairs = CALLERS.into_iter().flat_map(|caller| CALLEES.into_iter().map(move |callee| (caller, callee)));
    pairs.flat_map(|(caller, callee)| reuses().into_iter().map(move |reuse| (caller, callee, reuse)))
}

/// A workload whose component `front` answers, and may call `back`.
pub fn pair(caller: &str, callee: &str, reuse: &Reuse) -> Workload {
    let mut pair = workload("pair", caller, &[]);
    pair.components.extend(workload("back", callee, &[]).components);
    pair.components[0].name = "front".into();
    pair.components.iter_mut().for_each(|component| component.reuse = *reuse);
    pair.http.as_mut().unwrap().component = Some("front".into());
    pair
}

/// The workload with other limits of its front and back.
pub fn limited(mut pair: Workload, front: Limits, back: Limits) -> Workload {
    pair.components[0].resources.limits = front;
    pair.components[1].resources.limits = back;
    pair
}

/// What to ask the caller for, to have it ask `back` for `path`.
pub fn through(caller: &str, path: &str) -> String {
    if caller == "p3-middleware" { path.to_owned() } else { format!("/via?to=back&path={}", encoded(path)) }
}

/// A path as a parameter.
pub fn encoded(path: &str) -> String {
    path.replace('%', "%25").replace('&', "%26").replace('?', "%3F").replace('=', "%3D")
}
