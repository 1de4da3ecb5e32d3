//! `Exchange`: a request that the program answers.
//!
//! `crate::serve` makes one for each request of the gateway and gives it to the boot
//! code; `native::server` does so with those on ports and names of the program's own.

use std::cell::Cell;
use std::future::Future as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use rquickjs::class::{Trace, Tracer};
use rquickjs::{Array, Class, Ctx, Exception, Function, JsLifetime, Persistent, Promise, Value};
use wapo::http::{Body, ClientLeft, IntoResponse as _, Request, Responder, Response, StatusCode};

use super::Nullable;
use super::fields;
use super::net::{Connected, Raw};
use super::outgoing::Outgoing;
use super::server::Sender;
use super::stream::{ByteSink, ByteSource, Later, Source};
use super::ws::{self, WsConn};
use crate::engine::bytes::{TextArg, copied};
use crate::engine::{Account, Engine, Failure, Signal, cpu_limit, promise, report};

/// One request and its answer.
#[derive(JsLifetime)]
#[rquickjs::class]
pub(crate) struct Exchange {
    #[qjs(skip_trace)]
    remote: Option<SocketAddr>,
    #[qjs(skip_trace)]
    request: Request<()>,
    #[qjs(skip_trace)]
    body: Option<Body>,
    #[qjs(skip_trace)]
    reply: Reply,
    /// The whole URL, where the request itself does not have it.
    #[qjs(skip_trace)]
    url: Option<String>,
    /// The stream after a change of protocols, where the request itself does not have it.
    #[qjs(skip_trace)]
    upgrade: Option<Upgrade>,
    /// How long the client may send nothing of its body.
    #[qjs(skip_trace)]
    idle: Option<Duration>,
}

/// The stream of a request once it was answered with 101; `None` when the client has
/// left.
pub(super) type Upgrade = Later<'static, Option<Raw>>;

/// A request on a port or a name of the program's own.
pub(super) struct Arrived {
    pub(super) url: String,
    pub(super) peer: SocketAddr,
    pub(super) request: Request<Body>,
    pub(super) upgrade: Upgrade,
    pub(super) idle: Duration,
}

impl<'js> Trace<'js> for Exchange {
    fn trace<'a>(&self, _: Tracer<'a, 'js>) {}
}

impl Exchange {
    fn new(request: Request<Body>, reply: Reply) -> Self {
        let remote = wapo::http::peer(&request);
        let (head, body) = request.into_parts();
        Self {
            request: Request::from_parts(head, ()),
            body: Some(body),
            remote,
            reply,
            url: None,
            upgrade: None,
            idle: None,
        }
    }

    fn of_own(arrived: Arrived, reply: Reply) -> Self {
        let (head, body) = arrived.request.into_parts();
        Self {
            remote: Some(arrived.peer),
            request: Request::from_parts(head, ()),
            body: Some(body),
            reply,
            url: Some(arrived.url),
            upgrade: Some(arrived.upgrade),
            idle: Some(arrived.idle),
        }
    }
}

#[rquickjs::methods]
impl Exchange {
    /// The request's method.
    #[qjs(rename = "get method")]
    fn method(&self) -> &str {
        self.request.method().as_str()
    }

    /// Its whole URL.
    #[qjs(rename = "get url")]
    fn url(&self) -> String {
        let url = self.url.clone();
        url.unwrap_or_else(|| self.request.uri().to_string())
    }

    /// What the request itself names: on a port or a name of the program's own, the path.
    #[qjs(rename = "get target")]
    fn target(&self) -> String {
        self.request.uri().to_string()
    }

    /// The client's address, where the worker knows it.
    #[qjs(rename = "get remote")]
    fn remote(&self) -> Nullable<String> {
        Nullable(self.remote.map(|address| address.to_string()))
    }

