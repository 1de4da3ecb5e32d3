//! The terminal of the prompt: raw while a line is typed, so that keys arrive one by
//! one, and shared with what the program prints meanwhile.

use std::io::{self, Read, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::line::{Effect, Key, Line};

/// Columns of a terminal that does not say how many it has.
const COLUMNS: usize = 80;
/// Bytes of an escape sequence that are looked at; longer ones are none of a key.
const SEQUENCE_BYTES_MAX: usize = 16;

/// What is on the line of the prompt, while one is typed.
#[derive(Clone, Default)]
pub(super) struct Screen(Arc<Mutex<Option<String>>>);

impl Screen {
    fn drawn(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints lines above the prompt.
    pub(super) fn print(&self, text: &str) {
        let drawn = self.drawn();
        let mut out = io::stdout().lock();
        // A closed terminal is noticed by the reader of its input.
        let _ = match drawn.as_ref() {
            Some(drawn) => write!(out, "\r\x1b[K{}\r\n{drawn}", text.replace('\n', "\r\n")),
            None => writeln!(out, "{text}"),
        }
        .and_then(|()| out.flush());
    }

    fn draw(&self, prompt: &str, line: &Line<'_>) {
        let columns = columns().saturating_sub(prompt.chars().count());
        let (shown, cursor) = line.window(columns);
        let place = prompt.chars().count() + cursor;
        let text = format!("\r{prompt}{shown}\x1b[K\r\x1b[{place}C");
        let mut drawn = self.drawn();
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        *drawn = Some(text);
    }

    /// Leaves the line of the prompt.
    fn leave(&self) {
        let mut drawn = self.drawn();
        let mut out = io::stdout().lock();
        let _ = out.write_all(b"\r\n").and_then(|()| out.flush());
        *drawn = None;
    }

    /// Lets a line be typed. Blocks.
    ///
    /// # Errors
    ///
    /// The terminal fails.
    pub(super) fn type_line(&self, prompt: &str, history: &[String]) -> io::Result<Effect> {
        let _raw = Raw::enter()?;
        let mut line = Line::new(history);
        let mut keys = io::stdin().lock();
        loop {
            self.draw(prompt, &line);
            let Some(key) = read_key(&mut keys)? else {
                self.leave();
                return Ok(Effect::End);
            };
            match line.press(key) {
                Effect::None => {}
                Effect::Clear => {
                    let _ = io::stdout().write_all(b"\x1b[H\x1b[2J");
                }
                effect => {
                    self.leave();
                    return Ok(effect);
                }
            }
        }
    }
}

fn columns() -> usize {
    let size = tcgetwinsize(io::stdout()).ok();
    let columns = size.map(|size| usize::from(size.ws_col));
    columns.filter(|columns| *columns > 0).unwrap_or(COLUMNS)
}

/// The terminal without what the system does with keys, until it is dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Nobody could be told.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// The next key; `None` when there will be no more.
fn read_key(from: &mut impl Read) -> io::Result<Option<Key>> {
    let Some(first) = read_byte(from)? else {
        return Ok(None);
    };
    Ok(Some(match first {
        b'\r' | b'\n' => Key::Enter,
        0x7f => Key::Backspace,
        0x1b => return read_escape(from),
        b'\t' => Key::Character(' '),
        1..=26 => Key::Control(char::from(first - 1 + b'a')),
        0..=31 => Key::Other,
        _ => return read_character(first, from),
    }))
}

fn read_byte(from: &mut impl Read) -> io::Result<Option<u8>> {
    let mut byte = [0];
    loop {
        return match from.read(&mut byte) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(byte[0])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}

/// A character of UTF-8 that begins with a byte.
fn read_character(first: u8, from: &mut impl Read) -> io::Result<Option<Key>> {
    let more = match first {
        0xf0.. => 3,
        0xe0.. => 2,
        0xc0.. => 1,
        _ => 0,
    };
    let mut bytes = vec![first];
    for _ in 0..more {
        let Some(byte) = read_byte(from)? else {
            return Ok(None);
        };
        bytes.push(byte);
    }
    let character = std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.chars().next());
    Ok(Some(character.map_or(Key::Other, Key::Character)))
}

/// A key that sends an escape sequence (ECMA-48, 5.4, and those that begin with SS3).
fn read_escape(from: &mut impl Read) -> io::Result<Option<Key>> {
    let mut sequence = Vec::new();
    while sequence.len() < SEQUENCE_BYTES_MAX {
        let Some(byte) = read_byte(from)? else {
            return Ok(None);
        };
        sequence.push(byte);
        let is_opened = matches!(sequence[0], b'[' | b'O');
        if !is_opened || (sequence.len() > 1 && matches!(byte, b'@'..=b'~')) {
            break;
        }
    }
    Ok(Some(match sequence.as_slice() {
        b"[A" | b"OA" => Key::Up,
        b"[B" | b"OB" => Key::Down,
        b"[C" | b"OC" => Key::Right,
        b"[D" | b"OD" => Key::Left,
        b"[H" | b"OH" | b"[1~" | b"[7~" => Key::Home,
        b"[F" | b"OF" | b"[4~" | b"[8~" => Key::End,
        b"[3~" => Key::Delete,
        _ => Key::Other,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_what_terminals_send() {
        let mut bytes: &[u8] =
            "aä€😀\r\x7f\x01\x03\x1b[A\x1bOB\x1b[3~\x1b[H\x1b[1;5C\x1bx\t".as_bytes();
        let mut keys = Vec::new();
        while let Some(key) = read_key(&mut bytes).expect("no error") {
            keys.push(key);
        }
        let expected = [
            Key::Character('a'),
            Key::Character('ä'),
            Key::Character('€'),
            Key::Character('😀'),
            Key::Enter,
            Key::Backspace,
            Key::Control('a'),
            Key::Control('c'),
            Key::Up,
            Key::Down,
            Key::Delete,
            Key::Home,
            Key::Other,
            Key::Other,
            Key::Character(' '),
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn broken_bytes_are_no_keys() {
        for bytes in [
            &b"\x80"[..],
            b"\xff",
            b"\xc3",
            b"\x1b[",
            b"\xe2\x28\xa1",
            b"\x1b[;;;;;;;;;;;;;;;;;;;;",
        ] {
            let mut from = bytes;
            while let Some(key) = read_key(&mut from).expect("no error") {
                assert!(
                    matches!(key, Key::Other | Key::Character(_)),
                    "{bytes:?}: {key:?}"
                );
            }
        }
    }
}
