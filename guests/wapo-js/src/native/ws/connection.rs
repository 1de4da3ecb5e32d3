//! A connection: the task that moves its messages, and `WsConn`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use async_tungstenite::tungstenite::{Error, Message, error::CapacityError};
use futures_util::{AsyncRead, AsyncReadExt as _, Sink as _, Stream as _};
use rquickjs::class::{Trace, Tracer};
use rquickjs::{Class, Ctx, IntoJs, JsLifetime, Object, Promise, TypedArray, Value};

use super::MESSAGE_BYTES_MAX;
use crate::engine::bytes::{TextArg, copied, text};
use crate::engine::{Engine, Failure, Signal, promise};
use crate::native::net::Raw;

/// Messages that wait for the program. Nothing more is read meanwhile.
const INBOX_MAX: usize = 16;
/// Bytes of them. Beyond that nothing more is read either, so that a peer with large
/// messages takes no more than this and one message.
const INBOX_BYTES_MAX: usize = 1 << 20;
/// Timeout for a peer that is to confirm the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a peer that did something wrong to hear of it and to leave.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes that are read at once of unwanted data.
const DRAIN_BYTES: usize = 16 * 1024;
/// The program sent no code, and the peer none.
const NO_CODE: u16 = 1005;
/// The connection broke without a word.
const BROKEN: u16 = 1006;

/// What the two ends of a connection's state share.
#[derive(Default)]
struct State {
    inbox: VecDeque<Message>,
    inbox_bytes: usize,
    outbox: VecDeque<Message>,
    /// Bytes of messages that the task has handed to the connection.
    taken: u64,
    end: Option<End>,
    is_killed: bool,
}

impl State {
    fn has_room(&self) -> bool {
        self.inbox.len() < INBOX_MAX && self.inbox_bytes < INBOX_BYTES_MAX
    }

    fn next(&mut self) -> Option<Message> {
        let message = self.inbox.pop_front()?;
        self.inbox_bytes -= message.len();
        Some(message)
    }
}

/// How a connection ended.
#[derive(Clone, Debug)]
struct End {
    code: u16,
    reason: String,
    is_clean: bool,
}

#[derive(Clone, Default)]
struct Shared {
    state: Rc<RefCell<State>>,
    /// To the task: there is something to do.
    work: Signal,
    /// To the program: something came, or went.
    news: Signal,
}

/// What `read()` gives.
enum Read {
    Message(Message),
    End(End),
}

impl<'js> IntoJs<'js> for Read {
    fn into_js(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        match self {
            Self::Message(Message::Text(text)) => text.as_str().into_js(ctx),
            Self::Message(message) => {
                Ok(TypedArray::<u8>::new_copy(ctx.clone(), message.into_data())?.into_value())
            }
            Self::End(end) => {
                let object = Object::new(ctx.clone())?;
                object.set("code", end.code)?;
                object.set("reason", end.reason)?;
                object.set("clean", end.is_clean)?;
                Ok(object.into_value())
            }
        }
    }
}

/// A connection that is open.
#[derive(JsLifetime)]
#[rquickjs::class]
pub(crate) struct WsConn {
    #[qjs(skip_trace)]
    protocol: String,
    #[qjs(skip_trace)]
    shared: Shared,
}

impl<'js> Trace<'js> for WsConn {
    fn trace<'a>(&self, _: Tracer<'a, 'js>) {}
}

#[rquickjs::methods]
impl WsConn {
    /// The protocol that both sides chose; empty for none.
    #[qjs(rename = "get protocol")]
    fn protocol(&self) -> &str {
        &self.protocol
    }

    /// None are spoken.
    #[qjs(rename = "get extensions")]
    fn extensions(&self) -> &str {
        ""
    }

