//! Answers HTTP: `/bread/cheese` is a cart. Calls the component `checkout`, and the library `money`, as functions.

wit_bindgen::generate!({ path: "../wit", world: "web-component" });

use example::shop::{checkout, money};
use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let cart: Vec<String> = request.uri().path().split('/').filter(|item| !item.is_empty()).map(str::to_owned).collect();
    let (status, text) = match receipt(&cart) {
        Ok(text) => (200, text),
        Err(why) => (400, format!("{why}\n")),
    };
    Ok(Response::builder().status(status).header("content-type", "text/plain; charset=utf-8").body(text.into())?)
}

fn receipt(cart: &[String]) -> Result<String, String> {
    let mut lines = String::new();
    for item in cart {
        // The amount that `checkout` made, `money` writes: it is one type for all three.
        lines += &format!("{item:<8}{:>10}\n", money::format(checkout::price(item)?));
    }
    Ok(lines + &format!("{:<8}{:>10}\n", "total", money::format(checkout::bill(cart)?)))
}
