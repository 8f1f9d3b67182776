//! A WASI 0.3 HTTP guest with the routes of the 0.2 guest `p2`; guests/README.md lists them.

mod answer;
mod body;
mod net;
mod sibling;
mod volume;

use std::time::Duration;

use guest_common::{Target, fault, files, json, log};
use wasip3::clocks::monotonic_clock;
use wasip3::http::types::{ErrorCode, Method, Request, Response, Scheme};

wasip3::http::service::export!(Guest);

struct Guest;

impl wasip3::exports::http::handler::Guest for Guest {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = Target::parse(&request.get_path_with_query().unwrap_or_default());
        if let Some(response) = plain(&request, &target).await {
            return Ok(response);
        }
        if let Some(result) = faulty(&target).await {
            return result;
        }
        Ok(bodies(request, &target).await)
    }
}

/// Routes that answer from the request's head alone.
async fn plain(request: &Request, target: &Target) -> Option<Response> {
    Some(match target.path() {
        "/" => answer::text(200, "Hello from WASI 0.3!\n"),
        "/json" => answer::json(&json::about("p3", "0.3", &method(&request.get_method()), target.path())),
        "/headers" => answer::json(&json::multimap(head(request))),
        "/env" => answer::json(&json::strings(wasip3::cli::environment::get_environment())),
        "/count" => answer::text(200, &format!("{}\n", fault::count())),
        "/concurrent" => {
            let call = fault::InFlight::enter();
            sleep(milliseconds(target, 100)).await;
            answer::text(200, &format!("{}\n", call.overlap()))
        }
        "/sleep" => {
            sleep(milliseconds(target, 100)).await;
            answer::text(200, "slept\n")
        }
        "/log" => {
            log(target.number("lines", 1)).await;
            answer::text(200, "logged\n")
        }
        "/files" => {
            let preopens = wasip3::filesystem::preopens::get_directories().into_iter().map(|(_, name)| name);
            answer::json(&files::report(preopens, target.text("path").unwrap_or("/etc/passwd")))
        }
        "/fs" => answer::outcome(volume::act(target).await),
        "/connect" => answer::outcome(net::connect(target.text("addr").unwrap_or_default()).await),
        "/streams" => {
            let (address, count) = (target.text("addr").unwrap_or_default(), target.number("n", 1));
            answer::outcome(net::streams(address, count, target.flag("keep")).await)
        }
        "/tcp" => {
            let say = target.text("say").unwrap_or_default().repeat(target.number("times", 1) as usize);
            answer::outcome(net::talk(target.text("addr").unwrap_or_default(), &say).await)
        }
        "/udp" => answer::outcome(net::datagram(target.text("addr").unwrap_or_default(), target.text("say").unwrap_or_default()).await),
        "/listen" => answer::outcome(net::listen(target.text("addr").unwrap_or_default())),
        "/options" => answer::outcome(net::options(target.text("addr").unwrap_or_default()).await),
        "/resolve" => answer::outcome(net::resolve(target.text("name").unwrap_or_default()).await),
        path => {
            let status = path.strip_prefix("/status/")?.parse().ok()?;
            answer::text(status, &format!("status {status}\n"))
        }
    })
}

/// Routes that harm.
async fn faulty(target: &Target) -> Option<Result<Response, ErrorCode>> {
    Some(Ok(match target.path() {
        "/spin" => {
            fault::spin(target.text("ms").map(|_| milliseconds(target, 0)));
            answer::text(200, "spun\n")
        }
        "/alloc" => {
            let mut hoard = fault::Hoard::default();
            let response = match hoard.grow(target.number("mb", 1), target.flag("soft")) {
                Ok(()) => answer::text(200, "allocated\n"),
                Err(got) => answer::text(507, &format!("memory refused after {got} MiB\n")),
            };
            if target.flag("keep") {
                hoard.leak();
            }
            response
        }
        "/trap" => fault::trap(),
        "/trap-after-head" => {
            let (response, mut body) = answer::begin(200, Vec::new());
            wasip3::spawn_local(async move {
                body.write(b"the last words\n".to_vec()).await;
                fault::trap();
            });
            response
        }
        "/recurse" => answer::text(200, &fault::recurse(0).to_string()),
        "/exit" => {
            wasip3::cli::exit::exit(if target.flag("fail") { Err(()) } else { Ok(()) });
            fault::trap()
        }
        "/never" => loop {
            sleep(Duration::from_secs(3600)).await;
        },
        "/drop" => return Some(Err(ErrorCode::InternalError(Some("dropped".to_owned())))),
        "/error" => return Some(Err(ErrorCode::InternalError(Some("as asked".to_owned())))),
        "/logflood" => {
            log::flood(target.number("mb", 64), !target.flag("oneline"));
            answer::text(200, "flooded\n")
        }
        "/big-headers" => {
            let size = usize::try_from(target.number("size", 1000)).unwrap_or(usize::MAX);
            let headers = (0..target.number("n", 10)).map(|n| (format!("x-big-{n}"), vec![b'x'; size]));
            answer::empty(200, headers.collect())
        }
        _ => return None,
    }))
}

/// Routes with bodies that stream.
async fn bodies(request: Request, target: &Target) -> Response {
    match target.path() {
        "/echo" => body::echo(request),
        "/swallow" => body::swallow(request),
        "/slow-read" => {
            let size = usize::try_from(target.number("size", 1024)).unwrap_or(usize::MAX);
            body::slow_read(request, size, milliseconds(target, 100)).await
        }
        "/stream" => {
            let size = usize::try_from(target.number("size", 1024)).unwrap_or(usize::MAX);
            body::stream(target.number("chunks", 10), size, milliseconds(target, 0))
        }
        "/via" => sibling::via(request, target).await,
        "/read" => sibling::read(target).await,
        "/upload" => sibling::upload(target).await,
        "/fan" => sibling::fan(target).await,
        "/late" => sibling::late(milliseconds(target, 100)),
        "/broken" => sibling::broken(),
        "/fetch" => net::fetch(target.text("url").unwrap_or_default()).await,
        path => answer::text(404, &format!("no route {path}\n")),
    }
}

/// Standard output by way of WASI 0.3, standard error by way of 0.2: a 0.3 guest has both.
async fn log(count: u64) {
    let (mut writer, lines) = wasip3::wit_stream::new();
    let written = wasip3::cli::stdout::write_via_stream(lines);
    for line in log::lines("stdout", count) {
        writer.write_all(line.into_bytes()).await;
    }
    drop(writer);
    // Whether it was taken is the host's affair.
    let _ = written.await;
    log::lines("stderr", count).for_each(|line| eprint!("{line}"));
}

async fn sleep(time: Duration) {
    monotonic_clock::wait_for(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)).await;
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
fn head(request: &Request) -> Vec<(String, Vec<u8>)> {
    let scheme = request.get_scheme().map(|scheme| match scheme {
        Scheme::Http => "http".to_owned(),
        Scheme::Https => "https".to_owned(),
        Scheme::Other(name) => name,
    });
    let pseudo = [
        (":method", Some(method(&request.get_method()))),
        (":scheme", scheme),
        (":authority", request.get_authority()),
        (":path", request.get_path_with_query()),
    ];
    let pseudo = pseudo.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into_bytes())));
    pseudo.chain(request.get_headers().copy_all()).collect()
}
