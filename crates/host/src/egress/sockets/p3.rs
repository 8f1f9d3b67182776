//! Sockets of WASI 0.3: calls that wait by themselves, and streams of bytes and of connections.
//!
//! All of it is in one interface, which makes sockets and says what is done with them. The members of a unit share it, so that a socket is
//! one thing to all of them; but each has functions of its own that make sockets, and those know whose they are.

mod streams;
mod tcp;
mod udp;

use wasmtime::component::Linker;
use wasmtime_wasi::p3::bindings::sockets::types::{ErrorCode, IpAddressFamily};

use super::Family;
use super::failure::SocketError;
use crate::guest::Guest;
use crate::member::Seat;

/// What a function of this interface returns.
type Answer<T> = (Result<T, ErrorCode>,);

fn answer<T>(result: Result<T, SocketError>) -> wasmtime::Result<Answer<T>> {
    Ok((result.map_err(SocketError::p3),))
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

pub(crate) fn link_p3(linker: &mut Linker<Guest>, seat: Seat) -> wasmtime::Result<()> {
    let mut types = linker.instance(&seat.import("wasi:sockets/types@0.3.0"))?;
    tcp::link_create(&mut types, seat)?;
    udp::link_create(&mut types, seat)?;
    if seat == Seat::ROOT {
        tcp::link(&mut types)?;
        udp::link(&mut types)?;
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
