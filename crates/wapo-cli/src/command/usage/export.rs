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
use wapo_verify::usage::{self, Bill, Expected};

use super::{BILL_BYTES_MAX, good};
use crate::apps;
use crate::command::verify::read_from;
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
    /// What is there, from the file and from the worker.
    bill: Option<Bill>,
    worker: Option<[u8; 32]>,
    /// Bytes that are there.
    bytes: usize,
    /// Reports that came from the worker.
    written: usize,
}

impl Target {
    /// The last report that is there.
    fn last(&self) -> Option<&UsageReport> {
        self.bill.as_ref().map(|bill| &bill.last)
    }
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
        let last = target.last().map_or(0, |last| last.seq);
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
        bill: None,
        worker: None,
        bytes: 0,
        written: 0,
    };
    let Some(path) = path else { return Ok(target) };
    let shown = path.display();
    let mut content = match File::open(path) {
        Ok(mut file) => read_from(&mut file, path, BILL_BYTES_MAX)?,
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
    target.bytes = end;
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
    if !read.reports.is_empty() {
        let checked = usage::check_read(&read, &Expected::default());
        let bill = good(checked)
            .map_err(|why| anyhow!("{shown} does not verify, and is left as it is: {why}"))?;
        target.bill = Some(bill);
    }
    Ok(())
}

/// Fetches page after page, up to the newest report that there was in the beginning.
async fn fetch(
    session: &Session<'_>,
    target: &mut Target,
    app: Option<AppAddress>,
    since: Option<u64>,
) -> Result<()> {
    let next = target.last().map(after).transpose()?;
    let mut first = match (next, since) {
        (Some(next), Some(since)) if since != next => {
            bail!("the file goes on with report {next}: leave --since out, or name another file")
        }
        (next, since) => next.or(since).filter(|first| *first > 0),
    };
    let mut newest = None;
    loop {
        let args = UsageExportArgs {
            from_seq: first.unwrap_or_default(),
            address: app.map(|app| app.0.to_vec()).unwrap_or_default(),
            max: 0,
            settle: newest.is_none(),
        };
        let answer = session.client.usage_export(args).await?;
        let until = *newest.get_or_insert(answer.last_seq);
        let next_seq = answer.next_seq;
        let is_empty = answer.reports.is_empty();
        take(session, target, app, first, answer)?;
        let last = target.last();
        if next_seq == 0 || last.is_some_and(|last| last.seq >= until) {
            return Ok(());
        }
        // Each page must bring what comes next: a worker that does not get on must not
        // keep us here for ever.
        let next = last.map(after).transpose()?;
        if is_empty || next != Some(next_seq) {
            bail!("the worker goes on with report {next_seq}, which is not the next one");
        }
        first = next;
    }
}

/// The number behind that of a report.
fn after(last: &UsageReport) -> Result<u64> {
    let next = last.seq.checked_add(1);
    next.context("no report can follow the last one: its number is the highest there is")
}

/// Checks a page, and writes it. `first` is the number that it has to begin with.
fn take(
    session: &Session<'_>,
    target: &mut Target,
    app: Option<AppAddress>,
    first: Option<u64>,
    answer: UsageExportResponse,
) -> Result<()> {
    let worker = <[u8; 32]>::try_from(answer.pubkey);
    let worker = worker.map_err(|_| anyhow!("the worker has no public key of 32 bytes"))?;
    if target.worker.is_some_and(|known| known != worker) {
        bail!("the file is of another worker: name another file");
    }
    if let Some(last) = target.last()
        && answer.last_seq < last.seq
    {
        bail!(
            "the worker's last report is {}, before the file's, which is {}: its state was put back to an earlier one",
            answer.last_seq,
            last.seq
        );
    }
    if let Some(first) = first
        && answer.first_seq > first
    {
        let what = match target.last() {
            Some(_) => "this file cannot be continued, begin another one",
            None => "give --since a later number, or leave it out",
        };
        bail!(
            "the worker has forgotten reports {first} to {}: {what}",
            answer.first_seq - 1
        );
    }
    let header = usage_file::header(&worker, app.as_ref());
    let mut lines = String::new();
    for bytes in &answer.reports {
        let report: ExportedReport = statement::decode(bytes)
            .context("the worker reports something this version does not know")?;
        lines.push_str(&usage_file::line(&report));
    }
    if !lines.is_empty() {
        let page = format!("{header}{lines}");
        add(target, app, first, page.as_bytes())?;
    }
    let begins = target.worker.replace(worker).is_none();
    let text = if begins { header + &lines } else { lines };
    target.bytes += text.len();
    if target.bytes > BILL_BYTES_MAX {
        bail!(
            "a bill has at most {BILL_BYTES_MAX} bytes: the next one begins another file, with --since"
        );
    }
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

/// Checks a page by itself and with what is there before it.
fn add(
    target: &mut Target,
    app: Option<AppAddress>,
    first: Option<u64>,
    page: &[u8],
) -> Result<()> {
    let expected = Expected {
        app,
        after: target.last().map(|last| (last.seq, last.hash())),
        ..Expected::default()
    };
    let refused = |why: String| anyhow!("the worker's reports do not verify: {why}");
    let more = good(usage::check(page, &expected)).map_err(refused)?;
    let begin = more.first.seq;
    if let Some(first) = first
        && begin != first
    {
        bail!("the worker was asked for reports from {first} on, and gives them from {begin} on");
    }
    target.written += more.reports;
    match &mut target.bill {
        Some(bill) => bill.join(more).map_err(refused),
        none => {
            *none = Some(more);
            Ok(())
        }
    }
}
