//! HTTP to the authority's server, and what it says about haste.
//!
//! HTTPS only; certificates are checked against the public authorities and the extra roots
//! of the operator. Answers are bounded, and all waits have an end. Used by `order`.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper::header::RETRY_AFTER;
use hyper::{Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use crate::limits::{ACME_ANSWER_BYTES_MAX, ACME_CALL_TIMEOUT, ACME_RETRY_AFTER_MAX};

/// What the server has asked us to wait for.
pub(super) type Haste = Arc<Mutex<Option<Duration>>>;

/// A client of the authority's server.
#[derive(Clone)]
pub(super) struct AuthorityClient {
    http: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    /// Time that the last refusal said to wait.
    haste: Haste,
}

impl AuthorityClient {
    /// # Errors
    ///
    /// When a root cannot be used.
    pub(super) fn new(extra_roots: &[CertificateDer<'static>]) -> Result<Self, String> {
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for root in extra_roots {
            let added = roots.add(root.clone());
            added.map_err(|error| format!("a root for ACME cannot be used: {error}"))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(ACME_CALL_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
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
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| Error::Other(error);
        let response = timeout(ACME_CALL_TIMEOUT, self.http.request(request)).await;
        let response = response.map_err(|_| failed("the server does not answer".into()))?;
        let response = response.map_err(|error| failed(Box::new(error)))?;
        if let Some(time) = retry_after(&response) {
            *self.haste.lock().unwrap_or_else(PoisonError::into_inner) = Some(time);
        }
        let bounded = |body: Incoming| Box::pin(Limited::new(body, ACME_ANSWER_BYTES_MAX));
        Ok(BytesResponse::from(response.map(bounded)))
    }
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
    use super::*;

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
