//! Opens a client's connection.

use std::time::Duration;

use async_tungstenite::client_async_with_config;
use rquickjs::{Array, Ctx, Exception, Object};
use wapo::http::{HeaderValue, Request, Uri};

use super::connection::{Opened, config};
use crate::engine::{Failure, promise};
use crate::isolate::network;
use crate::native::fields;
use crate::native::http::Abort;
use crate::native::net::Raw;

/// Time until a connection must be open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);

/// Begins a connection: `{conn, abort}`.
pub(super) fn open<'js>(
    ctx: Ctx<'js>,
    url: String,
    protocols: Vec<String>,
    headers: Array<'js>,
) -> rquickjs::Result<Object<'js>> {
    let wrong = || Exception::throw_type(&ctx, &format!("{url:?} is no address of WebSocket"));
    let uri = Uri::try_from(&url).map_err(|_| wrong())?;
    if !matches!(uri.scheme_str(), Some("ws" | "wss")) || uri.host().is_none() {
        return Err(wrong());
    }
    let plain = if uri.scheme_str() == Some("wss") {
        443
    } else {
        80
    };
    let port = uri.port_u16().unwrap_or(plain);
    let allowed = network::check(&ctx, uri.host().unwrap_or_default(), port);
    allowed.map_err(|failure| failure.throw(&ctx))?;
    let headers = fields::map(&ctx, &headers)?;
    let abort = Abort::default();
    let call = Object::new(ctx.clone())?;
    call.set("abort", abort.function(&ctx)?)?;
    let opening = async move {
        let opening = wapo::time::timeout(OPEN_TIMEOUT, connect(uri, protocols, headers));
        let opening = async {
            opening
                .await
                .map_err(|_| Failure::type_error("the server did not answer in time"))?
        };
        abort.or(opening).await
    };
    call.set("conn", promise(&ctx, opening)?)?;
    Ok(call)
}

async fn connect(
    uri: Uri,
    protocols: Vec<String>,
    headers: wapo::http::HeaderMap,
) -> Result<Opened, Failure> {
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let failed = |error: &dyn std::fmt::Display| {
        Failure::type_error(format!("cannot open a WebSocket to {host}: {error}"))
    };
    let stream = match uri.scheme_str() == Some("wss") {
        true => wapo::net::connect_tls(host, uri.port_u16().unwrap_or(443)).await,
        false => wapo::net::connect(host, uri.port_u16().unwrap_or(80)).await,
    };
    let stream = stream.map_err(|error| failed(&error))?;
    let request = request(&uri, &protocols, headers).map_err(|error| failed(&error))?;
    let (socket, response) = client_async_with_config(request, Raw::from(stream), Some(config()))
        .await
        .map_err(|error| failed(&error))?;
    if response.headers().contains_key("sec-websocket-extensions") {
        return Err(failed(
            &"the server chose an extension that was not offered",
        ));
    }
    let chosen = response.headers().get("sec-websocket-protocol");
    let protocol = chosen
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    if !protocol.is_empty() && !protocols.contains(&protocol) {
        return Err(failed(&"the server chose a protocol that was not offered"));
    }
    Ok(Opened { protocol, socket })
}

fn request(
    uri: &Uri,
    protocols: &[String],
    headers: wapo::http::HeaderMap,
) -> Result<Request<()>, Box<dyn std::error::Error>> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let key = async_tungstenite::tungstenite::handshake::client::generate_key();
    let mut request = Request::get(uri.clone()).body(())?;
    *request.headers_mut() = headers;
    let fields = request.headers_mut();
    fields.insert("host", HeaderValue::try_from(host)?);
    fields.insert("connection", HeaderValue::from_static("Upgrade"));
    fields.insert("upgrade", HeaderValue::from_static("websocket"));
    fields.insert("sec-websocket-version", HeaderValue::from_static("13"));
    fields.insert("sec-websocket-key", HeaderValue::try_from(key)?);
    if !protocols.is_empty() {
        fields.insert(
            "sec-websocket-protocol",
            HeaderValue::try_from(protocols.join(", "))?,
        );
    }
    Ok(request)
}
