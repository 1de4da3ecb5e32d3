//! A call to the worker: `/prpc/<Service>.<Method>`.
//!
//! Decodes what both services have in common: the encoding, the method, the
//! body. Bodies and answers are counted on the budgets of the port, and large
//! ones are decoded and encoded on threads of their own. What a call does is in
//! `user` and `operation`.

use std::sync::{Arc, Mutex, PoisonError};

use hyper::header::{CONTENT_TYPE, EXPECT, HeaderValue, RETRY_AFTER};
use hyper::{Method as HttpMethod, Request, Response, StatusCode};
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use wapo_rpc::{Encoding, Method};

use super::body::{self, Body};
use super::budget::{Share, Who};
use super::clients::{Caller, Clients};
use super::collect::{Collected, NotCollected, collect};
use super::error::{ApiError, call_error};
use super::request_body::RequestBody;
use super::seen_queries::SeenQueries;
use super::signing::Signed;
use crate::limits::{ANSWER_ROOM_BYTES, ANSWER_WAIT, AT_ONCE_BYTES_MAX, RETRY_AFTER_SECS};

/// An answer that says what was wrong; rare, so it need not be quick.
pub(super) type Refusal = Box<Response<Body>>;

/// A call that was read and not made yet.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) encoding: Encoding,
    clients: Arc<Clients>,
    who: Who,
    /// Taken by the code that decodes it.
    content: Mutex<Vec<u8>>,
    /// The arguments are as large as the body, and stay until the answer.
    _share: Share,
}

/// A call, or the answer to something that is none.
pub(super) enum Read {
    Call(Call),
    Answer(Response<Body>),
}

/// Reads a call. `serves` says which methods exist here.
pub(super) async fn read(
    name: &str,
    request: Request<RequestBody>,
    serves: fn(Method) -> bool,
    caller: &Caller<'_>,
) -> Result<Read, ApiError> {
    let content_type = request.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let is_get = request.method() == HttpMethod::GET;
    let encoding = match Encoding::choose(request.uri().query(), content_type) {
        Ok(_) if is_get => Encoding::Json,
        Ok(encoding) => encoding,
        Err(value) => {
            let text = format!("`json={value}` is neither yes nor no\n");
            let answer = body::text(StatusCode::UNPROCESSABLE_ENTITY, text);
            return Ok(Read::Answer(answer));
        }
    };
    let Some(method) = Method::parse(name).filter(|method| serves(*method)) else {
        let mut answer = call_error(encoding, StatusCode::NOT_FOUND, "method Not Found");
        Signed::Once.mark(&mut answer);
        return Ok(Read::Answer(answer));
    };
    match *request.method() {
        HttpMethod::GET if method.is_read_only() => {}
        HttpMethod::POST => {}
        _ if method.is_read_only() => return Err(ApiError::MethodNotAllowed("GET, POST")),
        _ => return Err(ApiError::MethodNotAllowed("POST")),
    }
    let waits_for_word = request.headers().contains_key(EXPECT);
    let bytes_max = method.body_bytes_max();
    let collected = collect(request.into_body(), bytes_max, waits_for_word, caller).await;
    let answer = match collected {
        Ok(Collected { content, share }) => {
            return Ok(Read::Call(Call {
                method,
                encoding,
                clients: Arc::clone(caller.clients),
                who: caller.who,
                content: Mutex::new(content),
                _share: share,
            }));
        }
        Err(NotCollected::TooLarge) => {
            body::text(StatusCode::PAYLOAD_TOO_LARGE, "Entity too large")
        }
        Err(NotCollected::BrokeOff) => {
            body::text(StatusCode::SERVICE_UNAVAILABLE, "Read body failed")
        }
        Err(NotCollected::TooSlow) => return Err(ApiError::BodyTooSlow),
        Err(NotCollected::Full(full)) => busy(encoding, &full.to_string()),
    };
    Ok(Read::Answer(answer))
}