    /// Names and values of its header fields in turn, a character for a byte.
    #[qjs(rename = "get headers")]
    fn headers<'js>(&self, ctx: Ctx<'js>) -> rquickjs::Result<Array<'js>> {
        fields::list(&ctx, self.request.headers())
    }

    /// The values of one field, joined; `null` when there are none.
    fn header(&self, name: TextArg) -> Nullable<String> {
        Nullable(self.joined(&name.0))
    }

    /// The request's body, once; `null` when there is none.
    #[qjs(rename = "takeBody")]
    fn take_body(&mut self) -> Nullable<ByteSource> {
        let body = self.body.take().filter(|body| !body.is_end_stream());
        let idle = self.idle;
        Nullable(body.map(|body| ByteSource::new(Incoming { body, idle })))
    }

    /// Answers with a body that is at hand.
    fn respond<'js>(
        &mut self,
        ctx: Ctx<'js>,
        status: u16,
        headers: Array<'js>,
        body: Value<'js>,
    ) -> rquickjs::Result<()> {
        let body = copied(&ctx, &body)?;
        let response = head(&ctx, status, &headers)?;
        self.send(&ctx, response.map(|()| Body::from(body)))
    }

    /// Sends the head of an answer and gives the sink of its body.
    fn start<'js>(
        &mut self,
        ctx: Ctx<'js>,
        status: u16,
        headers: Array<'js>,
    ) -> rquickjs::Result<ByteSink> {
        let (sender, body) = Body::channel();
        let response = head(&ctx, status, &headers)?;
        self.send(&ctx, response.map(|()| body))?;
        Ok(ByteSink::new(Outgoing::new(sender)))
    }

    /// Answers 500 if nothing was sent.
    fn fail(&mut self) {
        self.reply.0.fail();
    }

    /// Calls a function once when the client leaves before its answer is complete.
    #[qjs(rename = "onAbort")]
    fn on_abort<'js>(&mut self, ctx: Ctx<'js>, function: Function<'js>) {
        let Some(engine) = Engine::of(&ctx) else {
            return;
        };
        let (function, weak) = (Persistent::save(&ctx, function), engine.weak());
        let gone = self.reply.0.gone.clone();
        self.reply.watch();
        wapo::spawn(async move {
            if gone.is_early().await
                && let Some(engine) = weak.upgrade()
            {
                engine.enter(|ctx| {
                    let called = function.restore(ctx).and_then(|it| it.call(()));
                    report::outcome(ctx, called);
                });
            }
        });
    }

    /// Answers the request for a WebSocket, with these fields and this protocol.
    fn upgrade<'js>(
        &mut self,
        ctx: Ctx<'js>,
        headers: Array<'js>,
        protocol: String,
    ) -> rquickjs::Result<Class<'js, WsConn>> {
        let key = ws::key_of(&self.request)
            .ok_or_else(|| Exception::throw_type(&ctx, "the request asks for no WebSocket"))?;
        let mut response = head(&ctx, 101, &headers)?;
        ws::accept(response.headers_mut(), &key, &protocol)
            .ok_or_else(|| Exception::throw_type(&ctx, "the protocol's name cannot be sent"))?;
        let upgrade = self.take_upgrade();
        self.send(&ctx, response.map(|()| Body::empty()))?;
        ws::accepted(&ctx, protocol, upgrade)
    }

    /// Answers with 101 and these fields; gives the connection, which speaks another
    /// protocol from then on.
    fn tunnel<'js>(
        &mut self,
        ctx: Ctx<'js>,
        headers: Array<'js>,
    ) -> rquickjs::Result<Promise<'js>> {
        let response = head(&ctx, 101, &headers)?;
        let upgrade = self.take_upgrade();
        self.send(&ctx, response.map(|()| Body::empty()))?;
        promise(&ctx, async move {
            let left = || Failure::net("closed", "the protocol was not changed");
            upgrade.await.map(Connected::from).ok_or_else(left)
        })
    }
}

