//! HTTP/2, server's side of one connection.
//!
//! Drives the `h2` library itself, because answers need more than hyper's server
//! can say: `100 Continue`, an end in the same frame as the head, windows that no
//! app can hold, and an end to clients that take nothing. A connection is one task
//! that owns a task for each stream. Called by `connection`; what is asked is
//! answered by a [`Service`].

mod download;
mod reply;
mod upload;

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::task::JoinSet;
use tokio::time::timeout;

use download::Outcome;
use reply::Reply;
pub(crate) use upload::Upload;

use super::body;
use super::client::{ActiveRequest, Client};
use super::framing;
use super::liveness::ClientLiveness;
use super::request_body::RequestBody;
use super::service::Service;
use super::transport::Transport;
use crate::limits::{
    CONNECTION_WINDOW_BYTES, FIRST_BYTES_TIMEOUT, GOODBYE_TIMEOUT, HEAD_BYTES_MAX, HEADERS_MAX,
    SEND_BUFFER_BYTES, STREAM_WINDOW_BYTES, STREAMS_MAX, Timeouts,
};

/// Fields that HTTP/2 does not have (RFC 9113, section 8.2.2).
const NOT_IN_HTTP2: [HeaderName; 6] = [
    header::CONNECTION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Serves a connection whose client has sent the preface, to its end.
pub(super) async fn serve(transport: Transport, service: Arc<impl Service>, client: Client) {
    let handshake = Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .enable_connect_protocol()
        .handshake(transport);
    let connection = tokio::select! {
        shaken = timeout(FIRST_BYTES_TIMEOUT, handshake) => match shaken {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return tracing::debug!(%error, "a handshake of HTTP/2 failed"),
            Err(_) => return,
        },
        () = client.closed() => return,
    };
    let served = Served {
        connection,
        streams: JoinSet::new(),
        timeouts: service.clients().timeouts,
        service,
        client,
    };
    served.run().await;
}

/// A connection and its streams. The streams end with it.
struct Served<S> {
    connection: Connection<Transport, Bytes>,
    streams: JoinSet<()>,
    service: Arc<S>,
    client: Client,
    timeouts: Timeouts,
}

/// The protocol that a client of HTTP/2 wants to speak on one stream (RFC 8441).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ConnectProtocol(pub(super) String);

/// Why a connection is asked to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Farewell {
    /// The daemon or this port is going.
    Draining,
    /// There was no request for some time.
    Idle,
}

impl<S: Service> Served<S> {
    async fn run(mut self) {
        let client = self.client.clone();
        let idle = self.timeouts.idle;
        let farewell = tokio::select! {
            () = self.accept() => return,
            () = client.draining() => Farewell::Draining,
            () = client.idle(idle) => Farewell::Idle,
            () = client.liveness().accused() => return self.refuse().await,
        };
        self.connection.graceful_shutdown();
        let left = async {
            match farewell {
                // Closes connections that have not finished the shutdown by then,
                // unless a request came.
                Farewell::Idle => client.idle(GOODBYE_TIMEOUT).await,
                Farewell::Draining => client.closed().await,
            }
        };
        tokio::select! {
            () = self.accept() => {}
            () = left => {}
            () = client.closed() => {}
            () = client.liveness().accused() => self.refuse().await,
        }
    }

    /// Takes streams until the connection ends.
    async fn accept(&mut self) {
        loop {
            tokio::select! {
                accepted = self.connection.accept() => match accepted {
                    Some(Ok((request, reply))) => self.begin(request, reply),
                    Some(Err(error)) => return tracing::debug!(%error, "a connection failed"),
                    None => return,
                },
                Some(_) = self.streams.join_next() => {}
            }
        }
    }

    fn begin(&mut self, request: Request<RecvStream>, reply: SendResponse<Bytes>) {
        let service = Arc::clone(&self.service);
        let client = self.client.with_request();
        let timeouts = self.timeouts;
        self.streams.spawn(async move {
            let counted = ActiveRequest::new(&client);
            let reply = Reply::new(reply);
            let outcome = answer(&*service, client.clone(), request, reply, timeouts).await;
            // Counted no more when it is asked whether others are at work.
            drop(counted);
            if let Outcome::NotTaken(taken_before) = outcome {
                client.liveness().give_up(taken_before);
            }
        });
    }

