//! What the boot code calls: Rust functions by area.
//!
//! Boot modules import them as `wapo:native`, programs cannot. Making an area
//! calls nothing of the host, because the image of memory is taken afterwards.

mod compress;
mod crypto;
mod exchange;
mod fields;
mod getters;
mod gzip;
mod hash;
mod http;
mod log;
mod outgoing;
mod random;
pub(crate) mod stream;
mod text;
mod timers;
mod url;
mod worker;
mod ws;

use rquickjs::module::{Declarations, Exports, ModuleDef};
use rquickjs::{Ctx, IntoJs, Object, Value};

use self::exchange::Exchange;
pub(crate) use self::exchange::dispatch;

/// The module `wapo:native`; its default export has a member per area.
pub(crate) struct Native;

impl ModuleDef for Native {
    fn declare(declarations: &Declarations<'_>) -> rquickjs::Result<()> {
        declarations.declare("default")?;
        Ok(())
    }

    fn evaluate<'js>(ctx: &Ctx<'js>, exports: &Exports<'js>) -> rquickjs::Result<()> {
        let native = Object::new(ctx.clone())?;
        getters::define::<Exchange>(ctx, &["method", "url", "remote", "headers"])?;
        native.set("log", log::object(ctx)?)?;
        native.set("http", http::object(ctx)?)?;
        native.set("worker", worker::object(ctx)?)?;
        native.set("ws", ws::object(ctx)?)?;
        native.set("timers", timers::object(ctx)?)?;
        native.set("time", timers::time(ctx)?)?;
        native.set("text", text::object(ctx)?)?;
        native.set("url", url::object(ctx)?)?;
        native.set("compress", compress::object(ctx)?)?;
        native.set("random", random::object(ctx)?)?;
        native.set("crypto", crypto::object(ctx)?)?;
        native.set("hash", hash::object(ctx)?)?;
        exports.export("default", native)?;
        Ok(())
    }
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
