//! What answers the requests of a port, whatever the version of HTTP.
//!
//! Implemented for either port (`admin`, `api`), called by `http1` and `http2`.

use std::sync::Arc;

use hyper::{Request, Response};

use super::body::Body;
use super::client::Client;
use super::clients::Clients;
use super::request_body::RequestBody;

/// What answers the requests of a port.
pub(crate) trait Service: Send + Sync + 'static {
    /// Answers one request. Failures have become answers when this returns.
    fn answer(
        &self,
        request: Request<RequestBody>,
        client: Client,
    ) -> impl Future<Output = Response<Body>> + Send;

    /// What it spends on its clients.
    fn clients(&self) -> &Arc<Clients>;
}
