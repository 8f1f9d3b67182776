//! A component that tells its callers what it sees and may do: its environment, log, folders and ways out.

wit_bindgen::generate!({ path: "../link-wit", world: "back" });
export!(Back);

use std::cell::Cell;
use std::net::SocketAddr;

use exports::test::link::probe::{Counter, CounterBorrow, Guest, GuestCounter, Shape};
use guest_common::error_name;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{ErrorCode, Fields, OutgoingRequest, Scheme};

struct Back;

/// Counts from where it was made.
struct Number(Cell<u32>);

thread_local! {
    /// As long-lived as the instance.
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

fn added(cell: &Cell<u32>, more: u32) -> u32 {
    cell.set(cell.get().wrapping_add(more));
    cell.get()
}

impl GuestCounter for Number {
    fn new(start: u32) -> Self {
        Number(Cell::new(start))
    }

    fn add(&self, more: u32) -> u32 {
        added(&self.0, more)
    }
}

impl Guest for Back {
    type Counter = Number;

    fn environment() -> Vec<(String, String)> {
        std::env::vars().collect()
    }

    fn say(line: String) {
        println!("{line}");
    }

    fn fetch(authority: String) -> Result<u16, String> {
        get(&authority).map_err(|error| error_name(&format!("{error:?}")))
    }

    fn connect(address: String) -> Result<(), String> {
        let address: SocketAddr = address.parse().map_err(|_| "IP:PORT is needed".to_owned())?;
        std::net::TcpStream::connect(address).map(drop).map_err(|error| error.kind().to_string())
    }

    fn folders() -> Vec<String> {
        wasip2::filesystem::preopens::get_directories().into_iter().map(|(_, name)| name).collect()
    }

    fn read(path: String) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| error.kind().to_string())
    }

    fn echo(shape: Shape) -> Shape {
        shape
    }

    fn sum(bytes: Vec<u8>) -> u32 {
        bytes.iter().map(|byte| u32::from(*byte)).fold(0, u32::wrapping_add)
    }

    fn text_length(text: String) -> u32 {
        text.len() as u32
    }

    fn bytes_length(bytes: Vec<u8>) -> u32 {
        bytes.len() as u32
    }

    fn increment(by: u32) -> u32 {
        CALLS.with(|calls| added(calls, by))
    }

    fn finish(counter: Counter, more: u32) -> u32 {
        counter.into_inner::<Number>().add(more)
    }

    fn peek(counter: CounterBorrow<'_>) -> u32 {
        counter.get::<Number>().0.get()
    }

    fn fail() {
        unreachable!("as it was asked to");
    }
}

fn get(authority: &str) -> Result<u16, ErrorCode> {
    let request = OutgoingRequest::new(Fields::new());
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    request.set_scheme(Some(&Scheme::Http)).map_err(invalid)?;
    request.set_authority(Some(authority)).map_err(invalid)?;
    request.set_path_with_query(Some("/")).map_err(invalid)?;
    let response = outgoing_handler::handle(request, None)?;
    response.subscribe().block();
    Ok(response.get().expect("it is ready").expect("it is asked once")?.status())
}
