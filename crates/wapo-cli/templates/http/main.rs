//! Answers web requests. The gateway does the HTTP.

use wapo::http::{Body, Request};

#[wapo::main]
async fn main() {
    wapo::log::init();
    log::info!("ready");
    wapo::http::serve(hello).await
}

async fn hello(request: Request<Body>) -> String {
    let path = request.uri().path();
    log::info!("{} {path}", request.method());
    format!("Hello from {{name}}! You asked for {path}\n")
}
