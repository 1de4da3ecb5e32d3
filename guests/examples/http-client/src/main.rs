//! Fetches a URL with hyper: the first argument, http or https.
//!
//! Logs status and body, hands the body out as the program's output, and ends.

use std::error::Error;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Uri};
use wapo::hyper::HttpConnector;

/// Longest answer that is read.
const ANSWER_MAX: usize = 1 << 20;

#[wapo::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    wapo::log::init();
    let url = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "https://example.com/".to_owned());
    let uri: Uri = url.parse()?;
    let host = uri
        .authority()
        .ok_or("the URL has no host")?
        .as_str()
        .to_owned();

    let stream = HttpConnector::new().connect(uri.clone()).await?;
    let (mut requests, connection) = http1::handshake(stream).await?;
    wapo::spawn(async move {
        if let Err(error) = connection.await {
            log::warn!("the connection broke: {error}");
        }
    });

    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, HeaderValue::from_static("wapo-example"))
        .body(Empty::<Bytes>::new())?;
    let response = requests.send_request(request).await?;
    log::info!("status {}", response.status());
    let body = Limited::new(response.into_body(), ANSWER_MAX)
        .collect()
        .await?
        .to_bytes();
    log::info!("{} bytes: {}", body.len(), String::from_utf8_lossy(&body));
    wapo::app::output(&body)?;
    Ok(())
}
