//! Traffic to an app.
//!
//! Finds an instance, waits until it takes requests, and then moves bytes in both
//! directions at once: an answer may start before the request's body has ended,
//! and each side goes only as fast as the other takes it. Which app it is for is
//! in `target`, heads are translated in `head`, the request's body is in `body_pump`, the
//! wait for an answer in `pending_answer`, its body in `guest_body`, other protocols are in
//! `switch`. A look for the operator, without a connection, is in `visit`.

mod body_pump;
mod cors;
mod exchange;
pub(super) mod forwarded;
mod guest_body;
pub(super) mod head;
pub(super) mod origin_guard;
mod pending_answer;
mod switch;
pub(super) mod target;
pub(super) mod visit;

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Body as _;
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::time::{Instant, timeout};
use wapo_host::{BodyReader, HttpCall, HttpExchange};

use super::body::Body;
use super::client::Client;
use super::error::ApiError;
use super::framing;
use super::request_body::RequestBody;
use super::user_service::UserService;
use crate::error::WorkerError;
use crate::limits::{EMPTY_BODY_WAIT, REQUEST_BODY_BYTES_MAX};
use crate::worker::{App, Channel, Lease};
use body_pump::BodyPump;
use cors::Asking;
use exchange::{Exchange, What};
use forwarded::Origin;
use guest_body::{Content, GuestBody};
use head::{Switch, announced};
use origin_guard::OriginGuard;
use pending_answer::{Handed, PendingAnswer, departure};
use target::{Target, check_attested};

/// How a call of gRPC ended.
const GRPC_STATUS: &str = "grpc-status";

/// What became of a request before anything was awaited.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all requests are for apps, and a box would be one more allocation"
)]
pub(super) enum Routed<'a> {
    /// It has its answer.
    Answer(Response<Body>),
    /// It is for an app.
    App(Forward<'a>),
    /// It takes another way. Boxed, so that requests to apps do not have its room.
    Other(Pin<Box<dyn Future<Output = Result<Response<Body>, ApiError>> + Send + 'a>>),
}

/// A request for an app, translated. What it was made of has no room in what is awaited, and
/// the rest has it once: that is why this is run in its place, by reference.
pub(super) struct Forward<'a> {
    service: &'a UserService,
    app: Arc<App>,
    client: Client,
    host: Authority,
    version: Version,
    switch: Switch,
    /// Until an instance has it.
    handover: Option<Handover>,
}

/// The part of a request that an instance gets, and what is needed for the answer.
struct Handover {
    call: HttpCall,
    what: What,
    body: RequestBody,
    guard: OriginGuard,
    begun: Instant,
}

/// Takes a request for an app.
///
/// # Errors
///
/// The request is none for an app.
pub(super) fn forward<'a>(
    service: &'a UserService,
    target: Target,
    host: Authority,
    request: Request<RequestBody>,
    client: Client,
) -> Result<Routed<'a>, ApiError> {
    let asking = match target.app.settings.cors {
        true => Asking::of(request.method(), request.headers()),
        false => None,
    };
    let Some(asking) = asking else {
        return Forward::new(service, target, host, request, client).map(Routed::App);
    };
    if let Some(answer) = asking.preflight() {
        return Ok(Routed::Answer(answer));
    }
    let is_head = request.method() == Method::HEAD;
    let forward = Forward::new(service, target, host, request, client);
    Ok(Routed::Other(Box::pin(async move {
        let answered = match forward {
            Ok(mut forward) => forward.run().await,
            Err(error) => Err(error),
        };
        let mut response = answered.unwrap_or_else(|error| error.into_response(is_head));
        asking.allow(response.headers_mut());
        Ok(response)
    })))
}

impl<'a> Forward<'a> {
    fn new(
        service: &'a UserService,
        target: Target,
        host: Authority,
        request: Request<RequestBody>,
        client: Client,
    ) -> Result<Self, ApiError> {
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
        let handover = Handover {
            call,
            what: What {
                method: parts.method,
                uri: parts.uri,
            },
            body,
            guard,
            begun,
        };
        Ok(Self {
            service,
            app: target.app,
            client,
            host,
            version: parts.version,
            switch,
            handover: Some(handover),
        })
    }

