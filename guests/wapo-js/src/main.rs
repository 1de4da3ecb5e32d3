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

#[wapo::main]
async fn main() -> Result<(), String> {
    wapo::log::init();
    engine::stack::has_host();
    let program = Program::from_arguments(std::env::args().skip(1))?;
    let engine = Engine::prepared().map_err(|error| error.to_string())?;
    serve::run(&engine, program).await
}
