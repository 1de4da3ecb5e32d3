//! `wapo usage export`: the bill as a file, begun or continued.
//!
//! What a file has is checked before anything is added to it, and each page of the
//! worker's before it is written, so that a file never holds a chain that does not
//! verify. The format is in `wapo_rpc::usage_file`.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use serde_json::json;
use wapo_rpc::message::{UsageExportArgs, UsageExportResponse};
use wapo_rpc::statement::{self, ExportedReport, UsageReport};
use wapo_rpc::{AppAddress, usage_file};
use wapo_verify::usage::{self, Expected};

use crate::apps;
use crate::terminal::Terminal;
use crate::worker::{self, Common, Session};

/// Command line of `wapo usage export`.
#[derive(Args, Debug)]
#[command(after_help = "\
Has the worker report first what was used since its last report. A file that is there
is checked and continued; with --app it holds what one app used, with proofs, and
nothing of others.")]
pub(crate) struct Options {
    /// Only what this app used: name, label, or beginning of the address; of a removed
    /// app the whole address.
    #[arg(long, value_name = "APP")]
    app: Option<String>,

    /// File to write, or to continue; standard output without.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Number of the first report; the oldest that the worker has without.
    #[arg(long, value_name = "SEQ")]
    since: Option<u64>,

    #[command(flatten)]
    common: Common,
}

/// Where the bill goes.
struct Target {
    file: Option<File>,
    /// The last report that is there.
    last: Option<UsageReport>,
    worker: Option<[u8; 32]>,
    written: usize,
}

/// Fetches reports and writes them.
///
/// # Errors
///
/// There is no such app, the file or the worker's reports do not verify, or the worker
/// has forgotten what comes next.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    worker::run(&options.common, terminal, async |session| {
        let app = match &options.app {
            Some(word) => Some(address(session, word).await?),
            None => None,
        };
        let mut target = open(options.output.as_deref(), app, terminal)?;
        fetch(session, &mut target, app, options.since).await?;
        let Some(path) = &options.output else {
            return Ok(ExitCode::SUCCESS);
        };
        let last = target.last.map_or(0, |last| last.seq);
        let report = json!({ "file": path, "reports": target.written, "last_seq": last });
        if !session.print_json(&report)? {
            let text = format!(
                "{} reports, up to {last}, into {}",
                target.written,
                path.display()
            );
            terminal.note("Exported", &text);
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The app that a person means, which may have been removed.
async fn address(session: &Session<'_>, word: &str) -> Result<AppAddress> {
    match apps::find(&session.client, word).await {
        Ok(app) => Ok(app.address),
        Err(error) => word.parse::<AppAddress>().map_err(|_| error),
    }
}

/// Opens the file, and checks what is in it.
fn open(path: Option<&Path>, app: Option<AppAddress>, terminal: &Terminal) -> Result<Target> {
    let mut target = Target {
        file: None,
        last: None,
        worker: None,
        written: 0,
    };
    let Some(path) = path else { return Ok(target) };
    let shown = path.display();
    let mut content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
    };
    let end = content
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let broke_off = content.split_off(end);
    if content.is_empty() && !usage_file::begins_header(&broke_off) {
        bail!("{shown} is no bill, and is left as it is: name another file");
    }
    if !content.is_empty() {
        check(&content, app, &shown.to_string(), &mut target)?;
    }
    // Only now is it known that the file is a bill.
    let opened = OpenOptions::new().create(true).append(true).open(path);
    let file = opened.with_context(|| format!("cannot write {shown}"))?;
    if !broke_off.is_empty() {
        terminal.warn(&format!(
            "the last line of {shown} does not end: it is written again"
        ));
        file.set_len(end as u64)
            .with_context(|| format!("cannot write {shown}"))?;
    }
    target.file = Some(file);
    Ok(target)
}

