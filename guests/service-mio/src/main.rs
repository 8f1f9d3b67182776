//! A server of lines on mio, with nothing in it that knows of WASI: it keeps each connection's lines and answers `sum` with their sum.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(0);

/// A connection: what came of a line that isn't whole, what isn't sent yet, and the sum so far.
struct Peer {
    stream: TcpStream,
    line: Vec<u8>,
    answers: Vec<u8>,
    sum: u64,
}

fn main() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(256);
    let mut listener = TcpListener::bind("127.0.0.1:7100".parse().expect("an address"))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listens");
    let mut peers: HashMap<Token, Peer> = HashMap::new();
    let mut next = 1;
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Some(mut stream) = ready(listener.accept())?.map(|(stream, _)| stream) {
                    let token = Token(next);
                    next += 1;
                    poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
                    peers.insert(token, Peer { stream, line: Vec::new(), answers: Vec::new(), sum: 0 });
                }
            } else if let Some(peer) = peers.get_mut(&event.token())
                && !peer.goes_on(event).unwrap_or(false)
            {
                peers.remove(&event.token());
            }
        }
    }
}

/// What is there, or nothing as yet.
fn ready<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl Peer {
    /// Reads and answers what can be; whether there is more to come.
    fn goes_on(&mut self, event: &Event) -> io::Result<bool> {
        let mut open = true;
        if event.is_readable() || event.is_read_closed() {
            let mut buf = [0; 4096];
            while let Some(count) = ready(self.stream.read(&mut buf))? {
                if count == 0 {
                    open = false;
                    break;
                }
                buf[..count].iter().for_each(|byte| self.take(*byte));
            }
        }
        while !self.answers.is_empty() {
            let Some(count) = ready(self.stream.write(&self.answers))? else { break };
            self.answers.drain(..count);
        }
        Ok(open || !self.answers.is_empty())
    }

    fn take(&mut self, byte: u8) {
        if byte != b'\n' {
            return self.line.push(byte);
        }
        match std::str::from_utf8(&self.line).unwrap_or_default() {
            "sum" => self.answers.extend(format!("{}\n", self.sum).bytes()),
            number => self.sum += number.parse::<u64>().unwrap_or_default(),
        }
        self.line.clear();
    }
}
