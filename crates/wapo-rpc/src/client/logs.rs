//! An app's log: what is there, and what comes.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures_util::Stream;
use http::Method as Verb;
use http::header::ACCEPT;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::sse::{Event, Parser};
use super::transport::{Transport, full};
use super::{Client, ClientError};
use crate::limits::CALL_TIMEOUT;
use crate::log::{LogLine, MISSED_EVENT, Missed};
use crate::manifest::AppAddress;

/// Which of the lines that are there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tail {
    /// All that the worker keeps.
    All,
    /// The last so many.
    Last(u64),
}

/// A line, or a gap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogEvent {
    /// A line.
    Line(LogLine),
    /// So many lines were dropped because we were too slow.
    Missed(u64),
}

/// Lines as they come. Ends when the worker ends it.
pub struct LogStream {
    transport: Transport,
    body: Option<Incoming>,
    parser: Parser,
}

impl Client {
    /// The lines that the worker keeps of an app.
    ///
    /// # Errors
    ///
    /// [`ClientError`]
    pub async fn logs(&self, app: AppAddress, tail: Tail) -> Result<Vec<LogLine>, ClientError> {
        let request = self.transport.request(Verb::GET, &path(app, tail, ""));
        let body = full(bytes::Bytes::new());
        let content = self.transport.ask(request, body, CALL_TIMEOUT).await?;
        let lines: Vec<LogLine> =
            serde_json::from_slice(&content).map_err(|error| self.transport.bad_answer(error))?;
        Ok(lines)
    }

    /// The lines that the worker keeps of an app, and those that come.
    ///
    /// # Errors
    ///
    /// [`ClientError`]
    pub async fn follow_logs(&self, app: AppAddress, tail: Tail) -> Result<LogStream, ClientError> {
        let request = self
            .transport
            .request(Verb::GET, &path(app, tail, "follow"))
            .header(ACCEPT, "text/event-stream");
        let response = self.transport.open(request).await?;
        Ok(LogStream {
            transport: self.transport.clone(),
            body: Some(response.into_body()),
            parser: Parser::default(),
        })
    }
}

fn path(app: AppAddress, tail: Tail, follow: &str) -> String {
    let tail = match tail {
        Tail::All => String::new(),
        Tail::Last(lines) => format!("tail={lines}"),
    };
    let options: Vec<&str> = [follow, &tail]
        .into_iter()
        .filter(|option| !option.is_empty())
        .collect();
    let mark = if options.is_empty() { "" } else { "?" };
    format!("/logs/{app}{mark}{}", options.join("&"))
}

impl LogStream {
    /// The next line or gap; `None` when the worker has ended the stream.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; the stream is over then.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn next(&mut self) -> Result<Option<LogEvent>, ClientError> {
        std::future::poll_fn(|cx| self.poll(cx)).await.transpose()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<LogEvent, ClientError>>> {
        loop {
            let Some(body) = &mut self.body else {
                return Poll::Ready(None);
            };
            match self.parser.next() {
                Ok(Some(event)) => match read(&event) {
                    Ok(Some(event)) => return Poll::Ready(Some(Ok(event))),
                    Ok(None) => continue,
                    Err(error) => return self.fail(|transport| transport.bad_answer(error)),
                },
                Ok(None) => {}
                Err(error) => return self.fail(|transport| transport.bad_answer(error)),
            }
            // The future holds nothing between polls, so a new one each time is fine.
            match pin!(body.frame()).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => self.body = None,
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        self.parser.push(data);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    return self.fail(|transport| transport.broken(&error));
                }
            }
        }
    }

    fn fail<T>(
        &mut self,
        error: impl FnOnce(&Transport) -> ClientError,
    ) -> Poll<Option<Result<T, ClientError>>> {
        self.body = None;
        Poll::Ready(Some(Err(error(&self.transport))))
    }
}

/// What an event says; none when it is of a kind that came after this program.
fn read(event: &Event) -> Result<Option<LogEvent>, serde_json::Error> {
    match event.name.as_str() {
        "" | "message" => serde_json::from_str(&event.data).map(|line| Some(LogEvent::Line(line))),
        MISSED_EVENT => {
            let Missed { missed } = serde_json::from_str(&event.data)?;
            Ok(Some(LogEvent::Missed(missed)))
        }
        _ => Ok(None),
    }
}

impl Stream for LogStream {
    type Item = Result<LogEvent, ClientError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_says_what_is_wanted() {
        let app = AppAddress([0xab; 32]);
        let base = format!("/logs/{}", "ab".repeat(32));
        assert_eq!(path(app, Tail::All, ""), base);
        assert_eq!(path(app, Tail::Last(5), ""), format!("{base}?tail=5"));
        let both = format!("{base}?follow&tail=5");
        assert_eq!(path(app, Tail::Last(5), "follow"), both);
    }
}
