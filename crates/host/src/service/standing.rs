//! Where a service stands, and what that makes of its workload's status (L33).

use crate::status::State;

/// Where a service stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) phase: Phase,
    /// How often it was started again.
    pub(crate) restarts: u32,
}

/// What a service is at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It was started for the first time, a moment ago.
    #[default]
    Starting,
    /// It listens, or has gone on for a while.
    Running,
    /// It failed, and is started again; the message says why and how often that happened.
    Restarting(String),
    /// It has ended by itself, with success.
    Completed,
    /// It failed for good; the message says why.
    Failed(String),
    /// It was ended.
    Stopped,
}

impl Phase {
    /// Whether a workload with this service is started: nothing more is to be waited for.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self, Phase::Running | Phase::Completed)
    }

    /// Whether nothing of it runs or will run.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Phase::Completed | Phase::Failed(_) | Phase::Stopped)
    }

    /// The state of a workload that is started but for this.
    pub(crate) fn state(&self) -> State {
        match self {
            Phase::Running => State::Running,
            Phase::Starting | Phase::Restarting(_) => State::Starting,
            Phase::Completed => State::Completed,
            Phase::Failed(_) => State::Error,
            Phase::Stopped => State::Stopping,
        }
    }

    /// Why, in one CamelCase word; empty while all is well.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Phase::Starting | Phase::Running | Phase::Stopped => "",
            Phase::Restarting(_) => "ServiceRestarting",
            Phase::Completed => "ServiceCompleted",
            Phase::Failed(_) => "ServiceFailed",
        }
    }

    /// Why, for a person; empty while all is well.
    pub(crate) fn message(&self) -> &str {
        match self {
            Phase::Starting | Phase::Running | Phase::Stopped => "",
            Phase::Completed => "the service has ended by itself with success; what serves HTTP goes on",
            Phase::Restarting(message) | Phase::Failed(message) => message,
        }
    }
}
