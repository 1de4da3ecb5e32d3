//! `NetConn`: a connection, whose two directions are a `ByteSource` and a `ByteSink`.
//!
//! It closes when it is told to, or when it and its directions are collected. One
//! task may read and one may write at a time, which source and sink see to.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use futures_util::{AsyncRead as _, AsyncWrite as _};
use rquickjs::class::{Trace, Tracer};
use rquickjs::{Class, Ctx, IntoJs, JsLifetime, Object, Promise, Value};
use wapo::net::TcpStream;

use super::connect::tls_options;
use super::failure::{closed, failed};
use super::raw::Raw;
use crate::engine::{Failure, Signal, promise};
use crate::native::Nullable;
use crate::native::stream::{ByteSink, ByteSource, Later, Sink, Source};

/// Bytes that are read at a time.
const PIECE_BYTES: usize = 64 * 1024;

thread_local! {
    /// Where a read of any connection goes before its bytes are copied: a connection
    /// that waits holds no memory.
    static PIECE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A stream while it is open. Clones are the same one.
#[derive(Clone)]
struct Link {
    stream: Rc<RefCell<Option<Raw>>>,
    closed: Signal,
}

impl Link {
    fn new(stream: Raw) -> Self {
        Self {
            stream: Rc::new(RefCell::new(Some(stream))),
            closed: Signal::default(),
        }
    }

    /// Runs an operation until it is done, or the stream is closed.
    async fn run<T>(
        &self,
        mut operation: impl FnMut(Pin<&mut Raw>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Result<T, Failure> {
        let poll = |cx: &mut Context<'_>| {
            let mut stream = self.stream.borrow_mut();
            let Some(stream) = stream.as_mut() else {
                return Poll::Ready(Err(closed()));
            };
            operation(Pin::new(stream), cx).map_err(|error| failed(&error))
        };
        self.closed.poll(poll).await
    }

    /// Takes the stream out: readers and writers find it closed.
    fn take(&self) -> Option<Raw> {
        let stream = self.stream.take();
        self.closed.notify();
        stream
    }

    async fn read(&self) -> Result<Option<Bytes>, Failure> {
        self.run(|stream, cx| {
            PIECE.with_borrow_mut(|piece| {
                piece.resize(PIECE_BYTES, 0);
                let count = ready!(stream.poll_read(cx, piece))?;
                let read = piece.get(..count).filter(|read| !read.is_empty());
                Poll::Ready(Ok(read.map(Bytes::copy_from_slice)))
            })
        })
        .await
    }

    async fn write(&self, mut piece: Bytes) -> Result<(), Failure> {
        self.run(|mut stream, cx| {
            while !piece.is_empty() {
                let count = ready!(stream.as_mut().poll_write(cx, &piece))?;
                if count == 0 || count > piece.len() {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                piece.advance(count);
            }
            stream.poll_flush(cx)
        })
        .await
    }
}

/// The bytes that come.
struct LinkSource(Link);

impl Source for LinkSource {
    fn next(&mut self) -> Later<'_, Result<Option<Bytes>, Failure>> {
        Box::pin(self.0.read())
    }
}

/// The bytes that go.
struct LinkSink(Link);

impl Sink for LinkSink {
    fn write(&mut self, piece: Bytes) -> Later<'_, Result<(), Failure>> {
        Box::pin(self.0.write(piece))
    }

    fn close(&mut self) -> Later<'_, Result<(), Failure>> {
        Box::pin(self.0.run(|stream, cx| stream.poll_close(cx)))
    }

    fn abort(self: Box<Self>) {
        // One direction alone cannot be broken off.
        drop(self.0.take());
    }
}

/// A connection that stands.
#[derive(JsLifetime)]
#[rquickjs::class]
pub(in crate::native) struct NetConn {
    #[qjs(skip_trace)]
    link: Link,
    /// Where it comes from, for one that was accepted.
    #[qjs(skip_trace)]
    peer: Option<SocketAddr>,
}

