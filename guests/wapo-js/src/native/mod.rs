//! What the boot code calls: Rust functions by area.
//!
//! Boot modules import them as `wapo:native`, programs cannot. Making an area
//! calls nothing of the host, because the image of memory is taken afterwards.

mod exchange;
mod fields;
mod http;
mod log;
mod outgoing;
pub(crate) mod stream;
mod timers;
mod worker;
mod ws;

use rquickjs::module::{Declarations, Exports, ModuleDef};
use rquickjs::{Ctx, Object};

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
        native.set("log", log::object(ctx)?)?;
        native.set("http", http::object(ctx)?)?;
        native.set("worker", worker::object(ctx)?)?;
        native.set("ws", ws::object(ctx)?)?;
        native.set("timers", timers::object(ctx)?)?;
        native.set("time", timers::time(ctx)?)?;
        exports.export("default", native)?;
        Ok(())
    }
}
