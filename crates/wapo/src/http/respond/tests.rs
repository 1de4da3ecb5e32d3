//! What a responder sends, on a scripted host of either age.

use std::task::{Context, Waker};

use http::HeaderValue;
use parity_scale_codec::Encode;
use wapo_abi::message::HttpResponseHeadOf;

use super::*;
use crate::sys::fake::{self, Answer};

/// Sends a response to a client that takes `takes` bytes at a time.
fn send(is_head: bool, takes: &[u32], response: impl IntoResponse) -> Vec<u8> {
    fake::install();
    for count in takes {
        fake::answer("poll_write", Answer::Value(*count));
    }
    fake::answer("poll_shutdown", Answer::Value(0));
    let responder = Responder::new(
        Some(1.into()),
        TcpStream::from_handle(2.into(), false),
        is_head,
    );
    let outcome = pin!(responder.send(response)).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(outcome, Poll::Ready(Ok(()))), "{outcome:?}");
    fake::written()
}

fn head(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
    let headers = headers.to_vec();
    HttpResponseHeadOf { status, headers }.encode()
}

#[test]
fn a_body_that_is_there_goes_before_its_head() {
    let mut expected = b"hello".to_vec();
    expected.extend(head(200, &[("content-length", "5")]));
    assert_eq!(send(false, &[2, 3], "hello"), expected);
    assert_eq!(fake::calls("poll_shutdown").len(), 1);
    assert_eq!(fake::calls("close").len(), 2, "the reply and the stream");
}

#[test]
fn a_body_for_which_there_is_no_room_waits_behind_its_head() {
    fake::install();
    fake::answer("poll_write", Answer::Value(2));
    fake::answer("poll_write", Answer::Fails(wapo_abi::Errno::PENDING));
    let responder = Responder::new(
        Some(1.into()),
        TcpStream::from_handle(2.into(), false),
        false,
    );
    let mut sending = pin!(responder.send("hello"));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(sending.as_mut().poll(&mut cx).is_pending());
    let mut expected = b"he".to_vec();
    expected.extend(head(200, &[("content-length", "5")]));
    assert_eq!(fake::written(), expected);
    fake::answer("poll_write", Answer::Value(3));
    fake::answer("poll_shutdown", Answer::Value(0));
    let outcome = sending.as_mut().poll(&mut cx);
    assert!(matches!(outcome, Poll::Ready(Ok(()))), "{outcome:?}");
    assert_eq!(fake::written(), b"llo", "and nothing twice");
}

#[test]
fn a_body_that_fails_at_once_is_broken_off_behind_its_head() {
    fake::install();
    let (sender, body) = Body::channel();
    sender.abort();
    let responder = Responder::new(
        Some(1.into()),
        TcpStream::from_handle(2.into(), false),
        false,
    );
    let outcome = pin!(responder.send(body)).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(outcome, Poll::Ready(Err(_))), "{outcome:?}");
    assert_eq!(fake::written(), head(200, &[]));
    assert_eq!(fake::calls("http_abort").len(), 1);
}

/// Answers a request on a host that takes head and body together, which takes so much
/// of the body.
fn respond(takes: u32, is_head: bool, response: impl IntoResponse) -> Vec<u8> {
    fake::install();
    fake::answer("http_respond", Answer::Value(takes));
    fake::answer("poll_write", Answer::Value(2));
    fake::answer("poll_shutdown", Answer::Value(0));
    let responder = Responder::new(None, TcpStream::from_handle(2.into(), false), is_head);
    let outcome = pin!(responder.send(response)).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(outcome, Poll::Ready(Ok(()))), "{outcome:?}");
    fake::written()
}

/// What is left to be done, as the only call said that answers a request.
fn rest() -> usize {
    let calls = fake::calls("http_respond");
    assert_eq!(calls.len(), 1);
    calls[0].slots[1]
}

#[test]
fn head_and_body_go_in_one_call_that_closes_the_exchange() {
    let with_length = |len| head(200, &[("content-length", len)]);
    let mut expected = with_length("5");
    expected.extend(b"hello");
    assert_eq!(respond(5, false, "hello"), expected);
    assert_eq!(rest(), HttpRest::Nothing as usize);
    for name in ["close", "poll_write", "poll_shutdown"] {
        assert_eq!(fake::calls(name).len(), 0, "{name}");
    }
    assert_eq!(respond(0, true, "hello"), with_length("5"), "HEAD");
    assert_eq!(respond(0, false, StatusCode::NO_CONTENT), head(204, &[]));
    let mut own = Response::new(Body::from("x"));
    own.headers_mut()
        .insert("content-length", HeaderValue::from_static("1"));
    let mut expected = with_length("1");
    expected.extend(b"x");
    assert_eq!(respond(1, false, own), expected, "not twice");
}

