//! The `wapo` command: from an empty folder to a running app.
//!
//! Each subcommand is a file in `command`. The exit code is 0, or 1 after a
//! message, or 2 for a bad command line; `wapo run` passes on the guest's.

mod command;
mod folders;
mod project;
mod sdk;
mod session;
mod source;
mod templates;
mod terminal;
mod toolchain;
mod urls;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::terminal::Terminal;

/// Makes, builds and runs Wapo apps: WebAssembly programs that own their
/// networking.
///
/// Start with `wapo new hello` and `wapo run hello --watch`.
#[derive(Parser, Debug)]
#[command(name = "wapo", version, disable_help_subcommand = true)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make a project in a new folder.
    New(command::new::Options),
    /// Compile a project to a wasm file and print its path.
    Build(command::build::Options),
    /// Build a project, or take a wasm file, and run it here.
    Run(Box<command::run::Options>),
}

fn main() -> ExitCode {
    let terminal = Terminal::new();
    let result = match Options::parse().command {
        Command::New(options) => command::new::run(&options, &terminal),
        Command::Build(options) => command::build::run(&options, &terminal),
        Command::Run(options) => command::run::run(&options, &terminal),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            terminal.error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn documented_command_lines_parse() {
        for line in [
            "wapo new hello",
            "wapo new hello --template tcp",
            "wapo build",
            "wapo build hello --debug",
            "wapo run hello --listen-ports 3000..3100 --memory 1g --env A=b --env C= \
             --allow-egress *.example.com:443 --allow-egress 10.0.0.0/8 --trust-root ca.pem -- a -b",
            "wapo run app.wasm --watch --address 127.0.0.1:0",
        ] {
            let parsed = Options::try_parse_from(line.split_whitespace());
            assert!(parsed.is_ok(), "{line}: {}", parsed.expect_err("error"));
        }
    }

    #[test]
    fn bad_values_are_explained() {
        for (line, part) in [
            ("wapo run --memory lots", "is not a size"),
            ("wapo run --listen-ports 9..1", "9 is above 1"),
            ("wapo run --env =x", "NAME=VALUE"),
            ("wapo run --allow-egress a..b:x", "is not an egress rule"),
            (
                "wapo new x --template ftp",
                "[possible values: http, tcp, query]",
            ),
        ] {
            let error = Options::try_parse_from(line.split_whitespace()).expect_err(line);
            assert!(error.to_string().contains(part), "{line}: {error}");
        }
    }
}
