//! `native.isolates`, for programs: starts isolates. `native.isolate`, for isolates:
//! what they tell their creator.

use std::rc::Rc;
use std::time::Duration;

use rquickjs::prelude::Func;
use rquickjs::{Array, Ctx, Function, IntoJs as _, Object, Persistent, TypedArray, Value};

use super::Nullable;
use crate::engine::bytes::TextArg;
use crate::engine::{Engine, Failure, describe, pack, report};
use crate::isolate::network::Network;
use crate::isolate::run::{self, Outcome, Wish};

/// `start(wish, callback)` gives a function that closes it.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let area = Object::new(ctx.clone())?;
    area.set("start", Func::from(start))?;
    Ok(area)
}

/// `failed(text)`: a failure that nobody caught.
pub(super) fn own<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let area = Object::new(ctx.clone())?;
    area.set(
        "failed",
        Func::from(|ctx: Ctx<'js>, TextArg(text): TextArg| {
            let engine = Engine::of(&ctx);
            if let Some(isolate) = engine.as_ref().and_then(Engine::isolate) {
                isolate.failure.replace(Some(text));
            }
        }),
    )?;
    Ok(area)
}

/// Calls back with `(error, record, serialized, logs)`; what is missing is `null`, a
/// record `undefined`.
fn start<'js>(
    ctx: Ctx<'js>,
    wish: Object<'js>,
    callback: Function<'js>,
) -> rquickjs::Result<Function<'js>> {
    let engine = Engine::of(&ctx).ok_or(rquickjs::Error::Unknown)?;
    if engine.isolate().is_some() {
        return Err(Failure::type_error("isolates cannot make others").throw(&ctx));
    }
    let wish = Wish {
        scripts: wish.get("scripts")?,
        arguments: wish.get("args")?,
        env: pairs(wish.get("env")?)?,
        network: network(wish.get("network")?)?,
        gas: wish.get::<_, Option<f64>>("gas")?.map(|units| units as u64),
        memory: wish
            .get::<_, Option<f64>>("memory")?
            .map(|bytes| bytes as usize),
        time: wish.get::<_, Option<f64>>("time")?.map(milliseconds),
        processor: wish.get::<_, Option<f64>>("cpu")?.map(milliseconds),
        keeps_logs: wish.get("keepsLogs")?,
    };
    let account = engine.account();
    let callback = Persistent::save(&ctx, callback);
    let done = move |creator: &Engine, outcome: Outcome| {
        creator.enter_as(account, |ctx| {
            let called = callback.restore(ctx).and_then(|it| call(ctx, &it, outcome));
            report::outcome(ctx, called);
        });
    };
    let started = run::start(&engine, wish, done);
    let isolate = started.map_err(|failure| failure.throw(&ctx))?;
    let isolate = Rc::downgrade(&isolate);
    Function::new(ctx, move || {
        if let Some(isolate) = isolate.upgrade() {
            isolate.close();
        }
    })
}

fn call<'js>(ctx: &Ctx<'js>, callback: &Function<'js>, outcome: Outcome) -> rquickjs::Result<()> {
    let Outcome {
        error,
        output,
        serialized,
        logs,
    } = outcome;
    let logs = Nullable(logs).into_js(ctx);
    let read = |bytes: Vec<u8>| pack::read(ctx, &bytes);
    let handed_over = logs.and_then(|logs| {
        let record = output.map(read).transpose()?;
        let record = record.unwrap_or_else(|| Value::new_undefined(ctx.clone()));
        let serialized = Nullable(serialized).into_js(ctx)?;
        Ok((Nullable(error).into_js(ctx)?, record, serialized, logs))
    });
    match handed_over {
        Ok(values) => callback.call(values),
        // The creator hears of it in any case: a caller waits.
        Err(_) => {
            let thrown = ctx.catch();
            let why = describe(ctx, &thrown);
            let error = format!("what the isolate has left cannot be handed over: {why}");
            let nothing = Value::new_undefined(ctx.clone());
            callback.call((
                error,
                nothing,
                Nullable::<String>(None),
                Nullable::<String>(None),
            ))
        }
    }
}

/// Longest time, which is also what a number that is too large means: 24 days.
const MILLISECONDS_MAX: f64 = 2_147_483_647.0;

fn milliseconds(given: f64) -> Duration {
    Duration::from_secs_f64(given.clamp(0.0, MILLISECONDS_MAX) / 1_000.0)
}

/// Names and values in turn.
fn pairs(list: Array<'_>) -> rquickjs::Result<Vec<(String, String)>> {
    let all: Vec<String> = list.iter().collect::<rquickjs::Result<_>>()?;
    let pairs = all.chunks_exact(2);
    Ok(pairs
        .map(|pair| (pair[0].clone(), pair[1].clone()))
        .collect())
}

fn network(given: Value<'_>) -> rquickjs::Result<Network> {
    Ok(match given.as_bool() {
        Some(true) => Network::Any,
        Some(false) => Network::Off,
        None => Network::Hosts(given.get()?),
    })
}

/// `native.worker` of isolates: their own environment and secrets.
pub(super) fn worker<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let area = Object::new(ctx.clone())?;
    area.set("env", Func::from(env))?;
    area.set("deriveSecret", Func::from(derive_secret))?;
    area.set("exit", Func::from(super::worker::exit))?;
    area.set("memory", Func::from(super::worker::memory_stats))?;
    let changed = Func::from(super::worker::listeners_changed);
    area.set("listenersChanged", changed)?;
    Ok(area)
}

fn env<'js>(ctx: Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    let engine = Engine::of(&ctx);
    let isolate = engine.as_ref().and_then(Engine::isolate);
    for (name, value) in isolate.iter().flat_map(|isolate| &isolate.env) {
        object.set(name.as_str(), value.as_str())?;
    }
    Ok(object)
}

/// What the paths of isolates' secrets begin with; the digest of their scripts follows,
/// so that other scripts have others, and none has the program's.
const SECRETS: &[u8] = b"wapojs/isolate/";

fn derive_secret<'js>(ctx: Ctx<'js>, path: Value<'js>) -> rquickjs::Result<TypedArray<'js, u8>> {
    let path = crate::engine::bytes::copied(&ctx, &path)?;
    let engine = Engine::of(&ctx);
    let isolate = engine.as_ref().and_then(Engine::isolate);
    let isolate = isolate.ok_or(rquickjs::Error::Unknown)?;
    let path = [SECRETS, &isolate.code, &path].concat();
    let secret = wapo::secret::derive(path);
    let secret = secret.map_err(|error| super::worker::thrown(&ctx, "deriveSecret", error))?;
    TypedArray::new_copy(ctx, secret)
}
