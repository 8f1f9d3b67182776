//! The members of a unit: components that were composed into one, each with an authority of its own (L38).
//!
//! A store runs one unit, whose root is seat 0. What carries authority, such as the environment, standard output, folders or the ways
//! out, every other member imports under a name that begins with its seat (`berth-link` renames it), and the functions behind that name
//! are linked here with the seat: they find the member's own environment, grants, log identity and request. Of an interface that has both
//! types and what makes them, as `wasi:sockets/types` of 0.3, only the functions that make something are named by seat. All other imports
//! lead to resources and pure functions, which the members of a unit share.

mod cli;
mod http;

#[cfg(feature = "wasi-p3")]
pub(crate) use self::http::view as http_view;

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::Linker;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

#[cfg(feature = "wasi-p3")]
use crate::bridge::link::link_handler;
use crate::component::Component;
use crate::config_store;
use crate::egress::Asker;
use crate::egress::http::Outgoing;
use crate::egress::names::{self, Lookups};
use crate::egress::sockets;
use crate::guest::Guest;
use crate::logs::Stream;
use crate::request_id::RequestId;
use crate::service::signal::UntilTold;
use crate::stdio::GuestOutput;
use crate::volumes;

/// Random bytes per call (L31).
const MAX_RANDOM_BYTES: u64 = 1 << 20;

/// A member's place in its unit; 0 is the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat(usize);

impl Seat {
    pub(crate) const ROOT: Seat = Seat(0);

    /// The seats of a unit of `members`, but for the root's.
    pub(crate) fn others(members: usize) -> impl Iterator<Item = Seat> {
        (1..members).map(Seat)
    }

    /// A place by its number.
    #[cfg(feature = "wasi-p3")]
    pub(crate) const fn at(index: usize) -> Seat {
        Seat(index)
    }

    pub(crate) fn index(self) -> usize {
        self.0
    }

    /// The name under which the member imports an interface that carries authority.
    pub(crate) fn import(self, interface: &str) -> String {
        berth_link::renamed(self.0, interface)
    }

    /// The name under which the member has a function of an interface whose types all members share, as it is called in the interface.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn function(self, name: &str) -> String {
        berth_link::renamed_function(self.0, name).expect("what the host provides can be told from another member's")
    }
}

/// One of the members in one store: what WASI gives it and where it may go.
pub(crate) struct Member {
    asker: Arc<Asker>,
    /// Made at its first use: most handlers never touch a file, a clock or a variable.
    wasi: Option<Box<WasiCtx>>,
    pub(crate) outgoing: Outgoing,
    pub(crate) lookups: Lookups,
    /// Where unfinished lines wait; empty until the member's WASI is made.
    outputs: Vec<GuestOutput>,
    /// None: it has no input.
    stdin: Option<UntilTold>,
}

impl Member {
    pub(crate) fn new(component: &Arc<Component>, request: Option<RequestId>, deadline: Instant) -> Member {
        let asker = Asker::new(component.clone(), request);
        let mut outgoing = Outgoing::new(asker.clone());
        outgoing.set_deadline(deadline);
        Member { wasi: None, outgoing, lookups: Lookups::new(asker.clone()), asker, outputs: Vec::new(), stdin: None }
    }

    pub(crate) fn component(&self) -> &Arc<Component> {
        &self.asker.component
    }

    /// The member as its ways out see it.
    pub(crate) fn asker(&self) -> &Arc<Asker> {
        &self.asker
    }

    /// Gives it an input, before it is asked for.
    pub(crate) fn set_stdin(&mut self, stdin: UntilTold) {
        self.stdin = Some(stdin);
    }

    /// Says whose request the guest works for. A line that the last request left unfinished is its own.
    pub(crate) fn turn_to(&self, request: Option<RequestId>) {
        self.outputs.iter().for_each(GuestOutput::end_line);
        self.asker.serves(request);
    }

    pub(crate) fn wasi(&mut self) -> &mut WasiCtx {
        if self.wasi.is_none() {
            let wasi = self.build_wasi();
            self.wasi = Some(Box::new(wasi));
        }
        self.wasi.as_mut().expect("made above")
    }

    /// Without sockets, lookups and folders: each of them is allowed by itself, in `egress` and `volumes`.
    fn build_wasi(&mut self) -> WasiCtx {
        let output = |stream| GuestOutput::new(self.asker.clone(), stream);
        let (stdout, stderr) = (output(Stream::Stdout), output(Stream::Stderr));
        self.outputs = vec![stdout.clone(), stderr.clone()];
        let mut builder = WasiCtxBuilder::new();
        builder.stdout(stdout).stderr(stderr).max_random_size(MAX_RANDOM_BYTES);
        if let Some(stdin) = self.stdin.take() {
            builder.stdin(stdin);
        }
        for (key, value) in &self.asker.component.environment {
            builder.env(key, value);
        }
        builder.build()
    }
}

/// Links what the member at `seat`, which isn't the root, imports of WASI 0.2 with its authority.
pub(crate) fn link_p2(linker: &mut Linker<Guest>, seat: Seat) -> wasmtime::Result<()> {
    cli::link_p2(linker, seat)?;
    config_store::link(linker, seat)?;
    http::link_p2(linker, seat)?;
    names::link_p2(linker, seat)?;
    volumes::link_p2(linker, seat)?;
    sockets::link_p2(linker, seat)
}

/// The same of WASI 0.3.
#[cfg(feature = "wasi-p3")]
pub(crate) fn link_p3(linker: &mut Linker<Guest>, seat: Seat) -> wasmtime::Result<()> {
    cli::link_p3(linker, seat)?;
    http::link_p3(linker, seat)?;
    link_handler(linker, seat)?;
    names::link_p3(linker, seat)?;
    volumes::link_p3(linker, seat)?;
    sockets::link_p3(linker, seat)
}

/// Links the root's own ways to send HTTP, over the engine's: those of 0.3's engine, where several requests may share a store.
#[cfg(feature = "wasi-p3")]
pub(crate) fn link_calls(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    http::link_p2(linker, Seat::ROOT)?;
    http::link_p3(linker, Seat::ROOT)?;
    link_handler(linker, Seat::ROOT)
}

/// Most members of a unit.
#[cfg(feature = "wasi-p3")]
pub(crate) const MAX_MEMBERS: usize = berth_link::MAX_MEMBERS;

/// Views of a guest as some functions of the engine want them: plain functions, one for each seat.
#[cfg(feature = "wasi-p3")]
macro_rules! per_seat {
    ($view:ident) => {
        [
            $view::<0>,
            $view::<1>,
            $view::<2>,
            $view::<3>,
            $view::<4>,
            $view::<5>,
            $view::<6>,
            $view::<7>,
            $view::<8>,
            $view::<9>,
            $view::<10>,
            $view::<11>,
            $view::<12>,
            $view::<13>,
            $view::<14>,
            $view::<15>,
            $view::<16>,
            $view::<17>,
            $view::<18>,
            $view::<19>,
            $view::<20>,
            $view::<21>,
            $view::<22>,
            $view::<23>,
            $view::<24>,
            $view::<25>,
            $view::<26>,
            $view::<27>,
            $view::<28>,
            $view::<29>,
            $view::<30>,
            $view::<31>,
        ]
    };
}
#[cfg(feature = "wasi-p3")]
pub(crate) use per_seat;
