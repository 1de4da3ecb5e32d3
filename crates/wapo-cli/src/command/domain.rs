//! `wapo domain`: host names of an app beside those below the worker's base domain.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use wapo_rpc::message::{DomainAddArgs, DomainRemoveArgs};

use crate::apps;
use crate::terminal::Terminal;
use crate::worker::{self, Common, Taking};

/// Command line of `wapo domain`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Bind a domain to an app, such as shop.example.com or *.shop.example.com.
    ///
    /// It has to point to the worker in DNS. It stays with the app when a new version
    /// is deployed. Adding it again replaces its certificate.
    Add(Add),
    /// Remove a domain from an app.
    #[command(visible_alias = "rm")]
    Remove(Named),
    /// List the domains of an app.
    #[command(visible_alias = "ls")]
    List(Of),
}

#[derive(Args, Debug)]
struct Named {
    /// Name, label, or the beginning of the address of the app.
    app: String,

    /// The domain.
    domain: String,

    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
struct Add {
    #[command(flatten)]
    named: Named,

    /// PEM file of the domain's certificate and those between it and the authority.
    /// The worker terminates TLS with it where the app does not.
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,

    /// PEM file of the certificate's key, if that is not in the same file.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct Of {
    /// Name, label, or the beginning of the address of the app.
    app: String,

    #[command(flatten)]
    common: Common,
}

/// Adds, removes or lists.
///
/// # Errors
///
/// There is no such app, or the worker refuses.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    match &options.command {
        Command::Add(add) => self::add(add, terminal),
        Command::Remove(named) => remove(named, terminal),
        Command::List(of) => list(of, terminal),
    }
}

fn add(options: &Add, terminal: &Terminal) -> Result<ExitCode> {
    let named = &options.named;
    let certificate = options.cert.as_deref().map(read).transpose()?;
    let key = match &options.key {
        Some(file) => Some(read(file)?),
        None => certificate.clone(),
    };
    worker::run(&named.common, terminal, async |session| {
        let app = apps::find(&session.client, &named.app).await?;
        let args = DomainAddArgs {
            address: app.address.0.to_vec(),
            domain: named.domain.clone(),
            certificate: certificate.clone().unwrap_or_default(),
            key: key.clone().unwrap_or_default(),
        };
        session.client.domain_add(args).await?;
        let words = format!("Added {} to", named.domain);
        session.done(&words, "domain added", &app)
    })
}

fn remove(named: &Named, terminal: &Terminal) -> Result<ExitCode> {
    let taking = Taking {
        done: &format!("Removed {} from", named.domain),
        action: "domain removed",
        lacks: &format!("does not have the domain {}", named.domain),
    };
    worker::take(
        &named.common,
        terminal,
        &named.app,
        taking,
        async |client, app| {
            let args = DomainRemoveArgs {
                address: app.0.to_vec(),
                domain: named.domain.clone(),
            };
            Ok(client.domain_remove(args).await?.value)
        },
    )
}

fn list(of: &Of, terminal: &Terminal) -> Result<ExitCode> {
    worker::run(&of.common, terminal, async |session| {
        let app = apps::find(&session.client, &of.app).await?;
        if session.print_json(&app.info.domains)? {
            return Ok(ExitCode::SUCCESS);
        }
        for domain in &app.info.domains {
            terminal.result(domain);
        }
        if app.info.domains.is_empty() {
            let name = app.shown();
            terminal.hint(&format!(
                "{name} has no domains; wapo domain add {name} shop.example.com gives it one"
            ));
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
