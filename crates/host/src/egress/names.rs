//! Name lookups: each name needs a grant of its own (`allowedIpNameLookups`), and what it resolves to is remembered, so that a
//! socket to it can be granted by name.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::task::JoinHandle;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceTable, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, Network};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use super::lookup::{MAX_NAME_BYTES, lookup};
use super::policy::Lookup;
use super::sockets::Resolved;
use super::{Asker, Denied};
use crate::guest::Guest;
use crate::invoke::guard::AbortOnDrop;
use crate::member::Seat;

/// Names that one guest may have resolved at once; more forget the oldest.
const MAX_RESOLVED: usize = 256;
/// Lookups that one guest of WASI 0.2 may hold at once, those that ended among them.
const MAX_OPEN: usize = 32;

/// What one guest looked up.
pub(crate) struct Lookups {
    asker: Arc<Asker>,
    resolved: Resolved,
    /// Lookups of WASI 0.2 that the guest holds.
    open: usize,
}

impl Lookups {
    pub(crate) fn new(asker: Arc<Asker>) -> Lookups {
        Lookups { asker, resolved: Resolved::default(), open: 0 }
    }

    pub(crate) fn asker(&self) -> &Arc<Asker> {
        &self.asker
    }

    pub(crate) fn resolved(&self) -> Resolved {
        self.resolved.clone()
    }

    /// Where the answer for `name` comes from, if the guest may look it up; a denial is told.
    fn granted(&self, name: &str) -> Option<Lookup> {
        let granted = self.asker.policy().lookup(name);
        granted.map_err(|denial| self.asker.deny(Denied::Lookup, &denial.to_string())).ok()
    }
}

fn remember(resolved: &Resolved, name: &Arc<str>, ip: IpAddr) {
    let mut resolved = resolved.lock().expect("no panic while held");
    if resolved.len() >= MAX_RESOLVED {
        resolved.remove(0);
    }
    resolved.push((name.clone(), ip));
}

/// Lower case and without the final dot, as grants compare names.
fn normal(name: &str) -> Arc<str> {
    name.trim_end_matches('.').to_ascii_lowercase().into()
}

/// A lookup of WASI 0.2: it runs by itself, and the guest takes its addresses one by one. Dropped, it is given up.
struct AddressStream {
    name: Arc<str>,
    state: State,
}

enum State {
    Running {
        task: JoinHandle<Option<Vec<IpAddr>>>,
        _guard: AbortOnDrop,
    },
    /// None: it found nothing, or not in time.
    Ended(Option<std::vec::IntoIter<IpAddr>>),
}

impl AddressStream {
    fn start(asker: &Asker, name: Arc<str>, from: Lookup) -> AddressStream {
        if let Lookup::Fixed(found) = from {
            return AddressStream { name, state: State::Ended(Some(found.into_iter())) };
        }
        let task = tokio::spawn(lookup(&asker.component, &name));
        let _guard = AbortOnDrop::new(task.abort_handle());
        AddressStream { name, state: State::Running { task, _guard } }
    }

    /// Whether it has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<&mut Option<std::vec::IntoIter<IpAddr>>> {
        if let State::Running { task, .. } = &mut self.state {
            let found = std::task::ready!(Pin::new(task).poll(cx));
            self.state = State::Ended(found.ok().flatten().map(Vec::into_iter));
        }
        match &mut self.state {
            State::Ended(found) => Poll::Ready(found),
            State::Running { .. } => Poll::Pending,
        }
    }

    fn next(&mut self) -> Result<Option<IpAddr>, ErrorCode> {
        match self.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Err(ErrorCode::WouldBlock),
            Poll::Ready(None) => Err(ErrorCode::NameUnresolvable),
            Poll::Ready(Some(found)) => Ok(found.next()),
        }
    }
}

#[async_trait::async_trait]
impl Pollable for AddressStream {
    async fn ready(&mut self) {
        std::future::poll_fn(|cx| self.poll(cx).map(drop)).await;
    }
}

// The stock implementation's lookups have neither a bound nor an end, and can't be given one from outside: this replaces it whole.

pub(crate) fn link_p2(linker: &mut Linker<Guest>, seat: Seat) -> wasmtime::Result<()> {
    let mut names = linker.instance(&seat.import("wasi:sockets/ip-name-lookup@0.2.12"))?;
    names.resource("resolve-address-stream", ResourceType::host::<AddressStream>(), move |mut store, rep| {
        let guest: &mut Guest = store.data_mut();
        let (member, table) = guest.parts(seat);
        table.delete(Resource::<AddressStream>::new_own(rep))?;
        member.lookups.open -= 1;
        Ok(())
    })?;
    names.func_wrap("resolve-addresses", move |mut store: StoreContextMut<'_, Guest>, (network, name): (Resource<Network>, String)| {
        let (member, table) = store.data_mut().parts(seat);
        // Holding the network is the right to use it.
        table.get(&network)?;
        Ok((resolve(&mut member.lookups, table, &name)?,))
    })?;
    names.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        move |mut store: StoreContextMut<'_, Guest>, (stream,): (Resource<AddressStream>,)| {
            let (member, table) = store.data_mut().parts(seat);
            let stream = table.get_mut(&stream)?;
            let next = stream.next();
            if let Ok(Some(ip)) = next {
                remember(&member.lookups.resolved, &stream.name, ip);
            }
            Ok((next.map(|ip| ip.map(IpAddress::from)),))
        },
    )?;
    names.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store: StoreContextMut<'_, Guest>, (stream,): (Resource<AddressStream>,)| {
            let pollable: Resource<DynPollable> = subscribe(&mut store.data_mut().table, stream)?;
            Ok((pollable,))
        },
    )
}

