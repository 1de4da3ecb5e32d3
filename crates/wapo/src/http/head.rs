//! Heads as they travel: read from what the host sends, and written for it.
//!
//! Fields of a request share the message's memory; a head that is sent, and the body with
//! it, is written into one buffer that is kept for the next one.

use std::cell::Cell;
use std::future::poll_fn;
use std::ops::Range;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use parity_scale_codec::{Compact, Decode, Encode};

use crate::error::Error;
use crate::inbox::HTTP_REQUESTS;
use crate::sys::calls;
use crate::task::poll_call;

/// Room for the message of a request, at first: most heads have less than half of it.
const MESSAGE_BYTES: usize = 2 * 1024;

/// Bytes of buffers that are kept for the next message. More is given back.
const KEPT_BYTES: usize = 128 * 1024;

thread_local! {
    /// For messages that come.
    static INCOMING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// For messages that go.
    static OUTGOING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// The names that were read last, by the place of their field in a message: clients and
    /// proxies send the same ones in the same order, and a comparison is quicker than reading.
    static NAMES: Cell<Vec<HeaderName>> = const { Cell::new(Vec::new()) };
    /// Whether the host knows requests in the older form only.
    static IS_OLD_HOST: Cell<bool> = const { Cell::new(false) };
}

/// A request as it has come.
pub(super) struct Message {
    /// A head that HTTP allows, or why this is none.
    pub(super) head: http::Result<Request<()>>,
    /// Handle that takes the head of the answer; `None` where the exchange does.
    pub(super) reply: Option<i32>,
    /// Handle of the exchange.
    pub(super) exchange: i32,
    pub(super) has_body: bool,
}

/// Waits for the next request; `None` when there will be no more.
pub(super) async fn next() -> Option<Message> {
    loop {
        let (bytes, is_old) = poll_fn(poll_next).await?;
        match Message::read(&bytes, is_old) {
            Some(message) => return Some(message),
            None => ::log::warn!("a message cannot be decoded"),
        }
    }
}

fn poll_next(cx: &mut Context<'_>) -> Poll<Option<(Bytes, bool)>> {
    if IS_OLD_HOST.get() {
        let message = ready!(HTTP_REQUESTS.poll_message(cx));
        return Poll::Ready(message.map(|message| (message.into(), true)));
    }
    let Some(channel) = HTTP_REQUESTS.open() else {
        return Poll::Ready(None);
    };
    let mut buffer = INCOMING.take();
    if buffer.len() < MESSAGE_BYTES {
        buffer.resize(MESSAGE_BYTES, 0);
    }
    let taken = loop {
        match poll_call(cx, |waker| calls::http_next(waker, channel, &mut buffer)) {
            Poll::Ready(Ok(len)) if len > buffer.len() => buffer.resize(len, 0),
            Poll::Ready(Ok(len)) => break Ok(Some(Bytes::copy_from_slice(&buffer[..len]))),
            Poll::Ready(Err(error)) => break Err(error),
            Poll::Pending => break Ok(None),
        }
    };
    // Also while no request is there, which is most of the time.
    keep(&INCOMING, buffer);
    match taken {
        Ok(Some(bytes)) => Poll::Ready(Some((bytes, false))),
        Ok(None) => Poll::Pending,
        Err(Error::UNKNOWN_CALL_NUMBER) => {
            IS_OLD_HOST.set(true);
            poll_next(cx)
        }
        Err(error) => {
            ::log::warn!("no request can be had: {error}");
            Poll::Ready(None)
        }
    }
}

/// Keeps a buffer for the next message.
fn keep(place: &'static std::thread::LocalKey<Cell<Vec<u8>>>, buffer: Vec<u8>) {
    if buffer.capacity() <= KEPT_BYTES {
        place.set(buffer);
    }
}

impl Message {
    /// Reads a whole `HttpNext`, or an `HttpRequest` of an older host.
    fn read(bytes: &Bytes, is_old: bool) -> Option<Self> {
        let mut fields = Fields { bytes, at: 0 };
        let head = fields.head()?;
        let mut rest = bytes.get(fields.at..)?;
        let message = match is_old {
            true => Self {
                head,
                reply: Some(Decode::decode(&mut rest).ok()?),
                exchange: Decode::decode(&mut rest).ok()?,
                has_body: true,
            },
            false => Self {
                head,
                reply: None,
                exchange: Decode::decode(&mut rest).ok()?,
                has_body: Decode::decode(&mut rest).ok()?,
            },
        };
        rest.is_empty().then_some(message)
    }
}

