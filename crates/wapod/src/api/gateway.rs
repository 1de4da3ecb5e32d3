//! Traffic to an app.
//!
//! Finds an instance, waits until it takes requests, and then moves bytes in both
//! directions at once: an answer may start before the request's body has ended,
//! and each side goes only as fast as the other takes it. Which app it is for is
//! in `target`, heads are translated in `head`, the request's body is in `body_pump`, the
//! answer's in `guest_body`. A look for the operator, without a connection, is in `visit`.

mod body_pump;
mod cors;
pub(super) mod forwarded;
mod guest_body;
pub(super) mod head;
pub(super) mod origin_guard;
pub(super) mod target;
pub(super) mod visit;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body as _;
use hyper::header::{CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use wapo_host::{BodyStream, HttpAnswer, HttpCall, HttpExchange, InstanceId, PendingResponse};

use super::UserService;
use super::body::{self, Body};
use super::connection::Client;
use super::error::ApiError;
use super::framing;
use super::liveness::LivenessWatch;
use super::request_body::RequestBody;
use super::signed_parts::AnsweredBy;
use super::timer::SharedTimer;
use super::transport::Transport;
use crate::error::WorkerError;
use crate::limits::{
    EMPTY_BODY_WAIT, FAILURE_PATH_BYTES_MAX, LIVENESS_INTERVAL, REQUEST_BODY_BYTES_MAX, Timeouts,
};
use crate::worker::{App, Channel, Lease};
use body_pump::BodyPump;
use cors::Asking;
use forwarded::Origin;
use guest_body::{Content, GuestBody};
use head::Switch;
use origin_guard::OriginGuard;
use target::Target;

/// Looks at a client that sends no more with which one is sent a word that it
/// has to skip. Few of them, because some clients count.
const PROBES: [u32; 3] = [0, 10, 60];

/// How a call of gRPC ended.
const GRPC_STATUS: &str = "grpc-status";

/// A request that an instance works on.
struct Exchange {
    lease: Lease,
    what: What,
    client: Client,
    is_http_1_0: bool,
    /// Timeout for a client that sends no more and hears nothing.
    half_closed: Duration,
}

/// What was asked for, for the app's log.
struct What {
    method: Method,
    uri: Uri,
}

impl What {
    /// Says in the app's log what became of the request. The query stays out,
    /// like everything else that may be a secret.
    fn log_failure(&self, app: &App, instance: Option<InstanceId>, text: &str) {
        let path = self.uri.path();
        let end = path.floor_char_boundary(FAILURE_PATH_BYTES_MAX);
        let dots = if end < path.len() { "…" } else { "" };
        let path = &path[..end];
        app.log_failure(instance, &format!("{} {path}{dots} {text}", self.method));
    }

    /// The same about an error, unless the client made it. Returns what the
    /// client is told.
    fn attribute(&self, app: &App, instance: Option<InstanceId>, error: ApiError) -> ApiError {
        let status = error.status();
        if status.is_server_error() {
            let text = format!("was answered with {}: {error}", status.as_u16());
            self.log_failure(app, instance, &text);
        }
        match error {
            // What a guest says went wrong in HTTP is for its log.
            ApiError::Worker(WorkerError::App(_)) => WorkerError::NoAnswer.into(),
            error => error,
        }
    }
}

impl Exchange {
    fn log_failure(&self, text: &str) {
        let instance = self.lease.instance().handle().id();
        self.what
            .log_failure(self.lease.app(), Some(instance), text);
    }

    fn attribute(&self, error: impl Into<ApiError>) -> ApiError {
        let instance = self.lease.instance().handle().id();
        let app = self.lease.app();
        self.what.attribute(app, Some(instance), error.into())
    }
}

/// Lets an app answer a request.
pub(super) async fn forward(
    service: &UserService,
    target: Target,
    host: Authority,
    request: Request<RequestBody>,
    client: Client,
) -> Result<Response<Body>, ApiError> {
    let asking = match target.app.settings.cors {
        true => Asking::of(request.method(), request.headers()),
        false => None,
    };
    let Some(asking) = asking else {
        return exchange(service, target, host, request, client).await;
    };
    if let Some(answer) = asking.preflight() {
        return Ok(answer);
    }
    let is_head = request.method() == Method::HEAD;
    let answered = exchange(service, target, host, request, client).await;
    let mut response = answered.unwrap_or_else(|error| error.into_response(is_head));
    asking.allow(response.headers_mut());
    Ok(response)
}

/// Hands a request over, and gives the answer.
async fn exchange(
    service: &UserService,
    target: Target,
    host: Authority,
    request: Request<RequestBody>,
    client: Client,
) -> Result<Response<Body>, ApiError> {
    let begun = Instant::now();
    if request.body().size_hint().lower() > REQUEST_BODY_BYTES_MAX {
        return Err(ApiError::BodyTooLarge);
    }
    let (parts, body) = request.into_parts();
    let path_and_query = target.path_and_query(&parts.uri)?;
    let guard = OriginGuard {
        place: target.place,
        host: host.clone(),
        base_domain: Arc::clone(&service.base_domain),
    };
    let trusted = service.clients.trusted();
    let origin = Origin::new(client.end(), trusted, &host, &parts.headers);
    let peer = Some(origin.client);
    let head = head::request_head(&parts, &host, &path_and_query, guard.place, &origin)?;
    let switch = head::wants_switch(&parts);
    let call = HttpCall {
        head,
        peer,
        has_body: switch != Switch::None || !body.is_end_stream(),
    };
    let what = What {
        method: parts.method,
        uri: parts.uri,
    };

    let app = target.app;
    let may_probe = parts.version == Version::HTTP_11;
    let admitted = tokio::select! {
        biased;
        admitted = service.worker.admit(app.clone(), Channel::Http) => admitted,
        // A client that leaves the queue makes room in it at once.
        () = departure(&client, may_probe) => return Err(ApiError::ClientLeft),
    };
    let lease = admitted.map_err(|error| what.attribute(&app, None, error.into()))?;
    // It may have been replaced while the request waited for it.
    super::check_attested(lease.app().serial, &host, &client)?;
    let mut exchange = Exchange {
        lease,
        what,
        client,
        is_http_1_0: parts.version == Version::HTTP_10,
        half_closed: service.clients.timeouts.half_closed,
    };
    let handed = exchange.lease.http(call);
    let HttpExchange { response, body: io } =
        handed.map_err(|error| exchange.attribute(WorkerError::from(error)))?;
    let pending = PendingAnswer {
        response,
        begun,
        guard,
        may_probe,
        timeouts: service.clients.timeouts,
    };
    match switch {
        Switch::None => relay(pending, exchange, io, body).await,
        Switch::Upgrade => Box::pin(upgrade(pending, exchange, io)).await,
        Switch::Connect => Box::pin(connect(pending, exchange, io, body)).await,
    }
}

/// An ordinary exchange.
async fn relay(
    pending: PendingAnswer,
    exchange: Exchange,
    io: BodyStream,
    body: RequestBody,
) -> Result<Response<Body>, ApiError> {
    let (mut reader, writer) = io.into_split();
    let activity = exchange.client.activity();
    let mut pump = body_pump::start(body, writer, pending.timeouts.body_window, activity);
    let (response, whole) = pending.answer(&exchange, pump.as_mut()).await?;
    if let Some(pump) = &pump {
        pump.answered();
    }
    let status = response.status();
    if status == StatusCode::SWITCHING_PROTOCOLS {
        // Nobody asked for it.
        return Err(exchange.attribute(WorkerError::InvalidAnswer));
    }
    if framing::has_no_body(&exchange.what.method, status) {
        return Ok(response.map(|()| Body::Nothing));
    }
    if whole.is_none() && response.headers().contains_key(GRPC_STATUS) {
        // The call has failed and there is nothing to say but that. Clients tell it
        // by an end in the head, so it is worth a wait.
        let _ = timeout(EMPTY_BODY_WAIT, reader.ended()).await;
    }
    let announced = announced(&response);
    let content = Content::of(whole, reader);
    let body = GuestBody::new(content, announced, pump, exchange);
    Ok(response.map(|()| Body::Guest(Box::new(body))))
}

/// An exchange in HTTP/1.1 that may end in another protocol, in which both sides
/// then speak as they like.
async fn upgrade(
    pending: PendingAnswer,
    exchange: Exchange,
    io: BodyStream,
) -> Result<Response<Body>, ApiError> {
    let (response, whole) = pending.answer(&exchange, None).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(refusal(response, whole, exchange, io));
    }
    if whole.is_some() {
        // There is nobody to speak the other protocol.
        return Err(exchange.attribute(WorkerError::InvalidAnswer));
    }
    let transport = exchange.client.switches();
    tokio::spawn(tunnel(exchange, io, transport));
    Ok(response.map(|()| Body::Nothing))
}

