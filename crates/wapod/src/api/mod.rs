//! The HTTP services: the user port, which is for all clients, and the admin port
//! (`admin`), which is for the operator.
//!
//! On the user port:
//!
//! | host, path | what |
//! | --- | --- |
//! | `<name>.<base domain>`, any | traffic to the app of that name or address (`gateway`) |
//! | a domain that is bound to an app, any | traffic to that app |
//! | other hosts, `/app/<address>/…` | traffic to an app |
//! | `/prpc/<Service>.<Method>` | calls to the worker (`user`) |
//! | `/health` | whether the worker serves |
//! | everything else | the root app, if there is one |
//!
//! With a root app, `/health` is the app's. `door` accepts, `connection` serves,
//! `listener` drains, `error` is the only place where a failure becomes an answer. No web
//! framework: bytes of a request go straight between hyper, or h2 (`http2`), and the
//! guest. What each port spends on its clients is in `clients`. Answers to calls at
//! the user port are signed (`signing`), and so is any answer there for which a
//! client requests a signature (`signed_answer`).

mod admin;
mod admin_service;
mod all_budgets;
mod auth;
mod blob;
mod body;
mod budget;
mod call;
mod client;
mod clients;
mod collect;
mod connection;
mod console;
mod door;
mod error;
mod evidence;
mod figures;
mod frames;
mod framing;
pub mod fuzz;
mod gateway;
mod http1;
mod http2;
mod https;
mod listener;
mod liveness;
mod log_stream;
mod operation;
mod pace;
mod places;
mod private_query;
mod quotas;
mod request_body;
mod seen_queries;
mod self_wakes;
mod service;
mod signed_answer;
mod signed_parts;
mod signing;
mod timer;
mod transport;
mod unread;
mod user;
mod user_service;

use std::sync::Arc;

use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;
use wapo_sni::{Pattern, ServerName};

pub(crate) use admin::{AdminSettings, admin};
pub(crate) use client::Stage;
pub(crate) use clients::{Clients, ForwardedBy};
pub(crate) use connection::Arrival;
pub(crate) use door::keep_alive;
pub(crate) use https::Https;
pub(crate) use listener::Listener;
pub(crate) use places::Place;
pub(crate) use transport::Tally;
pub(crate) use user_service::UserService;

use crate::edge::check_certificate;
use body::Body;
use budget::Who;
use client::Client;
use error::ApiError;
use gateway::Routed;
use gateway::forwarded::Origin;
use gateway::target::{self, Target, check_attested};
use request_body::RequestBody;
use service::Service;
use signed_answer::SignatureRequest;

impl Service for UserService {
    /// Routed before anything is awaited: the request has no room in what is.
    fn answer(
        &self,
        request: Request<RequestBody>,
        client: Client,
    ) -> impl Future<Output = Response<Body>> + Send {
        let is_head = request.method() == Method::HEAD;
        let (request, signature) = SignatureRequest::of(request, client.end().scheme());
        let who = signature.is_some().then(|| self.who(&request, &client));
        let mut routed = self.route(request, client);
        async move {
            let answered = match routed {
                // In its place: moved, it would have its room twice.
                Ok(Routed::App(ref mut forward)) => forward.run().await,
                Ok(Routed::Other(other)) => other.await,
                Ok(Routed::Answer(answer)) => Ok(answer),
                Err(error) => Err(error),
            };
            let response = answered.unwrap_or_else(|error| error.into_response(is_head));
            match signature.zip(who) {
                // Boxed: the room that it takes is not moved with other requests.
                Some((signature, who)) => {
                    let of = (&*self.clients, who);
                    Box::pin(signature.sign(response, &self.worker, of, &self.pace)).await
                }
                None => response,
            }
        }
    }

    fn clients(&self) -> &Arc<Clients> {
        &self.clients
    }
}

