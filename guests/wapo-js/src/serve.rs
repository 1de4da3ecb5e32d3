//! Brings requests from the gateway to the program.

use crate::engine::Engine;
use crate::native;

/// Takes requests until there will be no more.
pub(crate) async fn run(engine: &Engine) {
    while let Some((request, responder)) = wapo::http::accept().await {
        native::dispatch(engine, request, responder);
    }
}
