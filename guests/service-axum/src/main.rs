//! An HTTP server of axum on tokio, with nothing in it that knows of WASI.

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let app = Router::new()
        .route("/greet/{name}", get(|Path(name): Path<String>| async move { format!("Hello {name}, from axum!\n") }))
        .route("/shout", post(|body: String| async move { body.to_uppercase() }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:7200").await?;
    println!("listens");
    axum::serve(listener, app).await
}
