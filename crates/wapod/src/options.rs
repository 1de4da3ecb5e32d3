//! The operator's settings: command line, environment and configuration file.
//!
//! All three fill the same [`Layer`]; the first that names a setting decides, in this
//! order, and a setting that none of them names has a default. The result is a
//! [`Settings`], made once. Nothing else reads the environment. Called by `main`.

mod acme;
mod attestation;
mod config_file;
mod egress;
mod environment;
mod handover;
mod key;
mod layer;
mod picker;
mod settings;
mod small_file;
mod timeouts;
mod tls;
mod values;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub(crate) use environment::Environment;
pub(crate) use layer::Layer;
pub(crate) use settings::Settings;
pub(crate) use values::LogFormat;

/// Hosts apps: WebAssembly programs that own their networking.
///
/// `wapod` without a command starts the worker: a console and the operator's
/// interface on one port, a gateway to the apps on another. What it is told it
/// keeps in its data folder, and begins there the next time.
#[derive(Parser, Debug)]
#[command(name = "wapod", version, after_help = SHORT_HINT, after_long_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) layer: Layer,

    /// Configuration file; otherwise `wapod.toml` of the working directory, if
    /// there is one.
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        help_heading = "Folder and settings"
    )]
    config: Option<PathBuf>,

    /// Print what would be in effect and where it comes from, then exit: with 0
    /// if the daemon could start that way, with 1 if not.
    #[arg(long, help_heading = "Folder and settings")]
    pub(crate) check_config: bool,
}

/// What else the program does.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Write the worker's key, state and blobs into a file. The daemon has to be
    /// stopped.
    ///
    /// The file is new and readable by its owner only: its holder can speak
    /// in the worker's name. Compiled modules are not in it.
    Backup {
        /// Where to write.
        file: PathBuf,
    },
    /// Put a backup into the data folder. The daemon has to be stopped.
    ///
    /// Everything in the backup is checked before anything is replaced. Do not
    /// run two workers from one backup: they would sign with the same key.
    Restore {
        /// A file that `wapod backup` has written.
        file: PathBuf,
        /// If the folder holds a worker already, move it into a folder named
        /// `replaced-…` there.
        #[arg(long)]
        force: bool,
    },
}

const SHORT_HINT: &str = "`--help` says more and has examples.";

const EXAMPLES: &str = "\
Each setting can be given in three ways: --max-instances 500 on the command line,
WAPOD_MAX_INSTANCES=500 in the environment, `max-instances = 500` in wapod.toml.
The command line decides over the environment, and that over the file.

Environment variables without an option:
  WAPOD_ADMIN_TOKEN        token of the operator's interface
  WAPOD_MEASURED           what the enclave's measurement covers besides the program:
                           some of command-line, environment and file. Settings of the
                           others are listed in evidence as the host's
  WAPOD_KEY_PASSPHRASE     passphrase of the worker's key
  WAPOD_ENCLAVE_SIZE       size of the enclave: implies --no-mem-pool, fewer instances
                           unless -c says so, none that would not fit
  RUST_LOG                 what to log, such as `info` or `warn,wapod=debug`
  RUST_LOG_SANITIZED=true  log nothing about what apps do and say

Examples:
  wapod -m 1g                                      instances of up to 1 GiB
  wapod -c 2000 --memory-budget 6g                 many of them, 6 GiB together
  wapod --user-address 0.0.0.0 --user-port 80      apps for everyone
  wapod --admin-address 10.0.0.5 --admin-token-file token
                                                   a console for other machines
  wapod --data-dir /var/lib/wapod backup monday.tar
  wapod -m 1g --check-config

It stops at Ctrl-C or SIGTERM, after the requests in flight; a second signal stops
it at once, and so does the end of the grace, whatever apps do. Exit codes: 0 stopped
as told, 1 could not start, 2 wrong usage, 130 or 143 stopped at once.

When an app keeps the worker busy from the start: wapod --safe-mode starts none, and
lets them be looked at, stopped and removed.";

/// Why the settings are none: whose fault decides the exit code.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The command line.
    Usage(String),
    /// The environment, the file or the machine.
    Settings(String),
}

/// What all sources say, before it is put together.
pub(crate) struct Sources {
    layers: settings::Layers,
    machine: settings::Machine,
    warnings: Vec<String>,
}

impl Sources {
    /// Takes what was read, and reads the configuration file.
    ///
    /// # Errors
    ///
    /// [`Refused`] with a text of one line.
    pub(crate) fn new(options: &Options, environment: Environment) -> Result<Self, Refused> {
        let command_line = options.layer.clone();
        command_line.check("command line").map_err(Refused::Usage)?;
        let Environment {
            layer,
            enclave_bytes,
            measured,
            log_filter,
            is_log_sanitized,
            proxies,
            mut warnings,
            has_no_color: _,
        } = environment;
        layer.check("environment").map_err(Refused::Settings)?;
        if command_line.admin_api_token.is_some() {
            warnings.push(
                "-t shows the token to every user of this machine: use --admin-token-file or WAPOD_ADMIN_TOKEN"
                    .to_owned(),
            );
        }
        let file = match &options.config {
            Some(path) => Some(path.clone()),
            None => config_file::find(".".as_ref()).map_err(Refused::Settings)?,
        };
        let file = match file {
            Some(path) => {
                let read = config_file::read(&path).map_err(Refused::Settings)?;
                let checked = read.layer.check(&path.display().to_string());
                checked.map_err(Refused::Settings)?;
                warnings.extend(read.warnings);
                Some((path, read.layer))
            }
            None => None,
        };
        Ok(Self {
            layers: settings::Layers {
                command_line,
                environment: layer,
                file,
            },
            machine: settings::Machine {
                enclave_bytes,
                measured,
                log_filter,
                is_log_sanitized,
                proxies,
            },
            warnings,
        })
    }

    /// Puts the settings together. Reads the file of the token.
    ///
    /// # Errors
    ///
    /// A text of one line.
    pub(crate) fn settings(self) -> Result<Settings, String> {
        settings::resolve(&self.layers, self.machine, self.warnings)
    }

    /// Whether the daemon is in an enclave: its manifest says how large it is.
    pub(crate) fn is_enclave(&self) -> bool {
        self.machine.enclave_bytes.is_some()
    }

    /// The data folder alone, which is all that some commands need.
    pub(crate) fn data_dir(&self) -> PathBuf {
        settings::data_dir(&self.layers)
    }

    /// The file of the worker's key, where one is named.
    pub(crate) fn key_file(&self) -> Option<PathBuf> {
        settings::key_file(&self.layers)
    }
}

#[cfg(test)]
mod tests;
