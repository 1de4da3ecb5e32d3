//! One body type for requests and responses.
//!
//! It is a [`http_body::Body`], so it fits hyper, tower and `http-body-util`,
//! and has the few methods most handlers need, so that they need none of these.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::{error, fmt, future, io};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Frame, SizeHint};

use super::channel::{self, BodyReceiver, BodySender};
use super::exchange::{self, Exchange};
use crate::net::TcpStream;

/// Most bytes read from the host at a time, at first.
const CHUNK_MIN: usize = 16 * 1024;

/// Most bytes read at a time from a body that keeps coming: what the host keeps
/// ready at most.
const CHUNK_MAX: usize = 64 * 1024;

/// The body of a request or a response.
///
/// As a [`http_body::Body`] it may end with trailers: those of a request come
/// as the last frame, those of a response are sent behind it (with
/// [`BodySender::finish`], or in the last frame of a body of another crate). A
/// response whose body fails, or that is dropped half-way, breaks off at the
/// client.
pub struct Body {
    kind: Kind,
    /// Where it comes from, for a request's body.
    exchange: Option<Exchange>,
}

enum Kind {
    /// Nothing, or nothing left.
    Empty,
    /// Everything at once.
    Full(Bytes),
    /// From the client, through the host.
    Incoming(Incoming),
    /// From a [`BodySender`].
    Channel(BodyReceiver),
    /// From a body of another crate.
    Other(Pin<Box<dyn http_body::Body<Data = Bytes, Error = io::Error> + Send>>),
}

struct Incoming {
    stream: TcpStream,
    /// What the client announced and has not sent yet.
    announced: Option<u64>,
    /// Room for the next piece.
    buffer: BytesMut,
    chunk: usize,
}

impl Body {
    /// No body.
    pub const fn empty() -> Self {
        Self::of(Kind::Empty)
    }

    const fn of(kind: Kind) -> Self {
        Self {
            kind,
            exchange: None,
        }
    }

    /// A body that is sent in pieces as they come.
    ///
    /// ```no_run
    /// # use wapo::http::{Body, Response};
    /// async fn count() -> Response<Body> {
    ///     let (mut sender, body) = Body::channel();
    ///     wapo::spawn(async move {
    ///         for number in 0..10 {
    ///             if sender.send(format!("{number}\n")).await.is_err() {
    ///                 return; // the client is gone
    ///             }
    ///         }
    ///     });
    ///     Response::new(body)
    /// }
    /// ```
    pub fn channel() -> (BodySender, Self) {
        let (sender, receiver) = channel::channel();
        (sender, Self::of(Kind::Channel(receiver)))
    }

    /// Wraps a body of another crate.
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn error::Error + Send + Sync>>,
    {
        Self::of(Kind::Other(Box::pin(MapError(Box::pin(body)))))
    }

    /// Wraps a stream of pieces.
    pub fn from_stream<S, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn error::Error + Send + Sync>> + 'static,
    {
        Self::of(Kind::Other(Box::pin(FromStream(Box::pin(stream)))))
    }

    /// The body of a request that has none.
    pub(super) fn none_of(stream: &TcpStream) -> Self {
        Self {
            exchange: Some(Exchange(stream.downgrade())),
            kind: Kind::Empty,
        }
    }