/// Checks the whole lines of a file, and takes from them where it goes on.
fn check(content: &[u8], app: Option<AppAddress>, shown: &str, target: &mut Target) -> Result<()> {
    let read =
        usage_file::read(content).map_err(|error| anyhow!("{shown} is left as it is: {error}"))?;
    if read.app != app {
        let of = |app: Option<AppAddress>| {
            app.map_or_else(|| "all apps".to_owned(), |app| format!("the app {app}"))
        };
        bail!(
            "{shown} is about {}, not about {}: name another file",
            of(read.app),
            of(app)
        );
    }
    target.worker = Some(read.worker);
    if read.reports.is_empty() {
        return Ok(());
    }
    let (verdict, bill) = usage::check(content, &Expected::default());
    let reason = verdict.failures().next().map(|check| check.detail.clone());
    let bill = bill.ok_or_else(|| {
        anyhow!(
            "{shown} does not verify, and is left as it is: {}",
            reason.unwrap_or_default()
        )
    })?;
    target.last = Some(bill.last);
    Ok(())
}

/// Fetches page after page.
async fn fetch(
    session: &Session<'_>,
    target: &mut Target,
    app: Option<AppAddress>,
    since: Option<u64>,
) -> Result<()> {
    let mut from_seq = match (&target.last, since) {
        (Some(last), Some(since)) if since != last.seq + 1 => bail!(
            "the file ends with report {}: leave --since out, or name another file",
            last.seq
        ),
        (Some(last), _) => last.seq + 1,
        (None, since) => since.unwrap_or_default(),
    };
    let mut settle = true;
    loop {
        let args = UsageExportArgs {
            from_seq,
            address: app.map(|app| app.0.to_vec()).unwrap_or_default(),
            max: 0,
            settle,
        };
        settle = false;
        let answer = session.client.usage_export(args).await?;
        let next_seq = answer.next_seq;
        take(session, target, app, answer)?;
        // A worker that does not get on must not keep us here for ever.
        if next_seq <= from_seq {
            return Ok(());
        }
        from_seq = next_seq;
    }
}

/// Checks a page, and writes it.
fn take(
    session: &Session<'_>,
    target: &mut Target,
    app: Option<AppAddress>,
    answer: UsageExportResponse,
) -> Result<()> {
    let worker = <[u8; 32]>::try_from(answer.pubkey);
    let worker = worker.map_err(|_| anyhow!("the worker has no public key of 32 bytes"))?;
    if target.worker.is_some_and(|known| known != worker) {
        bail!("the file is of another worker: name another file");
    }
    if let Some(last) = &target.last {
        let next = last.seq + 1;
        if answer.first_seq > next {
            bail!(
                "the worker has forgotten reports {next} to {}: this file cannot be continued, begin another one",
                answer.first_seq - 1
            );
        }
        if answer.last_seq < last.seq {
            bail!(
                "the worker's last report is {}, before the file's, which is {}: its state was put back to an earlier one",
                answer.last_seq,
                last.seq
            );
        }
    }
    let header = usage_file::header(&worker, app.as_ref());
    let mut lines = String::new();
    for bytes in &answer.reports {
        let report: ExportedReport = statement::decode(bytes)
            .context("the worker reports something this version does not know")?;
        lines.push_str(&usage_file::line(&report));
    }
    if !lines.is_empty() {
        let expected = Expected {
            app,
            after: target.last.map(|last| (last.seq, last.hash())),
            ..Expected::default()
        };
        let (verdict, bill) = usage::check(format!("{header}{lines}").as_bytes(), &expected);
        let reason = verdict.failures().next().map(|check| check.detail.clone());
        let bill = bill.ok_or_else(|| {
            anyhow!(
                "the worker's reports do not verify: {}",
                reason.unwrap_or_default()
            )
        })?;
        target.last = Some(bill.last);
        target.written += bill.reports;
    }
    let begins = target.worker.replace(worker).is_none();
    let text = if begins { header + &lines } else { lines };
    match &mut target.file {
        Some(file) => {
            file.write_all(text.as_bytes())
                .context("cannot write the file")?;
            file.sync_all().context("cannot write the file")
        }
        None => {
            session.terminal.bytes(text.as_bytes());
            Ok(())
        }
    }
}
