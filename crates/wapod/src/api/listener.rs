//! Ports that accept: starting one, and ending it with all of its connections.
//!
//! [`Listener::drain`] ends connections in two stages: first no new requests, and after a
//! grace period no connection at all. What comes in is taken by `door`. Made by `server`.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::Stage;
use super::door::{self, keep_alive};
use super::https::Https;
use super::places::Places;
use super::service::Service;

/// A port that accepts, and its connections. Dropping it closes them all.
pub(crate) struct Listener {
    stage: watch::Sender<Stage>,
    places: Arc<Places>,
    grace: Duration,
    /// Looks after the certificate; ends with this.
    _watch: JoinSet<()>,
}

impl Listener {
    /// Starts to accept; with `https`, connections begin with TLS.
    pub(crate) fn start(
        listener: TcpListener,
        service: Arc<impl Service>,
        grace: Duration,
        https: Option<Arc<Https>>,
    ) -> Self {
        keep_alive(&listener);
        let (stage, watching) = watch::channel(Stage::Open);
        let places = Arc::clone(&service.clients().places);
        let mut watch = JoinSet::new();
        if let Some(https) = &https {
            watch.spawn(Arc::clone(https).watch());
        }
        tokio::spawn(door::accept(listener, service, https, watching));
        Self {
            _watch: watch,
            stage,
            places,
            grace,
        }
    }

    /// Stops accepting, waits for requests in flight, then closes what is left.
    pub(crate) async fn drain(self) {
        self.stage.send_replace(Stage::Draining);
        if timeout(self.grace, self.places.all_left()).await.is_err() {
            tracing::info!("requests are cut off: the grace period is over");
        }
        self.stage.send_replace(Stage::Closed);
    }
}

#[cfg(test)]
mod tests {
    use hyper::{Request, Response};
    use tokio::net::TcpStream;

    use super::super::body::Body;
    use super::super::client::Client;
    use super::super::clients::Clients;
    use super::super::request_body::RequestBody;
    use super::*;
    use crate::limits::Timeouts;

    /// Hears requests and answers none.
    struct Silent {
        clients: Arc<Clients>,
        asked: Arc<tokio::sync::Notify>,
    }

    impl Service for Silent {
        async fn answer(&self, _: Request<RequestBody>, _: Client) -> Response<Body> {
            self.asked.notify_one();
            std::future::pending().await
        }

        fn clients(&self) -> &Arc<Clients> {
            &self.clients
        }
    }

    #[tokio::test]
    async fn stages_go_one_way() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let asked = Arc::<tokio::sync::Notify>::default();
        let silent = Silent {
            clients: Clients::of_admin(8, Timeouts::default()),
            asked: Arc::clone(&asked),
        };
        let listener = Listener::start(listener, Arc::new(silent), Duration::from_millis(50), None);
        let mut stage = listener.stage.subscribe();
        let mut seen = vec![*stage.borrow_and_update()];
        // A request without an answer takes the whole grace.
        let mut client = TcpStream::connect(address).await.expect("accepted");
        let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        let written = tokio::io::AsyncWriteExt::write_all(&mut client, request).await;
        written.expect("sent");
        asked.notified().await;
        let draining = tokio::spawn(listener.drain());
        while stage.changed().await.is_ok() {
            seen.push(*stage.borrow_and_update());
            let refused = TcpStream::connect(address).await.is_err();
            assert!(refused || seen.len() == 2, "open again after {seen:?}");
        }
        draining.await.expect("drained");
        assert_eq!(seen, [Stage::Open, Stage::Draining, Stage::Closed]);
    }
}
