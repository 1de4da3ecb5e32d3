//! Greets its clients. The worker's gateway does the HTTP.

use wapo::http::{Body, Request};

#[wapo::main]
async fn main() {
    wapo::log::init();
    wapo::http::serve(hello).await
}

async fn hello(request: Request<Body>) -> String {
    let name = request.uri().path().trim_start_matches('/');
    let name = if name.is_empty() { "World" } else { name };
    format!("Hello, {name}!\n")
}
