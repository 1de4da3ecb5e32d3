//! Runs a program to its end, and brings it requests from the gateway.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use crate::engine::{Engine, START_LIMIT, cpu_limit, limit_polls};
use crate::native;
use crate::program::{Handler, Program};

/// Evaluates the program and serves until it is over.
///
/// # Errors
///
/// What its evaluation throws, as a text.
pub(crate) async fn run(engine: &Engine, program: Program) -> Result<(), String> {
    limit_polls(START_LIMIT);
    let handler = program.evaluate(engine).await?;
    limit_polls(cpu_limit());
    let over = engine.until(|engine| {
        // The last question is one for JavaScript, so it is asked last.
        engine.exit_code().is_some() || (engine.is_idle() && !engine.is_serving(handler.as_ref()))
    });
    either(over, requests(engine, &handler)).await;
    engine.emit_output();
    match engine.exit_code() {
        Some(code) if code != 0 => std::process::exit(code),
        _ => Ok(()),
    }
}

/// Takes requests, once the program answers any, until there will be no more.
async fn requests(engine: &Engine, handler: &Handler) {
    engine
        .until(|engine| engine.is_serving(handler.as_ref()))
        .await;
    while let Some((request, responder)) = wapo::http::accept().await {
        native::dispatch(engine, handler.as_ref(), request, responder);
    }
}

/// Waits for the first of two futures.
async fn either(first: impl Future<Output = ()>, second: impl Future<Output = ()>) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Pending => second.as_mut().poll(cx),
        ready => ready,
    })
    .await;
}
