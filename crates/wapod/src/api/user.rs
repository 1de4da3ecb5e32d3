//! Calls to the worker that everyone may make.
//!
//! What a call means is the worker's business. Any web page may call, without
//! credentials.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, HeaderValue,
};
use hyper::{Method as HttpMethod, Request, Response, StatusCode};
use wapo_rpc::{Method, QueryResponse, UserMethod};

use super::body::Body;
use super::call::{self, Call, Read, Refusal};
use super::error::{ApiError, call_failed};
use crate::error::WorkerError;
use crate::worker::Worker;

/// Seconds for which a browser may remember that calls are allowed.
const PREFLIGHT_SECS: u32 = 3600;

/// Answers `/prpc/<name>`.
pub(super) async fn call(
    worker: &Arc<Worker>,
    name: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let mut response = match *request.method() {
        HttpMethod::OPTIONS => preflight(),
        _ => match call::read(name, request, |method| matches!(method, Method::User(_))).await? {
            Read::Call(call) => run(worker, &call).await.unwrap_or_else(|answer| *answer),
            Read::Answer(answer) => answer,
        },
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

/// Makes the call; an error is an answer, too.
async fn run(worker: &Arc<Worker>, call: &Call) -> Result<Response<Body>, Refusal> {
    match call.method {
        Method::User(UserMethod::Info) => Ok(call.answer(&worker.info())),
        Method::User(UserMethod::Query) => {
            let outcome = worker.query(call.arguments()?).await;
            answer_query(call, outcome)
        }
        Method::User(UserMethod::EncryptedQuery) => {
            let outcome = worker.encrypted_query(call.arguments()?).await;
            answer_query(call, outcome)
        }
        Method::Operation(_) => Err(call.refuse("method Not Found")),
    }
}

/// What an app answered, for either service.
pub(super) fn answer_query(
    call: &Call,
    outcome: Result<Vec<u8>, WorkerError>,
) -> Result<Response<Body>, Refusal> {
    match outcome {
        Ok(output) => Ok(call.answer(&QueryResponse { output })),
        Err(error) => Err(Box::new(call_failed(call.encoding, &error))),
    }
}
