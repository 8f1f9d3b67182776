//! The front, of WASI 0.2: asks the component `back` of its workload by an HTTP request, as it would ask a server.

use wstd::http::{Body, Client, Error, Request, Response};

/// The component `back` of the same workload, whatever that is written in. No network lies between, and no grant is needed.
const BACK: &str = "http://back.workload.internal";

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let tea = request.uri().path().trim_matches('/').to_owned();
    if tea.is_empty() {
        return text(200, "Ask for a tea: /assam, /darjeeling or /sencha\n".to_owned());
    }
    let question = Request::get(format!("{BACK}/price/{tea}")).body(Body::empty())?;
    let mut answer = Client::new().send(question).await?;
    match answer.status().as_u16() {
        200 => {
            let price = answer.body_mut().str_contents().await?.trim();
            text(200, format!("A pot of {tea} is {price}.\n"))
        }
        404 => text(404, format!("We have no {tea}.\n")),
        other => text(502, format!("The back answered {other}.\n")),
    }
}

fn text(status: u16, text: String) -> Result<Response<Body>, Error> {
    Ok(Response::builder().status(status).header("content-type", "text/plain; charset=utf-8").body(text.into())?)
}