/// An answer to a request for another protocol that stays in this one. The request
/// has no body.
fn refusal(
    response: Response<()>,
    whole: Option<Bytes>,
    exchange: Exchange,
    mut io: BodyStream,
) -> Response<Body> {
    io.writer().finish();
    if framing::has_no_body(&exchange.what.method, response.status()) {
        return response.map(|()| Body::Nothing);
    }
    let (reader, _) = io.into_split();
    let content = Content::of(whole, reader);
    let body = GuestBody::new(content, announced(&response), None, exchange);
    response.map(|()| Body::Guest(Box::new(body)))
}

/// Passes bytes on between a client and a guest until both have ended.
async fn tunnel(exchange: Exchange, mut io: BodyStream, transport: oneshot::Receiver<Transport>) {
    let tunnel = async {
        let mut visitor = transport.await?;
        let copied = tokio::io::copy_bidirectional(&mut visitor, &mut io).await;
        if copied.is_err() {
            exchange.client.liveness().reset();
        }
        tracing::trace!(?copied, "a tunnel has ended");
        Ok::<(), oneshot::error::RecvError>(())
    };
    tokio::select! {
        // A client that leaves before the switch leaves nothing behind.
        _ = tunnel => {}
        () = exchange.client.closed() => {}
        // It takes nothing, and others have no place.
        () = exchange.client.activity().displaced() => {}
    }
}