    /// The next message: text, bytes, or at the end `{code, reason, clean}`.
    fn read<'js>(&self, ctx: Ctx<'js>) -> rquickjs::Result<Promise<'js>> {
        let shared = self.shared.clone();
        promise(&ctx, async move {
            let next = || {
                let mut state = shared.state.borrow_mut();
                if let Some(message) = state.next() {
                    return Some(Read::Message(message));
                }
                state.end.clone().map(Read::End)
            };
            let read = shared.news.wait_for(next).await;
            shared.work.notify();
            Ok::<_, Failure>(read)
        })
    }

    /// Sends a message; gives its bytes, which wait until they count in `taken`.
    fn send<'js>(&self, ctx: Ctx<'js>, data: Value<'js>) -> rquickjs::Result<f64> {
        let message = match data.as_string() {
            Some(given) => Message::text(text(given)?),
            None => Message::binary(copied(&ctx, &data)?),
        };
        let bytes = message.len();
        let mut state = self.shared.state.borrow_mut();
        if state.end.is_none() {
            state.outbox.push_back(message);
            self.shared.work.notify();
        }
        Ok(bytes as f64)
    }

    /// Bytes of messages that the connection has taken.
    #[qjs(rename = "get taken")]
    fn taken(&self) -> f64 {
        self.shared.state.borrow().taken as f64
    }

    /// Begins the end: what was given to send goes before.
    fn close(&self, code: Option<u16>, reason: Option<TextArg>) {
        let frame = code.map(|code| CloseFrame {
            code: CloseCode::from(code),
            reason: reason
                .map(|TextArg(reason)| reason)
                .unwrap_or_default()
                .into(),
        });
        let mut state = self.shared.state.borrow_mut();
        state.outbox.push_back(Message::Close(frame));
        self.shared.work.notify();
    }

    /// Drops the connection at once.
    fn kill(&self) {
        self.shared.state.borrow_mut().is_killed = true;
        self.shared.work.notify();
    }
}

/// Limits of a connection's messages.
pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

/// A server's connection on a stream whose handshake is over.
///
/// # Errors
///
/// No memory for the object.
pub(crate) fn accepted<'js>(
    ctx: &Ctx<'js>,
    protocol: String,
    stream: impl Future<Output = Option<Raw>> + 'static,
) -> rquickjs::Result<Class<'js, WsConn>> {
    let shared = Shared::default();
    let for_task = shared.clone();
    if let Some(engine) = Engine::of(ctx) {
        engine
            .spawn(async move {
                match stream.await {
                    Some(stream) => {
                        let socket =
                            WebSocketStream::from_raw_socket(stream, Role::Server, Some(config()));
                        run(for_task, socket.await).await;
                    }
                    None => for_task.end(BROKEN, "", false),
                }
            })
            .detach();
    }
    Class::instance(ctx.clone(), WsConn { protocol, shared })
}

/// A client's connection that is open, to be made an object of.
pub(super) struct Opened {
    pub(super) protocol: String,
    pub(super) socket: WebSocketStream<Raw>,
}

impl<'js> IntoJs<'js> for Opened {
    fn into_js(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        let shared = Shared::default();
        if let Some(engine) = Engine::of(ctx) {
            engine.spawn(run(shared.clone(), self.socket)).detach();
        }
        let connection = WsConn {
            protocol: self.protocol,
            shared,
        };
        Class::instance(ctx.clone(), connection)?.into_js(ctx)
    }
}

impl Shared {
    fn end(&self, code: u16, reason: &str, is_clean: bool) {
        let end = End {
            code,
            reason: reason.to_owned(),
            is_clean,
        };
        self.state.borrow_mut().end.get_or_insert(end);
        self.news.notify();
    }
}

/// Moves messages until the connection ends.
async fn run(shared: Shared, socket: WebSocketStream<Raw>) {
    let mut mover = Mover {
        shared: shared.clone(),
        socket,
        is_closing: false,
        is_read: false,
    };
    let outcome = poll_fn(|cx| mover.poll(cx)).await;
    if let Err(error) = outcome {
        mover.fail(&error).await;
    }
    shared.end(BROKEN, "", false);
    // Nobody takes them any more.
    shared.state.borrow_mut().outbox.clear();
}