impl<'js> Trace<'js> for NetConn {
    fn trace<'a>(&self, _: Tracer<'a, 'js>) {}
}

#[rquickjs::methods]
impl NetConn {
    /// Where it comes from, for one that was accepted, else `null`.
    #[qjs(rename = "get peer")]
    fn peer(&self) -> Nullable<String> {
        Nullable(self.peer.map(|peer| peer.to_string()))
    }

    /// The bytes that come.
    fn source(&self) -> ByteSource {
        ByteSource::new(LinkSource(self.link.clone()))
    }

    /// The bytes that go.
    fn sink(&self) -> ByteSink {
        ByteSink::new(LinkSink(self.link.clone()))
    }

    /// What is known of it once TLS, if any, is agreed on: `{local, remote, alpn,
    /// serverName}`.
    fn opened<'js>(&self, ctx: Ctx<'js>) -> rquickjs::Result<Promise<'js>> {
        let (link, peer) = (self.link.clone(), self.peer);
        promise(&ctx, async move {
            link.run(|stream, cx| {
                let shaking = std::pin::pin!(stream.stream().handshake());
                shaking.poll(cx)
            })
            .await?;
            let stream = link.stream.borrow();
            let stream = stream.as_ref().ok_or_else(closed)?.stream();
            Ok(Facts {
                local: stream.local_addr().ok(),
                remote: peer.or_else(|| stream.peer_addr().ok()),
                alpn: stream.protocol(),
                server_name: stream.server_name(),
            })
        })
    }

    /// The same connection with TLS, as a client of the server with that name; this
    /// object is closed then.
    #[qjs(rename = "startTls")]
    fn start_tls<'js>(
        &self,
        ctx: Ctx<'js>,
        name: String,
        options: Object<'js>,
    ) -> rquickjs::Result<Self> {
        let options = tls_options(&options)?;
        let stream = self.link.take().and_then(Raw::into_stream);
        let stream = stream.ok_or_else(|| closed().throw(&ctx))?;
        let stream = stream.start_tls(&name, options);
        let stream = stream.map_err(|error| failed(&error).throw(&ctx))?;
        Ok(Self::new(stream.into(), None))
    }

    /// Closes it at once.
    fn close(&self) {
        drop(self.link.take());
    }
}

impl NetConn {
    pub(in crate::native) fn new(stream: Raw, peer: Option<SocketAddr>) -> Self {
        Self {
            link: Link::new(stream),
            peer,
        }
    }
}

/// A stream that becomes a `NetConn`.
pub(in crate::native) struct Connected(Raw, Option<SocketAddr>);

impl Connected {
    pub(super) fn accepted(stream: TcpStream, peer: SocketAddr) -> Self {
        Self(stream.into(), Some(peer))
    }
}

impl From<TcpStream> for Connected {
    fn from(stream: TcpStream) -> Self {
        Self(stream.into(), None)
    }
}

impl From<Raw> for Connected {
    fn from(stream: Raw) -> Self {
        Self(stream, None)
    }
}

impl<'js> IntoJs<'js> for Connected {
    fn into_js(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        Class::instance(ctx.clone(), NetConn::new(self.0, self.1))?.into_js(ctx)
    }
}

/// What is known of a connection.
struct Facts {
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    alpn: Option<Vec<u8>>,
    server_name: Option<String>,
}

impl<'js> IntoJs<'js> for Facts {
    fn into_js(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        let text = |address: Option<SocketAddr>| Nullable(address.map(|it| it.to_string()));
        let alpn = self
            .alpn
            .map(|name| String::from_utf8_lossy(&name).into_owned());
        let object = Object::new(ctx.clone())?;
        object.set("local", text(self.local))?;
        object.set("remote", text(self.remote))?;
        object.set("alpn", Nullable(alpn))?;
        object.set("serverName", Nullable(self.server_name))?;
        Ok(object.into_value())
    }
}
