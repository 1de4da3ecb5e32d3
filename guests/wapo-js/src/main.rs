//! WapoJS: JavaScript programs as guests.
//!
//! One wasm file serves all of them: the program is what the arguments name.
//! `engine` runs JavaScript, `program` finds what to run, `native` is what the
//! boot code (`js/`) calls, `serve` brings in requests, `repl` what a person
//! types, `isolate` runs scripts apart from the program. The boot code builds the
//! web platform on top; programs see only that.

mod engine;
mod isolate;
mod native;
mod prepare;
mod program;
mod repl;
mod serve;

use crate::engine::Engine;
use crate::program::Program;

/// Exit code of a program that failed.
const FAILURE: i32 = 1;

#[wapo::main]
async fn main() {
    wapo::log::init();
    engine::stack::has_host();
    if let Err(text) = run().await {
        log::error!(target: "js::console", "{text}");
        std::process::exit(FAILURE);
    }
}

/// Runs the program that the arguments name.
async fn run() -> Result<(), String> {
    let program = Program::from_arguments(std::env::args().skip(1))?;
    let engine = Engine::prepared().map_err(|error| error.to_string())?;
    let ended = serve::run(&engine, program).await;
    ended.map_err(|text| format!("Uncaught {text}"))
}