/// Reads a message from its front.
struct Fields<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Fields<'_> {
    /// A head that is whole; whether HTTP allows it is in the answer.
    fn head(&mut self) -> Option<http::Result<Request<()>>> {
        let (method, url) = (self.text()?, self.text()?);
        let mut head = start_of(&method, url);
        let count = self.length()?;
        if let Ok(request) = &mut head {
            request.headers_mut().reserve(count.min(FIELDS_MAX));
        }
        let mut names = NAMES.take();
        for index in 0..count {
            let (name, value) = (self.span()?, self.text()?);
            if let Ok(request) = &mut head {
                let name = known_name(&mut names, index, &self.bytes[name]);
                if let Err(error) = append(request.headers_mut(), name, value) {
                    head = Err(error);
                }
            }
        }
        NAMES.set(names);
        Some(head)
    }

    fn length(&mut self) -> Option<usize> {
        // Of what is short, as nearly everything is: one byte (SCALE, compact integers).
        let first = *self.bytes.get(self.at)?;
        if first & 0b11 == 0 {
            self.at += 1;
            return Some(usize::from(first >> 2));
        }
        let mut rest = self.bytes.get(self.at..)?;
        let length = Compact::<u32>::decode(&mut rest).ok()?;
        self.at = self.bytes.len() - rest.len();
        usize::try_from(length.0).ok()
    }

    /// Where the next text is.
    fn span(&mut self) -> Option<Range<usize>> {
        let length = self.length()?;
        let end = self.at.checked_add(length)?;
        let span = (end <= self.bytes.len()).then_some(self.at..end)?;
        self.at = end;
        Some(span)
    }

    fn text(&mut self) -> Option<Bytes> {
        let span = self.span()?;
        Some(self.bytes.slice(span))
    }
}

/// Names that are kept from one message to the next: as many as a browser sends, about.
const KNOWN_NAMES_MAX: usize = 32;

/// Bytes of a name that is kept, so that all of them take some kilobytes at most.
const KNOWN_NAME_BYTES_MAX: usize = 64;

/// Fields for which room is made at once.
const FIELDS_MAX: usize = 128;

fn start_of(method: &[u8], url: Bytes) -> http::Result<Request<()>> {
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method)?;
    *request.uri_mut() = Uri::from_maybe_shared(url)?;
    Ok(request)
}

/// Whether two names are the same, eight bytes at a time: the C library of guests compares
/// them one by one.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let word = |text: &[u8; 8]| u64::from_ne_bytes(*text);
    match (a.last_chunk(), b.last_chunk()) {
        // The last eight bytes may be compared twice.
        (Some(a_end), Some(b_end)) if a.len() == b.len() => {
            let (a, b) = (a.as_chunks().0.iter(), b.as_chunks().0.iter());
            word(a_end) == word(b_end) && a.zip(b).all(|(a, b)| word(a) == word(b))
        }
        _ => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b),
    }
}

/// Reads the name of a field, unless the one that was read last in this place is the same.
fn known_name(names: &mut Vec<HeaderName>, index: usize, name: &[u8]) -> http::Result<HeaderName> {
    if let Some(known) = names.get(index)
        && is_same(known.as_str().as_bytes(), name)
    {
        return Ok(known.clone());
    }
    let read = HeaderName::from_bytes(name)?;
    if name.len() <= KNOWN_NAME_BYTES_MAX {
        let count = names.len();
        match names.get_mut(index) {
            Some(place) => *place = read.clone(),
            None if index == count && count < KNOWN_NAMES_MAX => names.push(read.clone()),
            None => {}
        }
    }
    Ok(read)
}

fn append(
    headers: &mut HeaderMap,
    name: http::Result<HeaderName>,
    value: Bytes,
) -> http::Result<()> {
    headers.append(name?, HeaderValue::from_maybe_shared(value)?);
    Ok(())
}

