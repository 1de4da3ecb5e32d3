//! Calls to the worker that everyone may make.
//!
//! What a call means is the worker's business. Any web page may call, without
//! credentials.

use std::sync::Arc;

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, HeaderValue,
};
use hyper::{Method as HttpMethod, Request, Response, StatusCode};
use wapo_rpc::message::{EncryptedQueryArgs, Evidence};
use wapo_rpc::{Method, QueryArgs, QueryResponse, UserMethod};

use super::body::Body;
use super::call::{self, Call, Read, Refusal};
use super::clients::Caller;
use super::error::{ApiError, call_failed};
use super::evidence::{self, NoEvidence};
use super::private_query;
use super::request_body::RequestBody;
use super::signed_parts::AnsweredBy;
use crate::attestation::Asker;
use crate::error::WorkerError;
use crate::worker::{Answered, Query, Worker};

/// Seconds for which a browser may remember that calls are allowed.
const PREFLIGHT_SECS: u32 = 3600;

/// Answers `/prpc/<name>`.
pub(super) async fn call(
    worker: &Arc<Worker>,
    name: &str,
    request: Request<RequestBody>,
    caller: &Caller<'_>,
) -> Result<Response<Body>, ApiError> {
    let serves = |method| matches!(method, Method::User(_));
    let mut response = match *request.method() {
        HttpMethod::OPTIONS => preflight(),
        _ => match call::read(name, request, serves, caller).await? {
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
        Method::User(UserMethod::Info) => Ok(call.answer(&worker.info()).await),
        Method::User(UserMethod::Query) => query(worker, call).await,
        Method::User(UserMethod::EncryptedQuery) => encrypted_query(worker, call).await,
        Method::User(UserMethod::PrivateQuery) => private_query::answer(worker, call).await,
        Method::User(UserMethod::WorkerEvidence) => {
            let args = call.arguments().await?;
            evidence_answer(call, evidence::worker(worker, args, Asker::Stranger).await).await
        }
        Method::User(UserMethod::AppEvidence) => {
            let args = call.arguments().await?;
            evidence_answer(call, evidence::app(worker, args, Asker::Stranger).await).await
        }
        Method::Operation(_) => Err(call.refuse("method Not Found")),
    }
}

async fn evidence_answer(
    call: &Call,
    made: Result<Evidence, NoEvidence>,
) -> Result<Response<Body>, Refusal> {
    match made {
        Ok(made) => Ok(call.answer(&made).await),
        Err(error) => Err(call.refuse(&error.to_string())),
    }
}

/// Asks an app, for either service.
pub(super) async fn query(worker: &Arc<Worker>, call: &Call) -> Result<Response<Body>, Refusal> {
    let args: QueryArgs = call.arguments().await?;
    let checker = Arc::clone(worker);
    let bytes = args.payload.len();
    let checked = call.work(bytes, move || checker.check_query(args)).await?;
    ask(worker, call, checked).await
}

/// Opens a query and asks, for either service.
pub(super) async fn encrypted_query(
    worker: &Arc<Worker>,
    call: &Call,
) -> Result<Response<Body>, Refusal> {
    let args: EncryptedQueryArgs = call.arguments().await?;
    let opener = Arc::clone(worker);
    let bytes = args.encrypted_payload.len();
    let checked = call.work(bytes, move || opener.open_query(&args)).await?;
    ask(worker, call, checked).await
}

async fn ask(
    worker: &Arc<Worker>,
    call: &Call,
    checked: Result<Query, WorkerError>,
) -> Result<Response<Body>, Refusal> {
    // Told before the app is asked: a client that tries again would ask it twice.
    let room = call.room_for_answer()?;
    let refused = |error| Box::new(call_failed(call.encoding, &error));
    let Answered { app, outcome } = worker
        .query(checked.map_err(refused)?)
        .await
        .map_err(refused)?;
    let mut response = match outcome {
        Ok(output) => {
            let bytes = output.len();
            let message = move || QueryResponse {
                output: output.to_vec(),
            };
            call.large_answer(message, bytes, room).await?
        }
        Err(text) => call_failed(call.encoding, &WorkerError::App(text)),
    };
    AnsweredBy(app).mark(&mut response);
    Ok(response)
}
