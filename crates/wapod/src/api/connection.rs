//! Accepting connections on either port, and letting go of them.
//!
//! One task per connection, a bounded number of them. [`Frontend::drain`] ends
//! them in two stages: first no new requests, and after a grace period no
//! connection at all. The version of HTTP is told by the first bytes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::body::Body;
use crate::limits::{
    CONNECTIONS_MAX, FIRST_BYTES_TIMEOUT, HEAD_BYTES_MAX, HEAD_READ_TIMEOUT, STREAMS_MAX,
};

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Pause after a failed accept, for instance without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Pause before looking again at a preface that has not arrived completely.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);

/// How far the way out the gateway is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Stage {
    /// Serving. Goes to `Draining`.
    Open,
    /// Finishing what was begun. Goes to `Closed`.
    Draining,
    /// Nothing is served any more.
    Closed,
}

/// The gateway's listener and its connections. Dropping it closes them all.
pub(crate) struct Frontend {
    stage: watch::Sender<Stage>,
    permits: Arc<Semaphore>,
    grace: Duration,
}

impl Frontend {
    /// Starts to accept.
    pub(crate) fn start(listener: TcpListener, surface: impl Surface, grace: Duration) -> Self {
        let (stage, watching) = watch::channel(Stage::Open);
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
        let accepting = accept(listener, Arc::new(surface), Arc::clone(&permits), watching);
        tokio::spawn(accepting);
        Self {
            stage,
            permits,
            grace,
        }
    }

    /// Stops accepting, waits for requests in flight, then closes what is left.
    pub(crate) async fn drain(self) {
        self.stage.send_replace(Stage::Draining);
        let all_gone = self.permits.acquire_many(CONNECTIONS_MAX);
        if timeout(self.grace, all_gone).await.is_err() {
            tracing::info!("requests are cut off: the grace period is over");
        }
        self.stage.send_replace(Stage::Closed);
    }
}

/// What answers the requests of a port.
pub(crate) trait Surface: Send + Sync + 'static {
    /// Answers one request. Failures have become answers when this returns.
    fn answer(
        &self,
        request: Request<Incoming>,
        client: Client,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// Who is at the other end; counts with whatever was made of the connection.
#[derive(Clone)]
pub(crate) struct Client {
    /// Address of the other end, as the kernel says.
    pub(super) peer: SocketAddr,
    stage: watch::Receiver<Stage>,
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Client {
    /// Waits until requests are not taken any more.
    pub(super) async fn draining(&mut self) {
        // An error means that the frontend is gone, which is the same.
        let _ = self.stage.wait_for(|stage| *stage >= Stage::Draining).await;
    }

    /// Waits until nothing is served any more.
    pub(super) async fn closed(&mut self) {
        let _ = self.stage.wait_for(|stage| *stage == Stage::Closed).await;
    }
}

async fn accept(
    listener: TcpListener,
    surface: Arc<impl Surface>,
    permits: Arc<Semaphore>,
    stage: watch::Receiver<Stage>,
) {
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let mut draining = stage.clone();
        let accepted = tokio::select! {
            biased;
            // An error means that the frontend is gone, which is the same.
            _ = draining.wait_for(|stage| *stage >= Stage::Draining) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let client = Client {
                    peer,
                    stage: stage.clone(),
                    _permit: Arc::new(permit),
                };
                tokio::spawn(serve(stream, Arc::clone(&surface), client));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, surface: Arc<impl Surface>, mut client: Client) {
    // Answers are written whole; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let is_http2 = tokio::select! {
        is_http2 = timeout(FIRST_BYTES_TIMEOUT, speaks_http2(&stream)) => match is_http2 {
            Ok(Some(is_http2)) => is_http2,
            _ => return,
        },
        () = client.draining() => return,
    };
    let for_requests = client.clone();
    let service = service_fn(move |request| {
        let surface = Arc::clone(&surface);
        let client = for_requests.clone();
        async move { Ok::<_, Infallible>(surface.answer(request, client).await) }
    });
    let io = TokioIo::new(stream);
    if is_http2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
            .serve_connection(io, service);
        drive(connection, client).await;
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_READ_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .half_close(true)
            .serve_connection(io, service)
            .with_upgrades();
        drive(connection, client).await;
    }
}

/// A connection of either version, as far as draining is concerned.
trait Drainable: Future<Output = hyper::Result<()>> {
    /// Finishes the requests that were begun and takes no other.
    fn finish(self: Pin<&mut Self>);
}

impl<S> Drainable for http1::UpgradeableConnection<TokioIo<TcpStream>, S>
where
    S: HttpService<Incoming, ResBody = Body, Error = Infallible>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Drainable for http2::Connection<TokioIo<TcpStream>, S, TokioExecutor>
where
    S: HttpService<Incoming, ResBody = Body, Error = Infallible>,
    S::Future: Send + 'static,
    TokioExecutor: Executor<S::Future>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Runs a connection to its end, or to the end that the stage demands.
async fn drive(connection: impl Drainable, mut client: Client) {
    let mut connection = pin!(connection);
    let mut is_draining = false;
    loop {
        let wait = async {
            if is_draining {
                client.closed().await;
            } else {
                client.draining().await;
            }
        };
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection failed");
                }
                return;
            }
            () = wait => {
                if is_draining {
                    return;
                }
                is_draining = true;
                connection.as_mut().finish();
            }
        }
    }
}

/// Looks at the first bytes without taking them; `None` when the client left.
async fn speaks_http2(stream: &TcpStream) -> Option<bool> {
    let mut first = [0; HTTP2_PREFACE.len()];
    loop {
        let length = stream.peek(&mut first).await.ok()?;
        match preface(&first[..length]) {
            Preface::No if length == 0 => return None,
            Preface::No => return Some(false),
            Preface::Yes => return Some(true),
            // Peeking again succeeds at once, so there is nothing to wait for.
            Preface::Maybe => sleep(PREFACE_PAUSE).await,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Preface {
    Yes,
    No,
    Maybe,
}

fn preface(first: &[u8]) -> Preface {
    if first.starts_with(HTTP2_PREFACE) {
        Preface::Yes
    } else if !first.is_empty() && HTTP2_PREFACE.starts_with(first) {
        Preface::Maybe
    } else {
        Preface::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_version() {
        assert_eq!(preface(HTTP2_PREFACE), Preface::Yes);
        assert_eq!(preface(b"PRI * HT"), Preface::Maybe);
        assert_eq!(preface(b"P"), Preface::Maybe);
        assert_eq!(preface(b"PUT / HTTP/1.1"), Preface::No);
        assert_eq!(preface(b"GET /"), Preface::No);
        assert_eq!(preface(b""), Preface::No);
    }

    #[test]
    fn stages_go_one_way() {
        assert!(Stage::Open < Stage::Draining && Stage::Draining < Stage::Closed);
    }
}