#[test]
fn what_the_host_has_no_room_for_follows() {
    let mut expected = head(200, &[("content-length", "5")]);
    expected.extend(b"hello");
    expected.extend(b"lo");
    assert_eq!(respond(3, false, "hello"), expected);
    assert_eq!(fake::calls("poll_shutdown").len(), 1);
    assert_eq!(fake::calls("close").len(), 1);
    assert_eq!(fake::calls("http_abort").len(), 0);
}

#[test]
fn a_host_without_room_for_the_whole_gets_it_in_steps() {
    fake::install();
    let full = wapo_abi::Errno::RESOURCE_LIMITED;
    fake::answer("http_respond", Answer::Fails(full));
    fake::answer("poll_write", Answer::Value(5));
    fake::answer("poll_shutdown", Answer::Value(0));
    let responder = Responder::new(None, TcpStream::from_handle(2.into(), false), false);
    let outcome = pin!(responder.send("hello")).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(outcome, Poll::Ready(Ok(()))), "{outcome:?}");
    let mut expected = head(200, &[("content-length", "5")]);
    expected.extend(b"hello");
    assert_eq!(fake::written(), expected);
    let rests: Vec<_> = fake::calls("http_respond")
        .iter()
        .map(|call| call.slots[1])
        .collect();
    assert_eq!(
        rests,
        [HttpRest::Nothing as usize, HttpRest::Answer as usize]
    );
    assert_eq!(fake::calls("close").len(), 1);
}

#[test]
fn a_request_whose_body_is_still_read_stays_open() {
    fake::install();
    fake::answer("http_respond", Answer::Value(1));
    let stream = TcpStream::from_handle(2.into(), false);
    let request = Body::incoming(stream.share(), &http::HeaderMap::new());
    let responder = Responder::new(None, stream, false);
    let outcome = pin!(responder.send("x")).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(outcome, Poll::Ready(Ok(()))), "{outcome:?}");
    assert_eq!(rest(), HttpRest::Request as usize);
    assert_eq!(fake::calls("close").len(), 0);
    drop(request);
    assert_eq!(fake::calls("close").len(), 1);
}

#[test]
fn a_body_that_comes_in_pieces_follows_its_head() {
    fake::install();
    let (sender, body) = Body::channel();
    let responder = Responder::new(None, TcpStream::from_handle(2.into(), false), false);
    let mut sending = pin!(responder.send(body));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(sending.as_mut().poll(&mut cx).is_pending());
    assert_eq!(fake::written(), head(200, &[]));
    assert_eq!(rest(), HttpRest::Answer as usize);
    fake::answer("poll_shutdown", Answer::Value(0));
    drop(sender);
    assert!(sending.as_mut().poll(&mut cx).is_ready());
}

#[test]
fn an_answer_that_the_host_refuses_closes_the_exchange() {
    fake::install();
    fake::answer("http_respond", Answer::Fails(wapo_abi::Errno::IO_ERROR));
    let responder = Responder::new(None, TcpStream::from_handle(2.into(), false), false);
    let outcome = pin!(responder.send("x")).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(outcome, Poll::Ready(Err(_))), "{outcome:?}");
    assert_eq!(fake::calls("close").len(), 1);
}

#[test]
fn answers_to_head_and_204_have_no_body() {
    assert_eq!(
        send(true, &[], "hello"),
        head(200, &[("content-length", "5")])
    );
    assert_eq!(
        send(false, &[], (StatusCode::NO_CONTENT, "x")),
        head(204, &[])
    );
}

#[test]
fn an_empty_body_ends_before_its_head_is_sent() {
    fake::install();
    fake::answer("poll_shutdown", Answer::Fails(wapo_abi::Errno::IO_ERROR));
    let responder = Responder::new(
        Some(1.into()),
        TcpStream::from_handle(2.into(), false),
        false,
    );
    let sending = pin!(responder.send(StatusCode::NOT_FOUND));
    let outcome = sending.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(outcome, Poll::Ready(Err(_))), "{outcome:?}");
    assert_eq!(fake::written(), b"", "no head went out before the end");
}