    pub(super) fn incoming(stream: TcpStream, head: &HeaderMap) -> Self {
        let announced = head.get(CONTENT_LENGTH);
        let announced = announced.and_then(|value| value.to_str().ok()?.parse().ok());
        Self {
            exchange: Some(Exchange(stream.downgrade())),
            kind: Kind::Incoming(Incoming {
                stream,
                announced,
                buffer: BytesMut::new(),
                chunk: CHUNK_MIN,
            }),
        }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Cancel safety
    ///
    /// No piece is lost when the future is dropped.
    ///
    /// # Errors
    ///
    /// When the other side went away in the middle.
    pub async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let frame = future::poll_fn(|cx| self.poll_next_frame(cx))
                .await
                .transpose()?;
            match frame.map(Frame::into_data) {
                None => return Ok(None),
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => return Ok(Some(data)),
                // Trailers are not data.
                Some(Err(_)) => {}
            }
        }
    }

    /// Everything, if it is not more than `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`BodyError::TooLong`] beyond the limit, [`BodyError::Io`] when the
    /// other side went away in the middle.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, BodyError> {
        if http_body::Body::size_hint(&self).lower() > limit as u64 {
            return Err(BodyError::TooLong { limit });
        }
        let first = self.chunk().await?.unwrap_or_default();
        if first.len() > limit {
            return Err(BodyError::TooLong { limit });
        }
        let Some(second) = self.chunk().await? else {
            return Ok(first);
        };
        let mut all = BytesMut::from(first);
        let mut next = Some(second);
        while let Some(piece) = next {
            if all.len() + piece.len() > limit {
                return Err(BodyError::TooLong { limit });
            }
            all.extend_from_slice(&piece);
            next = self.chunk().await?;
        }
        Ok(all.freeze())
    }

    /// As [`Self::bytes`], as text.
    ///
    /// # Errors
    ///
    /// As [`Self::bytes`], and [`BodyError::NotText`] when it is not UTF-8.
    pub async fn text(self, limit: usize) -> Result<String, BodyError> {
        let bytes = self.bytes(limit).await?;
        String::from_utf8(bytes.into()).map_err(|_| BodyError::NotText)
    }

    pub(super) fn exchange(&self) -> Option<&Exchange> {
        self.exchange.as_ref()
    }

    /// The length when it is known, for a `content-length` header.
    pub(super) fn known_len(&self) -> Option<u64> {
        match &self.kind {
            Kind::Empty => Some(0),
            Kind::Full(bytes) => Some(bytes.len() as u64),
            Kind::Other(other) => other.size_hint().exact(),
            Kind::Incoming(_) | Kind::Channel(_) => None,
        }
    }

    /// What is left, if that is known and short.
    pub(super) fn take_whole(&mut self, bytes_max: usize) -> Option<Bytes> {
        let whole = match &mut self.kind {
            Kind::Empty => Bytes::new(),
            Kind::Full(bytes) if bytes.len() <= bytes_max => std::mem::take(bytes),
            _ => return None,
        };
        self.kind = Kind::Empty;
        Some(whole)
    }

    fn poll_next_frame(&mut self, cx: &Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.kind = Kind::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Kind::Incoming(incoming) => {
                let piece = ready!(incoming.poll_read(cx)).transpose();
                if let Ok(Some(data)) = piece {
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                let trailers = piece.map(|_| exchange::trailers(&incoming.stream));
                // Lets go of the stream, so that it can close.
                self.kind = Kind::Empty;
                Poll::Ready(trailers.transpose().map(|last| last.map(Frame::trailers)))
            }
            Kind::Channel(receiver) => receiver.poll_next(cx),
            Kind::Other(other) => other
                .as_mut()
                .poll_frame(&mut Context::from_waker(cx.waker())),
        }
    }
}

impl Incoming {
    fn poll_read(&mut self, cx: &Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let announced = self.announced.and_then(|left| usize::try_from(left).ok());
        // One byte more than announced, so that the end shows in the same read.
        let size = announced.map_or(self.chunk, |left| self.chunk.min(left + 1));
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        let count = match ready!(self.stream.do_read(cx, &mut self.buffer[..size])) {
            Ok(count) => count.min(size),
            Err(error) => return Poll::Ready(Some(Err(error.into()))),
        };
        self.announced = self.announced.map(|left| left.saturating_sub(count as u64));
        if count == size {
            self.chunk = CHUNK_MAX.min(self.chunk * 2);
        }
        Poll::Ready((count > 0).then(|| Ok(self.buffer.split_to(count).freeze())))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.poll_next_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Other(other) => other.is_end_stream(),
            Kind::Incoming(_) | Kind::Channel(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Other(other) => other.size_hint(),
            Kind::Incoming(incoming) => incoming
                .announced
                .map_or_else(SizeHint::new, SizeHint::with_exact),
            _ => self
                .known_len()
                .map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}

struct MapError<B>(Pin<Box<B>>);

impl<B> http_body::Body for MapError<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.as_mut().poll_frame(cx).map_err(io::Error::other)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

struct FromStream<S>(Pin<Box<S>>);

impl<S, E> http_body::Body for FromStream<S>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<Box<dyn error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = ready!(self.0.as_mut().poll_next(cx));
        Poll::Ready(piece.map(|piece| piece.map(Frame::data).map_err(io::Error::other)))
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("len", &self.known_len())
            .finish_non_exhaustive()
    }
}

impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::of(Kind::Full(bytes))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

/// Why a body could not be had as a whole.
#[derive(Debug)]
#[non_exhaustive]
pub enum BodyError {
    /// It is longer than the caller wants.
    TooLong {
        /// What the caller wanted at most, in bytes.
        limit: usize,
    },
    /// It is not UTF-8.
    NotText,
    /// The other side went away.
    Io(io::Error),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { limit } => write!(f, "the body is longer than {limit} bytes"),
            Self::NotText => f.write_str("the body is not UTF-8 text"),
            Self::Io(error) => write!(f, "the body broke off: {error}"),
        }
    }
}

impl error::Error for BodyError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for BodyError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
