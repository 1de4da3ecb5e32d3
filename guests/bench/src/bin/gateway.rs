//! What the rows about the daemon ask for: `Hello, World!`, uploads that are
//! counted, downloads, answers that take some milliseconds of computing
//! (`/busy/4`) or of sleep (`/sleep/2000`), and queries that are echoed. The
//! worker's gateway does the HTTP; the native server of the benchmark does the
//! same on its own.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wapo::http::{Body, HeaderValue, Request, Response};
use wapo::query::Query;

/// Bytes of a piece of a download.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces of a download: 10 MiB in all.
const PIECES: usize = 160;

#[wapo::main]
async fn main() {
    wapo::spawn(wapo::query::serve(echo));
    wapo::http::serve(answer).await
}

async fn echo(query: Query) -> Result<Vec<u8>, String> {
    Ok(query.payload)
}

async fn answer(request: Request<Body>) -> Response<Body> {
    let path = request.uri().path();
    let body = match path {
        "/upload" => count(request.into_body()).await,
        "/download" => download(),
        _ => {
            if let Some(time) = milliseconds(path, "/busy/") {
                compute(time);
            } else if let Some(time) = milliseconds(path, "/sleep/") {
                wapo::time::sleep(time).await;
            }
            Body::from("Hello, World!")
        }
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    headers.insert("server", HeaderValue::from_static("bench"));
    response
}

fn milliseconds(path: &str, prefix: &str) -> Option<Duration> {
    let number = path.strip_prefix(prefix)?.parse().ok()?;
    Some(Duration::from_millis(number))
}

fn compute(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        black_box((0..black_box(10_000u64)).sum::<u64>());
    }
}

async fn count(mut body: Body) -> Body {
    let mut bytes = 0;
    while let Ok(Some(piece)) = body.chunk().await {
        bytes += piece.len();
    }
    Body::from(bytes.to_string())
}

fn download() -> Body {
    let (mut sender, body) = Body::channel();
    wapo::spawn(async move {
        let piece = Bytes::from_static(&[7; PIECE_BYTES]);
        for _ in 0..PIECES {
            // A client that leaves ends it.
            if sender.send(piece.clone()).await.is_err() {
                return;
            }
        }
    });
    body
}