struct Mover {
    shared: Shared,
    socket: WebSocketStream<Raw>,
    /// The end was sent.
    is_closing: bool,
    /// The peer will send no more.
    is_read: bool,
}

impl Mover {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.shared.state.borrow().is_killed {
            return Poll::Ready(Ok(()));
        }
        self.shared.work.register(cx);
        while let Poll::Ready(moved) = self.poll_send(cx)? {
            if !moved {
                break;
            }
        }
        let flushed = Pin::new(&mut self.socket).poll_flush(cx)?;
        while !self.is_read && self.shared.state.borrow().has_room() {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(message) => self.received(message?),
                None => self.is_read = true,
            }
        }
        if self.is_read && flushed.is_ready() {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    /// Hands the next message to the connection; `false` when there is none.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        if self.is_closing || self.shared.state.borrow().outbox.is_empty() {
            return Poll::Ready(Ok(false));
        }
        ready!(Pin::new(&mut self.socket).poll_ready(cx))?;
        let message = self.shared.state.borrow_mut().outbox.pop_front();
        let Some(message) = message else {
            return Poll::Ready(Ok(false));
        };
        self.is_closing = message.is_close();
        let bytes = if self.is_closing { 0 } else { message.len() };
        Pin::new(&mut self.socket).start_send(message)?;
        self.shared.state.borrow_mut().taken += bytes as u64;
        if self.is_closing {
            self.give_up_later();
        }
        Poll::Ready(Ok(true))
    }

    /// Ends the connection when the peer does not confirm its end.
    fn give_up_later(&self) {
        let (state, work) = (Rc::downgrade(&self.shared.state), self.shared.work.clone());
        wapo::spawn(async move {
            wapo::time::sleep(CLOSE_TIMEOUT).await;
            if let Some(state) = state.upgrade() {
                state.borrow_mut().is_killed = true;
                work.notify();
            }
        });
    }

    fn received(&mut self, message: Message) {
        match message {
            Message::Text(_) | Message::Binary(_) => {
                let mut state = self.shared.state.borrow_mut();
                state.inbox_bytes += message.len();
                state.inbox.push_back(message);
                self.shared.news.notify();
            }
            Message::Close(frame) => {
                let (code, reason) = match &frame {
                    Some(frame) => (u16::from(frame.code), frame.reason.as_str()),
                    None => (NO_CODE, ""),
                };
                self.shared.end(code, reason, true);
                // The peer is to end the connection now, ours being confirmed.
                if !std::mem::replace(&mut self.is_closing, true) {
                    self.give_up_later();
                }
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }

    /// Tells the peer what it did wrong, if it did.
    async fn fail(&mut self, error: &Error) {
        let code = match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => CloseCode::Size,
            Error::Utf8(_) => CloseCode::Invalid,
            Error::Protocol(_) => CloseCode::Protocol,
            _ => return,
        };
        log::debug!(target: "js::ws", "a connection is closed: {error}");
        let frame = CloseFrame {
            code,
            reason: "".into(),
        };
        let told = async {
            // The connection may be gone already.
            if self.socket.close(Some(frame)).await.is_ok() {
                let _ = wapo::time::timeout(DRAIN_TIMEOUT, drain(self.socket.get_mut())).await;
            }
        };
        let _ = wapo::time::timeout(CLOSE_TIMEOUT, told).await;
    }
}

/// Reads unwanted data to the end: a connection that is dropped with something
/// unread is reset, and the peer may lose the close frame that says why.
async fn drain(stream: &mut (impl AsyncRead + Unpin)) {
    let mut piece = vec![0; DRAIN_BYTES];
    while stream.read(&mut piece).await.is_ok_and(|count| count > 0) {}
}
