//! The `wapo` command: from an empty folder to an app that a worker runs.
//!
//! The subcommands are in `command`. The exit code is 0, or 1 after a
//! message, or 2 for a bad command line; `wapo run` passes on the guest's.
//! Commands that talk to a worker begin in `worker`.

mod command;

// Projects, and running them here.
mod engine;
mod engine_build;
mod folders;
mod helper;
mod project;
mod prompt;
mod script;
mod sdk;
mod session;
mod source;
mod templates;
mod testing;
mod toolchain;
mod urls;
mod watch;

// Workers and their apps.
mod apps;
mod endpoints;
mod profile;
mod progress;
mod settings;
mod settle;
mod worker;

// What people see.
mod human;
mod table;
mod terminal;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

use crate::terminal::Terminal;

/// Makes, builds, runs and deploys Wapo apps: WebAssembly programs that own
/// their networking.
///
/// Start with `wapo new hello` and `wapo run hello --watch`. When it is ready,
/// `wapo deploy hello` brings it to a worker (`wapod -m 1g` starts one).
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
    /// Show which engine runs programs in JavaScript, or build it.
    Engine(command::engine::Options),
    /// Build a project, or take a wasm file or a program in JavaScript, and run it here.
    Run(Box<command::run::Options>),
    /// Run the tests of programs in JavaScript.
    Test(command::test::Options),
    /// Try out JavaScript: an interactive prompt.
    Repl(command::repl::Options),
    /// Build a project, or take a wasm file or a program in JavaScript, and deploy it
    /// to a worker.
    Deploy(Box<command::deploy::Options>),
    /// List the apps of a worker.
    #[command(visible_alias = "ls")]
    List(command::list::Options),
    /// Start an app that was stopped.
    Start(command::change::Options),
    /// Stop an app. It stays deployed.
    Stop(command::change::Options),
    /// Set how many instances an app has.
    Resize(command::resize::Options),
    /// Stop an app and remove it, with its secrets.
    Rm(command::change::Options),
    /// Show what an app logs.
    Logs(command::logs::Options),
    /// Send a query to an app.
    Query(command::query::Options),
    /// Set or remove secrets of an app.
    Secret(command::secret::Options),
    /// Show the quotas of an app and their use, or change them while it runs.
    Quota(command::quota::Options),
    /// Show where an app may connect to, or change that while it runs.
    Egress(command::egress::Options),
    /// Bind domains to an app.
    Domain(command::domain::Options),
    /// Show what apps have used, or write it into a file as a signed bill.
    Usage(command::usage::Options),
    /// Check what a worker claims, without trusting it: quotes, workers, apps, bills.
    Verify(command::verify::Options),
    /// Fetch what the maker of a processor publishes about it, for `wapo verify`.
    Collateral(Box<command::collateral::Options>),
    /// Show a worker at a glance.
    Info(command::info::Options),
    /// Begin a billing session of a worker, with the account that is paid.
    Init(command::init::Options),
}

