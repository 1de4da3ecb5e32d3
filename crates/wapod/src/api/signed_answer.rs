//! Signatures of answers that a client asks for (`Accept-Signature`): who says this,
//! about which request, when.
//!
//! What is covered and how it is written is in `wapo_rpc::signed_answer`. Here it is
//! found out who answers, by marks (`signed_parts`) that only the gateway and the calls to
//! the worker set, so that no app obtains the worker's word; answers of apps are collected, up to
//! a length and a time and within the client's share, because the digest comes before the
//! body. What cannot be signed goes on as it is, and says why. Called by `mod`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use hyper::body::Frame;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tokio::time::{Instant, timeout_at};
use wapo_crypto::derived_keys::P256Key;
use wapo_rpc::signed_answer::{
    self, ACCEPT_SIGNATURE, APP, CONTENT_DIGEST, KIND, Kind, Parameters, RequestComponents,
    SESSION, SIGNATURE, SIGNATURE_INPUT, SignedPart, UNSIGNED, Unsigned, Wish,
};

use super::body::{Body, Frames};
use super::budget::Who;
use super::clients::Clients;
use super::collect::{Kept, NotCollected};
use super::error::ApiError;
use super::gateway::head;
use super::request_body::RequestBody;
use super::signed_parts::{AnsweredBy, BodyDigest};
use crate::error::WorkerError;
use crate::limits::{
    ANSWER_SIGNATURE_LIFE, ANSWER_SIGNATURES_PER_CLIENT_MAX, ANSWER_SIGNATURES_PER_SECOND_MAX,
    ANSWER_WAIT, AT_ONCE_BYTES_MAX, SIGNED_ANSWER_WAIT, SIGNED_BODY_BYTES_MAX,
};
use crate::worker::{Worker, unix_s};

/// How many answers may be signed.
#[derive(Default)]
pub(super) struct Pace(Mutex<Second>);

/// What was signed in one second.
#[derive(Default)]
struct Second {
    unix_s: u64,
    all: u32,
    /// No more entries than answers.
    of_client: HashMap<IpAddr, u32>,
}

impl Pace {
    /// Whether one more may be signed in this second for a client.
    fn takes(&self, who: Who, now_s: u64) -> bool {
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if second.unix_s != now_s {
            *second = Second {
                unix_s: now_s,
                ..Second::default()
            };
        }
        if second.all >= ANSWER_SIGNATURES_PER_SECOND_MAX {
            return false;
        }
        if let Some(ip) = who.key() {
            let own = second.of_client.entry(ip).or_default();
            if *own >= ANSWER_SIGNATURES_PER_CLIENT_MAX {
                return false;
            }
            *own += 1;
        }
        second.all += 1;
        true
    }
}

/// Looked for in every request, so it is no text to be read first.
const ACCEPT_SIGNATURE_FIELD: HeaderName = HeaderName::from_static(ACCEPT_SIGNATURE);

/// A request whose answer is to be signed.
pub(super) struct SignatureRequest {
    request: RequestComponents,
    wish: Result<Wish, Unsigned>,
    digest: Option<Arc<BodyDigest>>,
}

impl SignatureRequest {
    /// What a request asks for, if it asks for a signature of ours. A body with a digest
    /// is looked at from now on.
    pub(super) fn of(
        request: Request<RequestBody>,
        scheme: &str,
    ) -> (Request<RequestBody>, Option<Box<Self>>) {
        let headers = request.headers();
        let Some(field) = line(headers, ACCEPT_SIGNATURE_FIELD) else {
            return (request, None);
        };
        let Some(wish) = Wish::read(&field) else {
            return (request, None);
        };
        let Ok(host) = head::host(request.uri(), headers, request.version()) else {
            return (request, None);
        };
        let uri = request.uri();
        let content_digest = line(headers, HeaderName::from_static(CONTENT_DIGEST));
        let digest = content_digest.is_some().then(Arc::<BodyDigest>::default);
        let components = RequestComponents::new(
            request.method().as_str(),
            scheme,
            host.as_str(),
            (uri.path(), uri.query()),
            content_digest,
        );
        let request = match &digest {
            Some(digest) => request.map(|body| body.digested(Arc::clone(digest))),
            None => request,
        };
        let wanted = Self {
            request: components,
            wish,
            digest,
        };
        (request, Some(Box::new(wanted)))
    }

