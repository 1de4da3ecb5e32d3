//! The wait for the head of an app's answer, or for the client to leave before.
//!
//! Ends with the head, with a client that is gone or at fault, or when the app shows no
//! sign of life for too long. The body is the business of `guest_body` and `switch`. Called
//! by `gateway` and `switch`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use tokio::time::{Instant, sleep};
use wapo_host::{BodyStream, HttpAnswer, PendingResponse};

use super::body_pump::BodyPump;
use super::exchange::Exchange;
use super::head;
use super::origin_guard::OriginGuard;
use crate::api::client::Client;
use crate::api::error::ApiError;
use crate::api::liveness::LivenessWatch;
use crate::api::request_body::RequestBody;
use crate::api::signed_parts::AnsweredBy;
use crate::api::timer::SharedTimer;
use crate::error::WorkerError;
use crate::limits::{LIVENESS_INTERVAL, Timeouts};

/// Looks at a client that sends no more with which one is sent a word that it
/// has to skip. Few of them, because some clients count.
const PROBES: [u32; 3] = [0, 10, 60];

/// A request that an instance has.
pub(super) struct Handed {
    pub(super) pending: PendingAnswer,
    pub(super) exchange: Exchange,
    pub(super) io: BodyStream,
    pub(super) body: RequestBody,
}

/// The wait for the head of a guest's answer.
pub(super) struct PendingAnswer {
    pub(super) response: PendingResponse,
    pub(super) begun: Instant,
    pub(super) guard: OriginGuard,
    /// Whether the client understands a word before the answer.
    pub(super) may_probe: bool,
    pub(super) timeouts: Timeouts,
}

impl PendingAnswer {
    /// Waits for the head, and translates it. With it comes the body, where the guest
    /// has given all of it.
    pub(super) async fn answer(
        &mut self,
        exchange: &Exchange,
        pump: Option<&mut BodyPump>,
    ) -> Result<(Response<()>, Option<Bytes>), ApiError> {
        let mut timer = exchange.client.take_timer();
        let answer = self.given(&exchange.client, pump, &mut timer).await;
        exchange.client.keep_timer(timer);
        let HttpAnswer { head, body } = answer.map_err(|error| exchange.attribute(error))?;
        let latency = exchange.lease.app().latency();
        latency.observe(self.begun.elapsed());
        let answered = head::response_head(head, &self.guard);
        let mut response = answered.map_err(|error| exchange.attribute(error))?;
        AnsweredBy(Arc::clone(exchange.lease.app())).mark(&mut response);
        Ok((response, body))
    }

    /// Waits for the answer, as long as the client is there, keeps up with its
    /// body, and the guest shows a sign of life.
    async fn given(
        &mut self,
        client: &Client,
        mut pump: Option<&mut BodyPump>,
        timer: &mut SharedTimer,
    ) -> Result<HttpAnswer, ApiError> {
        let mut check = DepartureCheck::new(client, self.may_probe);
        let mut silent = Duration::ZERO;
        let mut bytes_before = 0;
        let mut now = Instant::now();
        loop {
            let step = LIVENESS_INTERVAL.min(self.timeouts.response.saturating_sub(silent));
            tokio::select! {
                biased;
                error = failed(pump.as_deref_mut()) => return Err(error),
                answer = self.response.answer() => {
                    // A client's fault was noted before the guest could notice: an
                    // answer beside it may be about the body that broke off.
                    return match pump.and_then(BodyPump::failure) {
                        Some(fault) => Err(fault),
                        None => answer.map_err(|error| WorkerError::from(error).into()),
                    };
                }
                () = timer.until(now + step) => {}
            }
            now = Instant::now();
            let bytes = pump.as_ref().map_or(0, |pump| pump.bytes());
            let is_clients_turn = pump.as_ref().is_some_and(|one| one.is_clients_turn());
            if bytes != bytes_before || is_clients_turn {
                silent = Duration::ZERO;
            } else {
                silent += step;
            }
            bytes_before = bytes;
            if silent >= self.timeouts.response {
                return Err(WorkerError::Timeout.into());
            }
            if check.has_left() {
                return Err(ApiError::ClientLeft);
            }
        }
    }
}

/// Waits until the client has left.
pub(super) async fn departure(client: &Client, may_probe: bool) {
    let mut check = DepartureCheck::new(client, may_probe);
    loop {
        sleep(LIVENESS_INTERVAL).await;
        if check.has_left() {
            return;
        }
    }
}

/// Looks from time to time whether a client still waits.
struct DepartureCheck<'a> {
    client: &'a Client,
    may_probe: bool,
    watch: Option<LivenessWatch>,
    /// Looks at a client that sends no more.
    looks: u32,
}

impl<'a> DepartureCheck<'a> {
    fn new(client: &'a Client, may_probe: bool) -> Self {
        Self {
            client,
            may_probe,
            watch: None,
            looks: 0,
        }
    }

    /// Whether the client had left at the last look; asks for the next one.
    fn has_left(&mut self) -> bool {
        let client = self.client;
        let watch = self
            .watch
            .get_or_insert_with(|| LivenessWatch::new(client.liveness()));
        if watch.is_gone() {
            return true;
        }
        if watch.is_half_closed() {
            self.looks += 1;
        }
        if self.may_probe && PROBES.contains(&self.looks) {
            watch.probe();
        } else {
            watch.look();
        }
        false
    }
}

/// Waits until the client turns out to be at fault, if it can.
async fn failed(pump: Option<&mut BodyPump>) -> ApiError {
    match pump {
        Some(pump) => pump.failed().await,
        None => std::future::pending().await,
    }
}
