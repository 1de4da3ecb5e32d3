//! `NetListener`: accepts connections on a port, or for a name on the worker's TLS
//! port.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use rquickjs::class::{Trace, Tracer};
use rquickjs::{Class, Ctx, JsLifetime, Object, Promise};
use wapo::net::{ListenOptions, SniOptions, SniTlsListener, TcpListener, TcpStream};

use super::connect::identity;
use super::connection::Connected;
use super::failure::failed;
use crate::engine::{Failure, Signal, promise};
use crate::native::Nullable;

/// Time until the next attempt to accept after a failed one. Failures are those of one
/// connection, or of the machine, which has something else to do then.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections. Clones are the same listener.
#[derive(Clone)]
pub(in crate::native) struct Acceptor {
    listener: Rc<RefCell<Option<Listener>>>,
    closed: Signal,
}

enum Listener {
    Port(TcpListener),
    Name(SniTlsListener),
}

impl Listener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<wapo::Result<(TcpStream, SocketAddr)>> {
        match self {
            Self::Port(listener) => listener.poll_accept(cx),
            Self::Name(listener) => pin!(listener.accept()).poll(cx),
        }
    }
}

impl Acceptor {
    /// The next connection; `None` when the listener is closed. A failure to accept one
    /// is no end.
    pub(in crate::native) async fn next(&self) -> Option<(TcpStream, SocketAddr)> {
        loop {
            let accepted = self
                .closed
                .poll(|cx| match self.listener.borrow_mut().as_mut() {
                    Some(listener) => listener.poll_accept(cx).map(Some),
                    None => Poll::Ready(None),
                });
            match accepted.await? {
                Ok(connection) => return Some(connection),
                Err(wapo::Error::END_OF_FILE | wapo::Error::NOT_FOUND) => {
                    self.close();
                    return None;
                }
                Err(error) => {
                    log::warn!(target: "js::net", "a connection was not accepted: {error}");
                    wapo::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Ends it: nobody waits any more, and the place can be taken by another.
    pub(in crate::native) fn close(&self) {
        drop(self.listener.take());
        self.closed.notify();
    }

    /// Waits until it is closed.
    pub(in crate::native) async fn closed(&self) {
        let is_closed = || self.listener.borrow().is_none().then_some(());
        self.closed.wait_for(is_closed).await;
    }
}

/// A listener.
#[derive(JsLifetime)]
#[rquickjs::class]
pub(in crate::native) struct NetListener {
    #[qjs(skip_trace)]
    acceptor: Acceptor,
    #[qjs(skip_trace)]
    address: Option<SocketAddr>,
    /// Whether connections speak TLS by the host.
    #[qjs(skip_trace)]
    is_tls: bool,
    /// A task waits for a connection.
    #[qjs(skip_trace)]
    is_busy: Rc<Cell<bool>>,
}

impl<'js> Trace<'js> for NetListener {
    fn trace<'a>(&self, _: Tracer<'a, 'js>) {}
}

#[rquickjs::methods]
impl NetListener {
    /// The address and port; `null` for a name.
    #[qjs(rename = "get address")]
    fn address(&self) -> Nullable<String> {
        Nullable(self.address.map(|address| address.to_string()))
    }

    /// The next connection; `null` when the listener is closed. To be called again when
    /// the promise is settled.
    fn accept<'js>(&self, ctx: Ctx<'js>) -> rquickjs::Result<Promise<'js>> {
        let (acceptor, is_busy) = (self.acceptor.clone(), Rc::clone(&self.is_busy));
        promise(&ctx, async move {
            if is_busy.replace(true) {
                return Err(Failure::type_error("the listener is in use"));
            }
            let accepted = acceptor.next().await;
            is_busy.set(false);
            Ok(Nullable(
                accepted.map(|(stream, peer)| Connected::accepted(stream, peer)),
            ))
        })
    }

    /// Ends it. Connections that were accepted go on.
    fn close(&self) {
        self.acceptor.close();
    }
}

impl NetListener {
    pub(in crate::native) fn acceptor(&self) -> Acceptor {
        self.acceptor.clone()
    }

    pub(in crate::native) fn is_tls(&self) -> bool {
        self.is_tls
    }
}

/// Listens on `address`, or for `serverName`, with `certificate` and `key`, or with a
/// certificate of the worker's that attests the app, for the names in `attested`. A name may
/// have `alpn`, an address `backlog`, `keepAlive` in seconds and `proxyHeader`.
pub(super) fn listen<'js>(
    ctx: Ctx<'js>,
    options: Object<'js>,
) -> rquickjs::Result<Class<'js, NetListener>> {
    let (listener, is_tls) = match options.get::<_, Option<String>>("serverName")? {
        Some(name) => (Listener::Name(on_name(&ctx, &name, &options)?), true),
        None => {
            let (listener, is_tls) = on_port(&ctx, &options)?;
            (Listener::Port(listener), is_tls)
        }
    };
    let address = match &listener {
        Listener::Port(listener) => listener.local_addr().ok(),
        Listener::Name(_) => None,
    };
    let listener = NetListener {
        acceptor: Acceptor {
            listener: Rc::new(RefCell::new(Some(listener))),
            closed: Signal::default(),
        },
        address,
        is_tls,
        is_busy: Rc::default(),
    };
    Class::instance(ctx, listener)
}