impl Call {
    /// The arguments. They are there once.
    ///
    /// # Errors
    ///
    /// The answer to a body that cannot be decoded, or when too many large
    /// messages wait.
    pub(super) async fn arguments<M>(&self) -> Result<M, Refusal>
    where
        M: Message + DeserializeOwned + Default + 'static,
    {
        let content = {
            let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *content)
        };
        let encoding = self.encoding;
        let decoded = if content.len() <= AT_ONCE_BYTES_MAX {
            encoding.decode(&content)
        } else {
            let decode = move || encoding.decode(&content);
            let heavy = &self.clients.heavy;
            heavy.run(decode).await.map_err(|busy| self.busy(&busy))?
        };
        decoded.map_err(|error| self.refuse(&error.to_string()))
    }

    /// Does work on arguments of `bytes`: on a thread of its own when it takes
    /// long.
    ///
    /// # Errors
    ///
    /// The answer when too much of that waits.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        if bytes <= AT_ONCE_BYTES_MAX {
            return Ok(work());
        }
        let heavy = &self.clients.heavy;
        heavy.run(work).await.map_err(|busy| self.busy(&busy))
    }

    /// Room for a small answer at least, before something is done for it.
    ///
    /// # Errors
    ///
    /// The answer when there is none.
    pub(super) fn room_for_answer(&self) -> Result<Share, Refusal> {
        let room = self.clients.answer_share(self.who, ANSWER_ROOM_BYTES);
        room.map_err(|full| self.busy(&full))
    }

    /// An answer.
    pub(super) async fn answer<M: Message + Serialize>(&self, message: &M) -> Response<Body> {
        let content = self.encoding.encode(message);
        if content.len() <= AT_ONCE_BYTES_MAX {
            return self.success(content);
        }
        let mut share = self.clients.answers.share(self.who.key());
        let bytes = content.len() as u64;
        let grown = match self.method.is_read_only() {
            true => share.grow_to(bytes).map_err(|full| self.busy(&full)),
            false => self.grow_later(&mut share, bytes).await,
        };
        match grown {
            Ok(()) => self.success(share.around(content)),
            Err(refusal) => *refusal,
        }
    }

    /// An answer whose message has about `bytes`, when an app has given it. It is
    /// counted before it is made and encoded, and waits for its turn.
    ///
    /// # Errors
    ///
    /// The answer when its turn did not come.
    pub(super) async fn large_answer<M>(
        &self,
        message: impl FnOnce() -> M + Send + 'static,
        bytes: usize,
        mut room: Share,
    ) -> Result<Response<Body>, Refusal>
    where
        M: Message + Serialize + 'static,
    {
        let encoding = self.encoding;
        let encoded_bytes = match encoding {
            Encoding::Protobuf => bytes,
            // Two digits for each byte.
            Encoding::Json => bytes.saturating_mul(2),
        };
        self.grow_later(&mut room, encoded_bytes as u64).await?;
        let encode = move || encoding.encode(&message());
        let content = match bytes <= AT_ONCE_BYTES_MAX {
            true => encode(),
            false => {
                let encoded = self.clients.heavy.run_within(ANSWER_WAIT, encode).await;
                encoded.map_err(|busy| self.not_sent(&busy))?
            }
        };
        room.shrink(content.capacity() as u64);
        Ok(self.success(room.around(content)))
    }

    /// Waits until there is room for an answer to what has been done.
    async fn grow_later(&self, share: &mut Share, bytes: u64) -> Result<(), Refusal> {
        let grown = share.grow_later(bytes, Instant::now() + ANSWER_WAIT).await;
        grown.map_err(|full| self.not_sent(&full))
    }

    /// What was asked has been done, and the answer cannot be sent. A client that was
    /// told to come back would have it done twice.
    fn not_sent(&self, why: &impl std::fmt::Display) -> Refusal {
        let text = format!("the call was carried out, but its answer could not be sent: {why}");
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Box::new(call_error(self.encoding, status, &text))
    }

    fn success(&self, content: impl Into<hyper::body::Bytes>) -> Response<Body> {
        let mut answer = body::full(StatusCode::OK, self.encoding.content_type(), content);
        Signed::Each.mark(&mut answer);
        answer
    }

    /// An answer that says what was wrong. Existing clients read the message of
    /// status 400 only.
    pub(super) fn refuse(&self, text: &str) -> Refusal {
        Box::new(call_error(self.encoding, StatusCode::BAD_REQUEST, text))
    }

    /// Private queries that have come to this port.
    pub(super) fn private_queries(&self) -> &SeenQueries {
        &self.clients.private_queries
    }

    /// Whom the call is counted for.
    pub(super) fn who(&self) -> Who {
        self.who
    }

    /// An answer that asks to come back.
    pub(super) fn busy(&self, why: &impl std::fmt::Display) -> Refusal {
        Box::new(busy(self.encoding, &why.to_string()))
    }
}

fn busy(encoding: Encoding, why: &str) -> Response<Body> {
    let text = format!("{why}; try again later");
    let mut answer = call_error(encoding, StatusCode::SERVICE_UNAVAILABLE, &text);
    let headers = answer.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS));
    answer
}
