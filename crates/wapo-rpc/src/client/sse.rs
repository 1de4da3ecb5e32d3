//! Server-sent events: a stream of bytes into events.
//!
//! As the HTML standard has them, without ids and retry times, which the worker
//! does not send. Bounded, because the other end decides how long a line is.

use bytes::{Buf as _, BytesMut};

use crate::limits::EVENT_BYTES_MAX;

/// What one event says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Event {
    /// Its name; empty for a plain message.
    pub(super) name: String,
    /// Its lines.
    pub(super) data: String,
}

/// More than an event may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an event is longer than {EVENT_BYTES_MAX} bytes")]
pub(super) struct EventTooLong;

/// Events out of bytes that come in any pieces.
#[derive(Default)]
pub(super) struct Parser {
    buffer: BytesMut,
    /// Bytes of the buffer in which no line ends.
    searched: usize,
    event: Event,
    has_data: bool,
}

impl Parser {
    /// Takes the next bytes. Call [`Self::next`] until it has no more.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next event, if it is complete. What is not at the end never is.
    pub(super) fn next(&mut self) -> Result<Option<Event>, EventTooLong> {
        while let Some(line) = self.line()? {
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                // An event without data is none.
                if std::mem::take(&mut self.has_data) {
                    return Ok(Some(event));
                }
                continue;
            }
            self.field(&line)?;
        }
        Ok(None)
    }

    /// A line without its end, if it is complete. Lines end with LF, or CR LF;
    /// workers do not send lone CRs.
    fn line(&mut self) -> Result<Option<String>, EventTooLong> {
        let end = self.buffer[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n');
        let Some(end) = end.map(|end| end + self.searched) else {
            self.searched = self.buffer.len();
            return match self.searched {
                bytes if bytes > EVENT_BYTES_MAX => Err(EventTooLong),
                _ => Ok(None),
            };
        };
        self.searched = 0;
        let line = self.buffer.split_to(end);
        self.buffer.advance(1);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        Ok(Some(String::from_utf8_lossy(line).into_owned()))
    }

    fn field(&mut self, line: &str) -> Result<(), EventTooLong> {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => self.event.name = value.to_owned(),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.has_data = true;
                self.event.data.push_str(value);
            }
            // A comment, which keeps the connection alive, or unknown.
            _ => {}
        }
        let bytes = self.event.name.len() + self.event.data.len();
        if bytes > EVENT_BYTES_MAX {
            return Err(EventTooLong);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for piece in pieces {
            parser.push(piece);
            while let Some(event) = parser.next().expect("short") {
                events.push((event.name, event.data));
            }
        }
        events
    }

    fn pair(name: &str, data: &str) -> (String, String) {
        (name.to_owned(), data.to_owned())
    }

    #[test]
    fn events_end_with_an_empty_line() {
        let text =
            b": hello\r\ndata: a\r\n\r\nevent: missed\ndata:b\ndata: c\n\nid: 1\n\ndata\n\ndata: x";
        let expected = [pair("", "a"), pair("missed", "b\nc"), pair("", "")];
        assert_eq!(events(&[text]), expected);
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(events(&bytes), expected);
    }

    #[test]
    fn an_endless_line_and_an_endless_event_are_refused() {
        let mut parser = Parser::default();
        parser.push(&vec![b'x'; EVENT_BYTES_MAX + 1]);
        assert_eq!(parser.next(), Err(EventTooLong));
        let mut parser = Parser::default();
        parser.push("data: 0123456789\n".repeat(EVENT_BYTES_MAX / 10).as_bytes());
        assert_eq!(parser.next(), Err(EventTooLong));
    }
}
