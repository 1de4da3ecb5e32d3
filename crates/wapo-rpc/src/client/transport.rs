//! Requests and answers over HTTP/1.1, in the clear or with TLS.
//!
//! Connections are kept for the next call. Whose certificates are taken is in `trust`.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Method as Verb, Request, Response, StatusCode, Uri, request};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prost::Message as _;

use super::error::{ClientError, SourceFailure, root_cause, source_failure};
use super::trust::{self, TrustedCertificates};
use crate::limits::{
    ANSWER_BYTES_MAX, CALL_TIMEOUT, CONNECT_TIMEOUT, KEEPALIVE, POOL_IDLE_TIMEOUT,
};
use crate::log::Health;
use crate::message::ErrorMessage;

/// Body of any request.
pub(super) type RequestBody = UnsyncBoxBody<Bytes, SourceFailure>;

/// What makes requests, and keeps connections. Clones share them.
pub(super) type Http = HttpClient<HttpsConnector<HttpConnector>, RequestBody>;

/// Where the worker is, and what to show it.
#[derive(Clone)]
pub(super) struct Transport {
    http: Http,
    base_url: String,
    authorization: Option<HeaderValue>,
}

/// A body that is there already.
pub(super) fn full(bytes: impl Into<Bytes>) -> RequestBody {
    let body = Full::new(bytes.into());
    body.map_err(|never| match never {}).boxed_unsync()
}

/// Prepares to make requests.
pub(super) fn http(trusted: Option<&TrustedCertificates>) -> Result<Http, ClientError> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_keepalive(Some(KEEPALIVE));
    let tls = trust::config(trusted).map_err(ClientError::Tls)?;
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(HttpClient::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .build(connector))
}

impl Transport {
    pub(super) fn new(
        base_url: &str,
        token: Option<&str>,
        trusted: Option<&TrustedCertificates>,
    ) -> Result<Self, ClientError> {
        Self::with(http(trusted)?, base_url, token)
    }

    /// The same with connections that are there.
    pub(super) fn with(
        http: Http,
        base_url: &str,
        token: Option<&str>,
    ) -> Result<Self, ClientError> {
        let base_url = base_url.trim_end_matches('/');
        check_url(base_url).map_err(|reason| ClientError::BadUrl {
            url: base_url.to_owned(),
            reason,
        })?;
        let authorization = token.map(authorization).transpose()?;
        Ok(Self {
            http,
            base_url: base_url.to_owned(),
            authorization,
        })
    }

    pub(super) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Begins a request to a path on the worker.
    pub(super) fn request(&self, verb: Verb, path: &str) -> request::Builder {
        let request = Request::builder()
            .method(verb)
            .uri(format!("{}{path}", self.base_url));
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        }
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn ask(
        &self,
        request: request::Builder,
        body: RequestBody,
        limit: Duration,
    ) -> Result<Bytes, ClientError> {
        let answer = async {
            let response = self.send(request, body).await?;
            self.content(response).await
        };
        self.within(limit, answer).await
    }

    /// Sends a request; the answer is good and its body not yet read.
    pub(super) async fn open(
        &self,
        request: request::Builder,
    ) -> Result<Response<Incoming>, ClientError> {
        let opened = self.send(request, full(Bytes::new()));
        self.within(CALL_TIMEOUT, opened).await
    }

    /// Asks for a path; any status will do, and the body is not yet read.
    pub(super) async fn get(&self, path: &str) -> Result<Response<Incoming>, ClientError> {
        let request = self.request(Verb::GET, path);
        self.exchange(request, full(Bytes::new())).await
    }

    pub(super) async fn health(&self) -> Result<Health, ClientError> {
        let answer = async {
            let request = self.request(Verb::GET, "/health");
            let response = self.exchange(request, full(Bytes::new())).await?;
            // A worker that is not ready says so with this status.
            if !matches!(
                response.status(),
                StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE
            ) {
                return Err(self.refusal(response).await);
            }
            self.content(response).await
        };
        let content = self.within(CONNECT_TIMEOUT, answer).await?;
        serde_json::from_slice(&content).map_err(|error| self.bad_answer(error))
    }

    pub(super) fn bad_answer(&self, reason: impl ToString) -> ClientError {
        ClientError::BadAnswer {
            url: self.base_url.clone(),
            reason: reason.to_string(),
        }
    }