fn main() -> ExitCode {
    if let Some(code) = wapod::compile::compile_if_asked() {
        return code;
    }
    let terminal = Terminal::new();
    let options = Options::try_parse().unwrap_or_else(|error| refuse(&error, &terminal));
    let result = match options.command {
        Command::New(options) => command::new::run(&options, &terminal),
        Command::Build(options) => command::build::run(&options, &terminal),
        Command::Engine(options) => command::engine::run(&options, &terminal),
        Command::Run(options) => command::run::run(&options, &terminal),
        Command::Test(options) => command::test::run(&options, &terminal),
        Command::Repl(options) => command::repl::run(&options, &terminal),
        Command::Deploy(options) => command::deploy::run(&options, &terminal),
        Command::List(options) => command::list::run(&options, &terminal),
        Command::Start(options) => command::change::start(&options, &terminal),
        Command::Stop(options) => command::change::stop(&options, &terminal),
        Command::Resize(options) => command::resize::run(&options, &terminal),
        Command::Rm(options) => command::change::remove(&options, &terminal),
        Command::Logs(options) => command::logs::run(&options, &terminal),
        Command::Query(options) => command::query::run(&options, &terminal),
        Command::Secret(options) => command::secret::run(&options, &terminal),
        Command::Quota(options) => command::quota::run(&options, &terminal),
        Command::Egress(options) => command::egress::run(&options, &terminal),
        Command::Domain(options) => command::domain::run(&options, &terminal),
        Command::Usage(options) => command::usage::run(&options, &terminal),
        Command::Verify(options) => command::verify::run(&options, &terminal),
        Command::Collateral(options) => command::collateral::run(&options, &terminal),
        Command::Info(options) => command::info::run(&options, &terminal),
        Command::Init(options) => command::init::run(&options, &terminal),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            terminal.error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Ends the program after a bad command line.
fn refuse(error: &clap::Error, terminal: &Terminal) -> ! {
    // A closed pipe changes nothing.
    let _ = error.print();
    if let Some(advice) = advice(error) {
        terminal.hint(&advice);
    }
    std::process::exit(error.exit_code())
}

/// What to do about a value of yes or no that does not follow `=`.
fn advice(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    match error.kind() {
        ErrorKind::UnknownArgument => human::stray_value(word),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn a_value_of_yes_or_no_belongs_behind_its_option() {
        let line = ["wapo", "deploy", "hello", "--resizable", "false"];
        let error = Options::try_parse_from(line).expect_err("two apps");
        let advice = advice(&error).expect("advice");
        assert!(advice.contains("--resizable=false"), "{advice}");
        let error = Options::try_parse_from(["wapo", "deploy", "--no"]).expect_err("unknown");
        assert_eq!(super::advice(&error), None);
    }

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn documented_command_lines_parse() {
        for line in [
            "wapo verify quote quote.bin --collateral collateral.json --policy policy.toml --at 2026-06-01T00:00:00Z",
            "wapo verify quote report.hex --certificates chip.der --json",
            "wapo verify worker --url https://worker.example.com --save worker.json --nonce 00ff",
            "wapo verify worker --evidence worker.json --accept-simulator",
            "wapo verify app hello --cached --worker http://127.0.0.1:8001",
            "wapo verify app --connect app.example.com:443 --server-name a --collateral collateral.json",
            "wapo verify app --certificate app.pem",
            "wapo collateral quote.bin --pccs https://pccs.example.com -o collateral.json",
            "wapo collateral --from-worker -o collateral.json",
            "wapo new hello",
            "wapo new hello --template tcp",
            "wapo build",
            "wapo build hello --debug",
            "wapo engine --build -o wapo-js.wasm",
            "wapo run hello --listen-ports 3000..3100 --memory 1g --env A=b --env C= \
             --allow-egress *.example.com:443 --allow-egress 10.0.0.0/8 --trust-root ca.pem -- a -b",
            "wapo run app.wasm --watch --address 127.0.0.1:0",
            "wapo run app.wasm -M 256 -T 60 -E A=b --usage -- @file",
            "wapo test",
            "wapo test a.test.js tests --filter /^a/ --timeout 5 --json -m 64M -E A=b --allow-egress 127.0.0.1",
            "wapo repl",
            "wapo repl app.ts -E A=b",
            "wapo deploy hello --env A=b --arg -x --on-demand --memory 64M --gas 5 --weight 2 \
             --allow-egress 10.0.0.0/8 --listen-ports 3000..3100 --restart-always --name shop \
             --label Shop --query-max 1M --keep --json --worker http://a --token t -- -c d",
            "wapo deploy --resizable=false --instances 3 --fresh --profile home",
            "wapo list --token-file t",
            "wapo logs shop -f --tail 5",
            "wapo query shop /path --hex 0x00ff --as-hex",
            "wapo secret set shop TOKEN",
            "wapo usage --statement",
            "wapo usage export --app shop -o bill.jsonl --since 5 --json",
            "wapo usage show bill.jsonl --price gas=2 --price memory=3 --intervals",
            "wapo verify usage bill.jsonl --last-seq 7 --until 1800000000 --json",
            "wapo init --recipient 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
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
            ("wapo deploy --name A_B", "no name for a host"),
            ("wapo deploy --instances 0", "`0` is too small"),
            (
                "wapo deploy --instances many",
                "--instances <N>': `many` is not a number",
            ),
            (
                "wapo deploy --gas lots",
                "--gas <GAS>': `lots` is not a number",
            ),
            ("wapo deploy --weight 1.5", "`1.5` is not a whole number"),
            ("wapo deploy --resizable=maybe", "--resizable[=<BOOL>]"),
            ("wapo run --gas=-1", "`-1` is negative"),
            ("wapo run -T soon", "`soon` is not a number"),
            (
                "wapo resize app few",
                "'<INSTANCES>': `few` is not a number",
            ),
            (
                "wapo logs app --tail all",
                "--tail <N>': `all` is not a number",
            ),
            ("wapo query a b --hex 123", "pairs of hex digits"),
            ("wapo query a b --hex 12 --data x", "cannot be used with"),
            ("wapo list --worker x --profile y", "cannot be used with"),
            ("wapo init --recipient 5Gr", "invalid account"),
            (
                "wapo new x --template ftp",
                "[possible values: http, tcp, query, js, ts]",
            ),
        ] {
            let error = Options::try_parse_from(line.split_whitespace()).expect_err(line);
            assert!(error.to_string().contains(part), "{line}: {error}");
        }
    }
}
