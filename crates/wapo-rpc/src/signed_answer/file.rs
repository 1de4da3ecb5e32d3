//! An exchange in a file: a request and its answer, with the signature.
//!
//! JSON:
//!
//! ```text
//! {"kind":"wapo-answer","version":1,
//!  "request":{"method":"GET","url":"http://host/path?query","headers":[["name","value"]],"body":"0x"},
//!  "answer":{"status":200,"headers":[["name","value"]],"body":"0x"},
//!  "received_at":1800000000,"evidence":"0x"}
//! ```
//!
//! `received_at` is in seconds since 1970 by the client's clock; `evidence` is a SCALE
//! [`AppEvidence`](crate::statement::AppEvidence), whose keys the signature is checked
//! with, and may be absent. Written by `wapo query`, read by `wapo verify answer`. No I/O.

use serde::{Deserialize, Serialize};

use super::{ACCEPT_SIGNATURE, CONTENT_DIGEST, RequestComponents, SignedPart, Wish};
use crate::hexbytes;

const KIND: &str = "wapo-answer";
const VERSION: u32 = 1;

/// A request and its answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    kind: String,
    version: u32,
    /// What was asked.
    pub request: SavedRequest,
    /// What was answered.
    pub answer: SavedAnswer,
    /// When it was answered, in seconds since 1970.
    pub received_at: u64,
    /// Evidence of the app, encoded; may be empty.
    #[serde(default, with = "hexbytes", skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<u8>,
}

/// What was asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedRequest {
    /// Method of HTTP.
    pub method: String,
    /// With scheme, host, path and query, as they were sent.
    pub url: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(with = "hexbytes")]
    pub body: Vec<u8>,
}

/// What was answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedAnswer {
    /// Status of HTTP.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(with = "hexbytes")]
    pub body: Vec<u8>,
}

impl Exchange {
    /// Puts one together.
    pub fn new(request: SavedRequest, answer: SavedAnswer, received_at: u64) -> Self {
        Self {
            kind: KIND.to_owned(),
            version: VERSION,
            request,
            answer,
            received_at,
            evidence: Vec::new(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// A text that says what is wrong.
    pub fn read(content: &[u8]) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(content).map_err(|error| error.to_string())?;
        match (read.kind.as_str(), read.version) {
            (KIND, VERSION) => Ok(read),
            (KIND, version) => Err(format!("version {version} is not known here")),
            (kind, _) => Err(format!("this is a `{kind}`, not a `{KIND}`")),
        }
    }

    /// The nonce that the request asked for.
    pub fn nonce(&self) -> Option<String> {
        let wish = self.request.header(ACCEPT_SIGNATURE)?;
        Wish::read(wish)?.ok()?.nonce
    }

    /// The answer as it is signed.
    pub fn signed_part(&self) -> SignedPart<'_> {
        SignedPart {
            status: self.answer.status,
            fields: &self.answer.headers,
        }
    }
}

impl SavedAnswer {
    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }
}

impl SavedRequest {
    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }

    /// The request as an answer is bound to it.
    ///
    /// # Errors
    ///
    /// A text that says what is wrong with the URL.
    pub fn asked(&self) -> Result<RequestComponents, String> {
        let bad = || format!("`{}` is not a URL with a scheme and a host", self.url);
        let (scheme, rest) = self.url.split_once("://").ok_or_else(bad)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() || target.contains('#') {
            return Err(bad());
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let digest = self.header(CONTENT_DIGEST).map(str::to_owned);
        Ok(RequestComponents::new(
            &self.method,
            scheme,
            authority,
            (path, query),
            digest,
        ))
    }
}

fn first<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(known, _)| known == name)?;
    Some(&found.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(url: &str) -> Result<RequestComponents, String> {
        let request = SavedRequest {
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        request.asked()
    }

    #[test]
    fn urls_are_taken_apart_as_they_are() {
        let of = |scheme, authority, target| {
            RequestComponents::new("GET", scheme, authority, target, None)
        };
        let plain = asked("http://H:8002/a//b?c=%20?");
        assert_eq!(plain, Ok(of("http", "h:8002", ("/a//b", Some("c=%20?")))));
        assert_eq!(asked("https://h:443"), Ok(of("https", "h", ("/", None))));
        assert_eq!(asked("http://h?x"), Ok(of("http", "h", ("/", Some("x")))));
        for bad in ["/a", "http:///a", "http://h/#x"] {
            assert!(asked(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_of_another_kind_is_refused() {
        let request = SavedRequest {
            method: "GET".to_owned(),
            url: "http://h/".to_owned(),
            headers: vec![(ACCEPT_SIGNATURE.to_owned(), Wish::field("n"))],
            body: b"x".to_vec(),
        };
        let answer = SavedAnswer {
            status: 200,
            headers: Vec::new(),
            body: Vec::new(),
        };
        let exchange = Exchange::new(request, answer, 7);
        let text = serde_json::to_string(&exchange).expect("JSON");
        assert_eq!(Exchange::read(text.as_bytes()), Ok(exchange.clone()));
        assert_eq!(exchange.nonce().as_deref(), Some("n"));
        for (from, to) in [
            (":1,", ":2,"),
            ("wapo-answer", "wapo-usage"),
            ("\"status\"", "\"state\""),
            ("0x78", "0x7"),
        ] {
            let bad = text.replacen(from, to, 1);
            assert!(Exchange::read(bad.as_bytes()).is_err(), "{to}");
        }
    }
}
