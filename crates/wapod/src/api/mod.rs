//! The user port: HTTP for everyone.
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

mod body;
mod connection;
mod error;
mod gateway;
mod head;
mod user;

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};

pub(crate) use connection::Frontend;

use crate::worker::Worker;
use body::Body;
use error::ApiError;
use gateway::Target;

/// What all connections share.
pub(crate) struct Surface {
    worker: Arc<Worker>,
}

impl Surface {
    pub(crate) fn new(worker: Arc<Worker>) -> Self {
        Self { worker }
    }

    /// Answers one request. Failures have become answers when this returns.
    async fn answer(&self, request: Request<Incoming>, open: &connection::Open) -> Response<Body> {
        let is_head = request.method() == Method::HEAD;
        match self.route(request, open).await {
            Ok(response) => response,
            Err(error) => error.into_response(is_head),
        }
    }

    async fn route(
        &self,
        request: Request<Incoming>,
        open: &connection::Open,
    ) -> Result<Response<Body>, ApiError> {
        let path = request.uri().path();
        if let Some(rest) = path.strip_prefix("/app/") {
            let target = Target::in_path(&self.worker, rest, request.uri())?;
            return gateway::forward(&self.worker, target, request, open).await;
        }
        if let Some(method) = path.strip_prefix("/prpc/") {
            let method = method.to_owned();
            return user::call(&self.worker, &method, request).await;
        }
        if let Some(app) = self.worker.root() {
            let target = Target::root(app, request.uri())?;
            return gateway::forward(&self.worker, target, request, open).await;
        }
        match (request.method(), path) {
            (&Method::GET | &Method::HEAD, "/health") => Ok(body::text(StatusCode::OK, "ok\n")),
            (_, "/health") => Err(ApiError::MethodNotAllowed("GET, HEAD")),
            _ => Err(ApiError::NotFound),
        }
    }
}
