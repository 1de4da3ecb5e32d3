//! `native.net`: connections, listeners and datagrams. What `wapo:sockets` stands on.
//!
//! Moves bytes and makes objects; what a socket is to a program (its streams, when
//! it is closed) is boot code. The server of HTTP (`native::server`) takes a
//! listener from here.

mod connect;
mod connection;
mod failure;
mod listener;
mod raw;
mod udp;

use rquickjs::prelude::Func;
use rquickjs::{Ctx, Object};

pub(super) use self::connection::Connected;
use self::connection::NetConn;
pub(super) use self::listener::{Acceptor, NetListener};
pub(super) use self::raw::Raw;
use self::udp::NetUdp;
use super::getters;

/// `connect`, `listen` and `bind`.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    getters::define::<NetConn>(ctx, &["peer"])?;
    getters::define::<NetListener>(ctx, &["address"])?;
    getters::define::<NetUdp>(ctx, &["address"])?;
    let area = Object::new(ctx.clone())?;
    area.set("connect", Func::from(connect::connect))?;
    area.set("listen", Func::from(listener::listen))?;
    area.set("bind", Func::from(udp::bind))?;
    Ok(area)
}
