//! The HTTP surfaces: the user port, which is for everyone, and the admin port
//! (`admin`), which is for the operator.
//!
//! On the user port:
//!
//! | path | what |
//! | --- | --- |
//! | `/app/<address>/…` | traffic to an app (`gateway`) |
//! | `/prpc/<Service>.<Method>` | calls to the worker (`user`) |
//! | `/health` | whether the worker serves |
//! | everything else | the root app, if there is one |
//!
//! With a root app, `/health` is the app's. `connection` accepts and drains,
//! `error` is the only place where a failure becomes an answer. No web
//! framework: bytes of a request go straight between hyper and the guest.

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

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::Notify;

pub(crate) use connection::Frontend;

use crate::config::AdminToken;
use crate::worker::Worker;
use admin::AdminSurface;
use auth::Gate;
use body::Body;
use connection::{Client, Surface};
use error::ApiError;
use gateway::Target;

/// What all connections of the user port share.
pub(crate) struct UserSurface {
    worker: Arc<Worker>,
}

impl UserSurface {
    pub(crate) fn new(worker: Arc<Worker>) -> Self {
        Self { worker }
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
        match self.route(request, &client).await {
            Ok(response) => response,
            Err(error) => error.into_response(is_head),
        }
    }
}

impl UserSurface {
    async fn route(
        &self,
        request: Request<Incoming>,
        client: &Client,
    ) -> Result<Response<Body>, ApiError> {
        let path = request.uri().path();
        if let Some(rest) = path.strip_prefix("/app/") {
            let target = Target::in_path(&self.worker, rest, request.uri())?;
            return gateway::forward(&self.worker, target, request, client).await;
        }
        if let Some(method) = path.strip_prefix("/prpc/") {
            let method = method.to_owned();
            return user::call(&self.worker, &method, request).await;
        }
        if let Some(app) = self.worker.root() {
            let target = Target::root(app, request.uri())?;
            return gateway::forward(&self.worker, target, request, client).await;
        }
        match (request.method(), path) {
            (&Method::GET | &Method::HEAD, "/health") => Ok(body::text(StatusCode::OK, "ok\n")),
            (_, "/health") => Err(ApiError::MethodNotAllowed("GET, HEAD")),
            _ => Err(ApiError::NotFound),
        }
    }
}
