//! `NetUdp`: a socket for datagrams.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use futures_util::FutureExt as _;
use rquickjs::class::{Trace, Tracer};
use rquickjs::{
    Array, Class, Ctx, Exception, IntoJs, JsLifetime, Object, Promise, TypedArray, Value,
};
use wapo::net::{Datagrams, UdpSocket};

use super::failure::{closed, failed};
use crate::engine::bytes::{TextArg, copied};
use crate::engine::{Failure, Signal, promise};
use crate::native::Nullable;

/// Bytes that are received at a time: several datagrams come in one call only while
/// there is room for the longest.
const RECEIVE_BYTES: usize = 128 * 1024;

/// Datagrams of one `send`. A program that has more sends again.
const SEND_MAX: usize = 1_024;

/// A socket for datagrams. One call may receive and one send at a time; the boot code
/// sees to it.
#[derive(JsLifetime)]
#[rquickjs::class]
pub(super) struct NetUdp {
    #[qjs(skip_trace)]
    link: Link,
    #[qjs(skip_trace)]
    address: Option<SocketAddr>,
}

impl<'js> Trace<'js> for NetUdp {
    fn trace<'a>(&self, _: Tracer<'a, 'js>) {}
}

/// A socket while it is open. Clones are the same one.
#[derive(Clone)]
struct Link {
    socket: Rc<RefCell<Option<Rc<UdpSocket>>>>,
    closed: Signal,
    is_sending: Rc<Cell<bool>>,
    is_receiving: Rc<Cell<bool>>,
}

impl Link {
    /// Runs an operation until it is done, or the socket is closed.
    async fn run<T>(
        &self,
        busy: &Cell<bool>,
        operation: impl AsyncFnOnce(&UdpSocket) -> io::Result<T>,
    ) -> Result<T, Failure> {
        let socket = self.socket.borrow().clone().ok_or_else(closed)?;
        if busy.replace(true) {
            return Err(Failure::type_error("the socket is in use"));
        }
        let outcome = {
            let mut running = pin!(operation(&socket));
            let poll = |cx: &mut std::task::Context<'_>| match self.socket.borrow().is_some() {
                true => running.as_mut().poll(cx).map_err(|error| failed(&error)),
                false => std::task::Poll::Ready(Err(closed())),
            };
            self.closed.poll(poll).await
        };
        busy.set(false);
        outcome
    }
}

#[rquickjs::methods]
impl NetUdp {
    /// The address and port that it is bound to.
    #[qjs(rename = "get address")]
    fn address(&self) -> Nullable<String> {
        Nullable(self.address.map(|address| address.to_string()))
    }

    /// Makes `host:port` its peer.
    fn connect<'js>(&self, ctx: Ctx<'js>, target: TextArg) -> rquickjs::Result<Promise<'js>> {
        let link = self.link.clone();
        promise(&ctx, async move {
            let connecting = async |socket: &UdpSocket| socket.connect(&target.0).await;
            link.run(&link.is_sending, connecting).await
        })
    }

    /// Sends datagrams: bytes and addresses in turn, `null` for the peer's.
    fn send<'js>(&self, ctx: Ctx<'js>, list: Array<'js>) -> rquickjs::Result<Promise<'js>> {
        let mut batch = Datagrams::with_room(0);
        if list.len() > 2 * SEND_MAX {
            let text = format!("more than {SEND_MAX} datagrams at a time");
            return Err(Exception::throw_range(&ctx, &text));
        }
        for index in (0..list.len()).step_by(2) {
            let data = copied(&ctx, &list.get::<Value<'js>>(index)?)?;
            let target = match list.get::<Option<String>>(index + 1)? {
                None => None,
                Some(text) => Some(text.parse().map_err(|_| {
                    let text = format!("{text:?} is no address and port, such as 127.0.0.1:53");
                    Failure::net("invalid", text).throw(&ctx)
                })?),
            };
            batch
                .push(target, &data)
                .map_err(|error| failed(&error).throw(&ctx))?;
        }
        let link = self.link.clone();
        promise(&ctx, async move {
            let sending = async |socket: &UdpSocket| socket.send_batch(&mut batch).await;
            link.run(&link.is_sending, sending).await
        })
    }

    /// Waits for datagrams: bytes and addresses in turn, 32 datagrams at most.
    fn receive<'js>(&self, ctx: Ctx<'js>) -> rquickjs::Result<Promise<'js>> {
        let link = self.link.clone();
        promise(&ctx, async move {
            let mut batch = Datagrams::with_room(RECEIVE_BYTES);
            let receiving = async |socket: &UdpSocket| socket.recv_batch(&mut batch).await;
            link.run(&link.is_receiving, receiving).await?;
            Ok(Received(batch))
        })
    }

    /// Closes it; waiting tasks are told.
    fn close(&self) {
        drop(self.link.socket.take());
        self.link.closed.notify();
    }
}

/// What `receive()` gives.
struct Received(Datagrams);

impl<'js> IntoJs<'js> for Received {
    fn into_js(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        let list = Array::new(ctx.clone())?;
        for (index, (from, data)) in self.0.iter().enumerate() {
            list.set(2 * index, TypedArray::<u8>::new_copy(ctx.clone(), data)?)?;
            let from = from.map(|from| from.to_string());
            list.set(2 * index + 1, Nullable(from))?;
        }
        Ok(list.into_value())
    }
}

/// Opens a socket on a literal address and port.
pub(super) fn bind<'js>(
    ctx: Ctx<'js>,
    options: Object<'js>,
) -> rquickjs::Result<Class<'js, NetUdp>> {
    let address: String = options.get("address")?;
    // It waits for nothing.
    let bound = UdpSocket::bind(&address).now_or_never();
    let bound = bound.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()));
    let socket = bound.map_err(|error| failed(&error).throw(&ctx))?;
    let udp = NetUdp {
        address: socket.local_addr().ok(),
        link: Link {
            socket: Rc::new(RefCell::new(Some(Rc::new(socket)))),
            closed: Signal::default(),
            is_sending: Rc::default(),
            is_receiving: Rc::default(),
        },
    };
    Class::instance(ctx, udp)
}
