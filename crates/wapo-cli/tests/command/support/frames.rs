//! Frames of RFC 6455 as bytes, right ones and wrong ones, and the opening handshake.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The key of the standard's example, and the answer to it (section 1.3).
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// First bits of a frame: the last of its message, and kinds (section 5.2).
pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
pub(crate) const RSV2: u8 = 0x20;
pub(crate) const RSV3: u8 = 0x10;
pub(crate) const CONTINUED: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// What frames of clients are masked with here.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    /// Its first byte.
    pub(crate) first: u8,
    pub(crate) mask: Option<[u8; 4]>,
    pub(crate) payload: Vec<u8>,
}

/// A frame of a client.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, 0x80, payload.len() as u64);
    bytes.extend(MASK);
    bytes.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

/// A frame of a server.
pub(crate) fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, 0, payload.len() as u64);
    bytes.extend(payload);
    bytes
}

/// First byte and length of a frame; `mask` is the bit that says that a mask follows.
pub(crate) fn head(first: u8, mask: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    if length < 126 {
        bytes.push(mask | u8::try_from(length).expect("small"));
    } else if let Ok(length) = u16::try_from(length) {
        bytes.push(mask | 126);
        bytes.extend(length.to_be_bytes());
    } else {
        bytes.push(mask | 127);
        bytes.extend(length.to_be_bytes());
    }
    bytes
}

/// The payload of a close frame.
pub(crate) fn closing(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

/// Reads one frame; `None` when the connection ends before it.
pub(crate) async fn read(stream: &mut TcpStream) -> Option<Frame> {
    let mut two = [0; 2];
    stream.read_exact(&mut two).await.ok()?;
    let length = match two[1] & 0x7f {
        126 => u64::from(stream.read_u16().await.ok()?),
        127 => stream.read_u64().await.ok()?,
        length => u64::from(length),
    };
    let mut mask = None;
    if two[1] & 0x80 != 0 {
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).await.ok()?;
        mask = Some(bytes);
    }
    let mut payload = vec![0; usize::try_from(length).ok()?];
    stream.read_exact(&mut payload).await.ok()?;
    if let Some(mask) = mask {
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
    }
    Some(Frame {
        first: two[0],
        mask,
        payload,
    })
}

/// Reads the head of a request or an answer.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Asks for a WebSocket with these fields besides `Host`; gives the answer's head.
pub(crate) async fn ask(address: &str, fields: &[(&str, &str)]) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let mut request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n");
    for (name, value) in fields {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let head = read_head(&mut stream).await;
    (stream, head)
}

/// The fields of a right handshake.
pub(crate) const HANDSHAKE: &[(&str, &str)] = &[
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", KEY),
];

/// What a server answers to a client's key (section 4.2.2, step 5).
pub(crate) fn accept_of(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest = &ring::digest::SHA1_FOR_LEGACY_USE_ONLY;
    base64(ring::digest::digest(digest, text.as_bytes()).as_ref())
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = [0, 1, 2].map(|at| u32::from(chunk.get(at).copied().unwrap_or(0)));
        let bits = group[0] << 16 | group[1] << 8 | group[2];
        for at in 0..4 {
            let index = usize::try_from(bits >> (18 - 6 * at) & 63).expect("small");
            text.push(if at <= chunk.len() {
                char::from(ALPHABET[index])
            } else {
                '='
            });
        }
    }
    text
}

/// The value of a field in a head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(value.trim())
}