    /// Signs an answer, or says in it why not.
    pub(super) async fn sign(
        self: Box<Self>,
        mut response: Response<Body>,
        worker: &Worker,
        (clients, who): (&Clients, Who),
        pace: &Pace,
    ) -> Response<Body> {
        let headers = response.headers_mut();
        // An app's own; what only the worker writes is gone from its answers already.
        for name in [SIGNATURE, SIGNATURE_INPUT, CONTENT_DIGEST] {
            headers.remove(name);
        }
        let now_s = unix_s();
        let (mut response, signed) = match &self.wish {
            Ok(_) if !pace.takes(who, now_s) => (response, Err(Unsigned::Busy)),
            Ok(wish) => match content(response, clients, who, SIGNED_ANSWER_WAIT).await {
                Ok((mut response, content)) => {
                    let signed = self.sign_content(&mut response, &content, worker, clients, wish);
                    let signed = signed.await;
                    (response, signed)
                }
                Err((response, why)) => (*response, Err(why)),
            },
            Err(why) => (response, Err(*why)),
        };
        if let Err(why) = signed {
            put(response.headers_mut(), UNSIGNED, why.name());
        }
        response
    }

    async fn sign_content(
        &self,
        response: &mut Response<Body>,
        content: &Bytes,
        worker: &Worker,
        clients: &Clients,
        wish: &Wish,
    ) -> Result<(), Unsigned> {
        // Looked at behind the answer: an app reads while it answers.
        if let (Some(digest), Some(field)) = (&self.digest, self.request.content_digest())
            && !digest.is(field)
        {
            return Err(Unsigned::RequestDigest);
        }
        let digest = content_digest(content, clients).await;
        let digest = digest.ok_or(Unsigned::Busy)?;
        let by = response.extensions_mut().remove::<AnsweredBy>();
        let kind = kind_of(by.is_some(), response.status());
        let headers = response.headers_mut();
        put(headers, CONTENT_DIGEST, &digest);
        put(headers, KIND, kind.name());
        put(headers, SESSION, &hex::encode(worker.session.id()));
        let key = match by {
            Some(AnsweredBy(app)) => {
                put(headers, APP, &app.address.to_string());
                worker.attester.app_key(&app)
            }
            None => worker.attester.answer_key(),
        };
        // By the time at which it is sent: an app may have taken long.
        let now_s = unix_s();
        put_signature(response, &self.request, (&key, wish.nonce.clone()), now_s);
        Ok(())
    }
}

/// The whole content of an answer, which is in the answer afterwards as well.
async fn content(
    response: Response<Body>,
    clients: &Clients,
    who: Who,
    wait: Duration,
) -> Result<(Response<Body>, Bytes), (Box<Response<Body>>, Unsigned)> {
    let announced = head::announced(&response);
    let is_long = announced.is_some_and(|bytes| bytes > SIGNED_BODY_BYTES_MAX as u64);
    match response.body() {
        _ if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            Err((Box::new(response), Unsigned::Switch))
        }
        Body::Nothing => Ok((response, Bytes::new())),
        Body::Full(content) => {
            let content = content.clone().unwrap_or_default();
            match content.len() <= SIGNED_BODY_BYTES_MAX {
                true => Ok((response, content)),
                false => Err((Box::new(response), Unsigned::TooLong)),
            }
        }
        Body::Guest(_) | Body::Stream(_) if is_long => Err((Box::new(response), Unsigned::TooLong)),
        Body::Guest(_) | Body::Stream(_) => collect(response, clients, who, wait).await,
    }
}

/// Takes in what an app answers. What is too long, or takes too long, goes on from there.
async fn collect(
    response: Response<Body>,
    clients: &Clients,
    who: Who,
    wait: Duration,
) -> Result<(Response<Body>, Bytes), (Box<Response<Body>>, Unsigned)> {
    let (parts, mut body) = response.into_parts();
    let mut kept = Kept {
        content: Vec::new(),
        share: clients.answers.share(who.key()),
        announced: 0,
        bytes_max: SIGNED_BODY_BYTES_MAX,
    };
    let deadline = Instant::now() + wait;
    let (why, last) = loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => break (Unsigned::Slow, None),
            Ok(None) => {
                let content = kept.share.around(kept.content);
                let body = Body::Full((!content.is_empty()).then(|| content.clone()));
                return Ok((Response::from_parts(parts, body), content));
            }
            Ok(Some(Err(_))) => {
                // What the app has said so far is not what it wanted to say.
                let error = ApiError::from(WorkerError::NoAnswer).into_response(false);
                let Body::Full(content) = error.body() else {
                    return Err((Box::new(error), Unsigned::Slow));
                };
                let content = content.clone().unwrap_or_default();
                return Ok((error, content));
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let taken = match frame.data_ref() {
            None => Err(Unsigned::Trailers),
            Some(data) => kept.add(data).map_err(|why| match why {
                NotCollected::TooLarge => Unsigned::TooLong,
                _ => Unsigned::Busy,
            }),
        };
        if let Err(why) = taken {
            break (why, Some(frame));
        }
    };
    let first = !kept.content.is_empty();
    let first = first.then(|| Frame::data(kept.share.around(kept.content)));
    let taken = stream::iter(first.into_iter().chain(last).map(Ok));
    let rest = StreamBody::new(Box::pin(taken.chain(BodyStream::new(body))) as Frames);
    let response = Response::from_parts(parts, Body::Stream(rest));
    Err((Box::new(response), why))
}

