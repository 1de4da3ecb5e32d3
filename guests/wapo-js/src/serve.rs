//! Runs a program to its end, and brings it requests from the gateway.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use crate::engine::{Engine, START_LIMIT, cpu_limit, limit_polls};
use crate::native::{self, session};
use crate::program::{Handler, Program, Purpose};
use crate::repl;

/// Evaluates the program and serves until it is over.
///
/// # Errors
///
/// What its evaluation throws, as a text.
pub(crate) async fn run(engine: &Engine, program: Program) -> Result<(), String> {
    limit_polls(START_LIMIT);
    let session = program.session.clone();
    if let Some((_, session)) = &session {
        session.clone().begin();
    }
    // A program may end before its first evaluation does, as one that accepts connections
    // for ever.
    let exit = engine.until(|engine| engine.exit_code().is_some());
    let handler = match before(exit, program.evaluate(engine)).await {
        Some(evaluated) => evaluated.inspect_err(|text| session::report_failure(text))?,
        None => None,
    };
    if let Some((Purpose::Prompt, session)) = session {
        let exit = engine.until(|engine| engine.exit_code().is_some());
        before(exit, repl::run(engine, &session))
            .await
            .unwrap_or(Ok(()))?;
        return ended(engine);
    }
    limit_polls(cpu_limit());
    let over = engine.until(|engine| {
        // The last question is one for JavaScript, so it is asked last.
        engine.exit_code().is_some() || (engine.is_idle() && !engine.is_serving(handler.as_ref()))
    });
    before(over, requests(engine, &handler)).await;
    engine.emit_output();
    ended(engine)
}

/// Ends the instance as the program wants it.
fn ended(engine: &Engine) -> Result<(), String> {
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

/// What a future gives, unless the end comes before.
async fn before<T>(end: impl Future<Output = ()>, future: impl Future<Output = T>) -> Option<T> {
    let (mut end, mut future) = (pin!(end), pin!(future));
    poll_fn(|cx| match end.as_mut().poll(cx) {
        Poll::Pending => future.as_mut().poll(cx).map(Some),
        Poll::Ready(()) => Poll::Ready(None),
    })
    .await
}
