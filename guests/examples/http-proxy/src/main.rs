//! Fetches what its caller names: `GET /?url=https://example.com/`.
//!
//! One connection per request, plain or with TLS by the host. Only GET and HEAD, no
//! headers of the caller, no redirects: those are the caller's to follow.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION, USER_AGENT};
use wapo::http::{Body, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use wapo::hyper::HttpConnector;

/// Time for a connection and the head of an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Headers that are passed on.
const PASSED_ON: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_LENGTH, LOCATION];

/// A status for the caller, and why.
type Refusal = (StatusCode, String);

#[wapo::main]
async fn main() {
    wapo::log::init();
    wapo::http::serve(|request| async move {
        match answer(&request).await {
            Ok(response) => response,
            Err((status, reason)) => {
                log::info!("{}: {reason}", request.uri());
                let mut response = Response::new(Body::from(format!("{reason}\n")));
                *response.status_mut() = status;
                response
            }
        }
    })
    .await
}

async fn answer(request: &Request<Body>) -> Result<Response<Body>, Refusal> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let reason = "only GET and HEAD are passed on".to_owned();
        return Err((StatusCode::METHOD_NOT_ALLOWED, reason));
    }
    let query = request.uri().query().unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let url = pairs.find(|(name, _)| name == "url").map(|(_, url)| url);
    let url = url.ok_or_else(|| bad("name what to fetch: ?url=https://example.com/"))?;
    let url: Uri = url
        .parse()
        .map_err(|error| bad(&format!("{url}: {error}")))?;
    let fetched = wapo::time::timeout(TIMEOUT, fetch(request.method(), url)).await;
    fetched.unwrap_or_else(|_| {
        let reason = "the server did not answer in time".to_owned();
        Err((StatusCode::GATEWAY_TIMEOUT, reason))
    })
}

fn bad(reason: &str) -> Refusal {
    (StatusCode::BAD_REQUEST, reason.to_owned())
}

async fn fetch(method: &Method, url: Uri) -> Result<Response<Body>, Refusal> {
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(bad("a URL begins with http:// or https://"));
    }
    let authority = url.authority().ok_or_else(|| bad("the URL has no host"))?;
    let host = authority.as_str().rsplit('@').next().unwrap_or_default();
    let host = HeaderValue::from_str(host).map_err(|error| bad(&error.to_string()))?;
    let failed = |error: &dyn std::error::Error| {
        // The text names the rule that would allow it.
        (StatusCode::BAD_GATEWAY, error.to_string())
    };
    let connecting = HttpConnector::new().connect(url.clone());
    let stream = connecting.await.map_err(|error| failed(&error))?;
    let handshake = http1::handshake(stream).await;
    let (mut requests, connection) = handshake.map_err(|error| failed(&error))?;
    wapo::spawn(async move {
        if let Err(error) = connection.await {
            log::debug!("a connection broke: {error}");
        }
    });
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, host)
        .header(USER_AGENT, "wapo-example")
        .body(Empty::<Bytes>::new())
        .map_err(|error| bad(&error.to_string()))?;
    let answer = requests.send_request(request).await;
    let (head, body) = answer.map_err(|error| failed(&error))?.into_parts();
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = head.status;
    for name in PASSED_ON {
        if let Some(value) = head.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    Ok(response)
}
