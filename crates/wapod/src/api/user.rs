//! Calls to the worker that everyone may make.
//!
//! Decodes, calls the worker, encodes; what a call means is the worker's
//! business. Any web page may call, without credentials.

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, CONTENT_TYPE, HeaderValue,
};
use hyper::{Method as HttpMethod, Request, Response, StatusCode};
use wapo_rpc::limits::BODY_BYTES_MAX;
use wapo_rpc::{Encoding, Method, QueryArgs, QueryResponse, UserMethod};

use super::body::{self, Body};
use super::error::{ApiError, call_error, call_failed};
use crate::worker::Worker;

/// Seconds for which a browser may remember that calls are allowed.
const PREFLIGHT_SECS: u32 = 3600;

/// Answers `/prpc/<name>`.
pub(super) async fn call(
    worker: &Worker,
    name: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let mut response = match *request.method() {
        HttpMethod::OPTIONS => preflight(),
        _ => dispatch(worker, name, request).await?,
    };
    let anyone = HeaderValue::from_static("*");
    response
        .headers_mut()
        .insert(ACCESS_CONTROL_ALLOW_ORIGIN, anyone);
    Ok(response)
}

fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::Full(None));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST"),
    );
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(PREFLIGHT_SECS));
    response
}

async fn dispatch(
    worker: &Worker,
    name: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let content_type = request.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let is_get = request.method() == HttpMethod::GET;
    let encoding = match Encoding::choose(request.uri().query(), content_type) {
        Ok(_) if is_get => Encoding::Json,
        Ok(encoding) => encoding,
        Err(value) => {
            let text = format!("`json={value}` is neither yes nor no\n");
            return Ok(body::text(StatusCode::UNPROCESSABLE_ENTITY, text));
        }
    };
    let Some(Method::User(method)) = Method::parse(name) else {
        return Ok(call_error(
            encoding,
            StatusCode::NOT_FOUND,
            "method Not Found",
        ));
    };
    match *request.method() {
        HttpMethod::GET if method.is_read_only() => {}
        HttpMethod::POST => {}
        _ if method.is_read_only() => return Err(ApiError::MethodNotAllowed("GET, POST")),
        _ => return Err(ApiError::MethodNotAllowed("POST")),
    }
    let content = match Limited::new(request.into_body(), BODY_BYTES_MAX)
        .collect()
        .await
    {
        Ok(content) => content.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Ok(body::text(
                StatusCode::PAYLOAD_TOO_LARGE,
                "Entity too large",
            ));
        }
        Err(_) => {
            return Ok(body::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "Read body failed",
            ));
        }
    };
    Ok(run(worker, method, encoding, &content).await)
}

async fn run(
    worker: &Worker,
    method: UserMethod,
    encoding: Encoding,
    content: &[u8],
) -> Response<Body> {
    let answer = match method {
        UserMethod::Info => encoding.encode(&worker.info()),
        UserMethod::EncryptedQuery => {
            return call_error(encoding, StatusCode::NOT_FOUND, "method Not Found");
        }
        UserMethod::Query => {
            let args: QueryArgs = match encoding.decode(content) {
                Ok(args) => args,
                Err(error) => {
                    return call_error(encoding, StatusCode::BAD_REQUEST, &error.to_string());
                }
            };
            match worker.query(args).await {
                Ok(output) => encoding.encode(&QueryResponse { output }),
                Err(error) => return call_failed(encoding, &error),
            }
        }
    };
    body::full(StatusCode::OK, encoding.content_type(), answer)
}
