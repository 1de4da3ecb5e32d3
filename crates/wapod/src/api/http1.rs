//! HTTP/1.1, server's side of one connection.
//!
//! hyper serves it, and keeps two buffers of 8 KiB for as long as it has the connection.
//! So a connection that has had no request for a moment is taken back from hyper, and its
//! transport alone is kept until the client sends more: it *rests*. After an answer with
//! the status 101 the transport goes to the task that asked for it ([`Client::switches`]).
//! Called by `connection`; requests are answered by a [`Service`].

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use hyper::Request;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1::{Builder, Connection, Parts};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::body::Body;
use super::client::{ActiveRequest, Client};
use super::framing;
use super::request_body::RequestBody;
use super::service::Service;
use super::transport::Transport;
use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX, REST_AFTER, Timeouts};

/// Serves a connection whose client has sent the beginning of a request, to its end.
pub(super) async fn serve(mut transport: Transport, service: Arc<impl Service>, client: Client) {
    let timeouts = service.clients().timeouts;
    let _guard = SwitchGuard(&client);
    loop {
        // Boxed, so that a connection that rests does not keep the room of this.
        let serving = Box::pin(serve_requests(transport, Arc::clone(&service), &client));
        match serving.await {
            Some(resting) => transport = resting,
            None => return,
        }
        if !rest(&mut transport, &client, timeouts).await {
            return close(transport, &client).await;
        }
    }
}

/// Ends the wait of a task for the transport when the connection ends without a switch: the
/// task has a part of the connection, and would keep it for ever.
struct SwitchGuard<'a>(&'a Client);

impl Drop for SwitchGuard<'_> {
    fn drop(&mut self) {
        drop(self.0.switched());
    }
}

/// The connection as hyper has it.
type Served<S> = Connection<TokioIo<Transport>, S>;

/// Serves requests until the connection has ended, or there were none for a moment: then
/// it returns the transport.
async fn serve_requests(
    transport: Transport,
    service: Arc<impl Service>,
    client: &Client,
) -> Option<Transport> {
    let timeouts = service.clients().timeouts;
    let for_requests = client.clone();
    let hyper_service = service_fn(move |request: Request<Incoming>| {
        let service = Arc::clone(&service);
        let client = for_requests.with_request();
        let counted = ActiveRequest::new(&client);
        async move {
            let method = request.method().clone();
            let request = request.map(|body| RequestBody::http1(body, &client));
            let response = service.answer(request, client).await;
            let response = framing::settle(&method, response);
            Ok::<_, Infallible>(response.map(|body| CountedBody {
                body,
                _counted: counted,
            }))
        }
    });
    let mut connection = Builder::new()
        // The transport keeps the time of a head that has begun; without one, the connection
        // is taken back after a moment (`quiet`).
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .half_close(true)
        .serve_connection(TokioIo::new(transport), hyper_service);
    // The connection is polled for each request, and these only when something woke them.
    let draining = client.draining().map(|()| Interruption::Draining);
    let quiet = quiet(client, timeouts).map(|()| Interruption::Quiet);
    let interruptions = [draining.left_future(), quiet.right_future()];
    let mut interruptions = FuturesUnordered::from_iter(interruptions);
    let ended = tokio::select! {
        biased;
        ended = &mut connection => Some(ended),
        Some(interruption) = interruptions.next() => match interruption {
            Interruption::Draining => None,
            Interruption::Quiet => return Some(take_back(connection)),
        },
    };
    drop(interruptions);
    let ended = match ended {
        Some(ended) => ended,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            tokio::select! {
                ended = &mut connection => ended,
                () = client.closed() => return None,
            }
        }
    };
    match ended {
        Ok(()) => finish(connection, client).await,
        Err(error) => tracing::debug!(%error, "a connection failed"),
    }
    None
}

/// Gives the transport to a task that waits for it, or ends the connection in order.
async fn finish<S>(mut connection: Served<S>, client: &Client)
where
    S: HttpService<Incoming, ResBody = CountedBody, Error = Infallible>,
    Served<S>: Future + Unpin,
{
    match client.switched() {
        // A part of the head was not written.
        Some(_) if client.liveness().is_blocked() => {}
        // The task may have ended meanwhile; then the connection ends here.
        Some(taker) => drop(taker.send(take_back(connection))),
        // hyper ends once for a client that has asked for a switch, and is not done then: it
        // has to write the rest of an answer and to shut down.
        None => {
            tokio::select! {
                // An error means that the client is gone.
                _ = &mut connection => {}
                () = client.closed() => {}
            }
        }
    }
}

