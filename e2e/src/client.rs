//! Clients: hyper in this process, curl in another.

use std::process::Stdio;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::within;

/// An HTTP answer with its whole body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text, damaged where it is none.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first header of a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Checks the status.
    #[track_caller]
    pub fn expect_status(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// Checks that all went well and the body is this text.
    #[track_caller]
    pub fn expect_text(&self, text: &str) -> &Self {
        self.expect_status(200);
        assert_eq!(self.text(), text);
        self
    }
}

/// Fetches a URL.
pub async fn get(url: &str) -> Answer {
    send(Method::GET, url, Vec::new()).await
}

/// Posts to a URL.
pub async fn post(url: &str, body: impl Into<Vec<u8>>) -> Answer {
    send(Method::POST, url, body.into()).await
}

/// Sends a request on a connection of its own and reads the whole answer.
///
/// # Panics
///
/// When no answer comes; [`try_send`] says why instead.
pub async fn send(method: Method, url: &str, body: Vec<u8>) -> Answer {
    let answer = try_send(method, url, body).await;
    answer.unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// As [`send`].
///
/// # Errors
///
/// When no complete answer comes.
pub async fn try_send(method: Method, url: &str, body: Vec<u8>) -> Result<Answer, String> {
    within(url, exchange(method, url, body)).await
}

/// As [`try_send`], for callers that know better how long it may take.
///
/// # Errors
///
/// When no complete answer comes.
///
/// # Cancel safety
///
/// Cancel safe: the connection is closed.
pub async fn exchange(method: Method, url: &str, body: Vec<u8>) -> Result<Answer, String> {
    let request = Request::builder()
        .method(method)
        .uri(url)
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request).await.map_err(show)?;
    let (head, body) = response.into_parts();
    let headers = head.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.to_string(), value)
    });
    Ok(Answer {
        status: head.status.as_u16(),
        headers: headers.collect(),
        body: body
            .collect()
            .await
            .map_err(|error| show(&error))?
            .to_bytes()
            .to_vec(),
    })
}

fn show(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// What a program printed and how it ended.
#[derive(Clone, Debug)]
pub struct Printed {
    /// Exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs curl, quiet but for errors.
///
/// # Panics
///
/// When there is no curl.
pub async fn curl(arguments: &[&str]) -> Printed {
    let mut command = tokio::process::Command::new("curl");
    command
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--noproxy",
            "*",
        ])
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = within("curl", command.output()).await;
    let output = output.expect("curl is installed");
    Printed {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
