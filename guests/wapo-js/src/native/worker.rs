//! `native.worker`: what the worker offers to a program besides the network.

use std::cell::RefCell;
use std::rc::Rc;

use rquickjs::class::{Trace, Tracer};
use rquickjs::prelude::Func;
use rquickjs::{
    Class, Ctx, Function, IntoJs, JsLifetime, Object, Persistent, Promise, TypedArray, Value,
};
use wapo::query::{Query, Reply};

use super::Nullable;
use super::getters;
use crate::engine::bytes::{TextArg, copied};
use crate::engine::{Account, Engine, Failure, cpu_limit, heap, memory, promise, report};

/// Bytes for JavaScript.
type Bytes<'js> = TypedArray<'js, u8>;

/// Everything that is here asks the host when it is called, not before.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    getters::define::<QueryCall>(ctx, &["path", "payload", "origin"])?;
    let area = Object::new(ctx.clone())?;
    area.set("env", Func::from(env))?;
    area.set("exit", Func::from(exit))?;
    area.set("deriveSecret", Func::from(derive_secret))?;
    area.set("sign", Func::from(sign))?;
    area.set("publicKey", Func::from(public_key))?;
    area.set("quote", Func::from(quote))?;
    area.set("evidence", Func::from(evidence))?;
    area.set("bootData", Func::from(boot_data))?;
    area.set("storeBootData", Func::from(store_boot_data))?;
    area.set("tryLock", Func::from(try_lock))?;
    area.set("appAddress", Func::from(app_address))?;
    area.set("output", Func::from(output))?;
    area.set("tip", Func::from(tip))?;
    area.set("gas", Func::from(gas))?;
    area.set("blob", Func::from(blob))?;
    area.set("memory", Func::from(memory_stats))?;
    area.set("listenersChanged", Func::from(listeners_changed))?;
    area.set("listenQueries", Func::from(listen_queries))?;
    Ok(area)
}

/// An error of the host, in words.
pub(super) fn thrown(ctx: &Ctx<'_>, what: &str, error: wapo::Error) -> rquickjs::Error {
    Failure::type_error(format!("{what}: {error}")).throw(ctx)
}

fn env<'js>(ctx: Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let object = Object::new(ctx)?;
    for (name, value) in std::env::vars() {
        object.set(name, value)?;
    }
    Ok(object)
}

/// Ends the program after the present turn, with an exit code.
pub(super) fn exit(ctx: Ctx<'_>, code: Option<i32>) {
    if let Some(engine) = Engine::of(&ctx) {
        engine.exit(code.unwrap_or(0));
    }
}

fn derive_secret<'js>(ctx: Ctx<'js>, path: Value<'js>) -> rquickjs::Result<Bytes<'js>> {
    let path = copied(&ctx, &path)?;
    let secret = wapo::secret::derive(path);
    let secret = secret.map_err(|error| thrown(&ctx, "deriveSecret", error))?;
    TypedArray::new_copy(ctx, secret)
}

fn sign<'js>(ctx: Ctx<'js>, data: Value<'js>) -> rquickjs::Result<Bytes<'js>> {
    let data = copied(&ctx, &data)?;
    let signature = wapo::attest::sign(&data);
    let signature = signature.map_err(|error| thrown(&ctx, "the signature", error))?;
    TypedArray::new_copy(ctx, signature)
}

fn public_key<'js>(ctx: Ctx<'js>) -> rquickjs::Result<Bytes<'js>> {
    let key = wapo::attest::worker_key();
    let key = key.map_err(|error| thrown(&ctx, "the worker's key", error))?;
    TypedArray::new_copy(ctx, key)
}

fn quote<'js>(ctx: Ctx<'js>, data: Value<'js>) -> rquickjs::Result<Nullable<Bytes<'js>>> {
    let data = copied(&ctx, &data)?;
    let quote = wapo::attest::quote(&data);
    let quote = quote.map_err(|error| thrown(&ctx, "the quote", error))?;
    quote
        .map(|quote| TypedArray::new_copy(ctx, quote))
        .transpose()
        .map(Nullable)
}

/// Bytes that a promise gives.
struct Octets(Vec<u8>);

