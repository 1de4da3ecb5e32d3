//! Answers queries: `/echo` gives the payload back, `/origin` says who asked.

use wapo::query::{self, Query};

#[wapo::main]
async fn main() {
    wapo::log::init();
    query::serve(answer).await
}

async fn answer(query: Query) -> Result<Vec<u8>, String> {
    log::info!("{} with {} bytes", query.path, query.payload.len());
    match query.path.as_str() {
        "/" => Ok(b"ask /echo or /origin".to_vec()),
        "/echo" => Ok(query.payload),
        "/origin" => Ok(match query.origin {
            Some(account) => account.to_vec(),
            None => b"nobody".to_vec(),
        }),
        path => Err(format!("no such path: {path}")),
    }
}