    pub(super) fn broken(&self, error: &(dyn std::error::Error + 'static)) -> ClientError {
        ClientError::Broken {
            url: self.base_url.clone(),
            reason: root_cause(error),
        }
    }

    /// Waits for so long and no longer.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Timeout {
                url: self.base_url.clone(),
                seconds: limit.as_secs(),
            }),
        }
    }

    async fn send(
        &self,
        request: request::Builder,
        body: RequestBody,
    ) -> Result<Response<Incoming>, ClientError> {
        let response = self.exchange(request, body).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(response).await)
    }

    pub(super) async fn exchange(
        &self,
        request: request::Builder,
        body: RequestBody,
    ) -> Result<Response<Incoming>, ClientError> {
        let request = request.body(body).map_err(|_| ClientError::BadUrl {
            url: self.base_url.clone(),
            reason: "no request can be made with it",
        })?;
        self.http.request(request).await.map_err(|error| {
            if let Some(failure) = source_failure(&error) {
                return ClientError::Copy(failure);
            }
            let url = self.base_url.clone();
            let reason = root_cause(&error);
            if error.is_connect() {
                ClientError::Unreachable { url, reason }
            } else {
                ClientError::Broken { url, reason }
            }
        })
    }

    pub(super) async fn content(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        match Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
        {
            Ok(content) => Ok(content.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(self.bad_answer("its answer is too long"))
            }
            Err(error) => Err(self.broken(error.as_ref())),
        }
    }

    /// Reads why a request was refused.
    async fn refusal(&self, response: Response<Incoming>) -> ClientError {
        let url = self.base_url.clone();
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            return match self.authorization {
                Some(_) => ClientError::TokenRefused { url },
                None => ClientError::TokenMissing { url },
            };
        }
        let is_page = response
            .headers()
            .get(http::header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        let content = match self.content(response).await {
            Ok(content) => content,
            Err(error) => return error,
        };
        match message_of(&content) {
            Some(message) if !is_page => ClientError::Refused { status, message },
            _ => self.bad_answer(format_args!("status {status}")),
        }
    }
}

/// The words in the body of a refusal: a message, or plain text.
pub fn message_of(content: &[u8]) -> Option<String> {
    let message = match ErrorMessage::decode(content) {
        Ok(decoded) if !decoded.message.is_empty() => decoded.message,
        _ => String::from_utf8(content.to_vec()).ok()?,
    };
    let message = message.trim();
    (!message.is_empty()).then(|| message.to_owned())
}

fn authorization(token: &str) -> Result<HeaderValue, ClientError> {
    let mut value =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| ClientError::BadToken)?;
    value.set_sensitive(true);
    Ok(value)
}

fn check_url(text: &str) -> Result<(), &'static str> {
    let url: Uri = text.parse().map_err(|_| "it does not parse")?;
    match url.scheme_str() {
        Some("http" | "https") => {}
        Some(_) => return Err("only http and https are spoken"),
        None => return Err("http:// or https:// is missing"),
    }
    let authority = url.authority().ok_or("it names no host")?;
    if authority.host().is_empty() {
        return Err("it names no host");
    }
    if authority.as_str().contains('@') {
        return Err("a name or password in it is not used; the token goes elsewhere");
    }
    if url.query().is_some() {
        return Err("it has a query part");
    }
    Ok(())
}

/// Without the token.
impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_scheme_and_host_and_little_else() {
        for url in [
            "http://127.0.0.1:8001",
            "https://worker.example.com",
            "http://[::1]:1/prefix",
        ] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        for url in [
            "",
            "127.0.0.1:8001",
            "localhost",
            "ftp://a",
            "http://",
            "http://a:b@c",
            "http://a/?x",
            "/path",
        ] {
            assert!(check_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_refusal_is_read_from_a_message_and_from_text() {
        let message = ErrorMessage {
            message: "App not found".into(),
        };
        let bytes = message.encode_to_vec();
        assert_eq!(message_of(&bytes).as_deref(), Some("App not found"));
        let text = b"Entity too large\n";
        assert_eq!(message_of(text).as_deref(), Some("Entity too large"));
        assert_eq!(message_of(b""), None);
        assert_eq!(message_of(&[0xff, 0xfe]), None);
    }
}
