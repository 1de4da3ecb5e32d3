//! Reads what some other server publishes, with the HTTP and the trust that calls to
//! workers have. Used by the command for collateral of quotes.

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::error::ClientError;
use super::transport::{self, Http, Transport};
use super::trust::TrustedCertificates;
use crate::limits::FETCH_TIMEOUT;

/// Fetches with GET. Connections are kept for the next one.
#[derive(Clone)]
pub struct Fetcher {
    http: Http,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Its status.
    pub status: u16,
    headers: HeaderMap,
    /// Its content.
    pub body: Bytes,
}

impl Fetched {
    /// A header, where it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Fetcher {
    /// Trusts the public authorities, or what is given.
    ///
    /// # Errors
    ///
    /// [`ClientError::Tls`]
    pub fn new(trusted: Option<&TrustedCertificates>) -> Result<Self, ClientError> {
        let http = transport::http(trusted)?;
        Ok(Self { http })
    }

    /// Reads a URL whose content has at most so many bytes.
    ///
    /// # Errors
    ///
    /// [`ClientError`]
    pub async fn get(&self, url: &str, bytes_max: usize) -> Result<Fetched, ClientError> {
        let (base, path) = split(url);
        let transport = Transport::with(self.http.clone(), base, None)?;
        let answer = async {
            let response = transport.get(path).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, bytes_max)
                .collect()
                .await
                .map_err(|error| {
                    if error.is::<LengthLimitError>() {
                        transport.bad_answer(format_args!("more than {bytes_max} bytes"))
                    } else {
                        transport.broken(error.as_ref())
                    }
                })?;
            Ok(Fetched {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.to_bytes(),
            })
        };
        transport.within(FETCH_TIMEOUT, answer).await
    }
}

/// A URL, before its path and from there on.
fn split(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |at| at + 3);
    let path = url[host..].find('/').map_or(url.len(), |at| host + at);
    url.split_at(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_before_its_path() {
        assert_eq!(split("https://a:1/b?c=d"), ("https://a:1", "/b?c=d"));
        assert_eq!(split("https://a"), ("https://a", ""));
        assert_eq!(split("a/b"), ("a", "/b"));
    }
}