impl Exchange {
    fn joined(&self, name: &str) -> Option<String> {
        let mut values = self.request.headers().get_all(name).iter();
        let mut all = fields::text(values.next()?).into_owned();
        for value in values {
            all.push_str(", ");
            all.push_str(&fields::text(value));
        }
        Some(all)
    }

    fn take_upgrade(&mut self) -> Upgrade {
        let own = self.upgrade.take();
        own.unwrap_or_else(|| {
            let upgrade = wapo::http::on_upgrade(&mut self.request);
            Box::pin(async move { upgrade.await.ok().map(Raw::from) })
        })
    }

    fn send(&mut self, ctx: &Ctx<'_>, response: Response<Body>) -> rquickjs::Result<()> {
        let slot = &self.reply.0;
        match slot.responder.take() {
            Some(responder) => answer(responder, response, slot.gone.clone()),
            // The client has left, and nobody is there to hear the answer.
            None if slot.gone.is_early.get() == Some(true) => {}
            None => {
                return Err(Exception::throw_type(
                    ctx,
                    "the request has its answer already",
                ));
            }
        }
        Ok(())
    }
}

/// Where the answer goes, until there is one. Clones are the same place; when
/// the last of them is dropped, nobody can answer any more.
#[derive(Clone)]
struct Reply(Rc<Slot>);

struct Slot {
    responder: Cell<Option<Answers>>,
    gone: Gone,
    /// The client, until its leaving is watched. That of a connection of the program's
    /// own is not here: its connection tells.
    client: Cell<Option<ClientLeft>>,
}

impl Reply {
    /// Whether nothing was sent yet.
    fn is_open(&self) -> bool {
        let responder = self.0.responder.take();
        let is_open = responder.is_some();
        self.0.responder.set(responder);
        is_open
    }

    /// Watches from now on whether the client leaves. Then the request is let go of,
    /// whatever the program still waits for: the worker counts those that it has in hand.
    fn watch(&self) {
        let Some(client) = self.0.client.take() else {
            return;
        };
        let (gone, slot) = (self.0.gone.clone(), Rc::downgrade(&self.0));
        wapo::spawn(async move {
            if gone.has_left(client).await {
                gone.tell(true);
                if let Some(slot) = slot.upgrade() {
                    drop(slot.responder.take());
                }
            }
        });
    }
}

/// What takes the answer.
enum Answers {
    /// The gateway.
    Gateway(Responder),
    /// A connection of the program's own.
    Connection(Sender),
}

impl Slot {
    /// Answers 500 if nothing was sent.
    fn fail(&self) {
        if let Some(responder) = self.responder.take() {
            let failure = (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n");
            answer(responder, failure.into_response(), self.gone.clone());
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.fail();
    }
}

/// Sends an answer. Most are taken at once; one that is not goes on in a task.
fn answer(answers: Answers, response: Response<Body>, gone: Gone) {
    let responder = match answers {
        Answers::Gateway(responder) => responder,
        Answers::Connection(sender) => return sender.send(response, gone),
    };
    let mut sending = Box::pin(async move {
        let outcome = responder.send(response).await;
        if let Err(error) = &outcome {
            log::debug!(target: "js", "a response was not taken: {error}");
        }
        gone.settle(outcome.is_err());
    });
    let mut nobody = Context::from_waker(Waker::noop());
    if sending.as_mut().poll(&mut nobody).is_pending() {
        wapo::spawn(sending);
    }
}

/// How an exchange ended: whether the client left before.
#[derive(Clone)]
pub(super) struct Gone {
    is_early: Rc<Cell<Option<bool>>>,
    signal: Signal,
    account: Weak<Account>,
}

impl Gone {
    fn new(account: &Rc<Account>) -> Self {
        Self {
            is_early: Rc::default(),
            signal: Signal::default(),
            account: Rc::downgrade(account),
        }
    }

    /// What the program still does is no longer at the request's cost.
    pub(super) fn settle(&self, is_early: bool) {
        if let Some(account) = self.account.upgrade() {
            account.close();
        }
        self.tell(is_early);
    }

    /// Says how it has ended; the first word counts.
    fn tell(&self, is_early: bool) {
        if self.is_early.get().is_none() {
            self.is_early.set(Some(is_early));
            self.signal.notify();
        }
    }

    /// Whether a client leaves before the exchange is over, while nothing is read or
    /// written.
    async fn has_left(&self, mut client: ClientLeft) -> bool {
        let ended = |cx: &mut Context<'_>| match self.is_early.get() {
            Some(_) => Poll::Ready(false),
            None => Pin::new(&mut client).poll(cx).map(|()| true),
        };
        self.signal.poll(ended).await
    }

    async fn is_early(&self) -> bool {
        self.signal.wait_for(|| self.is_early.get()).await
    }
}

fn head<'js>(ctx: &Ctx<'js>, status: u16, headers: &Array<'js>) -> rquickjs::Result<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status)
        .map_err(|_| Exception::throw_range(ctx, &format!("{status} is no status of HTTP")))?;
    *response.headers_mut() = fields::map(ctx, headers)?;
    Ok(response)
}

