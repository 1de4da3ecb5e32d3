//! HTTP to the authority's server, and its answers about when to retry.
//!
//! HTTPS only; certificates are checked against the public authorities and the extra roots
//! of the operator. Answers are bounded, and all waits have an end. Made by the parent
//! module; called by the ACME library.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Body;
use hyper::header::RETRY_AFTER;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;

use crate::limits::{ACME_ANSWER_BYTES_MAX, ACME_CALL_TIMEOUT, ACME_RETRY_AFTER_MAX};
use crate::web_client::{Connector, Schemes, connector};

type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// What the server has asked us to wait for.
pub(super) type Haste = Arc<Mutex<Option<Duration>>>;

/// A client of the authority's server.
#[derive(Clone)]
pub(super) struct AuthorityClient {
    http: Client<Connector, BodyWrapper<Bytes>>,
    /// Time that the last refusal said to wait.
    haste: Haste,
}

impl AuthorityClient {
    /// # Errors
    ///
    /// When a root cannot be used.
    pub(super) fn new(extra_roots: &[CertificateDer<'static>]) -> Result<Self, String> {
        let connector = connector(extra_roots, Schemes::Https, ACME_CALL_TIMEOUT)?;
        Ok(Self {
            http: Client::builder(TokioExecutor::new()).build(connector),
            haste: Haste::default(),
        })
    }

    /// What the server has asked us to wait for since this was asked last.
    pub(super) fn take_haste(&self) -> Option<Duration> {
        let mut haste = self.haste.lock().unwrap_or_else(PoisonError::into_inner);
        haste.take()
    }

    async fn send(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let answer = whole(self.http.request(request), ACME_CALL_TIMEOUT).await?;
        if let Some(time) = retry_after(&answer) {
            *self.haste.lock().unwrap_or_else(PoisonError::into_inner) = Some(time);
        }
        Ok(BytesResponse::from(answer))
    }
}

/// Waits for an answer, its body included: the library would wait for that without end.
async fn whole<B, E>(
    asking: impl Future<Output = Result<Response<B>, E>>,
    limit: Duration,
) -> Result<Response<Full<Bytes>>, Error>
where
    B: Body<Data: Send, Error: Into<BoxedError>>,
    E: Into<BoxedError>,
{
    let answer = async {
        let (head, body) = asking.await.map_err(Into::into)?.into_parts();
        let body = Limited::new(body, ACME_ANSWER_BYTES_MAX).collect().await?;
        Ok(Response::from_parts(head, Full::new(body.to_bytes())))
    };
    let answer = timeout(limit, answer).await;
    answer
        .map_err(|_| Error::Other("the server does not answer".into()))?
        .map_err(Error::Other)
}

impl HttpClient for AuthorityClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().send(request))
    }
}

/// How long a refusal says to wait: seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let is_refusal = matches!(
        response.status(),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    let time = match text.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            date.duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    is_refusal.then_some(time.min(ACME_RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;

    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    #[tokio::test]
    async fn an_answer_whose_body_does_not_end_is_given_up() {
        let begin = Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"{")));
        let body = StreamBody::new(futures_util::StreamExt::chain(
            futures_util::stream::iter([begin]),
            futures_util::stream::once(pending()),
        ));
        let asking = async { Ok::<_, Infallible>(Response::new(body)) };
        let outcome = whole(asking, Duration::from_millis(50)).await;
        assert!(matches!(outcome, Err(Error::Other(_))), "{outcome:?}");
    }

    #[test]
    fn a_refusal_says_how_long_to_wait_and_not_for_ever() {
        let of = |status: u16, value: &str| {
            let response = Response::builder()
                .status(status)
                .header(RETRY_AFTER, value)
                .body(());
            retry_after(&response.expect("an answer"))
        };
        assert_eq!(of(429, "30"), Some(Duration::from_secs(30)));
        assert_eq!(of(503, " 1"), Some(Duration::from_secs(1)));
        assert_eq!(of(200, "30"), None);
        assert_eq!(of(429, "soon"), None);
        assert_eq!(of(429, "99999999999"), Some(ACME_RETRY_AFTER_MAX));
        assert_eq!(
            of(429, "Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::ZERO)
        );
    }
}