/// The names of a certificate that attests the app, if there is to be one.
fn attested(options: &Object<'_>) -> rquickjs::Result<Option<Vec<String>>> {
    options.get("attested")
}

fn on_name<'js>(
    ctx: &Ctx<'js>,
    name: &str,
    options: &Object<'js>,
) -> rquickjs::Result<SniTlsListener> {
    let missing = || Failure::net("invalid", "a name needs a certificate and its key");
    let wish = match attested(options)? {
        Some(_) => SniOptions::attested(),
        None => SniOptions::new(identity(options)?.ok_or_else(|| missing().throw(ctx))?),
    };
    let alpn: Option<Vec<String>> = options.get("alpn")?;
    let wish = wish.protocols(alpn.unwrap_or_default());
    let bound = SniTlsListener::bind_with(name, wish);
    bound.map_err(|error| failed(&error.into()).throw(ctx))
}

fn on_port<'js>(ctx: &Ctx<'js>, options: &Object<'js>) -> rquickjs::Result<(TcpListener, bool)> {
    let address: String = options.get("address")?;
    if address.parse::<SocketAddr>().is_err() {
        let text = format!("{address:?} is no address and port, such as 0.0.0.0:3000");
        return Err(Failure::net("invalid", text).throw(ctx));
    }
    let mut wish = ListenOptions::new();
    if let Some(connections) = options.get("backlog")? {
        wish = wish.backlog(connections);
    }
    if let Some(seconds) = options.get::<_, Option<u32>>("keepAlive")? {
        wish = wish.keepalive(Duration::from_secs(seconds.into()));
    }
    if options.get::<_, Option<bool>>("proxyHeader")? == Some(true) {
        wish = wish.proxy_header();
    }
    let (identity, attested) = (identity(options)?, attested(options)?);
    let is_tls = identity.is_some() || attested.is_some();
    if let Some(identity) = identity {
        wish = wish.tls(identity);
    }
    if let Some(names) = attested {
        wish = wish.attested(names);
    }
    // It waits for nothing.
    let bound = TcpListener::bind_with(&address, wish).now_or_never();
    let bound = bound.unwrap_or(Err(wapo::Error::PENDING));
    let bound = bound.map_err(|error| match error {
        wapo::Error::INVALID_PARAMETER => {
            let text = format!(
                "cannot listen on {address}: the certificate, its key, a name of it or another option cannot be used"
            );
            Failure::net("invalid", text)
        }
        other => failed(&other.into()),
    });
    let listener = bound.map_err(|failure| failure.throw(ctx))?;
    Ok((listener, is_tls))
}
