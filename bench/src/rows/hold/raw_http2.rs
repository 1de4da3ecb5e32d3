//! Frames of HTTP/2 by hand (RFC 9113), for clients that no library would be:
//! they open windows of nothing, or flood a server with control frames.

/// What a client sends first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
/// END_STREAM and END_HEADERS.
const WHOLE_REQUEST: u8 = 0x5;
const INITIAL_WINDOW_SIZE: u16 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = len.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Settings with which the server may send no byte of any body.
pub(super) fn settings_without_window() -> Vec<u8> {
    let mut payload = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
    payload.extend(0u32.to_be_bytes());
    frame(SETTINGS, 0, 0, &payload)
}

/// Settings that change nothing.
pub(super) fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

pub(super) fn ping() -> Vec<u8> {
    frame(PING, 0, 0, &[7; 8])
}

/// A request without a body. Fields are literals without Huffman's code, which is
/// the simplest form of HPACK (RFC 7541, section 6.2.2).
pub(super) fn get(stream: u32, host: &str, path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", path),
        (":authority", host),
    ] {
        block.push(0);
        for text in [name, value] {
            // Shorter than 127 bytes: the length fits its first byte.
            block.push(u8::try_from(text.len().min(126)).unwrap_or(126));
            block.extend(text.as_bytes().iter().take(126));
        }
    }
    frame(HEADERS, WHOLE_REQUEST, stream, &block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_begins_with_length_kind_flags_and_stream() {
        assert_eq!(
            frame(6, 1, 3, b"ab"),
            [0, 0, 2, 6, 1, 0, 0, 0, 3, b'a', b'b']
        );
        assert_eq!(settings_without_window().len(), 9 + 6);
    }
}