fn resolve(lookups: &mut Lookups, table: &mut ResourceTable, name: &str) -> wasmtime::Result<Result<Resource<AddressStream>, ErrorCode>> {
    if name.len() > MAX_NAME_BYTES {
        return Ok(Err(ErrorCode::InvalidArgument));
    }
    let name = normal(name);
    let Some(from) = lookups.granted(&name) else { return Ok(Err(ErrorCode::AccessDenied)) };
    if lookups.open >= MAX_OPEN {
        return Ok(Err(ErrorCode::TemporaryResolverFailure));
    }
    let stream = table.push(AddressStream::start(lookups.asker(), name, from))?;
    lookups.open += 1;
    Ok(Ok(stream))
}

#[cfg(feature = "wasi-p3")]
mod p3 {
    use wasmtime::component::{Accessor, HasData, Linker};
    use wasmtime_wasi::p3::bindings::sockets::ip_name_lookup::{ErrorCode, Host, HostWithStore};
    use wasmtime_wasi::p3::bindings::sockets::types::IpAddress;

    use super::super::lookup::{MAX_NAME_BYTES, lookup};
    use super::{Lookup, Lookups, normal, remember};
    use crate::guest::Guest;
    use crate::member::{MAX_MEMBERS, Seat, per_seat};

    struct Names;

    impl HasData for Names {
        type Data<'a> = NamesView<'a>;
    }

    struct NamesView<'a> {
        lookups: &'a mut Lookups,
    }

    type View = fn(&mut Guest) -> NamesView<'_>;

    fn view_of<const SEAT: usize>(guest: &mut Guest) -> NamesView<'_> {
        NamesView { lookups: &mut guest.parts(Seat::at(SEAT)).0.lookups }
    }

    const VIEWS: [View; MAX_MEMBERS] = per_seat!(view_of);

    pub(crate) fn link_p3(linker: &mut Linker<Guest>, seat: Seat) -> wasmtime::Result<()> {
        let view = VIEWS[seat.index()];
        linker.instance(&seat.import("wasi:sockets/ip-name-lookup@0.3.0"))?.func_wrap_concurrent(
            "resolve-addresses",
            move |accessor: &Accessor<Guest>, (name,): (String,)| {
                Box::pin(async move {
                    let accessor = accessor.with_getter::<Names>(view);
                    Ok((<Names as HostWithStore<Guest>>::resolve_addresses(&accessor, name).await?,))
                })
            },
        )
    }

    impl Host for NamesView<'_> {}

    impl<T: Send> HostWithStore<T> for Names {
        async fn resolve_addresses(store: &Accessor<T, Self>, name: String) -> wasmtime::Result<Result<Vec<IpAddress>, ErrorCode>> {
            if name.len() > MAX_NAME_BYTES {
                return Ok(Err(ErrorCode::InvalidArgument));
            }
            let normal = normal(&name);
            let (granted, resolved, asker) = store.with(|mut view| {
                let view = view.get();
                (view.lookups.granted(&normal), view.lookups.resolved(), view.lookups.asker().clone())
            });
            let found = match granted {
                None => return Ok(Err(ErrorCode::AccessDenied)),
                Some(Lookup::Fixed(found)) => Some(found),
                Some(Lookup::Network) => lookup(&asker.component, &normal).await,
            };
            let Some(ips) = found else { return Ok(Err(ErrorCode::NameUnresolvable)) };
            ips.iter().for_each(|ip| remember(&resolved, &normal, *ip));
            Ok(Ok(ips.into_iter().map(IpAddress::from).collect()))
        }
    }
}
#[cfg(feature = "wasi-p3")]
pub(crate) use p3::link_p3;

#[cfg(test)]
mod tests {
    use super::super::lookup::LOOKUP_TIMEOUT;
    use super::super::lookup::tests::exhaust;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn l31_a_lookup_of_02_would_block_until_it_ends_in_time_and_gives_its_place_back_when_it_is_dropped() {
        let (component, _logs) = crate::component::tests::component();
        let asker = Asker::new(component.clone(), None);
        let all = exhaust(&component);
        let start = tokio::time::Instant::now();
        let mut stream = AddressStream::start(&asker, normal("LocalHost."), Lookup::Network);
        assert!(matches!(stream.next(), Err(ErrorCode::WouldBlock)));
        stream.ready().await;
        assert_eq!(start.elapsed(), LOOKUP_TIMEOUT);
        assert!(matches!(stream.next(), Err(ErrorCode::NameUnresolvable)));

        let waits = AddressStream::start(&asker, normal("localhost"), Lookup::Network);
        tokio::task::yield_now().await;
        drop((waits, all));
        let mut next = AddressStream::start(&asker, normal("localhost"), Lookup::Network);
        tokio::time::resume();
        next.ready().await;
        assert!(next.next().is_ok_and(|ip| ip.is_some_and(|ip| ip.is_loopback())));
    }
}
