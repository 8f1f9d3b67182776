//! A WASI 0.2 HTTP guest with a route for each thing a test provokes; guests/README.md lists them.

mod answer;
mod body;
mod net;
mod sibling;
mod volume;

use std::time::Duration;

use guest_common::{Target, fault, files, json, log};
use wasip2::http::types::{ErrorCode, IncomingRequest, Method, ResponseOutparam, Scheme};

use answer::Answer;

wasip2::http::proxy::export!(Guest);

struct Guest;

impl wasip2::exports::http::incoming_handler::Guest for Guest {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::parse(&request.path_with_query().unwrap_or_default());
        if let Some(out) = plain(&request, &target, out).and_then(|out| faulty(&target, out)) {
            bodies(request, &target, out);
        }
    }
}

/// Routes that answer from the request's head alone. Gives `out` back if the path is none of them.
fn plain(request: &IncomingRequest, target: &Target, out: ResponseOutparam) -> Option<ResponseOutparam> {
    match target.path() {
        "/" => answer::text(out, 200, "Hello from WASI 0.2!\n"),
        "/json" => answer::json(out, &json::about("p2", "0.2", &method(&request.method()), target.path())),
        "/headers" => answer::json(out, &json::multimap(head(request))),
        "/env" => answer::json(out, &json::strings(std::env::vars())),
        "/count" => answer::text(out, 200, &format!("{}\n", fault::count())),
        "/concurrent" => {
            let call = fault::InFlight::enter();
            std::thread::sleep(milliseconds(target, 100));
            answer::text(out, 200, &format!("{}\n", call.overlap()));
        }
        "/sleep" => {
            std::thread::sleep(milliseconds(target, 100));
            answer::text(out, 200, "slept\n");
        }
        "/log" => {
            let lines = target.number("lines", 1);
            log::lines("stdout", lines).for_each(|line| print!("{line}"));
            log::lines("stderr", lines).for_each(|line| eprint!("{line}"));
            answer::text(out, 200, "logged\n");
        }
        "/files" => {
            let preopens = wasip2::filesystem::preopens::get_directories().into_iter().map(|(_, name)| name);
            answer::json(out, &files::report(preopens, target.text("path").unwrap_or("/etc/passwd")));
        }
        "/fs" => answer::outcome(out, volume::act(target)),
        "/connect" => answer::outcome(out, net::connect(target.text("addr").unwrap_or_default())),
        "/tcp" => {
            let say = target.text("say").unwrap_or_default().repeat(target.number("times", 1) as usize);
            answer::outcome(out, net::talk(target.text("addr").unwrap_or_default(), &say));
        }
        "/udp" => answer::outcome(out, net::datagram(target.text("addr").unwrap_or_default(), target.text("say").unwrap_or_default())),
        "/listen" => answer::outcome(out, net::listen(target.text("addr").unwrap_or_default())),
        "/options" => answer::outcome(out, net::options(target.text("addr").unwrap_or_default())),
        "/resolve" => answer::outcome(out, net::resolve(target.text("name").unwrap_or_default())),
        path => match path.strip_prefix("/status/").and_then(|status| status.parse().ok()) {
            Some(status) => answer::text(out, status, &format!("status {status}\n")),
            None => return Some(out),
        },
    }
    None
}

/// Routes that harm. Gives `out` back if the path is none of them.
fn faulty(target: &Target, out: ResponseOutparam) -> Option<ResponseOutparam> {
    match target.path() {
        "/spin" => {
            fault::spin(target.text("ms").map(|_| milliseconds(target, 0)));
            answer::text(out, 200, "spun\n");
        }
        "/alloc" => {
            let mut hoard = fault::Hoard::default();
            match hoard.grow(target.number("mb", 1), target.flag("soft")) {
                Ok(()) => answer::text(out, 200, "allocated\n"),
                Err(got) => answer::text(out, 507, &format!("memory refused after {got} MiB\n")),
            }
            if target.flag("keep") {
                hoard.leak();
            }
        }
        "/trap" => fault::trap(),
        "/trap-after-head" => {
            let mut answer = Answer::begin(out, 200, Vec::new());
            let _ = answer.write(b"the last words\n");
            fault::trap();
        }
        "/recurse" => answer::text(out, 200, &fault::recurse(0).to_string()),
        "/exit" => std::process::exit(i32::from(target.flag("fail"))),
        "/exit-answered" => {
            answer::text(out, 200, "answered\n");
            std::process::exit(0)
        }
        "/never" => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        "/drop" => drop(out),
        "/error" => ResponseOutparam::set(out, Err(ErrorCode::InternalError(Some("as asked".to_owned())))),
        "/logflood" => {
            log::flood(target.number("mb", 64), !target.flag("oneline"));
            answer::text(out, 200, "flooded\n");
        }
        "/big-headers" => {
            let size = usize::try_from(target.number("size", 1000)).unwrap_or(usize::MAX);
            let headers = (0..target.number("n", 10)).map(|n| (format!("x-big-{n}"), vec![b'x'; size]));
            Answer::begin(out, 200, headers.collect()).finish(None);
        }
        _ => return Some(out),
    }
    None
}

/// Routes with bodies that stream.
fn bodies(request: IncomingRequest, target: &Target, out: ResponseOutparam) {
    match target.path() {
        "/echo" => body::echo(&request, out),
        "/slow-read" => body::slow_read(&request, out, target.number("size", 1024), milliseconds(target, 100)),
        "/stream" => {
            let size = usize::try_from(target.number("size", 1024)).unwrap_or(usize::MAX);
            body::stream(out, target.number("chunks", 10), size, milliseconds(target, 0));
        }
        "/via" => sibling::via(&request, out, target),
        "/read" => sibling::read(out, target),
        "/upload" => sibling::upload(out, target),
        "/fan" => sibling::fan(out, target),
        "/late" => sibling::late(out, milliseconds(target, 100)),
        "/broken" => sibling::broken(out),
        "/fetch" => net::fetch(out, target.text("url").unwrap_or_default()),
        path => answer::text(out, 404, &format!("no route {path}\n")),
    }
}

fn milliseconds(target: &Target, default: u64) -> Duration {
    Duration::from_millis(target.number("ms", default))
}

fn method(method: &Method) -> String {
    match method {
        Method::Other(name) => name.clone(),
        known => format!("{known:?}").trim_start_matches("Method::").to_ascii_uppercase(),
    }
}

/// The headers, after what HTTP/2 calls pseudo-headers.
fn head(request: &IncomingRequest) -> Vec<(String, Vec<u8>)> {
    let scheme = request.scheme().map(|scheme| match scheme {
        Scheme::Http => "http".to_owned(),
        Scheme::Https => "https".to_owned(),
        Scheme::Other(name) => name,
    });
    let pseudo = [
        (":method", Some(method(&request.method()))),
        (":scheme", scheme),
        (":authority", request.authority()),
        (":path", request.path_with_query()),
    ];
    let pseudo = pseudo.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into_bytes())));
    pseudo.chain(request.headers().entries()).collect()
}
