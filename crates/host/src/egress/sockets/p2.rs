//! Sockets of WASI 0.2: what is started and finished by separate calls, and streams that are polled.
//!
//! The stock interfaces are replaced whole: their resources are Berth's own here. What makes sockets carries authority and is each
//! member's own; what is done with them isn't.

mod streams;
mod tcp;
mod udp;

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily};

use super::failure::SocketError;
use super::{Family, Owner};
use crate::guest::Guest;
use crate::member::Seat;

/// What a function of these interfaces returns.
type Answer<T> = (Result<T, ErrorCode>,);

fn answer<T>(result: Result<T, SocketError>) -> wasmtime::Result<Answer<T>> {
    Ok((result.map_err(SocketError::p2),))
}

impl From<IpAddressFamily> for Family {
    fn from(family: IpAddressFamily) -> Family {
        match family {
            IpAddressFamily::Ipv4 => Family::V4,
            IpAddressFamily::Ipv6 => Family::V6,
        }
    }
}

impl From<Family> for IpAddressFamily {
    fn from(family: Family) -> IpAddressFamily {
        match family {
            Family::V4 => IpAddressFamily::Ipv4,
            Family::V6 => IpAddressFamily::Ipv6,
        }
    }
}

pub(crate) fn link_p2(linker: &mut Linker<Guest>, seat: Seat) -> wasmtime::Result<()> {
    linker.instance(&seat.import("wasi:sockets/tcp-create-socket@0.2.12"))?.func_wrap(
        "create-tcp-socket",
        move |mut store, (family,): (IpAddressFamily,)| {
            let guest: &mut Guest = store.data_mut();
            match tcp::Socket::new(Owner::of(guest, seat), family.into()) {
                Ok(socket) => answer(Ok(guest.table.push(socket)?)),
                Err(error) => answer(Err::<Resource<tcp::Socket>, _>(error)),
            }
        },
    )?;
    linker.instance(&seat.import("wasi:sockets/udp-create-socket@0.2.12"))?.func_wrap(
        "create-udp-socket",
        move |mut store, (family,): (IpAddressFamily,)| {
            let guest: &mut Guest = store.data_mut();
            match udp::Socket::new(Owner::of(guest, seat), family.into()) {
                Ok(socket) => answer(Ok(guest.table.push(socket)?)),
                Err(error) => answer(Err::<Resource<udp::Socket>, _>(error)),
            }
        },
    )?;
    if seat == Seat::ROOT {
        tcp::link(&mut linker.instance("wasi:sockets/tcp@0.2.12")?)?;
        udp::link(&mut linker.instance("wasi:sockets/udp@0.2.12")?)?;
    }
    Ok(())
}

/// Links a method that asks a socket something.
macro_rules! ask {
    ($linker:ident, $socket:ty, $name:literal, $ask:expr) => {
        $linker.func_wrap($name, |mut store: StoreContextMut<'_, Guest>, (socket,): (Resource<$socket>,)| {
            let ask: fn(&mut $socket) -> Result<_, SocketError> = $ask;
            answer(ask(store.data_mut().table.get_mut(&socket)?))
        })?
    };
}

/// Links a method that gives a socket a value.
macro_rules! tell {
    ($linker:ident, $socket:ty, $name:literal, $value:ty, $tell:expr) => {
        $linker.func_wrap($name, |mut store: StoreContextMut<'_, Guest>, (socket, value): (Resource<$socket>, $value)| {
            let tell: fn(&mut $socket, $value) -> Result<(), SocketError> = $tell;
            answer(tell(store.data_mut().table.get_mut(&socket)?, value))
        })?
    };
}
use {ask, tell};