    /// Ends the connection of a client that only makes work.
    async fn refuse(&mut self) {
        self.streams.shutdown().await;
        self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        let goodbye = std::future::poll_fn(|cx| self.connection.poll_closed(cx));
        // Closes the connection if the client does not read that either.
        let _ = timeout(GOODBYE_TIMEOUT, goodbye).await;
    }
}

/// Answers one stream.
async fn answer(
    service: &impl Service,
    client: Client,
    request: Request<RecvStream>,
    reply: Reply,
    timeouts: Timeouts,
) -> Outcome {
    let request = translate(request, &reply, client.liveness());
    let method = request.method().clone();
    let answering = async {
        match request.headers().len() > HEADERS_MAX {
            true => body::text(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "there are too many headers\n",
            ),
            false => service.answer(request, client.clone()).await,
        }
    };
    let response = tokio::select! {
        biased;
        () = std::future::poll_fn(|cx| reply.poll_reset(cx)) => {
            tracing::debug!("a client has taken its request back");
            return Outcome::Over;
        }
        response = answering => framing::settle(&method, response),
    };
    let Some(mut reply) = reply.take() else {
        return Outcome::Over;
    };
    let (mut head, body) = response.into_parts();
    finish_head(&mut head.headers);
    let is_whole = hyper::body::Body::is_end_stream(&body);
    match reply.send_response(Response::from_parts(head, ()), is_whole) {
        Ok(_) if is_whole => Outcome::Over,
        Ok(stream) => {
            // Nothing holds the stream but what sends.
            drop(reply);
            download::send(body, stream, &client, timeouts.write).await
        }
        Err(error) => {
            tracing::debug!(%error, "an answer could not be sent");
            Outcome::Over
        }
    }
}

/// The request as a service sees it, in whichever version it came.
fn translate(
    request: Request<RecvStream>,
    reply: &Reply,
    liveness: &Arc<ClientLiveness>,
) -> Request<RequestBody> {
    let (mut parts, stream) = request.into_parts();
    if let Some(protocol) = parts.extensions.remove::<h2::ext::Protocol>() {
        let protocol = ConnectProtocol(protocol.as_str().to_owned());
        parts.extensions.insert(protocol);
    }
    join_cookies(&mut parts.headers);
    let expects = parts.headers.get(header::EXPECT);
    let expects = expects.is_some_and(|value| {
        value.as_bytes().eq_ignore_ascii_case(b"100-continue") && parts.method != Method::CONNECT
    });
    let length = parts.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
    let go_on = expects.then(|| reply.clone());
    let body = Upload::new(stream, length, go_on, liveness);
    Request::from_parts(parts, RequestBody::Http2(body))
}

