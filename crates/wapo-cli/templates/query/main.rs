//! Answers queries: small questions with a path and a payload of bytes.

use wapo::query::{self, Query};

#[wapo::main]
async fn main() {
    wapo::log::init();
    query::serve(answer).await
}

async fn answer(query: Query) -> Result<Vec<u8>, String> {
    log::info!("{} with {} bytes", query.path, query.payload.len());
    match query.path.as_str() {
        "/hello" => Ok(b"Hello from {{name}}!".to_vec()),
        "/echo" => Ok(query.payload),
        path => Err(format!("no such path: {path}")),
    }
}