fn kind_of(is_of_app: bool, status: StatusCode) -> Kind {
    match is_of_app {
        true => Kind::App,
        false if status.is_client_error() || status.is_server_error() => Kind::Error,
        false => Kind::Worker,
    }
}

/// The digest of a body; `None` when too many wait for one.
async fn content_digest(content: &Bytes, clients: &Clients) -> Option<String> {
    if content.len() <= AT_ONCE_BYTES_MAX {
        return Some(signed_answer::content_digest(content));
    }
    let content = content.clone();
    let digest = move || signed_answer::content_digest(&content);
    clients.heavy.run_within(ANSWER_WAIT, digest).await.ok()
}

fn put_signature(
    response: &mut Response<Body>,
    request: &RequestComponents,
    (key, nonce): (&P256Key, Option<String>),
    now_s: u64,
) {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let fields: Vec<_> = response
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value)))
        .collect();
    let part = SignedPart {
        status: response.status().as_u16(),
        fields: &fields,
    };
    let parameters = Parameters {
        created: now_s,
        expires: now_s + ANSWER_SIGNATURE_LIFE.as_secs(),
        nonce,
        key_id: signed_answer::key_id(&key.public_der()),
    };
    let (base, input) = part.to_sign(request, &parameters);
    let signature = key.sign(base.as_bytes());
    let headers = response.headers_mut();
    put(
        headers,
        SIGNATURE_INPUT,
        &format!("{}={input}", signed_answer::LABEL),
    );
    put(
        headers,
        SIGNATURE,
        &signed_answer::signature_field(&signature),
    );
}

fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// All values of a field, if they are text.
fn line(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let values = headers.get_all(name).iter();
    let values: Option<Vec<&str>> = values.map(|value| value.to_str().ok()).collect();
    values
        .filter(|all| !all.is_empty())
        .map(|all| all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::clients::ForwardedBy;
    use super::*;
    use crate::limits::Timeouts;

    #[test]
    fn an_app_never_speaks_as_the_worker() {
        for status in [
            StatusCode::OK,
            StatusCode::NOT_FOUND,
            StatusCode::BAD_GATEWAY,
        ] {
            assert_eq!(kind_of(true, status), Kind::App);
        }
        assert_eq!(kind_of(false, StatusCode::OK), Kind::Worker);
        assert_eq!(kind_of(false, StatusCode::NOT_FOUND), Kind::Error);
    }

    #[test]
    fn no_more_are_signed_in_a_second_than_may() {
        let pace = Pace::default();
        let who = |last: u8| Who::new([192, 0, 2, last].into(), &[]);
        let all = |who: Who, second| (0..3_000).filter(|_| pace.takes(who, second)).count();
        let own = ANSWER_SIGNATURES_PER_CLIENT_MAX as usize;
        assert_eq!(all(who(1), 7), own);
        assert_eq!(all(who(2), 7), own, "others have their share");
        let rest = (3..50).map(|last| all(who(last), 7)).sum::<usize>();
        assert_eq!(rest + 2 * own, ANSWER_SIGNATURES_PER_SECOND_MAX as usize);
        assert_eq!(all(who(1), 8), own);
    }

    #[tokio::test]
    async fn what_does_not_end_in_time_goes_on_unsigned() {
        let clients = Clients::of_users(9, ForwardedBy::default(), Timeouts::default());
        let who = clients.who([192, 0, 2, 1].into());
        let frame = |text: &'static [u8]| Ok(Frame::data(Bytes::from_static(text)));
        let (go_on, goes_on) = tokio::sync::oneshot::channel();
        let late = stream::once(async move {
            let text = goes_on.await.expect("told to");
            frame(text)
        });
        let frames = stream::iter([frame(b"so"), frame(b"on")]).chain(late);
        let body = Body::Stream(StreamBody::new(Box::pin(frames) as Frames));
        let collected = content(Response::new(body), &clients, who, Duration::from_millis(1)).await;
        let (response, why) = collected.err().expect("not at its end");
        assert_eq!(why, Unsigned::Slow);
        assert_eq!(clients.answers.reading().used, 4, "what is kept is counted");
        go_on.send(b"late" as &[u8]).expect("it waits");
        let whole = response.into_body().collect().await.expect("all of it");
        assert_eq!(&*whole.to_bytes(), b"soonlate");
        assert_eq!(clients.answers.reading().used, 0);
    }
}