impl<'js> IntoJs<'js> for Octets {
    fn into_js(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        Bytes::new(ctx.clone(), self.0).map(TypedArray::into_value)
    }
}

/// Evidence of the app; rejects where there is none.
fn evidence<'js>(ctx: Ctx<'js>, nonce: Value<'js>) -> rquickjs::Result<Promise<'js>> {
    let nonce = copied(&ctx, &nonce)?;
    promise(&ctx, async move {
        let made = wapo::attest::evidence(&nonce).await;
        made.map(Octets).map_err(|error| {
            Failure::type_error(match error {
                wapo::Error::UNSUPPORTED_OPERATION => {
                    "evidence: this worker attests nothing".to_owned()
                }
                wapo::Error::INVALID_PARAMETER => {
                    "evidence: a nonce has at most 64 bytes".to_owned()
                }
                other => format!("evidence: {other}; the app's log says more"),
            })
        })
    })
}

fn boot_data<'js>(ctx: Ctx<'js>) -> rquickjs::Result<Nullable<Bytes<'js>>> {
    let data = wapo::boot::read();
    let data = data.map_err(|error| thrown(&ctx, "the boot data", error))?;
    let data = data.map(|data| TypedArray::new_copy(ctx, data));
    data.transpose().map(Nullable)
}

fn store_boot_data<'js>(ctx: Ctx<'js>, data: Value<'js>) -> rquickjs::Result<()> {
    let data = copied(&ctx, &data)?;
    wapo::boot::write(&data).map_err(|error| thrown(&ctx, "the boot data", error))
}

/// A lock that is held; `release` or the garbage collector gives it back.
#[derive(JsLifetime)]
#[rquickjs::class]
struct LockGuard {
    #[qjs(skip_trace)]
    guard: Option<wapo::lock::Guard>,
}

impl<'js> Trace<'js> for LockGuard {
    fn trace<'a>(&self, _: Tracer<'a, 'js>) {}
}

#[rquickjs::methods]
impl LockGuard {
    fn release(&mut self) {
        self.guard = None;
    }
}

/// The lock, or `null` when it is taken.
fn try_lock<'js>(
    ctx: Ctx<'js>,
    TextArg(name): TextArg,
) -> rquickjs::Result<Nullable<Class<'js, LockGuard>>> {
    let guard = wapo::lock::try_acquire(&name);
    let guard = guard.map_err(|error| thrown(&ctx, "the lock", error))?;
    let object = |guard| Class::instance(ctx, LockGuard { guard: Some(guard) });
    guard.map(object).transpose().map(Nullable)
}

fn app_address<'js>(ctx: Ctx<'js>) -> rquickjs::Result<Bytes<'js>> {
    let address = wapo::app::address();
    let address = address.map_err(|error| thrown(&ctx, "the app's address", error))?;
    TypedArray::new_copy(ctx, address)
}

fn output<'js>(ctx: Ctx<'js>, data: Value<'js>) -> rquickjs::Result<()> {
    let data = copied(&ctx, &data)?;
    wapo::app::output(&data).map_err(|error| thrown(&ctx, "the output", error))
}

fn tip(ctx: Ctx<'_>, amount: f64) -> rquickjs::Result<()> {
    if !(0.0..=9_007_199_254_740_991.0).contains(&amount) || amount.fract() != 0.0 {
        return Err(Failure::range_error(format!("{amount} is no amount of gas")).throw(&ctx));
    }
    wapo::app::tip(amount as u64).map_err(|error| thrown(&ctx, "the tip", error))
}

/// Gas that the app has used so far.
fn gas(ctx: Ctx<'_>) -> rquickjs::Result<f64> {
    let reading = wapo::app::gas_used();
    let reading = reading.map_err(|error| thrown(&ctx, "the gas used", error))?;
    Ok(reading.gas as f64)
}

fn blob<'js>(ctx: Ctx<'js>, TextArg(hash): TextArg) -> rquickjs::Result<Nullable<Bytes<'js>>> {
    match wapo::blob::get(&hash) {
        Ok(data) => TypedArray::new(ctx, data).map(|data| Nullable(Some(data))),
        Err(wapo::Error::NOT_FOUND) => Ok(Nullable(None)),
        Err(error) => Err(thrown(&ctx, &format!("the blob {hash}"), error)),
    }
}

