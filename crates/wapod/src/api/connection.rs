//! Connections of either port: serving one to its end.
//!
//! One task per connection, a bounded number of them (`places`), as they come in (`door`) or
//! from the port that apps share for TLS ([`arrive`]). The version of HTTP is told by the
//! first bytes, after the handshake where the port speaks TLS (`https`).

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use wapo_sni::ServerName;

use super::client::{Client, Named, Stage, Tls};
use super::places::Place;
use super::service::Service;
use super::transport::{Socket, Tally, Transport};
use super::{http1, http2, self_wakes};
use crate::limits::{FIRST_BYTES_TIMEOUT, TLS_UNSENT_BYTES_MAX};

/// A connection that another port has accepted, and whose TLS it has ended.
pub(crate) struct Arrival {
    pub(crate) peer: SocketAddr,
    pub(crate) place: Place,
    /// The name that the client has asked for.
    pub(crate) name: ServerName,
    /// What it was shown.
    pub(crate) certificate: Arc<CertifiedKey>,
    /// The serial number of the app that this attests.
    pub(crate) attested: Option<u64>,
}

/// Serves such a connection to its end.
pub(super) async fn arrive(
    service: Arc<impl Service>,
    mut stream: Box<TlsStream<Tally>>,
    arrival: Arrival,
    stage: watch::Receiver<Stage>,
) {
    let session = stream.get_mut().1;
    session.set_buffer_limit(Some(TLS_UNSENT_BYTES_MAX));
    let tls = Tls::Named(Named {
        name: arrival.name,
        certificate: arrival.certificate,
        attested: arrival.attested,
    });
    let clients = service.clients();
    let client = clients.client(arrival.peer, arrival.place, tls, stage);
    serve(Socket::Tls(stream), service, client).await;
}

pub(super) async fn serve(socket: Socket, service: Arc<impl Service>, client: Client) {
    let timeouts = service.clients().timeouts;
    let (liveness, activity) = (client.liveness(), client.activity());
    let mut transport = Transport::new(socket, liveness.clone(), activity.clone(), timeouts.write);
    let is_http2 = tokio::select! {
        is_http2 = timeout(FIRST_BYTES_TIMEOUT, transport.speaks_http2(timeouts.head)) => match is_http2 {
            Ok(Some(is_http2)) => is_http2,
            _ => return,
        },
        () = client.draining() => return,
    };
    let liveness = Arc::clone(liveness);
    let used_up_turn = move || liveness.take_turn_over();
    if is_http2 {
        // Boxed: it is larger than what most connections need.
        let mut serving = Box::pin(http2::serve(transport, service, client));
        return self_wakes::run(serving.as_mut(), used_up_turn).await;
    }
    let serving = pin!(http1::serve(transport, service, client));
    self_wakes::run(serving, used_up_turn).await;
}
