//! `ByteSource` and `ByteSink`: bytes that come or go in pieces.
//!
//! The boot code makes streams of the web platform from them. One piece is on
//! its way at a time, so a side that is slow slows the other down.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use rquickjs::class::{Trace, Tracer};
use rquickjs::{Ctx, IntoJs, JsLifetime, Promise, TypedArray, Value};

use crate::engine::bytes::copied;
use crate::engine::{Failure, Signal, promise};

/// A future that is kept behind a pointer.
pub(crate) type Later<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Where bytes come from.
pub(crate) trait Source {
    /// The next piece; `None` at the end.
    fn next(&mut self) -> Later<'_, Result<Option<Bytes>, Failure>>;
}

/// Where bytes go.
pub(crate) trait Sink {
    /// Waits until all of a piece was taken.
    fn write(&mut self, piece: Bytes) -> Later<'_, Result<(), Failure>>;

    /// Ends the stream.
    fn close(&mut self) -> Later<'_, Result<(), Failure>>;

    /// Breaks it off: the other side sees that something is missing.
    fn abort(self: Box<Self>);
}

/// Where the source or sink is while nobody uses it.
type Slot<T> = Rc<RefCell<State<T>>>;

enum State<T> {
    Here(T),
    /// A read or write is under way.
    Busy,
    Over,
}

impl<T> State<T> {
    fn take(&mut self) -> Result<T, Failure> {
        match std::mem::replace(self, Self::Over) {
            Self::Here(it) => {
                *self = Self::Busy;
                Ok(it)
            }
            Self::Busy => {
                *self = Self::Busy;
                Err(Failure::type_error("the stream is in use"))
            }
            Self::Over => Err(Failure::type_error("the stream is over")),
        }
    }

    /// Puts it back, unless the stream was given up meanwhile.
    fn put_back(&mut self, it: T) -> Option<T> {
        if let Self::Busy = self {
            *self = Self::Here(it);
            return None;
        }
        Some(it)
    }
}

/// What `read()` gives.
struct Piece(Option<Bytes>);

impl<'js> IntoJs<'js> for Piece {
    fn into_js(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        match self.0 {
            Some(bytes) => Ok(TypedArray::<u8>::new_copy(ctx.clone(), bytes)?.into_value()),
            None => Ok(Value::new_null(ctx.clone())),
        }
    }
}

/// Bytes for a program to read.
#[derive(JsLifetime)]
#[rquickjs::class]
pub(crate) struct ByteSource {
    #[qjs(skip_trace)]
    slot: Slot<Box<dyn Source>>,
    #[qjs(skip_trace)]
    cancelled: Signal,
}

impl<'js> Trace<'js> for ByteSource {
    fn trace<'a>(&self, _: Tracer<'a, 'js>) {}
}

impl ByteSource {
    pub(crate) fn new(source: impl Source + 'static) -> Self {
        Self {
            slot: Rc::new(RefCell::new(State::Here(Box::new(source)))),
            cancelled: Signal::default(),
        }
    }
}

#[rquickjs::methods]
impl ByteSource {
    /// The next piece as bytes; `null` at the end.
    fn read<'js>(&self, ctx: Ctx<'js>) -> rquickjs::Result<Promise<'js>> {
        let (slot, cancelled) = (Rc::clone(&self.slot), self.cancelled.clone());
        promise(&ctx, async move {
            let mut source = slot.borrow_mut().take()?;
            let piece = {
                let mut next = source.next();
                let poll = |cx: &mut Context<'_>| match *slot.borrow() {
                    State::Over => Poll::Ready(Ok(None)),
                    _ => next.as_mut().poll(cx),
                };
                cancelled.poll(poll).await
            };
            if let Ok(Some(_)) = piece {
                drop(slot.borrow_mut().put_back(source));
            } else {
                *slot.borrow_mut() = State::Over;
            }
            piece.map(Piece)
        })
    }

    /// Says that the rest is not wanted.
    fn cancel(&self) {
        *self.slot.borrow_mut() = State::Over;
        self.cancelled.notify();
    }
}

/// Bytes for a program to write.
#[derive(JsLifetime)]
#[rquickjs::class]
pub(crate) struct ByteSink {
    #[qjs(skip_trace)]
    slot: Slot<Box<dyn Sink>>,
}

impl<'js> Trace<'js> for ByteSink {
    fn trace<'a>(&self, _: Tracer<'a, 'js>) {}
}

impl ByteSink {
    pub(crate) fn new(sink: impl Sink + 'static) -> Self {
        Self {
            slot: Rc::new(RefCell::new(State::Here(Box::new(sink)))),
        }
    }
}

#[rquickjs::methods]
impl ByteSink {
    /// Sends a piece; settles when it was taken.
    fn write<'js>(&self, ctx: Ctx<'js>, piece: Value<'js>) -> rquickjs::Result<Promise<'js>> {
        let piece = copied(&ctx, &piece)?;
        let slot = Rc::clone(&self.slot);
        promise(&ctx, async move {
            let mut sink = slot.borrow_mut().take()?;
            let outcome = sink.write(piece).await;
            let given_up = if outcome.is_ok() {
                slot.borrow_mut().put_back(sink)
            } else {
                *slot.borrow_mut() = State::Over;
                Some(sink)
            };
            if let Some(sink) = given_up {
                sink.abort();
            }
            outcome
        })
    }

    /// Ends the stream.
    fn close<'js>(&self, ctx: Ctx<'js>) -> rquickjs::Result<Promise<'js>> {
        let slot = Rc::clone(&self.slot);
        promise(&ctx, async move {
            let mut sink = slot.borrow_mut().take()?;
            let outcome = sink.close().await;
            *slot.borrow_mut() = State::Over;
            outcome
        })
    }

    /// Breaks the stream off.
    fn abort(&self) {
        let state = std::mem::replace(&mut *self.slot.borrow_mut(), State::Over);
        if let State::Here(sink) = state {
            sink.abort();
        }
    }
}
