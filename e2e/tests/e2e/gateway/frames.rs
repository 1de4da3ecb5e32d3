//! A client of HTTP/2 that shows and says frames as they are.

use std::collections::HashMap;
use std::net::SocketAddr;

use e2e::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;

pub(super) const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// A setting: how much of each answer may be sent at first.
pub(super) const INITIAL_WINDOW_SIZE: u16 = 4;
/// A setting: streams may become tunnels.
pub(super) const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// A frame as it came.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    pub(super) fn is_last(&self) -> bool {
        self.kind == RST_STREAM
            || (matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0)
    }

    /// Whether this is a head with a status that has a short form.
    pub(super) fn has_status(&self, status: u16) -> bool {
        let index = [200, 204, 206, 304, 400, 404, 500]
            .iter()
            .position(|known| *known == status);
        let index = u8::try_from(index.expect("a status with a short form")).unwrap();
        self.kind == HEADERS && self.payload.first() == Some(&(0x88 + index))
    }
}

/// A connection.
pub(super) struct Frames {
    pub(super) stream: TcpStream,
    next: u32,
    /// What may be sent on the connection.
    pub(super) window: i64,
    /// What may be sent on each stream, beyond what a new one has.
    windows: HashMap<u32, i64>,
    initial_window: i64,
    /// The settings of the other side.
    pub(super) settings: HashMap<u16, u32>,
}

/// A frame as bytes.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

impl Frames {
    /// Connects, and waits until both sides know each other's settings.
    pub(super) async fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend(name.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        hello.extend(frame(SETTINGS, 0, 0, &payload));
        hello.extend(frame(PING, 0, 0, b"settled?"));
        stream.write_all(&hello).await.unwrap();
        let mut frames = Self {
            stream,
            next: 1,
            window: 65_535,
            windows: HashMap::new(),
            initial_window: 65_535,
            settings: HashMap::new(),
        };
        frames
            .until(|frame| frame.kind == PING && frame.flags & ACK != 0)
            .await;
        frames
    }

    pub(super) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let bytes = frame(kind, flags, stream, payload);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// Begins a request; `fields` come after the four that each has.
    pub(super) async fn request(
        &mut self,
        method: &str,
        host: &str,
        path: &str,
        fields: &[(&str, &str)],
        ends: bool,
    ) -> u32 {
        let mut all = vec![
            (":method", method),
            (":scheme", "http"),
            (":authority", host),
            (":path", path),
        ];
        all.extend(fields);
        let stream = self.next;
        self.next += 2;
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        self.send(HEADERS, flags, stream, &header_block(&all)).await;
        stream
    }

    /// The next frame that is not about the connection itself; `None` at the end.
    pub(super) async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        within("a frame", self.stream.read_exact(&mut head))
            .await
            .ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        within("a frame", self.stream.read_exact(&mut payload))
            .await
            .ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let (kind, flags) = (head[3], head[4]);
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        match kind {
            SETTINGS if flags & ACK == 0 => {
                for pair in payload.chunks(6) {
                    let name = u16::from_be_bytes([pair[0], pair[1]]);
                    self.settings.insert(name, number(&pair[2..]));
                }
                if let Some(size) = self.settings.get(&INITIAL_WINDOW_SIZE) {
                    self.initial_window = i64::from(*size);
                }
                let _ = self.stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await;
            }
            PING if flags & ACK == 0 => {
                let _ = self.stream.write_all(&frame(PING, ACK, 0, &payload)).await;
            }
            WINDOW_UPDATE if stream == 0 => self.window += i64::from(number(&payload)),
            WINDOW_UPDATE => {
                *self.windows.entry(stream).or_default() += i64::from(number(&payload));
            }
            _ => {}
        }
        Some(Frame {
            kind,
            flags,
            stream,
            payload,
        })
    }

    /// Reads up to a frame.
    pub(super) async fn until(&mut self, mut done: impl FnMut(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.frame().await.expect("the connection has ended");
            if done(&frame) {
                return frame;
            }
        }
    }

    /// All frames of a stream, to its end.
    pub(super) async fn answer(&mut self, stream: u32) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.until(|frame| {
                frame.stream == stream && matches!(frame.kind, DATA | HEADERS | RST_STREAM)
            });
            let frame = frame.await;
            let is_last = frame.is_last();
            frames.push(frame);
            if is_last {
                return frames;
            }
        }
    }

    /// Sends so much of a body as soon as it may be sent.
    pub(super) async fn body(&mut self, stream: u32, length: usize, ends: bool) {
        let mut left = i64::try_from(length).unwrap();
        while left > 0 {
            let of_stream = self.windows.entry(stream).or_default();
            let room = self.window.min(self.initial_window + *of_stream);
            let piece = room.min(16_384).min(left);
            if piece > 0 {
                *of_stream -= piece;
                self.window -= piece;
                left -= piece;
                let flags = if ends && left == 0 { END_STREAM } else { 0 };
                let payload = vec![b'x'; usize::try_from(piece).unwrap()];
                self.send(DATA, flags, stream, &payload).await;
            } else {
                self.until(|frame| frame.kind == WINDOW_UPDATE).await;
            }
        }
    }
}

/// Fields, each said in full.
fn header_block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "longer ones take more than a byte");
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}
