//! Name lookups: each name needs a grant of its own (`allowedIpNameLookups`), and what it resolves to is remembered, so that a
//! socket to it can be granted by name.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use berth_model::grants::LOOPBACK_NAME;
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets::{ip_name_lookup as p2, network};
use wasmtime_wasi::p2::{DynPollable, SocketError};
use wasmtime_wasi::sockets::WasiSocketsCtxView;

use super::lookup::MAX_NAME_BYTES;
use super::sockets::Resolved;
use super::{Asker, Denied};
use crate::guest::Guest;

/// Names that one guest may have resolved at once; more forget the oldest.
const MAX_RESOLVED: usize = 256;
/// Lookups of one store by WASI 0.2 that may run at once; they can't wait for each other.
const MAX_OPEN: usize = 32;

/// What one guest looked up.
pub(crate) struct Lookups {
    asker: Arc<Asker>,
    resolved: Resolved,
    /// Lookups of 0.2 that still run: the name by the stream's handle.
    open: HashMap<u32, Arc<str>>,
}

impl Lookups {
    pub(crate) fn new(asker: Arc<Asker>) -> Lookups {
        Lookups { asker, resolved: Resolved::default(), open: HashMap::new() }
    }

    pub(crate) fn asker(&self) -> &Arc<Asker> {
        &self.asker
    }

    pub(crate) fn resolved(&self) -> Resolved {
        self.resolved.clone()
    }

    /// Whether the guest may look `name` up; a denial is told.
    fn granted(&self, name: &str) -> bool {
        let granted = self.asker.component.grants.allows_lookup(name);
        if !granted {
            let way = if name == LOOPBACK_NAME {
                "this host opens no ports under that name"
            } else {
                "add it to the component's localResources.allowedIpNameLookups"
            };
            let message = format!("lookup of {name:?} denied: {way}");
            self.asker.deny(Denied::Lookup, &message);
        }
        granted
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

struct Names;

impl HasData for Names {
    type Data<'a> = NamesView<'a>;
}

struct NamesView<'a> {
    sockets: WasiSocketsCtxView<'a>,
    lookups: &'a mut Lookups,
}

fn view(guest: &mut Guest) -> NamesView<'_> {
    let (sockets, lookups) = guest.sockets_and_lookups();
    NamesView { sockets, lookups }
}

pub(crate) fn link_p2(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    p2::add_to_linker::<Guest, Names>(linker, view)
}

impl p2::Host for NamesView<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<network::Network>,
        name: String,
    ) -> Result<Resource<p2::ResolveAddressStream>, SocketError> {
        if name.len() > MAX_NAME_BYTES {
            return Err(network::ErrorCode::InvalidArgument.into());
        }
        let normal = normal(&name);
        if !self.lookups.granted(&normal) {
            return Err(network::ErrorCode::AccessDenied.into());
        }
        if self.lookups.open.len() >= MAX_OPEN {
            return Err(network::ErrorCode::TemporaryResolverFailure.into());
        }
        let stream = p2::Host::resolve_addresses(&mut self.sockets, network, name)?;
        self.lookups.open.insert(stream.rep(), normal);
        Ok(stream)
    }
}

impl p2::HostResolveAddressStream for NamesView<'_> {
    fn resolve_next_address(&mut self, stream: Resource<p2::ResolveAddressStream>) -> Result<Option<network::IpAddress>, SocketError> {
        let name = self.lookups.open.get(&stream.rep()).cloned();
        let address = p2::HostResolveAddressStream::resolve_next_address(&mut self.sockets, stream)?;
        if let (Some(name), Some(address)) = (name, address) {
            remember(&self.lookups.resolved, &name, ip_of(address));
        }
        Ok(address)
    }

    fn subscribe(&mut self, stream: Resource<p2::ResolveAddressStream>) -> wasmtime::Result<Resource<DynPollable>> {
        p2::HostResolveAddressStream::subscribe(&mut self.sockets, stream)
    }

    fn drop(&mut self, stream: Resource<p2::ResolveAddressStream>) -> wasmtime::Result<()> {
        self.lookups.open.remove(&stream.rep());
        p2::HostResolveAddressStream::drop(&mut self.sockets, stream)
    }
}

/// What the lookup interface asks of its sibling, unchanged.
impl network::Host for NamesView<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<network::ErrorCode> {
        network::Host::convert_error_code(&mut self.sockets, error)
    }

    fn network_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<network::ErrorCode>> {
        network::Host::network_error_code(&mut self.sockets, error)
    }
}

impl network::HostNetwork for NamesView<'_> {
    fn drop(&mut self, network: Resource<network::Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.sockets, network)
    }
}

fn ip_of(address: network::IpAddress) -> IpAddr {
    match address {
        network::IpAddress::Ipv4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
        network::IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => IpAddr::from([a, b, c, d, e, f, g, h]),
    }
}

#[cfg(feature = "wasi-p3")]
mod p3 {
    use wasmtime::component::{Accessor, Linker};
    use wasmtime_wasi::p3::bindings::sockets::ip_name_lookup::{self, ErrorCode, Host, HostWithStore};
    use wasmtime_wasi::p3::bindings::sockets::types::IpAddress;

    use super::super::lookup::{MAX_NAME_BYTES, lookup};
    use super::{Names, NamesView, normal, remember, view};
    use crate::guest::Guest;

    pub(crate) fn link_p3(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
        ip_name_lookup::add_to_linker::<Guest, Names>(linker, view)
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
            if !granted {
                return Ok(Err(ErrorCode::AccessDenied));
            }
            // What the stock lookup accepts beyond names are literal addresses, which need no lookup.
            let Some(ips) = lookup(&asker.component, &normal).await else { return Ok(Err(ErrorCode::NameUnresolvable)) };
            ips.iter().for_each(|ip| remember(&resolved, &normal, *ip));
            Ok(Ok(ips.into_iter().map(IpAddress::from).collect()))
        }
    }
}
#[cfg(feature = "wasi-p3")]
pub(crate) use p3::link_p3;