/// Why serving stops before the connection has ended.
enum Interruption {
    /// The listener takes no more of them.
    Draining,
    /// There were none for a moment.
    Quiet,
}

/// Time without requests after which a connection rests.
fn rest_after(timeouts: Timeouts) -> Duration {
    REST_AFTER.min(idle_time(timeouts))
}

/// Time without requests after which a connection ends.
fn idle_time(timeouts: Timeouts) -> Duration {
    timeouts.idle.max(timeouts.head)
}

/// Waits until there has been no request for a moment, and hyper has nothing to write.
async fn quiet(client: &Client, timeouts: Timeouts) {
    let liveness = client.liveness();
    let is_quiet = || !liveness.is_inside_request() && !liveness.is_blocked();
    loop {
        client.idle(rest_after(timeouts)).await;
        if !is_quiet() {
            continue;
        }
        // A body may have been given up this moment, on another thread. hyper, which alone
        // knows what of it is still to come, has its turn before the second look.
        let begun = liveness.begun();
        yield_now().await;
        if is_quiet() && liveness.begun() == begun {
            return;
        }
    }
}

/// Takes the transport back from hyper, with what hyper has read and not used.
fn take_back<S>(connection: Served<S>) -> Transport
where
    S: HttpService<Incoming, ResBody = CountedBody, Error = Infallible>,
{
    let Parts { io, read_buf, .. } = connection.into_parts();
    let mut transport = io.into_inner();
    transport.put_back(&read_buf);
    transport
}

/// Waits until the client sends more; false when the connection is to end instead.
async fn rest(transport: &mut Transport, client: &Client, timeouts: Timeouts) -> bool {
    // At least this has passed since the last request.
    let time = idle_time(timeouts).saturating_sub(rest_after(timeouts));
    tokio::select! {
        biased;
        more = timeout(time, transport.more()) => matches!(more, Ok(Ok(true))),
        () = client.draining() => false,
    }
}

/// Ends a connection in order.
async fn close(mut transport: Transport, client: &Client) {
    tokio::select! {
        // An error means that the client is gone.
        _ = transport.shutdown() => {}
        () = client.closed() => {}
    }
}

/// The body of an answer, which counts as a request until it is complete.
struct CountedBody {
    body: Body,
    _counted: ActiveRequest,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use hyper::{Response, StatusCode};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::api::body;
    use crate::api::clients::Clients;
    use crate::api::places::Places;
    use crate::api::transport::Socket;

    const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    /// Answers every request with so many bytes.
    struct Zeros {
        clients: Arc<Clients>,
        count: usize,
    }

    impl Service for Zeros {
        async fn answer(&self, _: Request<RequestBody>, _: Client) -> Response<Body> {
            let zeros = vec![0; self.count];
            body::full(StatusCode::OK, "application/octet-stream", zeros)
        }

        fn clients(&self) -> &Arc<Clients> {
            &self.clients
        }
    }

    /// A connection that has sent one request.
    async fn asked(count: usize) -> (Transport, Arc<Zeros>, Client, TcpStream) {
        sent(GET, HEAD_TIMEOUT, count).await
    }

    /// A connection that has sent something, with a time for heads.
    async fn sent(
        bytes: &[u8],
        head: Duration,
        count: usize,
    ) -> (Transport, Arc<Zeros>, Client, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut far = TcpStream::connect(address).await.expect("connected");
        let (near, _) = listener.accept().await.expect("accepted");
        let clients = Clients::of_admin(8, Timeouts::default());
        let client = Client::of_test(&Places::new(1, 1)).await;
        let (liveness, activity) = (client.liveness().clone(), client.activity().clone());
        let time = Timeouts::default().write;
        let mut transport = Transport::new(Socket::Tcp(near), liveness, activity, time);
        far.write_all(bytes).await.expect("sent");
        assert_eq!(transport.speaks_http2(head).await, Some(false));
        (transport, Arc::new(Zeros { clients, count }), client, far)
    }