impl UserService {
    fn route(&self, request: Request<RequestBody>, client: Client) -> Result<Routed<'_>, ApiError> {
        let host = gateway::head::host(request.uri(), request.headers(), request.version())?;
        self.check_name(&host, &client)?;
        let path = request.uri().path();
        let certificates = self.worker.edge.certificates();
        if let Some(answer) = certificates.http_challenge(host.host(), path) {
            return Ok(Routed::Answer(body::text(StatusCode::OK, answer)));
        }
        let target = if let Some(label) = target::label(&host, &self.base_domain) {
            let app = self.worker.app_by_label(label);
            Target::whole(app.ok_or_else(|| ApiError::UnknownHost(host.host().to_owned()))?)
        } else if let Some(app) = self.worker.app_by_domain(host.host()) {
            Target::whole(app)
        } else if let Some(rest) = path.strip_prefix("/app/") {
            Target::in_path(&self.worker, rest, request.uri())?
        } else if let Some(method) = path.strip_prefix("/prpc/") {
            let method = method.to_owned();
            let call = self.call(method, host, request, client);
            return Ok(Routed::Other(Box::pin(call)));
        } else if let Some(app) = self.worker.root() {
            Target::whole(app)
        } else {
            return match (request.method(), path) {
                (&Method::GET | &Method::HEAD, "/health") => {
                    Ok(Routed::Answer(body::text(StatusCode::OK, "ok\n")))
                }
                (_, "/health") => Err(ApiError::MethodNotAllowed("GET, HEAD")),
                _ => Err(ApiError::NoAppHere(self.about(&host, &client))),
            };
        };
        check_attested(target.serial(), &host, &client)?;
        gateway::forward(self, target, host, request, client)
    }

    /// Serves a connection of another port, whose TLS that has ended.
    pub(crate) async fn arrive(
        self: Arc<Self>,
        stream: Box<TlsStream<Tally>>,
        arrival: Arrival,
        stage: watch::Receiver<Stage>,
    ) {
        connection::arrive(self, stream, arrival, stage).await;
    }

    /// Whether a connection is one for what is asked for: clients of HTTP/2 use one for
    /// several hosts. It is, if both names are one app's, or the client has seen a
    /// certificate that is for the other one as well.
    ///
    /// # Errors
    ///
    /// [`ApiError::Misdirected`], after which the client asks on another one (RFC 9110,
    /// section 15.5.20).
    fn check_name(&self, host: &Authority, client: &Client) -> Result<(), ApiError> {
        let Some(named) = client.named() else {
            return Ok(());
        };
        let misdirected = || ApiError::Misdirected(host.host().to_owned());
        let asked: ServerName = host.host().parse().map_err(|_| misdirected())?;
        if asked == named.name {
            return Ok(());
        }
        let app = |name: &ServerName| self.worker.app_by_host(name, &self.base_domain);
        let is_same = match (app(&asked), app(&named.name)) {
            (Some(asked), Some(own)) => asked.serial == own.serial,
            _ => false,
        };
        let is_covered = || {
            let pattern = Pattern::Exact(asked.clone());
            check_certificate(&named.certificate, &pattern).is_ok()
        };
        match is_same || is_covered() {
            true => Ok(()),
            false => Err(misdirected()),
        }
    }

    /// The text for a request that is for no app: what this is, and where apps are.
    fn about(&self, host: &Authority, client: &Client) -> String {
        let scheme = client.end().scheme();
        let port = host.port_u16().map(|port| format!(":{port}"));
        let port = port.unwrap_or_default();
        let by_name = match &*self.base_domain {
            "" => String::new(),
            domain => format!("at {scheme}://<name>.{domain}{port}/ and "),
        };
        format!(
            "This is the gateway of a Wapo worker, which serves apps. There is no app at this address.\n\n\
             Apps answer {by_name}below /app/<address>/ at this address.\n\
             Which apps there are, their operator sees in the worker's console and with `wapo list`."
        )
    }

    /// Whom a request is counted for.
    fn who(&self, request: &Request<RequestBody>, client: &Client) -> Who {
        let headers = request.headers();
        let ip = match gateway::head::host(request.uri(), headers, request.version()) {
            Ok(host) => {
                let trusted = self.clients.trusted();
                Origin::new(client.end(), trusted, &host, headers)
                    .client
                    .ip()
            }
            // It is refused.
            Err(_) => client.end().address.ip(),
        };
        self.clients.who(ip)
    }

    /// Answers a call to the worker.
    async fn call(
        &self,
        method: String,
        host: Authority,
        request: Request<RequestBody>,
        client: Client,
    ) -> Result<Response<Body>, ApiError> {
        let trusted = self.clients.trusted();
        let address = Origin::new(client.end(), trusted, &host, request.headers()).client;
        let caller = self.clients.caller(&client, address);
        let mut response = user::call(&self.worker, &method, request, &caller).await?;
        let identity = &self.worker.identity;
        let signing = self
            .signatures
            .sign(&mut response, identity, &self.clients.heavy);
        signing.await?;
        Ok(response)
    }
}