/// Bytes that the instance has allocated: at present, at the most since the last
/// call, and at the most ever. An isolate hears of its own objects.
pub(super) fn memory_stats(ctx: Ctx<'_>) -> Vec<f64> {
    let is_isolate = Engine::of(&ctx).is_some_and(|engine| engine.isolate().is_some());
    if is_isolate {
        return vec![heap::in_use(&ctx) as f64; 3];
    }
    let stats = memory::stats();
    [stats.current, stats.spike, stats.peak]
        .map(|bytes| bytes as f64)
        .to_vec()
}

/// A query and its answer.
#[derive(JsLifetime)]
#[rquickjs::class]
struct QueryCall {
    #[qjs(skip_trace)]
    query: Query,
    #[qjs(skip_trace)]
    reply: Option<Reply>,
}

impl<'js> Trace<'js> for QueryCall {
    fn trace<'a>(&self, _: Tracer<'a, 'js>) {}
}

#[rquickjs::methods]
impl QueryCall {
    #[qjs(rename = "get path")]
    fn path(&self) -> &str {
        &self.query.path
    }

    #[qjs(rename = "get payload")]
    fn payload<'js>(&self, ctx: Ctx<'js>) -> rquickjs::Result<Bytes<'js>> {
        TypedArray::new_copy(ctx, &self.query.payload)
    }

    /// The account that signed, or `null`.
    #[qjs(rename = "get origin")]
    fn origin<'js>(&self, ctx: Ctx<'js>) -> rquickjs::Result<Nullable<Bytes<'js>>> {
        let origin = self.query.origin;
        origin
            .map(|origin| TypedArray::new_copy(ctx, origin))
            .transpose()
            .map(Nullable)
    }

    /// Answers; `false` when there is an answer already.
    fn reply<'js>(&mut self, ctx: Ctx<'js>, data: Value<'js>) -> rquickjs::Result<bool> {
        let data = copied(&ctx, &data)?;
        let Some(reply) = self.reply.take() else {
            return Ok(false);
        };
        if let Err(error) = reply.send(data) {
            log::debug!(target: "js::query", "an answer was not taken: {error}");
        }
        Ok(true)
    }

    /// Fails the query with a text for the asker.
    fn fail(&mut self, reason: TextArg) {
        if let Some(reply) = self.reply.take() {
            // Nobody waits any more then.
            let _ = reply.fail(&reason.0);
        }
    }
}

/// The program has begun, or ceased, to listen to requests.
pub(super) fn listeners_changed(ctx: Ctx<'_>) {
    if let Some(engine) = Engine::of(&ctx) {
        engine.listeners_changed();
    }
}

/// Calls a function with each query from now on; a program has one such function.
fn listen_queries<'js>(ctx: Ctx<'js>, function: Function<'js>) {
    let Some(engine) = Engine::of(&ctx) else {
        return;
    };
    let listener = Persistent::save(&ctx, function);
    if let Some(known) = ctx.userdata::<Listener>() {
        known.0.replace(Some(listener));
        return;
    }
    let shared = Rc::new(RefCell::new(Some(listener)));
    let _ = ctx.store_userdata(Listener(Rc::clone(&shared)));
    let weak = engine.weak();
    engine
        .spawn(async move {
            while let Some((query, reply)) = wapo::query::next().await {
                let (Some(engine), Some(function)) = (weak.upgrade(), shared.borrow().clone())
                else {
                    return;
                };
                engine.enter_as(Account::new(cpu_limit()), |ctx| {
                    let call = QueryCall {
                        query,
                        reply: Some(reply),
                    };
                    let called = Class::instance(ctx.clone(), call)
                        .and_then(|call| function.restore(ctx)?.call((call,)));
                    report::outcome(ctx, called);
                });
            }
        })
        .detach();
}

/// The function of queries.
#[derive(JsLifetime)]
struct Listener(Rc<RefCell<Option<Persistent<Function<'static>>>>>);