/// Writes an `HttpResponseHead` and what is there of the body, and lets `send` have it. A
/// length is added unless the head has one.
pub(super) fn with_message<T>(
    parts: &Parts,
    length: Option<u64>,
    body: &[u8],
    send: impl FnOnce(&[u8]) -> T,
) -> T {
    let mut buffer = OUTGOING.take();
    buffer.clear();
    let length = length.filter(|_| !parts.headers.contains_key(CONTENT_LENGTH));
    parts.status.as_u16().encode_to(&mut buffer);
    let count = parts.headers.len() + usize::from(length.is_some());
    Compact(u32::try_from(count).unwrap_or(u32::MAX)).encode_to(&mut buffer);
    for (name, value) in &parts.headers {
        name.as_str().encode_to(&mut buffer);
        value.as_bytes().encode_to(&mut buffer);
    }
    if let Some(length) = length {
        CONTENT_LENGTH.as_str().encode_to(&mut buffer);
        HeaderValue::from(length).as_bytes().encode_to(&mut buffer);
    }
    buffer.extend_from_slice(body);
    let outcome = send(&buffer);
    keep(&OUTGOING, buffer);
    outcome
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use wapo_abi::Errno;
    use wapo_abi::message::{HttpHead, HttpNext, HttpRequest};

    use super::*;
    use crate::sys::fake::{self, Answer};

    fn head(method: &str, url: &str, headers: &[(&str, &str)]) -> HttpHead {
        let headers = headers.iter().map(|(n, v)| ((*n).into(), (*v).into()));
        HttpHead {
            method: method.into(),
            url: url.into(),
            headers: headers.collect(),
        }
    }

    fn next_of(head: HttpHead) -> Vec<u8> {
        let (exchange, has_body) = (7, false);
        HttpNext {
            head,
            exchange,
            has_body,
        }
        .encode()
    }

    fn read(head: HttpHead) -> http::Result<Request<()>> {
        let message = Message::read(&next_of(head).into(), false).expect("whole");
        assert_eq!((message.reply, message.exchange), (None, 7));
        assert!(!message.has_body);
        message.head
    }

    #[test]
    fn heads_that_http_does_not_allow_are_errors() {
        for bad in [
            head("G T", "http://h/", &[]),
            head("GET", "http://h h/", &[("a", "b")]),
            head("GET", "http://h/", &[("na me", "v"), ("a", "b")]),
            head("GET", "http://h/", &[("name", "a\nb")]),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn duplicate_headers_are_kept() {
        let request = read(head("PUT", "http://h/p?q", &[("a", "1"), ("a", "2")]));
        let request = request.expect("valid");
        assert_eq!(request.method(), Method::PUT);
        assert_eq!(request.uri().query(), Some("q"));
        assert_eq!(request.headers().get_all("a").iter().count(), 2);
    }

    #[test]
    fn names_of_the_message_before_are_known_and_others_are_read() {
        for name in ["x-a", "x-b", "accept", "x-b"] {
            for value in ["1", "2"] {
                let request = read(head("GET", "/", &[("host", "h"), (name, value)]));
                let request = request.expect("valid");
                assert_eq!(request.headers().len(), 2);
                assert_eq!(request.headers()[name], value);
            }
        }
        assert!(read(head("GET", "/", &[("ho st", "h")])).is_err());
        let request = read(head("GET", "/", &[("Host", "h")])).expect("valid");
        assert_eq!(request.headers()["host"], "h");
    }

    #[test]
    fn names_are_the_same_with_each_of_their_bytes() {
        for length in 0..30 {
            let name = vec![b'a'; length];
            assert!(is_same(&name, &name));
            assert!(!is_same(&name, &vec![b'a'; length + 1]));
            for place in 0..length {
                let mut other = name.clone();
                other[place] = b'b';
                assert!(!is_same(&name, &other), "{place} of {length}");
            }
        }
    }

    #[test]
    fn few_names_are_kept_and_none_that_is_long() {
        let names: Vec<_> = (0..2 * KNOWN_NAMES_MAX).map(|n| format!("x-{n}")).collect();
        let long = "x".repeat(KNOWN_NAME_BYTES_MAX + 1);
        let mut fields: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
        for _ in 0..2 {
            let request = read(head("GET", "/", &fields)).expect("valid");
            assert_eq!(request.headers().len(), fields.len());
            let kept = NAMES.take();
            assert_eq!(kept.len(), KNOWN_NAMES_MAX);
            assert!(kept.iter().all(|name| name.as_str() != long));
            NAMES.set(kept);
            fields[1] = (&long, "1");
        }
    }

    #[test]
    fn a_message_that_is_not_whole_is_none() {
        let message = Bytes::from(next_of(head("GET", "http://h/", &[("a", "b")])));
        for end in 0..message.len() {
            assert!(
                Message::read(&message.slice(..end), false).is_none(),
                "{end}"
            );
        }
        let mut more = message.to_vec();
        more.push(0);
        assert!(Message::read(&more.into(), false).is_none());
    }

    fn install() {
        fake::install();
        // Opened once in a program, by whichever test is first.
        fake::answer("create_input_channel", Answer::Bytes(1i32.encode()));
    }

    fn poll() -> Poll<Option<(Bytes, bool)>> {
        poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_long_message_gets_a_longer_buffer() {
        install();
        let len = u32::try_from(3 * MESSAGE_BYTES).expect("32 bits");
        fake::answer("http_next", Answer::Value(len));
        fake::answer("http_next", Answer::Bytes(vec![7; len as usize]));
        let Poll::Ready(Some((bytes, false))) = poll() else {
            panic!("no message");
        };
        assert_eq!(bytes.len(), len as usize);
        let rooms: Vec<_> = fake::calls("http_next")
            .iter()
            .map(|call| call.slots[3])
            .collect();
        assert_eq!(rooms, [MESSAGE_BYTES, len as usize]);
        for _ in 0..2 {
            assert_eq!(poll(), Poll::Pending);
            let rooms: Vec<_> = fake::calls("http_next")
                .iter()
                .map(|call| call.slots[3])
                .collect();
            assert_eq!(rooms, [len as usize], "it is kept while there is none");
        }
    }

    #[test]
    fn an_older_host_is_asked_as_it_knows() {
        install();
        fake::answer("http_next", Answer::Fails(Errno::UNKNOWN_CALL_NUMBER));
        let request = HttpRequest {
            head: head("GET", "http://h/", &[]),
            response_tx: 3,
            io_stream: 4,
        };
        fake::answer("poll", Answer::Bytes(request.encode().encode()));
        let Poll::Ready(Some((bytes, true))) = poll() else {
            panic!("no message");
        };
        let message = Message::read(&bytes, true).expect("whole");
        assert_eq!((message.reply, message.exchange), (Some(3), 4));
        assert!(message.has_body && message.head.is_ok());
        assert_eq!(poll(), Poll::Pending);
        assert_eq!(fake::calls("http_next").len(), 1, "asked once");
    }
}
