//! `native.server`: HTTP/1.1 on a listener of the program's own, plain or with TLS by
//! the host. What `Wapo.httpsListen` and `serve` of `wapo:http` stand on.
//!
//! Requests become the same `Exchange`s as those of the gateway. There is no gateway in
//! front, so clients are met with limits here: how many there are, how long they take for
//! a head or a piece of a body, and for how long they may take nothing of an answer.

mod reply;
mod target;
mod write_timeout;

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use rquickjs::prelude::Func;
use rquickjs::{Class, Ctx, Exception, Function, Object, Persistent};
use wapo::http::{Body, IntoResponse as _, Method, Request, Response, StatusCode};
use wapo::net::TcpStream;

pub(super) use self::reply::Sender;
use self::reply::Sent;
use self::write_timeout::WriteTimeout;
use super::exchange::{self, Arrived, Upgrade};
use super::net::{Acceptor, NetListener, Raw};
use crate::engine::{Engine, Signal, WeakEngine};

/// Connections of a listener at the same time, where the program does not say. Others
/// wait in the listener's queue.
const CONNECTIONS_MAX: usize = 1_024;

/// Time for the head of a request, and for the next one on a connection that is kept,
/// where the program does not say. A client that sends a byte now and then has no more.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may send nothing of a body that the program waits for, and take
/// nothing of its answer, where the program does not say.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of a request's head, and of what is read ahead.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// `serve(listener, function, limits)` calls a function with each exchange.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let area = Object::new(ctx.clone())?;
    area.set("serve", Func::from(serve))?;
    Ok(area)
}

/// What clients are met with.
#[derive(Clone, Copy)]
struct Limits {
    connections: usize,
    head: Duration,
    idle: Duration,
}

impl Limits {
    /// Members `maxConnections`, `headTimeout` and `idleTimeout`, the last two in
    /// milliseconds.
    fn of(wish: &Object<'_>) -> rquickjs::Result<Self> {
        let time = |name: &str, otherwise: Duration| {
            let milliseconds: Option<f64> = wish.get(name)?;
            Ok::<_, rquickjs::Error>(milliseconds.map_or(otherwise, |milliseconds| {
                Duration::from_secs_f64(milliseconds.clamp(1.0, f64::from(i32::MAX)) / 1_000.0)
            }))
        };
        let connections: Option<u32> = wish.get("maxConnections")?;
        Ok(Self {
            connections: connections.map_or(CONNECTIONS_MAX, |count| count.max(1) as usize),
            head: time("headTimeout", HEAD_TIMEOUT)?,
            idle: time("idleTimeout", IDLE_TIMEOUT)?,
        })
    }
}

/// A server: what its connections share.
struct Server {
    engine: WeakEngine,
    function: Persistent<Function<'static>>,
    limits: Limits,
    is_tls: bool,
    /// Of the listener, which ends connections when it is closed.
    acceptor: Acceptor,
    connections: Cell<usize>,
    /// A connection has ended.
    freed: Signal,
}

/// Takes connections of a listener until it is closed, and calls a function with each
/// exchange. The program goes on meanwhile, as long as it listens.
fn serve<'js>(
    ctx: Ctx<'js>,
    listener: Class<'js, NetListener>,
    function: Function<'js>,
    limits: Object<'js>,
) -> rquickjs::Result<()> {
    let missing = || Exception::throw_type(&ctx, "no network here");
    let engine = Engine::of(&ctx).ok_or_else(missing)?;
    let listener = listener.borrow();
    let server = Rc::new(Server {
        engine: engine.weak(),
        function: Persistent::save(&ctx, function),
        limits: Limits::of(&limits)?,
        is_tls: listener.is_tls(),
        acceptor: listener.acceptor(),
        connections: Cell::new(0),
        freed: Signal::default(),
    });
    engine.spawn(server.accept_all()).detach();
    Ok(())
}

impl Server {
    async fn accept_all(self: Rc<Self>) {
        loop {
            let has_place = || (self.connections.get() < self.limits.connections).then_some(());
            self.freed.wait_for(has_place).await;
            let Some((stream, peer)) = self.acceptor.next().await else {
                return;
            };
            let Some(engine) = self.engine.upgrade() else {
                return;
            };
            let seat = Seat::take(&self);
            // When the listener is closed, the program stays for the answers under way.
            engine.spawn(seat.serve(stream, peer)).detach();
        }
    }
}

/// The place of a connection among those of its server.
struct Seat(Rc<Server>);

impl Seat {
    fn take(server: &Rc<Server>) -> Self {
        server.connections.set(server.connections.get() + 1);
        Self(Rc::clone(server))
    }

    /// Answers the requests of a connection until it ends.
    async fn serve(self, stream: TcpStream, peer: SocketAddr) {
        let server = &self.0;
        let service = service_fn(|request: Request<Incoming>| server.answer(request, peer));
        let stream = WriteTimeout::new(stream, server.limits.idle);
        let connection = http1::Builder::new()
            .timer(wapo::hyper::Timer)
            .header_read_timeout(server.limits.head)
            .max_buf_size(READ_BUFFER_BYTES)
            .serve_connection(stream, service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let mut closed = pin!(server.acceptor.closed());
        let mut is_leaving = false;
        let ended = poll_fn(|cx| {
            if !is_leaving && closed.as_mut().poll(cx).is_ready() {
                is_leaving = true;
                // The request under way has its answer, the next one none.
                connection.as_mut().graceful_shutdown();
            }
            connection.as_mut().poll(cx)
        });
        if let Err(error) = ended.await {
            log::debug!(target: "js::https", "the connection of {peer} ended: {error}");
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get() - 1);
        self.0.freed.notify();
    }
}

impl Server {
    /// Has the program answer a request.
    async fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Sent>, Infallible> {
        let Some(url) = target::url(&request, self.is_tls) else {
            let refused = (StatusCode::BAD_REQUEST, "bad request\n").into_response();
            return Ok(refused.map(Sent::unwatched));
        };
        let Some(engine) = self.engine.upgrade() else {
            return Ok(StatusCode::SERVICE_UNAVAILABLE
                .into_response()
                .map(Sent::unwatched));
        };
        let upgrade = hyper::upgrade::on(&mut request);
        let upgrade: Upgrade = Box::pin(async move {
            let parts = upgrade.await.ok()?.downcast::<WriteTimeout>().ok()?;
            Some(Raw::new(parts.read_buf, parts.io.into_stream()))
        });
        let (sender, receiver) = reply::pair(request.method() == Method::HEAD);
        let arrived = Arrived {
            url,
            peer,
            request: request.map(Body::new),
            upgrade,
            idle: self.limits.idle,
        };
        let gone = exchange::deliver(&engine, arrived, sender, &self.function);
        drop(engine);
        Ok(receiver.answer(gone).await)
    }
}
