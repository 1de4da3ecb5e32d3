//! The body of an answer on its way to one stream of HTTP/2.
//!
//! Asks for more of a body only when the client has taken what came before. A
//! client may leave the window of one stream closed while the others go on, so the
//! time in which it has to take something counts for each stream. Called by the
//! task of the stream.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::time::timeout;

use crate::api::body::Body;
use crate::api::client::Client;

/// Why a body did not get to its end.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the client has reset the stream")]
    Unwanted,
    #[error("the client read nothing of the answer")]
    NotTaken(u64),
    #[error("it broke off")]
    Source,
    #[error(transparent)]
    Connection(#[from] h2::Error),
}

/// What became of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// It was sent, or broke off.
    Over,
    /// The client took nothing for too long. With what it had taken of all streams
    /// when that wait began.
    NotTaken(u64),
}

/// Sends a body, to its end or until the client is given up.
pub(super) async fn send(
    body: Body,
    mut stream: SendStream<Bytes>,
    client: &Client,
    write_timeout: Duration,
) -> Outcome {
    let Err(error) = pass_on(body, &mut stream, client, write_timeout).await else {
        return Outcome::Over;
    };
    tracing::debug!(%error, "an answer in HTTP/2 was not sent to its end");
    match error {
        Broken::Source => stream.send_reset(Reason::INTERNAL_ERROR),
        Broken::NotTaken(taken_before) => {
            stream.send_reset(Reason::CANCEL);
            return Outcome::NotTaken(taken_before);
        }
        Broken::Unwanted | Broken::Connection(_) => {}
    }
    Outcome::Over
}

async fn pass_on(
    mut body: Body,
    stream: &mut SendStream<Bytes>,
    client: &Client,
    write_timeout: Duration,
) -> Result<(), Broken> {
    loop {
        let frame = tokio::select! {
            biased;
            reset = poll_fn(|cx| stream.poll_reset(cx)) => {
                reset?;
                return Err(Broken::Unwanted);
            }
            frame = body.frame() => frame,
        };
        let data = match frame {
            None => {
                stream.send_data(Bytes::new(), true)?;
                return Ok(());
            }
            Some(Err(_)) => return Err(Broken::Source),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => data,
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => {
                        stream.send_trailers(trailers)?;
                        return Ok(());
                    }
                    Err(_) => continue,
                },
            },
        };
        let is_last = body.is_end_stream();
        send_data(data, is_last, stream, client, write_timeout).await?;
        if is_last {
            return Ok(());
        }
    }
}

/// Sends a piece, as the client takes it.
async fn send_data(
    mut data: Bytes,
    is_last: bool,
    stream: &mut SendStream<Bytes>,
    client: &Client,
    write_timeout: Duration,
) -> Result<(), Broken> {
    if data.is_empty() && is_last {
        stream.send_data(data, true)?;
        return Ok(());
    }
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = room(stream, client, write_timeout).await?;
        let piece = data.split_to(room.min(data.len()));
        let bytes = piece.len();
        stream.send_data(piece, is_last && data.is_empty())?;
        client.liveness().budget.grant_sent(bytes);
        client.liveness().took_something();
    }
    Ok(())
}

/// Waits until the client takes some more.
async fn room(
    stream: &mut SendStream<Bytes>,
    client: &Client,
    write_timeout: Duration,
) -> Result<usize, Broken> {
    // What is there already needs no timer.
    if stream.capacity() > 0 {
        return Ok(stream.capacity());
    }
    // A connection whose client reads nothing is closed for new ones.
    let _wait = client.waits();
    let taken_before = client.liveness().taken();
    let waiting = poll_fn(|cx| stream.poll_capacity(cx));
    match timeout(write_timeout, waiting).await {
        Ok(Some(room)) => Ok(room?),
        // The stream was reset.
        Ok(None) => Err(Broken::Unwanted),
        Err(_) => Err(Broken::NotTaken(taken_before)),
    }
}

#[cfg(test)]
mod tests {
    use hyper::{Request, Response};

    use super::*;
    use crate::api::budget::Who;
    use crate::api::places::Places;

    #[tokio::test]
    async fn a_connection_whose_client_takes_nothing_leaves_for_a_newcomer() {
        let places = Places::new(1, 1);
        let client = Client::of_test(&places).await.with_request();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let mut asking = h2::client::Builder::new();
        let asking = asking.initial_window_size(0).handshake::<_, Bytes>(near);
        let (asking, answering) = tokio::join!(asking, h2::server::handshake(far));
        let (requests, connection) = asking.expect("the client's side");
        let mut server = answering.expect("the server's side");
        tokio::spawn(connection);
        let mut requests = requests.ready().await.expect("ready");
        let request = Request::get("http://h/").body(()).expect("a request");
        let asked = requests.send_request(request, true).expect("asked");
        let accepted = server.accept().await.expect("not the end");
        let (_request, mut reply) = accepted.expect("a request");
        tokio::spawn(async move { while server.accept().await.is_some() {} });
        let stream = reply.send_response(Response::new(()), false);
        let stream = stream.expect("a head was sent");

        let body = Body::Full(Some(Bytes::from_static(b"body")));
        let newcomer = Who::new(client.peer.ip(), &[]);
        tokio::select! {
            outcome = send(body, stream, &client, Duration::from_secs(30)) => {
                panic!("nobody left: {outcome:?}");
            }
            place = places.take(newcomer) => assert!(place.is_some()),
        }
        assert_eq!(places.displaced(), 1);
        drop(asked);
    }
}
