//! Private queries: each is answered once, and the answer encrypted.
//!
//! Opening and checking is the worker's (`worker::query`), the cipher in
//! `wapo_crypto::private_query`; which queries count is in `seen_queries`. Called by
//! `user`.

use std::sync::Arc;

use hyper::Response;
use parity_scale_codec::Encode as _;
use wapo_rpc::message::{PrivateQueryArgs, PrivateQueryResponse};
use wapo_rpc::private_query::PrivateAnswer;

use super::body::Body;
use super::call::{Call, Refusal};
use super::error::call_failed;
use super::seen_queries::NotFresh;
use crate::worker::{Answered, Worker, unix_s};

/// Answers a private query.
pub(super) async fn answer(worker: &Arc<Worker>, call: &Call) -> Result<Response<Body>, Refusal> {
    let args: PrivateQueryArgs = call.arguments().await?;
    let refuse = |why: NotFresh| match why {
        NotFresh::Full(full) => call.busy(&full),
        why => call.refuse(&why.to_string()),
    };
    let seen = call.private_queries();
    seen.is_timely(args.time, unix_s()).map_err(refuse)?;
    // Told before the app is asked: a client that tries again would ask it twice.
    let room = call.room_for_answer()?;
    let (bytes, time) = (args.ciphertext.len(), args.time);
    let opener = Arc::clone(worker);
    let opened = call.work(bytes, move || opener.open_private_query(&args));
    let failed = |error| Box::new(call_failed(call.encoding, &error));
    let (checked, secret) = opened.await?.map_err(failed)?;
    // Behind the opening: what a stranger makes up is not remembered.
    let fresh = seen.remember((time, secret.encapsulated()), call.who(), unix_s());
    fresh.map_err(refuse)?;
    let answered = match checked {
        Ok(query) => worker.query(query).await,
        Err(error) => Err(error),
    };
    let answer = match answered {
        Ok(Answered { outcome, .. }) => match outcome {
            Ok(output) => PrivateAnswer::Output(output.to_vec()),
            Err(text) => PrivateAnswer::AppError(text),
        },
        Err(error) => PrivateAnswer::WorkerError(error.to_string()),
    };
    let answer = answer.encode();
    let bytes = answer.len();
    let nonce = rand::random();
    let message = move || PrivateQueryResponse {
        nonce: Vec::from(nonce),
        // Longer than 64 GiB is no answer.
        ciphertext: secret.seal(&nonce, &answer).unwrap_or_default(),
    };
    call.large_answer(message, bytes, room).await
}
