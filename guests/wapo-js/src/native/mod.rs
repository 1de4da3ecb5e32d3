//! What the boot code calls: Rust functions by area.
//!
//! Boot modules import them as `wapo:native`, programs cannot. Making an area
//! calls nothing of the host, because the image of memory is taken afterwards.

mod budget;
mod compress;
mod context;
mod crypto;
mod exchange;
mod fields;
mod getters;
mod gzip;
mod hash;
mod http;
mod isolates;
mod log;
mod modules;
mod net;
mod outgoing;
mod random;
mod server;
pub(crate) mod session;
pub(crate) mod source_map;
pub(crate) mod stream;
mod text;
mod timers;
mod url;
mod wasm;
mod worker;
mod ws;

use rquickjs::module::{Declarations, Exports, ModuleDef};
use rquickjs::{Ctx, IntoJs, Object, Value};

use self::exchange::Exchange;
pub(crate) use self::exchange::dispatch;
pub(crate) use self::log::{json as kept_logs, keep as keep_logs};
use crate::engine::Engine;

/// What `Wapo.version` says: the release that the engine is of.
const VERSION: &str = wapo::__private::VERSION;

/// What a program is, for servers that it asks and as `navigator.userAgent`.
pub(crate) fn user_agent() -> String {
    format!("WapoJS/{VERSION}")
}

/// The module `wapo:native`; its default export has a member per area.
pub(crate) struct Native;

impl ModuleDef for Native {
    fn declare(declarations: &Declarations<'_>) -> rquickjs::Result<()> {
        declarations.declare("default")?;
        Ok(())
    }

    fn evaluate<'js>(ctx: &Ctx<'js>, exports: &Exports<'js>) -> rquickjs::Result<()> {
        let native = Object::new(ctx.clone())?;
        getters::define::<Exchange>(ctx, &["method", "url", "target", "remote", "headers"])?;
        native.set("version", VERSION)?;
        native.set("userAgent", user_agent())?;
        native.set("log", log::object(ctx)?)?;
        native.set("http", http::object(ctx)?)?;
        native.set("worker", worker::object(ctx)?)?;
        native.set("ws", ws::object(ctx)?)?;
        native.set("net", net::object(ctx)?)?;
        native.set("server", server::object(ctx)?)?;
        native.set("timers", timers::object(ctx)?)?;
        native.set("context", context::object(ctx)?)?;
        native.set("modules", modules::object(ctx)?)?;
        native.set("sourceMap", source_map::object(ctx)?)?;
        native.set("time", timers::time(ctx)?)?;
        native.set("text", text::object(ctx)?)?;
        native.set("url", url::object(ctx)?)?;
        native.set("compress", compress::object(ctx)?)?;
        native.set("random", random::object(ctx)?)?;
        native.set("crypto", crypto::object(ctx)?)?;
        native.set("hash", hash::object(ctx)?)?;
        native.set("wasm", wasm::object(ctx)?)?;
        match Engine::of(ctx).is_some_and(|engine| engine.isolate().is_some()) {
            true => restrict(&native)?,
            false => {
                native.set("isolates", isolates::object(ctx)?)?;
                native.set("budget", budget::object(ctx)?)?;
                native.set("session", session::object(ctx)?)?;
            }
        }
        exports.export("default", native)?;
        Ok(())
    }
}

/// Areas that isolates have, too. What comes to be here asks whose script it is before
/// it does more than to compute: `isolate::network` knows what each may reach.
const AREAS_OF_ISOLATES: &[&str] = &[
    "version",
    "userAgent",
    "log",
    "http",
    "ws",
    "timers",
    "context",
    "modules",
    "sourceMap",
    "time",
    "text",
    "url",
    "compress",
    "random",
    "crypto",
    "hash",
    "wasm",
];

/// Takes away what isolates do not have.
fn restrict(native: &Object<'_>) -> rquickjs::Result<()> {
    let areas = native
        .keys::<String>()
        .collect::<rquickjs::Result<Vec<_>>>()?;
    for area in areas {
        if !AREAS_OF_ISOLATES.contains(&area.as_str()) {
            native.remove(area)?;
        }
    }
    native.set("worker", isolates::worker(native.ctx())?)?;
    native.set("isolate", isolates::own(native.ctx())?)
}

/// A value, or `null` for none (an `Option` becomes `undefined`).
pub(crate) struct Nullable<T>(pub(crate) Option<T>);

impl<'js, T: IntoJs<'js>> IntoJs<'js> for Nullable<T> {
    fn into_js(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        match self.0 {
            Some(value) => value.into_js(ctx),
            None => Ok(Value::new_null(ctx.clone())),
        }
    }
}
