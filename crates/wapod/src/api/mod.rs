//! The HTTP surfaces: the user port, which is for everyone, and the admin port
//! (`admin`), which is for the operator.
//!
//! On the user port:
//!
//! | host, path | what |
//! | --- | --- |
//! | `<name>.<base domain>`, any | traffic to the app of that name or address (`gateway`) |
//! | other hosts, `/app/<address>/…` | traffic to an app |
//! | `/prpc/<Service>.<Method>` | calls to the worker (`user`) |
//! | `/health` | whether the worker serves |
//! | everything else | the root app, if there is one |
//!
//! With a root app, `/health` is the app's. `connection` accepts and drains,
//! `error` is the only place where a failure becomes an answer. No web
//! framework: bytes of a request go straight between hyper and the guest. What
//! the worker says itself on the user port, it signs.

mod admin;
mod auth;
mod blob;
mod body;
mod call;
mod connection;
mod console;
mod error;
mod figures;
mod gateway;
mod head;
mod log_stream;
mod operation;
mod user;
mod watched_body;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Method, Request, Response, StatusCode};
use ipnet::IpNet;
use tokio::sync::Notify;
use wapo_crypto::ContentType;

pub(crate) use connection::Frontend;

use crate::config::AdminToken;
use crate::limits::{Patience, SIGNED_AT_ONCE_BYTES_MAX, SIGNED_BODY_BYTES_MAX};
use crate::worker::Worker;
use admin::AdminSurface;
use auth::Gate;
use body::Body;
use connection::{Client, Surface};
use error::ApiError;
use gateway::target::{self, Target};

/// What all connections of the user port share.
pub(crate) struct UserSurface {
    worker: Arc<Worker>,
    base_domain: String,
    trusted_proxies: Vec<IpNet>,
    patience: Patience,
}

impl UserSurface {
    pub(crate) fn new(
        worker: Arc<Worker>,
        base_domain: &str,
        trusted_proxies: Vec<IpNet>,
        patience: Patience,
    ) -> Self {
        Self {
            worker,
            base_domain: base_domain.trim_matches('.').to_owned(),
            trusted_proxies,
            patience,
        }
    }
}

/// The operator's port.
pub(crate) fn admin(
    worker: Arc<Worker>,
    token: Option<&AdminToken>,
    user_address: SocketAddr,
    base_domain: String,
    exit: Arc<Notify>,
) -> impl Surface {
    AdminSurface {
        worker,
        gate: Gate::new(token, Vec::new()),
        user_address,
        base_domain,
        exit,
    }
}

impl Surface for UserSurface {
    async fn answer(&self, request: Request<Incoming>, client: Client) -> Response<Body> {
        let is_head = request.method() == Method::HEAD;
        let response = match self.route(request, client).await {
            Ok(response) => response,
            Err(error) => error.into_response(is_head),
        };
        match response.body() {
            Body::Full(_) => self.signed(response).await,
            _ => response,
        }
    }

    fn patience(&self) -> Patience {
        self.patience
    }
}

impl UserSurface {
    async fn route(
        &self,
        request: Request<Incoming>,
        client: Client,
    ) -> Result<Response<Body>, ApiError> {
        let host = head::host(request.uri(), request.headers(), request.version())?;
        let path = request.uri().path();
        let target = if let Some(label) = target::label(&host, &self.base_domain) {
            let app = self.worker.app_by_label(label);
            Target::whole(app.ok_or_else(|| ApiError::UnknownHost(host.host().to_owned()))?)
        } else if let Some(rest) = path.strip_prefix("/app/") {
            Target::in_path(&self.worker, rest, request.uri())?
        } else if let Some(method) = path.strip_prefix("/prpc/") {
            let method = method.to_owned();
            // Boxed: the room that it takes is not moved with requests to apps.
            return Box::pin(user::call(&self.worker, &method, request)).await;
        } else if let Some(app) = self.worker.root() {
            Target::whole(app)
        } else {
            return match (request.method(), path) {
                (&Method::GET | &Method::HEAD, "/health") => Ok(body::text(StatusCode::OK, "ok\n")),
                (_, "/health") => Err(ApiError::MethodNotAllowed("GET, HEAD")),
                _ => Err(ApiError::NotFound),
            };
        };
        gateway::forward(self, target, host, request, client).await
    }

    /// Adds the worker's signature over the body.
    async fn signed(&self, mut response: Response<Body>) -> Response<Body> {
        let content = match response.body() {
            Body::Full(content) => content.clone().unwrap_or_default(),
            _ => return response,
        };
        let len = content.len();
        let identity = Arc::clone(&self.worker.identity);
        let sign = move || identity.sign(ContentType::RpcResponse, &content);
        let signature = if len <= SIGNED_AT_ONCE_BYTES_MAX {
            Some(sign())
        } else if len <= SIGNED_BODY_BYTES_MAX {
            tokio::task::spawn_blocking(sign).await.ok()
        } else {
            None
        };
        if let Some(value) = signature.map(hex::encode)
            && let Ok(value) = HeaderValue::try_from(value)
        {
            response.headers_mut().insert(head::SIGNATURE, value);
        }
        response
    }
}