    /// Reads an answer with so many bytes to its end.
    async fn expect_answer(far: &mut TcpStream, count: usize) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(far.read_u8().await.expect("a head"));
        }
        let mut body = vec![1; count];
        far.read_exact(&mut body).await.expect("a body");
        assert!(body.iter().all(|byte| *byte == 0));
    }

    #[tokio::test]
    async fn a_connection_without_requests_rests_and_goes_on_with_what_had_begun() {
        let (transport, service, client, mut far) = asked(4).await;
        let (first, rest) = GET.split_at(5);
        let begun = tokio::time::Instant::now();
        let mut serving = pin!(serve_requests(transport, Arc::clone(&service), &client));
        let exchange = async {
            expect_answer(&mut far, 4).await;
            far.write_all(first).await.expect("sent");
            std::future::pending::<()>().await;
        };
        let mut transport = tokio::select! {
            resting = &mut serving => resting.expect("it goes on"),
            () = exchange => unreachable!("it is pending"),
        };
        assert!(begun.elapsed() >= REST_AFTER);
        far.write_all(rest).await.expect("sent");
        let goes_on = super::rest(&mut transport, &client, Timeouts::default()).await;
        assert!(goes_on, "the client has sent more");
        tokio::select! {
            _ = serve_requests(transport, service, &client) => panic!("it has ended"),
            () = expect_answer(&mut far, 4) => {}
        }
    }

    #[tokio::test]
    async fn a_connection_whose_answer_is_not_taken_does_not_rest() {
        const MANY: usize = 16 << 20;
        let (transport, service, client, mut far) = asked(MANY).await;
        let mut serving = pin!(serve_requests(transport, service, &client));
        let waited = timeout(2 * REST_AFTER, serving.as_mut()).await;
        assert!(waited.is_err(), "the answer is not written");
        assert_eq!(
            client.liveness().requests(),
            0,
            "all of it is in hyper's hands"
        );
        tokio::select! {
            _ = &mut serving => panic!("it has ended"),
            () = expect_answer(&mut far, MANY) => {}
        }
        assert!(serving.await.is_some(), "now it rests");
    }

    #[tokio::test]
    async fn a_head_that_began_with_the_request_before_has_its_time_when_it_rests() {
        let both = [GET, &GET[..5]].concat();
        let (transport, service, client, mut far) = sent(&both, Duration::from_secs(1), 4).await;
        let mut serving = pin!(serve_requests(transport, service, &client));
        let exchange = async {
            expect_answer(&mut far, 4).await;
            std::future::pending::<()>().await;
        };
        let mut transport = tokio::select! {
            resting = &mut serving => resting.expect("it goes on"),
            () = exchange => unreachable!("it is pending"),
        };
        let rest = rest(&mut transport, &client, Timeouts::default());
        let goes_on = timeout(Duration::from_secs(10), rest).await;
        assert!(!goes_on.expect("long before the idle timeout"));
    }

    #[tokio::test]
    async fn a_connection_rests_no_later_than_it_would_end() {
        let (transport, service, client, mut far) = asked(4).await;
        let short = Duration::from_millis(200);
        let timeouts = Timeouts {
            idle: short,
            head: short,
            ..Timeouts::default()
        };
        assert_eq!(rest_after(timeouts), short);
        assert_eq!(rest_after(Timeouts::default()), REST_AFTER);
        let begun = tokio::time::Instant::now();
        tokio::select! {
            _ = serve_requests(transport, service, &client) => panic!("it has ended"),
            () = quiet(&client, timeouts) => {}
            () = async {
                expect_answer(&mut far, 4).await;
                std::future::pending().await
            } => {}
        }
        assert!(begun.elapsed() < REST_AFTER);
    }

    #[tokio::test]
    async fn an_answer_is_whole_beside_a_refused_switch_and_a_body_that_is_not_read() {
        const MANY: usize = 16 << 20;
        let request = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\
            content-length: 1000000\r\n\r\n";
        let (transport, service, client, mut far) = sent(request, HEAD_TIMEOUT, MANY).await;
        let served = async {
            serve(transport, service, client).await;
            std::future::pending().await
        };
        let taken = async {
            // Until the client's and the kernel's buffers are full.
            tokio::time::sleep(Duration::from_millis(500)).await;
            expect_answer(&mut far, MANY).await;
        };
        tokio::select! {
            () = served => {}
            taken = timeout(Duration::from_secs(60), taken) => taken.expect("all of it"),
        }
    }

    #[tokio::test]
    async fn a_task_does_not_wait_for_the_transport_of_a_connection_that_has_ended() {
        let (transport, service, client, far) = asked(4).await;
        let switch = client.switches();
        // With a reset: an orderly end would come to the task.
        far.set_zero_linger().expect("an option");
        drop(far);
        serve(transport, service, client).await;
        assert!(switch.await.is_err(), "there is no connection");
    }

    #[tokio::test]
    async fn a_client_that_leaves_while_its_connection_rests_is_answered_with_the_end() {
        let (mut transport, _, client, mut far) = asked(4).await;
        let mut taken = [0; GET.len()];
        transport.read_exact(&mut taken).await.expect("the request");
        far.shutdown().await.expect("half closed");
        assert!(!rest(&mut transport, &client, Timeouts::default()).await);
        close(transport, &client).await;
        assert_eq!(far.read(&mut taken).await.expect("no reset"), 0);
    }
}