/// The body of a request.
struct Incoming {
    body: Body,
    idle: Option<Duration>,
}

impl Source for Incoming {
    fn next(&mut self) -> Later<'_, Result<Option<Bytes>, Failure>> {
        Box::pin(async {
            let piece = self.body.chunk();
            let piece = match self.idle {
                None => piece.await,
                Some(idle) => {
                    let piece = wapo::time::timeout(idle, piece).await;
                    piece.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
                }
            };
            piece.map_err(|error| {
                Failure::type_error(format!("the request's body was cut: {error}"))
            })
        })
    }
}

/// Hands a request of the gateway to the boot code.
pub(crate) fn dispatch(
    engine: &Engine,
    handler: Option<&Persistent<Value<'static>>>,
    request: Request<Body>,
    responder: Responder,
) {
    let client = wapo::http::client_left(&request);
    begin(
        engine,
        Answers::Gateway(responder),
        Some(client),
        |ctx, reply| {
            let exchange = Class::instance(ctx.clone(), Exchange::new(request, reply))?;
            let handler = handler
                .map(|handler| handler.clone().restore(ctx))
                .transpose()?;
            engine
                .hook(ctx, |hooks| &hooks.dispatch)?
                .call((exchange, handler))
        },
    );
}

/// Hands a request on a port or a name of the program's own to a function; tells how
/// the exchange ends.
pub(super) fn deliver(
    engine: &Engine,
    arrived: Arrived,
    sender: Sender,
    function: &Persistent<Function<'static>>,
) -> Gone {
    begin(engine, Answers::Connection(sender), None, |ctx, reply| {
        let exchange = Class::instance(ctx.clone(), Exchange::of_own(arrived, reply))?;
        function.clone().restore(ctx)?.call((exchange,))
    })
}

/// Begins an exchange with an account of its own.
fn begin(
    engine: &Engine,
    answers: Answers,
    client: Option<ClientLeft>,
    call: impl for<'js> FnOnce(&Ctx<'js>, Reply) -> rquickjs::Result<()>,
) -> Gone {
    let account = Account::new(cpu_limit());
    let gone = Gone::new(&account);
    let reply = Reply(Rc::new(Slot {
        responder: Cell::new(Some(answers)),
        gone: gone.clone(),
        client: Cell::new(client),
    }));
    let slot = Rc::downgrade(&reply.0);
    account.on_over(move || {
        if let Some(slot) = slot.upgrade() {
            slot.fail();
        }
    });
    let watched = reply.clone();
    engine.enter_as(account, |ctx| {
        let called = call(ctx, reply);
        report::outcome(ctx, called);
    });
    // Most are answered by now.
    if watched.is_open() {
        watched.watch();
    }
    gone
}
