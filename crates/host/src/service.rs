//! Services: the one component of a workload that lives as long as it does.
//!
//! A service is a program, `wasi:cli/run` of either version. It is prepared like the other components, runs in a store of its own on
//! one of the threads that answer requests ([`threads`]), and is started again in a fresh store when it fails ([`restart`]). It has no
//! deadline; its limits, its grants and its turns are those of any guest. Ending it takes a signal that it can notice ([`signal`]), some
//! time, and then its interruption.
//!
//! A host has [`room`] for so many. What a workload's status says of its service is in [`standing`]; what keeps it going is the `keeper`.

mod ending;
mod keeper;
pub(crate) mod restart;
pub(crate) mod room;
pub(crate) mod run;
pub(crate) mod signal;
pub(crate) mod standing;
pub(crate) mod threads;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::keeper::Keeper;
use self::restart::Policy;
use self::room::Room;
use self::run::RunPre;
use self::standing::Standing;
use self::threads::Threads;
use crate::compile::Compiled;
use crate::component::Unit;
use crate::copied::door::Door;

/// The service's name among the components of its workload, in logs and messages.
pub(crate) const NAME: &str = "service";

/// How long a service that was interrupted may take to be gone: a tick, unless its thread is in trouble.
const CUT_GRACE: Duration = Duration::from_secs(5);

/// A service, prepared: each of its runs begins with this.
pub(crate) struct Program {
    pub(crate) unit: Arc<Unit>,
    pub(crate) engine: wasmtime::Engine,
    pub(crate) pre: RunPre,
    /// Where calls of it come in.
    pub(crate) door: Arc<Door>,
    pub(crate) restarts: Policy,
    /// How long a service that doesn't listen goes on before it counts as running.
    pub(crate) settle: Duration,
    /// Its place among the host's services.
    pub(crate) _room: Room,
    /// Keeps the compiled code known to the compiler as long as somebody runs it.
    pub(crate) _compiled: Arc<Compiled>,
}

/// A service that was started. Dropping it interrupts the service.
pub(crate) struct Service {
    standing: watch::Receiver<Standing>,
    told: CancellationToken,
    cut: CancellationToken,
}

impl Service {
    /// Starts the service: it runs on one of `threads`, and what keeps it going is a task of `tasks` on `runtime`.
    pub(crate) fn start(program: Program, threads: Arc<Threads>, tasks: &TaskTracker, runtime: &Handle) -> Service {
        let (sender, standing) = watch::channel(Standing::default());
        let (told, cut) = (CancellationToken::new(), CancellationToken::new());
        let keeper = Keeper { program: Arc::new(program), threads, told: told.clone(), cut: cut.clone(), standing: sender };
        tasks.spawn_on(keeper.keep(), runtime);
        Service { standing, told, cut }
    }

    /// One that nobody keeps, which has come up, and what is cancelled when it is cut.
    #[cfg(test)]
    pub(crate) fn of_nobody() -> (Service, CancellationToken) {
        let (_, standing) = watch::channel(Standing { phase: standing::Phase::Running, restarts: 0 });
        let cut = CancellationToken::new();
        (Service { standing, told: CancellationToken::new(), cut: cut.clone() }, cut)
    }

    /// Where it stands.
    pub(crate) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Where it stands, as that changes. Ends with the service.
    pub(crate) fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Tells the service to end, gives it `grace` for that, less if there is a `hurry`, and interrupts it. Returns when nothing of it is
    /// left, and whether it ended by itself. Cancel safe: what has begun goes on.
    pub(crate) async fn stop(&self, grace: Duration, hurry: &CancellationToken) -> bool {
        self.told.cancel();
        let by_itself = tokio::select! {
            () = self.over() => true,
            () = tokio::time::sleep(grace) => false,
            () = hurry.cancelled() => false,
        };
        if !by_itself {
            self.cut.cancel();
            if tokio::time::timeout(CUT_GRACE, self.over()).await.is_err() {
                tracing::warn!("a service was interrupted and is still there; its thread is blocked");
            }
        }
        by_itself
    }

    async fn over(&self) {
        // An error says that its keeper is gone, and it with it.
        let _ = self.standing.clone().wait_for(|standing| standing.phase.is_over()).await;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.told.cancel();
        self.cut.cancel();
    }
}
