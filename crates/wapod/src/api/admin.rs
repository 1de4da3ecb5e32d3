//! The admin port: HTTP for the operator.
//!
//! | path | what |
//! | --- | --- |
//! | `/`, `/verify`, `/console/…` | the console, and the page that verifies (`console`) |
//! | `/health` | whether the daemon lives and is ready |
//! | `/prpc/Operation.<Method>` | calls to the worker (`operation`) |
//! | `/blob/…` | blobs, streamed (`blob`) |
//! | `/logs/<address>` | logs of apps (`log_stream`) |
//! | `/metrics` | figures for Prometheus (`figures`) |
//! | `/openapi.json` | this, for programs |
//!
//! The console's files and `/health` are for everyone who reaches the port,
//! everything else is behind the token, if there is one (`auth`).

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::header::{HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method as HttpMethod, Request, Response, StatusCode};
use tokio::sync::Notify;
use wapo_rpc::Method;

use super::admin_service::AdminService;
use super::all_budgets::AllBudgets;
use super::auth::{Denied, Gate, Room};
use super::body::{self, Body};
use super::budget::{Bounds, Budget};
use super::call::{self, Read};
use super::client::Client;
use super::clients::Clients;
use super::error::ApiError;
use super::https::Https;
use super::operation::Operator;
use super::request_body::RequestBody;
use super::service::Service;
use super::{blob, console, figures, log_stream, operation};
use crate::acme::Acme;
use crate::config::AdminToken;
use crate::limits::{APP_LOG_FOLLOWERS_MAX, BLOB_TRANSFERS_MAX, LOG_FOLLOWERS_MAX};
use crate::worker::Worker;

/// What the operator's port needs besides the worker.
pub(crate) struct AdminSettings<'a> {
    pub(crate) token: Option<&'a AdminToken>,
    pub(crate) user_address: SocketAddr,
    /// Where apps are reached by server name.
    pub(crate) tls_address: Option<SocketAddr>,
    /// How URLs of the user port begin.
    pub(crate) user_scheme: &'static str,
    /// TLS of the ports that have it.
    pub(crate) https: Vec<Arc<Https>>,
    /// Certificates that are got, if any.
    pub(crate) acme: Option<Arc<Acme>>,
    pub(crate) base_domain: String,
    pub(crate) clients: Arc<Clients>,
    /// The clients of the user port.
    pub(crate) users: Arc<Clients>,
    /// Those of the TLS port, if there is one.
    pub(crate) tls: Option<Arc<Clients>>,
    /// Descriptors that are kept for the daemon itself.
    pub(crate) daemon_descriptors: u64,
    /// Descriptors that one instance may hold.
    pub(crate) instance_descriptors: u64,
    pub(crate) exit: Arc<Notify>,
}

/// The operator's port.
pub(crate) fn admin(worker: Arc<Worker>, settings: AdminSettings<'_>) -> Arc<impl Service> {
    Arc::new(AdminService {
        worker,
        gate: Gate::new(settings.token),
        budgets: Arc::new(AllBudgets {
            clients: settings.clients,
            users: settings.users,
            https: settings.https,
            tls: settings.tls,
            followers: Budget::new(Bounds {
                total: LOG_FOLLOWERS_MAX,
                each: APP_LOG_FOLLOWERS_MAX,
                for_small: 0,
            }),
            transfers: Budget::new(Bounds {
                total: BLOB_TRANSFERS_MAX,
                each: BLOB_TRANSFERS_MAX,
                for_small: 0,
            }),
            daemon_descriptors: settings.daemon_descriptors,
        }),
        instance_descriptors: settings.instance_descriptors,
        user_address: settings.user_address,
        tls_address: settings.tls_address,
        user_scheme: settings.user_scheme,
        acme: settings.acme,
        base_domain: settings.base_domain,
        exit: settings.exit,
    })
}

impl AdminService {
    fn operator(&self) -> Operator {
        Operator {
            worker: Arc::clone(&self.worker),
            budgets: Arc::clone(&self.budgets),
            user_address: self.user_address,
            tls_address: self.tls_address,
            user_scheme: self.user_scheme,
            base_domain: self.base_domain.clone(),
            exit: Arc::clone(&self.exit),
        }
    }

    async fn route(
        &self,
        request: Request<RequestBody>,
        client: &Client,
    ) -> Result<Response<Body>, ApiError> {
        let path = request.uri().path().to_owned();
        let reads = matches!(*request.method(), HttpMethod::GET | HttpMethod::HEAD);
        let enter = |room| self.gate.check(&request, room).map_err(ApiError::Denied);
        let open_to_all = match path.as_str() {
            "/health" => Some(self.health()),
            path => console::file(path),
        };
        if let Some(answer) = open_to_all {
            enter(Room::Hall)?;
            return match reads {
                true => Ok(answer),
                false => Err(ApiError::MethodNotAllowed("GET, HEAD")),
            };
        }
        enter(Room::Office)?;
        if let Some(name) = path.strip_prefix("/prpc/") {
            let serves = |method| matches!(method, Method::Operation(_));
            let caller = self.budgets.clients.caller(client, client.peer);
            return match call::read(name, request, serves, &caller).await? {
                Read::Call(call) => Ok(operation::run(self.operator(), call).await),
                Read::Answer(answer) => Ok(answer),
            };
        }
        if let Some(name) = path.strip_prefix("/blob/") {
            return blob::answer(self, name, request, client).await;
        }
        if !reads {
            return Err(ApiError::NotFound);
        }
        if let Some(address) = path.strip_prefix("/logs/") {
            return log_stream::answer(self, address, request.uri().query(), client);
        }
        match path.as_str() {
            "/metrics" => Ok(figures::answer(self).await),
            "/openapi.json" => Ok(body::full(
                StatusCode::OK,
                "application/json",
                wapo_rpc::documents::OPENAPI_JSON,
            )),
            _ => Err(ApiError::NotFound),
        }
    }

    fn health(&self) -> Response<Body> {
        let ready = self.worker.is_ready();
        let status = match ready {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        let text = format!("{{\"live\":true,\"ready\":{ready}}}\n");
        body::full(status, "application/json", text)
    }
}

impl Service for AdminService {
    async fn answer(&self, request: Request<RequestBody>, client: Client) -> Response<Body> {
        let is_head = request.method() == HttpMethod::HEAD;
        let policy = console::policy(request.uri().path());
        let mut response = match self.route(request, &client).await {
            Ok(response) => response,
            Err(error) => error.into_response(is_head),
        };
        if response.status() == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        harden(&mut response, policy);
        response
    }

    fn clients(&self) -> &Arc<Clients> {
        &self.budgets.clients
    }
}

/// Headers that keep a browser from being used against the operator, among them the content
/// security policy.
fn harden(response: &mut Response<Body>, policy: &'static str) {
    let headers = response.headers_mut();
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("content-security-policy", policy),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

impl From<Denied> for StatusCode {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Token => Self::UNAUTHORIZED,
            Denied::Host => Self::MISDIRECTED_REQUEST,
            Denied::Origin => Self::FORBIDDEN,
        }
    }
}
