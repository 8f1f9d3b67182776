//! What a host does when it is asked.

use async_trait::async_trait;
use berth_model::id::WorkloadId;
use berth_model::workload::Workload;

use crate::heartbeat::Heartbeat;
use crate::report::Report;
use crate::wanted::Wanted;

/// A host, as [`crate::HostServer`] calls it. Calls come concurrently, except that [`HostHandler::sync`] and
/// [`HostHandler::change`] are called one at a time and in order. A call that passes its deadline is cut: its future is dropped, which must leave nothing half done.
#[async_trait]
pub trait HostHandler: Send + Sync + 'static {
    /// How the host is. Must not wait for anything that commands do (L04).
    async fn heartbeat(&self) -> Heartbeat;

    /// Starts a workload and answers when it runs or has failed; after a failure the id is free again. An id that is taken
    /// is answered with [`Report::already_exists`], and what runs is left alone.
    async fn start(&self, id: WorkloadId, workload: Workload) -> Report;

    /// Where a workload stands; [`Report::not_found`] if the host doesn't have it.
    async fn status(&self, id: &WorkloadId) -> Report;

    /// Stops a workload; answers Stopping when its id is free, or [`Report::not_found`].
    async fn stop(&self, id: &WorkloadId) -> Report;

    /// `wanted` is the whole set: starts what is missing, stops all else, both in the background. Answers at once with where
    /// every workload stands, the ones on their way out included.
    async fn sync(&self, wanted: Vec<Wanted>) -> Vec<Report>;

    /// The set of the last call changes: starts what is new in `wanted`, takes over what differs, stops `unwanted`, leaves all else,
    /// in the background. Answers as [`HostHandler::sync`] does, with where every workload stands.
    async fn change(&self, wanted: Vec<Wanted>, unwanted: Vec<WorkloadId>) -> Vec<Report>;

    /// Takes nothing new and finishes what runs (`on`), or goes back to work.
    async fn drain(&self, on: bool);
}
