//! Logs of apps: `GET /logs/<address>`.
//!
//! A JSON array of the lines that are kept, or with `?follow` a stream of
//! server-sent events that goes on with the app (WHATWG HTML, section 9.2). With
//! `?tail=N` it begins with the last N lines. A bounded number of clients follow;
//! a line is written once for all of them, and sent with the others of a moment.
//! Called by `admin`.

use std::io;
use std::sync::Arc;

use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::time::{Instant, sleep, sleep_until};
use wapo_rpc::AppAddress;
use wapo_rpc::log::{LogLevel, LogLine, LogSource, Missed};

use super::admin_service::AdminService;
use super::body::{self, Body};
use super::budget::Share;
use super::client::Client;
use super::error::ApiError;
use super::liveness::LivenessWatch;
use crate::error::WorkerError;
use crate::limits::{EVENT_STREAM_PING, LIVENESS_INTERVAL, LOG_PART_BYTES_MAX, LOG_PART_INTERVAL};
use crate::logs::{KeptEvent, LogEvent, LogReader};
use crate::worker::{App, unix_ms_of};

/// Answers `/logs/<address>?<query>`.
pub(super) fn answer(
    service: &AdminService,
    address: &str,
    query: Option<&str>,
    client: &Client,
) -> Result<Response<Body>, ApiError> {
    let address: AppAddress = address.parse()?;
    let app = service.worker.app(&address);
    let app = app.ok_or(WorkerError::AppNotFound)?;
    let options = Options::parse(query.unwrap_or_default())?;
    let mut reader = app.logs();
    if let Some(lines) = options.tail {
        reader.skip_to_last(lines);
    }
    if options.follow {
        let mut share = service.budgets.followers.share(Some(address));
        share.grow(1).map_err(|_| ApiError::TooManyFollowers)?;
        return Ok(follow(Follower::new(app, reader, client, share)));
    }
    let mut lines = Vec::new();
    while let Some(event) = reader.try_next() {
        if let LogEvent::Line(line) = event {
            lines.push(to_json(reader.last_seq(), &line));
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
fn follow(follower: Follower) -> Response<Body> {
    let stream = futures_util::stream::unfold(follower, |mut follower| async {
        let part = follower.part().await?;
        Some((Ok::<_, io::Error>(Frame::data(part)), follower))
    });
    let mut response = Response::new(Body::Stream(StreamBody::new(Box::pin(stream))));
    let headers = response.headers_mut();
    let events = HeaderValue::from_static("text/event-stream");
    headers.insert(CONTENT_TYPE, events);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A client that follows a log.
struct Follower {
    app: Arc<App>,
    reader: LogReader,
    client: Client,
    watch: LivenessWatch,
    /// When the next part may be sent.
    next_part: Instant,
    sent_last: Instant,
    _share: Share<AppAddress>,
}

impl Follower {
    fn new(app: Arc<App>, reader: LogReader, client: &Client, share: Share<AppAddress>) -> Self {
        Self {
            app,
            reader,
            watch: LivenessWatch::new(client.liveness()),
            client: client.clone(),
            next_part: Instant::now(),
            sent_last: Instant::now(),
            _share: share,
        }
    }

    /// The next part of the stream; `None` when the client has left, or sends no
    /// more, as those do that leave, when the app has left, or when the daemon
    /// stops.
    async fn part(&mut self) -> Option<Bytes> {
        loop {
            if self.watch.is_half_closed() || self.watch.is_gone() {
                return None;
            }
            if self.app.has_left() && !self.reader.has_next() {
                return None;
            }
            self.watch.look();
            let due = async {
                sleep_until(self.next_part).await;
                self.reader.ready().await;
            };
            tokio::select! {
                () = due => break,
                () = self.client.draining() => return None,
                () = sleep(LIVENESS_INTERVAL) => {}
            }
            if self.sent_last.elapsed() >= EVENT_STREAM_PING {
                self.sent_last = Instant::now();
                // A comment: shows both sides that the other is still there.
                return Some(Bytes::from_static(b":\n\n"));
            }
        }
        self.sent_last = Instant::now();
        self.next_part = self.sent_last + LOG_PART_INTERVAL;
        Some(self.lines())
    }

    /// The lines that are there, as far as they fit a part.
    fn lines(&mut self) -> Bytes {
        let mut part = Vec::new();
        while part.len() < LOG_PART_BYTES_MAX {
            match self.reader.try_next_kept() {
                Some(KeptEvent::Line(kept)) => {
                    let seq = self.reader.last_seq();
                    part.extend_from_slice(kept.sent(|line| event(seq, line)));
                }
                Some(KeptEvent::Missed(missed)) => {
                    let missed = serde_json::to_string(&Missed { missed }).unwrap_or_default();
                    let text = format!("event: missed\ndata: {missed}\n\n");
                    part.extend_from_slice(text.as_bytes());
                }
                None => break,
            }
        }
        part.into()
    }
}

/// A line as an event.
fn event(seq: u64, line: &wapo_host::LogLine) -> Bytes {
    let line = serde_json::to_string(&to_json(seq, line)).unwrap_or_default();
    format!("data: {line}\n\n").into()
}

fn to_json(seq: u64, line: &wapo_host::LogLine) -> LogLine {
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
        text: line.text.to_string(),
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
