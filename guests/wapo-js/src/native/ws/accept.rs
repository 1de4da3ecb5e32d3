//! The server's side of the opening handshake (RFC 6455, section 4.2).

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use wapo::http::{HeaderMap, HeaderValue, Request};

/// Bytes of a client's key: 16 in base64.
const KEY_BYTES: usize = 24;

/// The key of a request for a WebSocket; `None` when it is none.
pub(in crate::native) fn key_of(request: &Request<()>) -> Option<String> {
    let has = |name: &str, token: &str| {
        let values = request.headers().get_all(name).iter();
        let mut tokens = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        tokens.any(|known| known.trim().eq_ignore_ascii_case(token))
    };
    let key = request
        .headers()
        .get("sec-websocket-key")?
        .to_str()
        .ok()?
        .trim();
    let is_asked = has("upgrade", "websocket") && has("sec-websocket-version", "13");
    let is_base64 = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/');
    let bytes = key.strip_suffix("==").unwrap_or_default();
    let is_key = key.len() == KEY_BYTES && bytes.bytes().all(is_base64);
    (is_asked && is_key && !bytes.is_empty()).then(|| key.to_owned())
}

/// Adds what the answer to the handshake says; `None` when the protocol cannot
/// be sent.
pub(in crate::native) fn accept(fields: &mut HeaderMap, key: &str, protocol: &str) -> Option<()> {
    let accept = derive_accept_key(key.as_bytes());
    fields.insert("connection", HeaderValue::from_static("Upgrade"));
    fields.insert("upgrade", HeaderValue::from_static("websocket"));
    fields.insert("sec-websocket-accept", HeaderValue::try_from(accept).ok()?);
    if !protocol.is_empty() {
        fields.insert(
            "sec-websocket-protocol",
            HeaderValue::try_from(protocol).ok()?,
        );
    }
    Some(())
}