/// Browsers send a field for each cookie; programs expect one (RFC 9113, section
/// 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let crumbs = headers.get_all(header::COOKIE).iter();
    let crumbs: Vec<_> = crumbs.map(HeaderValue::as_bytes).collect();
    // Pieces of valid values make a valid one.
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Leaves out what is for one connection of HTTP/1.1, and adds the date.
fn finish_head(headers: &mut HeaderMap) {
    for name in &NOT_IN_HTTP2 {
        headers.remove(name);
    }
    if !headers.contains_key(header::DATE)
        && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()))
    {
        headers.insert(header::DATE, date);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::api::budget::{Bounds, Budget};
    use crate::api::clients::Clients;
    use crate::api::listener::Listener;
    use crate::limits::UNREAD_FREE_BYTES;

    /// Reads bodies for `/read`, and nothing of all others.
    struct Reader(Arc<Clients>);

    impl Service for Reader {
        async fn answer(&self, request: Request<RequestBody>, _: Client) -> Response<body::Body> {
            if request.uri().path() != "/read" {
                let _unread = request.into_body();
                return std::future::pending().await;
            }
            let read = request.into_body().collect().await;
            let bytes = read.map_or(0, |body| body.to_bytes().len());
            body::text(StatusCode::OK, bytes.to_string())
        }

        fn clients(&self) -> &Arc<Clients> {
            &self.0
        }
    }

    /// Sends a body of so many bytes, as fast as it may, and gives the answer's.
    async fn upload(
        requests: &h2::client::SendRequest<Bytes>,
        path: &str,
        bytes: usize,
    ) -> Result<Bytes, h2::Error> {
        let mut requests = requests.clone().ready().await?;
        let request = Request::post(format!("http://h{path}")).body(());
        let request = request.expect("a request");
        let (answer, mut body) = requests.send_request(request, false)?;
        let mut left = bytes;
        while left > 0 {
            body.reserve_capacity(left);
            let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await;
            let piece = room.expect("not the end")?.min(left);
            left -= piece;
            body.send_data(Bytes::from(vec![0; piece]), left == 0)?;
        }
        let mut answer = answer.await?.into_body();
        answer.data().await.unwrap_or(Ok(Bytes::new()))
    }

    /// A connection, in a set of which it is a task.
    async fn connect(
        address: std::net::SocketAddr,
        connections: &mut JoinSet<()>,
    ) -> h2::client::SendRequest<Bytes> {
        let stream = TcpStream::connect(address).await.expect("accepted");
        // Its end comes at once, however much is on the way.
        stream.set_zero_linger().expect("set");
        let (requests, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        connections.spawn(async move { drop(connection.await) });
        requests
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn bodies_that_nobody_reads_are_bounded_together_and_what_is_read_gets_through() {
        const TOTAL: u64 = 100_000;
        let budget = Budget::new(Bounds {
            total: TOTAL,
            each: TOTAL,
            for_small: 0,
        });
        let clients = Clients::of_test(Arc::clone(&budget));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let service = Reader(Arc::clone(&clients));
        let listener =
            Listener::start(listener, Arc::new(service), std::time::Duration::ZERO, None);
        let (mut leaving, mut staying) = (JoinSet::new(), JoinSet::new());
        let greedy = connect(address, &mut leaving).await;
        let mut holding = JoinSet::new();
        for _ in 0..20 {
            let requests = greedy.clone();
            holding.spawn(async move { upload(&requests, "/hold", 120_000).await });
        }
        let is_full = async {
            while budget.reading().refused == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let waited = timeout(FIRST_BYTES_TIMEOUT, is_full).await;
        waited.expect("there is no room at some time");
        let used = budget.reading().used;
        assert!(used <= TOTAL && used > TOTAL / 2, "{used}");
        // Larger than the free part and than what is left.
        let bytes = usize::try_from(20 * UNREAD_FREE_BYTES).expect("small");
        let requests = connect(address, &mut staying).await;
        let read = timeout(FIRST_BYTES_TIMEOUT, upload(&requests, "/read", bytes)).await;
        let read = read.expect("it is read").expect("an answer");
        assert_eq!(read, bytes.to_string());
        // Its end is noticed though it is not read.
        leaving.shutdown().await;
        holding.shutdown().await;
        let given_back = async {
            while budget.reading().used > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let waited = timeout(FIRST_BYTES_TIMEOUT, given_back).await;
        waited.expect("nothing is left");
        listener.drain().await;
    }

    #[test]
    fn cookies_become_one_field() {
        for (crumbs, expected) in [
            (&["a=1", "b=2", "c=3"][..], Some("a=1; b=2; c=3")),
            (&["a=1; b=2"][..], Some("a=1; b=2")),
            (&[][..], None),
        ] {
            let mut headers = HeaderMap::new();
            for crumb in crumbs {
                headers.append(header::COOKIE, HeaderValue::from_static(crumb));
            }
            join_cookies(&mut headers);
            let values: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
            assert_eq!(values, expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn heads_lose_what_is_for_one_connection() {
        let mut headers = HeaderMap::new();
        for name in ["connection", "te", "keep-alive", "upgrade", "x-kept"] {
            headers.insert(name, HeaderValue::from_static("1"));
        }
        finish_head(&mut headers);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["date", "x-kept"]);
    }
}
