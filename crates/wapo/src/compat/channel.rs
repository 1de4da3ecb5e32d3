//! Input channels of Wapo 0.x. New programs use `wapo::query` and `wapo::http`.
//!
//! A channel that fails ends, with a warning in the log.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use parity_scale_codec::{Decode, Encode};
use wapo_abi::message::{self, HttpHead, HttpResponseHead, QueryRequest};

use crate::error::Result;
use crate::handle::Handle;
use crate::inbox::{self, Inbox};
use crate::net::TcpStream;
use crate::sys::calls;

/// The queries that come in.
pub fn incoming_queries() -> &'static Receiver<Query> {
    static RECEIVER: Receiver<Query> = Receiver {
        inbox: &inbox::QUERIES,
        item: PhantomData,
    };
    &RECEIVER
}

/// The HTTP requests that come in.
pub fn incoming_http_requests() -> &'static Receiver<HttpRequest> {
    static RECEIVER: Receiver<HttpRequest> = Receiver {
        inbox: &inbox::HTTP_REQUESTS,
        item: PhantomData,
    };
    &RECEIVER
}

/// Receives messages of the host.
#[derive(Debug)]
pub struct Receiver<T> {
    inbox: &'static Inbox,
    item: PhantomData<fn() -> T>,
}

impl<T> Receiver<T> {
    /// The next message; `None` when there will be no more.
    pub fn next(&self) -> Next<'_, T> {
        Next { receiver: self }
    }
}

/// The future of [`Receiver::next`].
#[derive(Debug)]
pub struct Next<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<T: FromMessage> Future for Next<'_, T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.receiver
            .inbox
            .poll_next::<T::Message>(cx)
            .map(|message| message.map(T::from_message))
    }
}

/// What a channel delivers; implemented here and nowhere else.
pub trait FromMessage {
    /// How it travels.
    #[doc(hidden)]
    type Message: Decode;
    /// Takes ownership of the handles in a message.
    #[doc(hidden)]
    fn from_message(message: Self::Message) -> Self;
}

/// A query with the way back to its sender.
#[derive(Debug)]
pub struct Query {
    /// Account that signed the query, when it was signed.
    pub origin: Option<[u8; 32]>,
    /// What is asked.
    pub path: String,
    /// Argument bytes.
    pub payload: Vec<u8>,
    /// Takes the answer.
    pub reply_tx: OneshotSender,
}

impl FromMessage for Query {
    type Message = QueryRequest;

    fn from_message(message: QueryRequest) -> Self {
        let QueryRequest {
            origin,
            path,
            payload,
            reply_tx,
        } = message;
        Self {
            origin,
            path,
            payload,
            reply_tx: OneshotSender(reply_tx.into()),
        }
    }
}

/// An HTTP request with its stream.
#[derive(Debug)]
pub struct HttpRequest {
    /// Method, URL, headers.
    pub head: HttpHead,
    /// Reads give the request's body, writes are the response's.
    pub io_stream: TcpStream,
    /// Takes the response's head.
    pub response_tx: ScaleOneshotSender<HttpResponseHead>,
}

impl FromMessage for HttpRequest {
    type Message = message::HttpRequest;

    fn from_message(message: message::HttpRequest) -> Self {
        Self {
            head: message.head,
            io_stream: TcpStream::from_handle(message.io_stream.into(), false),
            response_tx: ScaleOneshotSender {
                sender: OneshotSender(message.response_tx.into()),
                message: PhantomData,
            },
        }
    }
}

/// Sends one answer.
#[derive(Debug)]
pub struct OneshotSender(Handle);

impl OneshotSender {
    /// Answers.
    ///
    /// # Errors
    ///
    /// When nobody waits for the answer any more.
    pub fn send(self, data: &[u8]) -> Result<()> {
        calls::oneshot_send(self.0.get(), data)
    }

    /// Makes the requester fail with a text.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub fn send_error(self, text: &str) -> Result<()> {
        calls::oneshot_send_error(self.0.get(), text)
    }
}

impl<M> From<OneshotSender> for ScaleOneshotSender<M> {
    fn from(sender: OneshotSender) -> Self {
        Self {
            sender,
            message: PhantomData,
        }
    }
}

/// Sends one answer of a type.
pub struct ScaleOneshotSender<M> {
    sender: OneshotSender,
    message: PhantomData<fn(M)>,
}

impl<M: Encode> ScaleOneshotSender<M> {
    /// Answers.
    ///
    /// # Errors
    ///
    /// When nobody waits for the answer any more.
    pub fn send(self, message: M) -> Result<()> {
        self.sender.send(&message.encode())
    }

    /// Makes the requester fail with a text.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub fn send_error(self, text: &str) -> Result<()> {
        self.sender.send_error(text)
    }
}

impl<M> fmt::Debug for ScaleOneshotSender<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sender.fmt(f)
    }
}
