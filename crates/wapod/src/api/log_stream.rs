//! Logs of apps: `GET /logs/<address>`.
//!
//! A JSON array of the lines that are kept, or with `?follow` a stream of
//! server-sent events that goes on with the app (WHATWG HTML, section 9.2). With
//! `?tail=N` it begins with the last N lines. Called by `admin`.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::time::timeout;
use wapo_rpc::AppAddress;
use wapo_rpc::log::{LogLevel, LogLine, LogSource, Missed};

use super::body::{self, Body};
use super::connection::Client;
use super::error::ApiError;
use crate::error::WorkerError;
use crate::limits::EVENT_STREAM_PING;
use crate::logs::{LogEvent, LogReader};
use crate::worker::{Worker, unix_ms_of};

/// Answers `/logs/<address>?<query>`.
pub(super) fn answer(
    worker: &Arc<Worker>,
    address: &str,
    query: Option<&str>,
    client: &Client,
) -> Result<Response<Body>, ApiError> {
    let address: AppAddress = address.parse()?;
    let app = worker.app(&address).ok_or(WorkerError::AppNotFound)?;
    let options = Options::parse(query.unwrap_or_default())?;
    let mut reader = app.logs();
    if let Some(lines) = options.tail {
        reader.skip_to_last(lines);
    }
    if options.follow {
        return Ok(follow(reader, client.clone()));
    }
    let mut lines = Vec::new();
    while let Some(event) = reader.try_next() {
        if let LogEvent::Line(line) = event {
            lines.push(to_json(reader.last_seq(), line));
        }
    }
    let text = serde_json::to_vec(&lines).unwrap_or_default();
    Ok(body::full(StatusCode::OK, "application/json", text))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Options {
    follow: bool,
    tail: Option<u64>,
}

impl Options {
    fn parse(query: &str) -> Result<Self, ApiError> {
        let mut options = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("follow", "" | "true" | "1") => options.follow = true,
                ("follow", "false" | "0") => options.follow = false,
                ("tail", number) => {
                    let number = number.parse();
                    options.tail =
                        Some(number.map_err(|_| ApiError::BadRequest("`tail` is no number"))?);
                }
                _ => return Err(ApiError::BadRequest("known are `follow` and `tail=N`")),
            }
        }
        Ok(options)
    }
}

/// The lines so far and those to come, until either side has enough.
fn follow(reader: LogReader, client: Client) -> Response<Body> {
    let stream = futures_util::stream::unfold((reader, client), |(mut reader, mut client)| async {
        let event = tokio::select! {
            event = timeout(EVENT_STREAM_PING, reader.next()) => event,
            () = client.draining() => return None,
        };
        let text = match event {
            Ok(LogEvent::Line(line)) => {
                let line = to_json(reader.last_seq(), line);
                let line = serde_json::to_string(&line).unwrap_or_default();
                format!("data: {line}\n\n")
            }
            Ok(LogEvent::Missed(missed)) => {
                let missed = serde_json::to_string(&Missed { missed }).unwrap_or_default();
                format!("event: missed\ndata: {missed}\n\n")
            }
            // A comment: shows both sides that the other is still there.
            Err(_) => ":\n\n".to_owned(),
        };
        let frame = Ok::<_, Infallible>(Frame::data(Bytes::from(text)));
        Some((frame.map_err(|never| match never {}), (reader, client)))
    });
    let mut response = Response::new(Body::Stream(StreamBody::new(Box::pin(stream))));
    let headers = response.headers_mut();
    let events = HeaderValue::from_static("text/event-stream");
    headers.insert(CONTENT_TYPE, events);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn to_json(seq: u64, line: wapo_host::LogLine) -> LogLine {
    LogLine {
        seq,
        time_ms: unix_ms_of(line.time),
        instance: Some(line.instance.0),
        source: match line.source {
            wapo_host::LogSource::Guest => LogSource::Guest,
            wapo_host::LogSource::Stdout => LogSource::Stdout,
            wapo_host::LogSource::Stderr => LogSource::Stderr,
            wapo_host::LogSource::Lifecycle => LogSource::Host,
        },
        level: match line.level {
            wapo_abi::message::LogLevel::Error => LogLevel::Error,
            wapo_abi::message::LogLevel::Warn => LogLevel::Warn,
            wapo_abi::message::LogLevel::Info => LogLevel::Info,
            wapo_abi::message::LogLevel::Debug => LogLevel::Debug,
            wapo_abi::message::LogLevel::Trace => LogLevel::Trace,
        },
        text: line.text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_others_refused() {
        let parse = |text| Options::parse(text);
        assert_eq!(parse(""), Ok(Options::default()));
        let both = Options {
            follow: true,
            tail: Some(7),
        };
        assert_eq!(parse("follow&tail=7"), Ok(both));
        assert_eq!(parse("tail=7&follow=true"), Ok(both));
        for bad in ["tail", "tail=x", "tail=-1", "folow", "follow=maybe"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