/// Trailers, and then nothing ever.
struct Endless(Option<http::HeaderMap>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<http_body::Frame<Bytes>>>> {
        let trailers = self.0.take().map(http_body::Frame::trailers);
        trailers.map_or(Poll::Pending, |last| Poll::Ready(Some(Ok(last))))
    }
}

#[test]
fn trailers_end_an_answer_whose_body_does_not_say_so() {
    let trailers = http::HeaderMap::new();
    fake::install();
    let responder = Responder::new(
        Some(1.into()),
        TcpStream::from_handle(2.into(), false),
        false,
    );
    let sending = pin!(responder.send(Body::new(Endless(Some(trailers)))));
    let outcome = sending.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(outcome, Poll::Ready(Ok(()))), "{outcome:?}");
    assert_eq!(fake::calls("http_finish").len(), 1);
}

#[test]
fn a_stream_that_takes_nothing_is_an_error_and_no_endless_loop() {
    fake::install();
    fake::answer("poll_write", Answer::Value(0));
    let responder = Responder::new(
        Some(1.into()),
        TcpStream::from_handle(2.into(), false),
        false,
    );
    let outcome = pin!(responder.send("x")).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(outcome, Poll::Ready(Err(_))));
}

/// Sends a response whose body comes from a channel.
fn send_from(use_sender: impl FnOnce(super::super::BodySender)) -> Poll<io::Result<()>> {
    fake::install();
    fake::answer("poll_write", Answer::Value(1));
    fake::answer("poll_shutdown", Answer::Value(0));
    let (sender, body) = Body::channel();
    let responder = Responder::new(
        Some(1.into()),
        TcpStream::from_handle(2.into(), false),
        false,
    );
    let mut sending = pin!(responder.send(body));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(sending.as_mut().poll(&mut cx).is_pending());
    use_sender(sender);
    sending.as_mut().poll(&mut cx)
}

#[test]
fn trailers_are_sent_instead_of_a_plain_end() {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("checksum", HeaderValue::from_static("12"));
    let outcome = send_from(|sender| sender.finish(trailers));
    assert!(matches!(outcome, Poll::Ready(Ok(()))), "{outcome:?}");
    let written = fake::written();
    assert!(written.ends_with(&vec![("checksum", "12")].encode()));
    assert_eq!(fake::calls("http_finish").len(), 1);
    assert_eq!(fake::calls("poll_shutdown").len(), 0);
    assert_eq!(fake::calls("http_abort").len(), 0);
}

#[test]
fn a_host_without_trailers_gets_a_plain_end() {
    let outcome = send_from(|sender| {
        fake::answer(
            "http_finish",
            Answer::Fails(wapo_abi::Errno::UNKNOWN_CALL_NUMBER),
        );
        sender.finish(http::HeaderMap::new());
    });
    assert!(matches!(outcome, Poll::Ready(Ok(()))), "{outcome:?}");
    assert_eq!(fake::calls("poll_shutdown").len(), 1);
}

#[test]
fn a_body_that_ends_is_no_abort_and_one_that_fails_is() {
    let outcome = send_from(drop);
    assert!(matches!(outcome, Poll::Ready(Ok(()))), "{outcome:?}");
    assert_eq!(fake::calls("http_abort").len(), 0);
    let outcome = send_from(super::super::BodySender::abort);
    assert!(matches!(outcome, Poll::Ready(Err(_))), "{outcome:?}");
    assert_eq!(fake::calls("http_abort").len(), 1);
    assert_eq!(fake::calls("poll_shutdown").len(), 0);
}

#[test]
fn an_answer_dropped_half_way_is_broken_off() {
    fake::install();
    let (_sender, body) = Body::channel();
    let responder = Responder::new(
        Some(1.into()),
        TcpStream::from_handle(2.into(), false),
        false,
    );
    let mut sending = Box::pin(responder.send(body));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(sending.as_mut().poll(&mut cx).is_pending());
    assert_eq!(fake::calls("http_abort").len(), 0);
    drop(sending);
    assert_eq!(fake::calls("http_abort").len(), 1);
}

#[test]
fn an_error_answers_500_without_its_text() {
    let response = Err::<(), _>("the password is 1234").into_response();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.body().known_len(), Some(15));
}

#[test]
fn statuses_without_a_body() {
    for status in [100, 101, 204, 304] {
        assert!(!may_have_body(
            StatusCode::from_u16(status).expect("status")
        ));
    }
    assert!(may_have_body(StatusCode::OK));
}
