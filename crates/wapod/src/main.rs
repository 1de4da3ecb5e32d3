//! The daemon as a program: what the command line asks for, and exit codes.
//!
//! `options` decides the settings, `serve` runs the daemon, the library does the
//! rest.

mod log_pipe;
mod logging;
mod options;
mod serve;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use wapod::backup::{self, Existing};

use logging::LogOptions;
use options::{Command, Environment, LogFormat, Options, Refused, Sources};
use serve::Ended;

/// Gives memory back when a load has ended. The C library keeps what thousands of
/// connections had until the daemon ends.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code for wrong usage, as clap has it.
const USAGE: u8 = 2;

/// Why there is neither backup nor restoring in an enclave.
const IN_ENCLAVE: &str = "in an enclave (WAPOD_ENCLAVE_SIZE) there is neither backup nor restore, and nothing was changed: a backup is a plain file with the worker's key, which the host would read. Copy the sealed folder while the worker is stopped; it opens in the same enclave only";

fn main() -> ExitCode {
    if let Some(code) = wapod::compile::compile_if_asked() {
        return code;
    }
    let options = Options::parse();
    // What this process makes is for its owner only: key, state, secrets.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let ended = run(&options);
    logging::flush(logging::LOG_TIMEOUT);
    match ended {
        Ok(Ended::Orderly) => ExitCode::SUCCESS,
        // Threads that still work must not delay the end of the process.
        Ok(Ended::AtOnce(cause)) => std::process::exit(cause.exit_code().into()),
        Err(Refused::Usage(text)) => fail(&text, ExitCode::from(USAGE)),
        Err(Refused::Settings(text)) => fail(&text, ExitCode::FAILURE),
    }
}

fn fail(text: &str, code: ExitCode) -> ExitCode {
    eprintln!("wapod: {text}");
    code
}

fn run(options: &Options) -> Result<Ended, Refused> {
    let environment = Environment::read().map_err(Refused::Settings)?;
    let log = LogOptions::new(&environment).map_err(Refused::Settings)?;
    let sources = Sources::new(options, environment)?;
    if let Some(command) = &options.command {
        logging::init(log, LogFormat::Text).map_err(Refused::Settings)?;
        if sources.is_enclave() {
            return Err(Refused::Settings(IN_ENCLAVE.to_owned()));
        }
        let done = carry_out(command, &sources);
        return done.map(|()| Ended::Orderly).map_err(Refused::Settings);
    }
    let mut settings = sources.settings().map_err(Refused::Settings)?;
    settings.config.compiler = wapod::compile::this_program();
    if options.check_config {
        let warning = serve::check_machine(&settings.config).map_err(Refused::Settings)?;
        for warning in settings.warnings.iter().chain(&warning) {
            eprintln!("wapod: warning: {warning}");
        }
        print(&settings.to_string()).map_err(Refused::Settings)?;
        return Ok(Ended::Orderly);
    }
    logging::init(log, settings.log_format).map_err(Refused::Settings)?;
    serve::run(settings).map_err(Refused::Settings)
}

fn print(text: &str) -> Result<(), String> {
    let mut output = std::io::stdout().lock();
    let printed = output.write_all(text.as_bytes());
    printed.map_err(|error| format!("cannot write the output: {error}"))
}

fn carry_out(command: &Command, sources: &Sources) -> Result<(), String> {
    let data_dir = &sources.data_dir();
    match command {
        Command::Backup { file } => {
            let written = backup::create(data_dir, sources.key_file().as_deref(), file);
            let written = written.map_err(|error| error.to_string())?;
            for left_out in &written.left_out {
                eprintln!("wapod: warning: left out {left_out}");
            }
            print(&format!(
                "{}: {} files, {}. It holds the worker's key: keep it private.\n",
                file.display(),
                written.files,
                wapod::ByteSize(written.bytes)
            ))
        }
        Command::Restore { file, force } => {
            let existing = match force {
                true => Existing::MoveAside,
                false => Existing::Keep,
            };
            let restored = backup::restore(file, data_dir, existing);
            let restored = restored.map_err(|error| error.to_string())?;
            if let Some(aside) = &restored.moved_aside {
                print(&format!("the former content is in {}\n", aside.display()))?;
            }
            print(&format!(
                "{}: {} files, worker 0x{}\n",
                data_dir.display(),
                restored.files,
                hex::encode(restored.public_key)
            ))
        }
    }
}