    /// Hands the request over, and gives the answer. Called once.
    pub(super) async fn run(&mut self) -> Result<Response<Body>, ApiError> {
        if self.switch != Switch::None {
            return Box::pin(self.switch()).await;
        }
        let lease = self.admit().await?;
        let mut relay = Relay::new(self.hand_over(lease)?);
        let (response, whole) = relay.answer().await?;
        if relay.may_be_empty(&response, whole.as_ref()) {
            // The call has failed and there is nothing to say but that. Clients tell it
            // by an end in the head, so it is worth a wait.
            let _ = timeout(EMPTY_BODY_WAIT, relay.reader.ended()).await;
        }
        Ok(relay.finish(response, whole))
    }

    /// The same where the client wants to speak another protocol.
    async fn switch(&mut self) -> Result<Response<Body>, ApiError> {
        let lease = self.admit().await?;
        let handed = self.hand_over(lease)?;
        match self.switch {
            Switch::Connect => switch::connect(handed).await,
            Switch::None | Switch::Upgrade => switch::upgrade(handed).await,
        }
    }

    /// Whether the client understands a word before the answer.
    fn may_probe(&self) -> bool {
        self.version == Version::HTTP_11
    }

    /// Waits for an instance.
    async fn admit(&self) -> Result<Lease, ApiError> {
        let admitted = tokio::select! {
            biased;
            admitted = self.service.worker.admit(self.app.clone(), Channel::Http) => admitted,
            // A client that leaves the queue makes room in it at once.
            () = departure(&self.client, self.may_probe()) => return Err(ApiError::ClientLeft),
        };
        let lease = admitted.map_err(|error| match &self.handover {
            Some(handover) => handover.what.attribute(&self.app, None, error.into()),
            None => error.into(),
        })?;
        // It may have been replaced while the request waited for it.
        check_attested(lease.app().serial, &self.host, &self.client)?;
        Ok(lease)
    }

    fn hand_over(&mut self, lease: Lease) -> Result<Handed, ApiError> {
        // There is one until now: this is called once.
        let handover = self.handover.take().ok_or(WorkerError::NotTaken)?;
        let timeouts = self.service.clients.timeouts;
        let mut exchange = Exchange {
            lease,
            what: handover.what,
            client: self.client.clone(),
            is_http_1_0: self.version == Version::HTTP_10,
            half_closed: timeouts.half_closed,
        };
        let handed = exchange.lease.http(handover.call);
        let HttpExchange { response, body: io } =
            handed.map_err(|error| exchange.attribute(WorkerError::from(error)))?;
        Ok(Handed {
            pending: PendingAnswer {
                response,
                begun: handover.begun,
                guard: handover.guard,
                may_probe: self.may_probe(),
                timeouts,
            },
            exchange,
            io,
            body: handover.body,
        })
    }
}

/// An ordinary exchange.
struct Relay {
    pending: PendingAnswer,
    exchange: Exchange,
    reader: BodyReader,
    pump: Option<BodyPump>,
}

impl Relay {
    fn new(handed: Handed) -> Self {
        let (reader, writer) = handed.io.into_split();
        let activity = handed.exchange.client.activity();
        let window = handed.pending.timeouts.body_window;
        let pump = body_pump::start(handed.body, writer, window, activity);
        Self {
            pending: handed.pending,
            exchange: handed.exchange,
            reader,
            pump,
        }
    }

    async fn answer(&mut self) -> Result<(Response<()>, Option<Bytes>), ApiError> {
        let answer = self.pending.answer(&self.exchange, self.pump.as_mut());
        let (response, whole) = answer.await?;
        if let Some(pump) = &self.pump {
            pump.answered();
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // Nobody asked for it.
            return Err(self.exchange.attribute(WorkerError::InvalidAnswer));
        }
        Ok((response, whole))
    }

    fn has_no_body(&self, response: &Response<()>) -> bool {
        framing::has_no_body(&self.exchange.what.method, response.status())
    }

    /// Whether an answer may end without a byte of a body, and it matters.
    fn may_be_empty(&self, response: &Response<()>, whole: Option<&Bytes>) -> bool {
        whole.is_none()
            && !self.has_no_body(response)
            && response.headers().contains_key(GRPC_STATUS)
    }

    fn finish(self, response: Response<()>, whole: Option<Bytes>) -> Response<Body> {
        if self.has_no_body(&response) {
            return response.map(|()| Body::Nothing);
        }
        let announced = announced(&response);
        let content = Content::of(whole, self.reader);
        let body = GuestBody::new(content, announced, self.pump, self.exchange);
        response.map(|()| Body::Guest(Box::new(body)))
    }
}
