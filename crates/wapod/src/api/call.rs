//! A call to the worker: `/prpc/<Service>.<Method>`.
//!
//! Decodes what both services have in common: the encoding, the method, the
//! body. What a call does is in `user` and `operation`.

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{Method as HttpMethod, Request, Response, StatusCode};
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wapo_rpc::{Encoding, Method};

use super::body::{self, Body};
use super::error::{ApiError, call_error};

/// An answer that says what was wrong; rare, so it need not be quick.
pub(super) type Refusal = Box<Response<Body>>;

/// A call that was read and not made yet.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) encoding: Encoding,
    content: Bytes,
}

/// A call, or the answer to something that is none.
pub(super) enum Read {
    Call(Call),
    Answer(Response<Body>),
}

/// Reads a call. `serves` says which methods exist here.
pub(super) async fn read(
    name: &str,
    request: Request<Incoming>,
    serves: fn(Method) -> bool,
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
        let answer = call_error(encoding, StatusCode::NOT_FOUND, "method Not Found");
        return Ok(Read::Answer(answer));
    };
    match *request.method() {
        HttpMethod::GET if method.is_read_only() => {}
        HttpMethod::POST => {}
        _ if method.is_read_only() => return Err(ApiError::MethodNotAllowed("GET, POST")),
        _ => return Err(ApiError::MethodNotAllowed("POST")),
    }
    let limited = Limited::new(request.into_body(), method.body_bytes_max());
    let content = match limited.collect().await {
        Ok(content) => content.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let answer = body::text(StatusCode::PAYLOAD_TOO_LARGE, "Entity too large");
            return Ok(Read::Answer(answer));
        }
        Err(_) => {
            let answer = body::text(StatusCode::SERVICE_UNAVAILABLE, "Read body failed");
            return Ok(Read::Answer(answer));
        }
    };
    Ok(Read::Call(Call {
        method,
        encoding,
        content,
    }))
}

impl Call {
    /// The arguments.
    ///
    /// # Errors
    ///
    /// The answer for whoever sent something else.
    pub(super) fn arguments<M>(&self) -> Result<M, Refusal>
    where
        M: Message + DeserializeOwned + Default,
    {
        let decoded = self.encoding.decode(&self.content);
        decoded.map_err(|error| self.refuse(&error.to_string()))
    }

    /// An answer.
    pub(super) fn answer<M: Message + Serialize>(&self, message: &M) -> Response<Body> {
        let content = self.encoding.encode(message);
        body::full(StatusCode::OK, self.encoding.content_type(), content)
    }

    /// An answer that says what was wrong. Existing clients read the message of
    /// status 400 only.
    pub(super) fn refuse(&self, text: &str) -> Refusal {
        Box::new(call_error(self.encoding, StatusCode::BAD_REQUEST, text))
    }
}