/// The same on one stream of HTTP/2: what both sides say are the bodies of the
/// exchange.
async fn connect(
    pending: PendingAnswer,
    exchange: Exchange,
    io: BodyStream,
    body: RequestBody,
) -> Result<Response<Body>, ApiError> {
    let window = pending.timeouts.body_window;
    let (mut response, whole) = pending.answer(&exchange, None).await?;
    let status = response.status();
    if status.is_success() {
        // The client would take it for the other protocol.
        let refused = StatusCode::NOT_IMPLEMENTED;
        let (said, code) = (refused.as_u16(), status.as_u16());
        let why = "for another protocol an app says 101, and this one said";
        exchange.log_failure(&format!("was answered with {said}: {why} {code}"));
        let text = "the app does not speak this protocol\n";
        return Ok(body::text(refused, text));
    }
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(refusal(response, whole, exchange, io));
    }
    if whole.is_some() {
        return Err(exchange.attribute(WorkerError::InvalidAnswer));
    }
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
    let (reader, writer) = io.into_split();
    let pump = body_pump::start(body, writer, window, exchange.client.activity());
    if let Some(pump) = &pump {
        pump.answered();
    }
    let content = Content::Coming(reader);
    let body = GuestBody::new(content, None, pump, exchange);
    Ok(response.map(|()| Body::Guest(Box::new(body))))
}

/// The length that a head announces; it was checked to be one.
pub(super) fn announced<T>(response: &Response<T>) -> Option<u64> {
    let value = response.headers().get(CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// The wait for the head of a guest's answer.
struct PendingAnswer {
    response: PendingResponse,
    begun: Instant,
    guard: OriginGuard,
    /// Whether the client understands a word before the answer.
    may_probe: bool,
    timeouts: Timeouts,
}

impl PendingAnswer {
    /// Waits for the head, and translates it. With it comes the body, where the guest
    /// has given all of it.
    async fn answer(
        mut self,
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
async fn departure(client: &Client, may_probe: bool) {
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
