//! `native.ws`: WebSocket connections (RFC 6455), of clients and of servers.
//!
//! The protocol is tungstenite's. A task per connection moves messages;
//! `WsConn` is what the boot code makes `WebSocket` of.

mod accept;
mod connection;
mod open;

use rquickjs::prelude::Func;
use rquickjs::{Ctx, Object};

pub(super) use self::accept::{accept, key_of};
pub(super) use self::connection::{WsConn, accepted};

/// Bytes of one message, and of one frame.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// `open(url, protocols, headers)` begins a connection.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    super::getters::define::<WsConn>(ctx, &["protocol", "extensions", "taken"])?;
    let area = Object::new(ctx.clone())?;
    area.set("open", Func::from(open::open))?;
    Ok(area)
}
