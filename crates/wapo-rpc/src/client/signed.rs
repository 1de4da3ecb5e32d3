//! Requests to the user port whose answers are to be signed, kept as they were sent.
//!
//! Whether the signature is good is for `wapo-verify` to say. Used by the command and by
//! tests.

use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, Method as Verb, Uri};
use prost::Message as _;

use super::error::ClientError;
use super::transport::{self, Transport};
use super::{UserClient, UserMethod};
use crate::limits::CALL_TIMEOUT;
use crate::message::QueryArgs;
use crate::signed_answer::file::{Exchange, SavedAnswer, SavedRequest};
use crate::signed_answer::{ACCEPT_SIGNATURE, CONTENT_DIGEST, Wish, content_digest};

impl UserClient {
    /// Asks an app, and asks for a signature with a nonce of letters and digits. The
    /// answer is given whatever it is.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when there is no answer.
    pub async fn signed_query(
        &self,
        args: &QueryArgs,
        nonce: &str,
    ) -> Result<Exchange, ClientError> {
        let path = format!("/prpc/{}", UserMethod::Query);
        let body = args.encode_to_vec();
        self.transport.signed(Verb::POST, &path, body, nonce).await
    }

    /// Reads a path of the user port, and asks for a signature as
    /// [`signed_query`](Self::signed_query) does.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn signed_get(&self, path: &str, nonce: &str) -> Result<Exchange, ClientError> {
        let path = format!("/{}", path.trim_start_matches('/'));
        self.transport
            .signed(Verb::GET, &path, Vec::new(), nonce)
            .await
    }
}

impl Transport {
    async fn signed(
        &self,
        verb: Verb,
        path: &str,
        body: Vec<u8>,
        nonce: &str,
    ) -> Result<Exchange, ClientError> {
        let url = format!("{}{path}", self.base_url());
        let authority = url.parse::<Uri>().ok();
        let authority = authority.as_ref().and_then(Uri::authority);
        let authority = authority.map_or_else(String::new, ToString::to_string);
        let mut request = self
            .request(verb.clone(), path)
            .header(HOST, authority)
            .header(ACCEPT_SIGNATURE, Wish::field(nonce));
        if !body.is_empty() {
            request = request
                .header(CONTENT_TYPE, "application/octet-stream")
                .header(CONTENT_DIGEST, content_digest(&body));
        }
        let headers = request.headers_ref().map(fields).unwrap_or_default();
        let answer = async {
            let response = self
                .exchange(request, transport::full(body.clone()))
                .await?;
            let (status, headers) = (response.status().as_u16(), fields(response.headers()));
            let body = self.content(response).await?.to_vec();
            Ok(SavedAnswer {
                status,
                headers,
                body,
            })
        };
        let answer = self.within(CALL_TIMEOUT, answer).await?;
        let request = SavedRequest {
            method: verb.to_string(),
            url,
            headers,
            body,
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let received_at = since.map_or(0, |since| since.as_secs());
        Ok(Exchange::new(request, answer, received_at))
    }
}

fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let fields = headers.iter();
    fields
        .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
        .collect()
}
