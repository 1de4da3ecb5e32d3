//! `native.http`: requests that the program makes. What `fetch` stands on.
//!
//! One exchange over HTTP/1.1, no more: redirects, decompression and the
//! classes of the Fetch standard are boot code.

mod exchange;
mod pool;

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use rquickjs::prelude::Func;
use rquickjs::{Array, Ctx, Exception, Function, IntoJs, Object, Value};
use wapo::http::{Body, Method, Request, Uri};

use self::exchange::Answer;
use self::pool::Pool;
use super::outgoing::Outgoing;
use super::stream::{ByteSink, ByteSource};
use super::{Nullable, fields};
use crate::engine::bytes::copied;
use crate::engine::{Failure, Signal, promise};
use crate::isolate::network;

/// `request({method, url, headers, body})` begins an exchange.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let _ = ctx.store_userdata(Pool::default());
    let area = Object::new(ctx.clone())?;
    area.set("request", Func::from(request))?;
    Ok(area)
}

/// Begins an exchange: `{sink, response, abort}`.
fn request<'js>(ctx: Ctx<'js>, wish: Object<'js>) -> rquickjs::Result<Object<'js>> {
    let body: Value<'js> = wish.get("body")?;
    let (sender, body) = match body.as_bool() {
        Some(true) => {
            let (sender, body) = Body::channel();
            (Some(sender), body)
        }
        _ if body.is_null() || body.is_undefined() => (None, Body::empty()),
        _ => (None, Body::from(copied(&ctx, &body)?)),
    };
    let request = head(&ctx, &wish)?.map(|()| body);
    let pool = ctx.userdata::<Pool>().map(|pool| pool.clone());
    let pool = pool.ok_or_else(|| Exception::throw_type(&ctx, "no network here"))?;
    let abort = Abort::default();
    let call = Object::new(ctx.clone())?;
    let sink = sender.map(|sender| ByteSink::new(Outgoing::new(sender)));
    call.set("sink", Nullable(sink))?;
    call.set("abort", abort.function(&ctx)?)?;
    let answer = async move {
        let exchange = exchange::run(pool, request, abort.clone());
        abort.or(exchange).await
    };
    call.set("response", promise(&ctx, answer)?)?;
    Ok(call)
}

fn head<'js>(ctx: &Ctx<'js>, wish: &Object<'js>) -> rquickjs::Result<Request<()>> {
    let wrong = |what: &str| Exception::throw_type(ctx, what);
    let method: String = wish.get("method")?;
    let url: String = wish.get("url")?;
    let uri = Uri::try_from(&url).map_err(|_| wrong(&format!("{url:?} cannot be fetched")))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        return Err(wrong(&format!("{url:?} is no address of HTTP")));
    }
    let plain = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    let port = uri.port_u16().unwrap_or(plain);
    let allowed = network::check(ctx, uri.host().unwrap_or_default(), port);
    allowed.map_err(|failure| failure.throw(ctx))?;
    let mut request = Request::new(());
    *request.method_mut() = Method::try_from(method.as_str())
        .map_err(|_| wrong(&format!("{method:?} is no method of HTTP")))?;
    *request.uri_mut() = uri;
    let headers: Array<'js> = wish.get("headers")?;
    *request.headers_mut() = fields::map(ctx, &headers)?;
    Ok(request)
}

impl<'js> IntoJs<'js> for Answer {
    fn into_js(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        let answer = Object::new(ctx.clone())?;
        answer.set("status", self.status)?;
        answer.set("statusText", self.reason)?;
        answer.set("headers", fields::list(ctx, &self.headers)?)?;
        answer.set("body", Nullable(self.body.map(ByteSource::new)))?;
        Ok(answer.into_value())
    }
}

/// A switch that gives an exchange up.
#[derive(Clone, Default)]
pub(super) struct Abort {
    is_on: Rc<Cell<bool>>,
    signal: Signal,
}

impl Abort {
    pub(super) fn fire(&self) {
        self.is_on.set(true);
        self.signal.notify();
    }

    /// The function of scripts that throws the switch.
    pub(super) fn function<'js>(&self, ctx: &Ctx<'js>) -> rquickjs::Result<Function<'js>> {
        let switch = self.clone();
        Function::new(ctx.clone(), move || switch.fire())
    }

    /// What a future gives, unless the switch is thrown before.
    pub(super) async fn or<T>(
        &self,
        future: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut future = pin!(future);
        let poll = |cx: &mut Context<'_>| match self.is_on.get() {
            true => Poll::Ready(Err(Failure::dom("AbortError", "the request was aborted"))),
            false => future.as_mut().poll(cx),
        };
        self.signal.poll(poll).await
    }
}

/// A piece of an answer's body.
type Piece = Result<Option<Bytes>, Failure>;
