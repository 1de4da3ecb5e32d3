//! Queries: small questions that the worker passes on, with one answer each.
//!
//! A query has a path, a payload of bytes, and the account that signed it when
//! it was signed; the meaning of all three is the app's own. For web traffic
//! see [`crate::http`].
//!
//! ```no_run
//! #[wapo::main]
//! async fn main() {
//!     wapo::query::serve(|query| async move {
//!         match query.path.as_str() {
//!             "/echo" => Ok(query.payload),
//!             path => Err(format!("no such path: {path}")),
//!         }
//!     })
//!     .await
//! }
//! ```

use std::fmt;
use std::future::{Future, poll_fn};
use std::rc::Rc;

use wapo_abi::message::QueryRequest;

use crate::error::Result;
use crate::handle::Handle;
use crate::inbox;
use crate::sys::calls;

/// A question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// Account that signed the query, checked by the worker; none when unsigned.
    pub origin: Option<[u8; 32]>,
    /// What is asked.
    pub path: String,
    /// Argument bytes.
    pub payload: Vec<u8>,
}

/// The way back to the sender. Dropping it makes the query fail.
#[derive(Debug)]
pub struct Reply(Handle);

impl Reply {
    /// Answers.
    ///
    /// # Errors
    ///
    /// [`crate::Error::IO_ERROR`] when nobody waits for the answer any more.
    pub fn send(self, answer: impl AsRef<[u8]>) -> Result<()> {
        calls::oneshot_send(self.0.get(), answer.as_ref())
    }

    /// Makes the query fail with a text that the asker sees.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub fn fail(self, reason: &str) -> Result<()> {
        calls::oneshot_send_error(self.0.get(), reason)
    }
}

/// Waits for the next query; `None` when there will be no more.
///
/// Call it from one task at a time.
///
/// # Cancel safety
///
/// No query is lost when the future is dropped.
pub async fn next() -> Option<(Query, Reply)> {
    let request = poll_fn(|cx| inbox::QUERIES.poll_next::<QueryRequest>(cx)).await?;
    let QueryRequest {
        origin,
        path,
        payload,
        reply_tx,
    } = request;
    Some((
        Query {
            origin,
            path,
            payload,
        },
        Reply(reply_tx.into()),
    ))
}

/// Answers every query with a handler, each in a task of its own.
///
/// An `Err` makes the query fail with the error's text. Returns when there
/// will be no more queries, which is when the instance is stopped.
pub async fn serve<H, F, T, E>(handler: H)
where
    H: Fn(Query) -> F + 'static,
    F: Future<Output = Result<T, E>> + 'static,
    T: AsRef<[u8]> + 'static,
    E: fmt::Display + 'static,
{
    let handler = Rc::new(handler);
    while let Some((query, reply)) = next().await {
        let handler = Rc::clone(&handler);
        crate::spawn(async move {
            let sent = match handler(query).await {
                Ok(answer) => reply.send(answer),
                Err(error) => reply.fail(&error.to_string()),
            };
            if let Err(error) = sent {
                ::log::debug!("an answer came too late: {error}");
            }
        });
    }
}
