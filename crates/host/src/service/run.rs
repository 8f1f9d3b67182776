//! One run of a service: a fresh store, an instance in it, and its `run` from beginning to end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wasmtime::Store;
use wasmtime::component::InstancePre;
use wasmtime_wasi::p2;
#[cfg(feature = "wasi-p3")]
use wasmtime_wasi::p3;

use super::Program;
use super::ending::{Ending, Fault};
use super::signal::UntilTold;
use crate::copied::door::Opened;
#[cfg(feature = "wasi-p3")]
use crate::copied::serve;
use crate::guest::{self, Guest};
use crate::intake::RunExport;
use crate::invoke::ending::WorkloadEnded;
use crate::invoke::failure::Failure;
use crate::invoke::fate::Fate;
use crate::turn;

/// A service has no deadline: a century.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// `wasi:cli/run` of either version, linked and ready to be instantiated.
pub(crate) enum RunPre {
    P2(p2::bindings::CommandPre<Guest>),
    #[cfg(feature = "wasi-p3")]
    P3(p3::bindings::CommandPre<Guest>),
}

impl RunPre {
    pub(crate) fn new(export: RunExport, pre: InstancePre<Guest>) -> wasmtime::Result<RunPre> {
        match export {
            RunExport::P2 => Ok(RunPre::P2(p2::bindings::CommandPre::new(pre)?)),
            #[cfg(feature = "wasi-p3")]
            RunExport::P3 => Ok(RunPre::P3(p3::bindings::CommandPre::new(pre)?)),
            #[cfg(not(feature = "wasi-p3"))]
            RunExport::P3 => Err(wasmtime::format_err!("this build runs no WASI 0.3")),
        }
    }

    /// From an instance of its own to the program's end. What its door lets in is done beside it.
    #[cfg_attr(not(feature = "wasi-p3"), expect(unused_variables, reason = "only programs of 0.3 are called"))]
    async fn run(&self, store: &mut Store<Guest>, opened: &mut Opened<'_>) -> wasmtime::Result<Result<(), ()>> {
        match self {
            RunPre::P2(pre) => {
                let command = pre.instantiate_async(&mut *store).await?;
                command.wasi_cli_run().call_run(store).await
            }
            #[cfg(feature = "wasi-p3")]
            RunPre::P3(pre) => {
                let instance = pre.instance_pre().instantiate_async(&mut *store).await?;
                let command = p3::bindings::Command::new(&mut *store, &instance)?;
                let callees = serve::callees(store, &instance, &opened.exports())?;
                store
                    .run_concurrent(async |accessor| {
                        let program = command.wasi_cli_run().call_run(accessor);
                        serve::beside(accessor, program, &callees, &mut opened.visits).await
                    })
                    .await?
            }
        }
    }
}

/// Runs the program in a store of its own until it ends, or until `cut`. `told` is the signal to end.
pub(super) async fn run(program: Arc<Program>, told: CancellationToken, cut: CancellationToken) -> Ending {
    let mut store = guest::store(&program.engine, &program.unit, None, Instant::now() + FOR_EVER);
    store.data_mut().serves_long(UntilTold::new(told));
    let fate = Fate::default();
    store.data_mut().fated(&fate);
    // Calls wait at it until there is an instance.
    let mut opened = program.door.open();
    let work = async {
        turn::first(&program.unit.root.pace).await;
        program.pre.run(&mut store, &mut opened).await
    };
    // A guest that computes yields at each tick, so a cut reaches it too.
    let ended = tokio::select! {
        biased;
        ended = work => ended,
        () = cut.cancelled() => Err(WorkloadEnded.into()),
    };
    let ending = Ending::of(&program.unit, ended, store.data().limiter.hit());
    // Before it closes, which its callers are about to see.
    opened.ends(&ending.to_string());
    // Said before the store is dropped: the connections of one that failed break off, they don't end.
    if ending == Ending::Done {
        fate.done()
    } else {
        fate.dead()
    }
    if let Ending::Failed(Fault::Failure(Failure::NoInstance(_))) = &ending {
        program.unit.root.host.metrics.no_instance.inc();
    }
    ending
}
