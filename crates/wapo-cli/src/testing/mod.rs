//! Runs tests in the engine of JavaScript, one file after the other, each in an
//! instance of its own.
//!
//! The engine runs the tests and keeps their limits (`guests/wapo-js/js/wapo/test-run.js`);
//! `listen` follows it, `show` is what people see. An instance that ends in the middle
//! of a test, or does not answer, costs that test: the next instance goes on behind it.

mod event;
mod listen;
mod place;
mod show;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tokio::time::sleep;
use wapod::{ExitReason, Signals, StopCause};

use self::listen::Progress;
use self::show::Tally;
use crate::helper::{Helper, Listener, Said};
use crate::human;
use crate::script::{EXTENSIONS, Program, Script};
use crate::terminal::Terminal;

/// Time between two looks at the deadline of a test.
const INTERVAL: Duration = Duration::from_millis(50);

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    /// A text, or a regular expression between slashes.
    pub(crate) filter: Option<String>,
    /// Time of a test that does not say itself; zero for no limit.
    pub(crate) limit: Option<Duration>,
    /// Whether events are shown as they are.
    pub(crate) is_json: bool,
}

/// The file that is being run, for the listener of events.
pub(crate) type Current = Arc<Mutex<Option<Progress>>>;

/// What hears the engine, for the file that is being run.
pub(crate) fn listener(current: &Current) -> Listener {
    let heard = Arc::clone(current);
    Arc::new(move |said: Said<'_>| {
        if let Some(progress) = lock(&heard).as_mut() {
            progress.hear(&said);
        }
    })
}

/// Its state, whatever happened to others who looked at it.
fn lock(current: &Current) -> MutexGuard<'_, Option<Progress>> {
    current.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files with tests that paths on the command line mean.
///
/// # Errors
///
/// A path that is not there, or folders without tests.
pub(crate) fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let mut found = Vec::new();
            collect(path, &mut found)?;
            // Without `./` before names in this folder.
            files.extend(found.into_iter().map(|file| match file.strip_prefix(".") {
                Ok(inner) => inner.to_owned(),
                Err(_) => file,
            }));
        } else if path.is_file() {
            files.push(path.clone());
        } else {
            bail!("there is no {}", path.display());
        }
    }
    files.sort();
    files.dedup();
    if files.is_empty() {
        bail!("no tests here: files with tests are called NAME.test.js or NAME.test.ts");
    }
    Ok(files)
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder);
    for entry in entries.with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        // Links are not followed, so there are no circles.
        let kind = entry.file_type()?;
        if kind.is_dir() && !name.starts_with('.') && name != "node_modules" && name != "target" {
            collect(&path, into)?;
        } else if kind.is_file() && is_test(&name) {
            into.push(path);
        }
    }
    Ok(())
}

fn is_test(name: &str) -> bool {
    let stem = name.rsplit_once('.');
    stem.is_some_and(|(stem, extension)| {
        EXTENSIONS.contains(&extension) && stem.ends_with(".test") && stem.len() > ".test".len()
    })
}

/// How all went.
pub(crate) enum Outcome {
    Passed,
    Failed,
    Interrupted(StopCause),
}

/// Runs files and shows how they went.
pub(crate) struct Run {
    pub(crate) helper: Helper,
    pub(crate) terminal: Arc<Terminal>,
    pub(crate) current: Current,
    pub(crate) wish: Wish,
}

impl Run {
    /// Runs all files.
    ///
    /// # Errors
    ///
    /// The engine does not start.
    pub(crate) async fn all(self, files: &[PathBuf], signals: &mut Signals) -> Result<Outcome> {
        let start = Instant::now();
        let folder = std::env::current_dir()?;
        let mut tally = Tally::default();
        let mut failures = Vec::new();
        for file in files {
            if !self.wish.is_json {
                self.terminal.result(&file.display().to_string());
            }
            let progress = tokio::select! {
                progress = self.file(file) => progress?,
                cause = signals.next() => return Ok(Outcome::Interrupted(cause)),
            };
            tally.add(progress.tally);
            failures.extend(progress.failures);
        }
        self.helper.shutdown().await;
        let is_unmatched = self.wish.filter.is_some() && tally.chosen() == 0;
        let is_failed = tally.failed > 0 || is_unmatched;
        if !self.wish.is_json {
            for failure in &failures {
                show::failure(&self.terminal, failure, &folder);
            }
            let time = human::duration(start.elapsed());
            show::summary(&self.terminal, tally, files.len(), &time);
        }
        if let Some(filter) = self.wish.filter.as_ref().filter(|_| is_unmatched) {
            let filter = human::printable(filter);
            self.terminal
                .error(&format!("no test matches --filter {filter}"));
        }
        Ok(if is_failed {
            Outcome::Failed
        } else {
            Outcome::Passed
        })
    }

    /// Runs a file, in as many instances as it takes.
    async fn file(&self, file: &Path) -> Result<Progress> {
        let shown = file.display().to_string();
        let mut from = Some(0);
        let mut kept: Option<Progress> = None;
        while let Some(first) = from {
            let program = match Script::find(file).and_then(|script| read(script, file)) {
                Ok(program) => program,
                Err(error) => return Ok(self.unreadable(shown, &format!("{error:#}"))),
            };
            let progress = kept.take().unwrap_or_else(|| {
                let sources = program.sources.clone();
                Progress::new(
                    Arc::clone(&self.terminal),
                    shown.clone(),
                    self.wish.is_json,
                    sources,
                )
            });
            lock(&self.current).replace(progress);
            let why = self.instance(&shown, program, first).await?;
            let mut progress = lock(&self.current).take().context("its state is gone")?;
            from = match progress.is_done {
                true => None,
                false => progress.broke_off(&why),
            };
            kept = Some(progress);
        }
        kept.context("no instance was started")
    }

    /// What is told of a file that is no program.
    fn unreadable(&self, file: String, error: &str) -> Progress {
        let mut progress = Progress::new(
            Arc::clone(&self.terminal),
            file,
            self.wish.is_json,
            BTreeMap::new(),
        );
        progress.broke_off(error);
        progress
    }

    /// Runs one instance to its end, and says how it ended.
    async fn instance(&self, name: &str, program: Program, from: u64) -> Result<String> {
        let options = json!({
            "filter": self.wish.filter,
            "limit": self.wish.limit.map(|limit| limit.as_secs().saturating_mul(1_000)),
            "from": from,
        });
        let app = self
            .helper
            .run(name.to_owned(), program, "--test", options)
            .await?;
        let reason = loop {
            tokio::select! {
                reason = app.exited() => break ended(&reason),
                () = sleep(INTERVAL) => {
                    let deadline = lock(&self.current).as_ref().and_then(Progress::deadline);
                    if deadline.is_some_and(|deadline| deadline < Instant::now()) {
                        break "it did not answer any more, so its instance was stopped".to_owned();
                    }
                }
            }
        };
        self.helper.stop(&app).await;
        Ok(reason)
    }
}

fn read(script: Option<Script>, file: &Path) -> Result<Program> {
    let script = script.with_context(|| {
        let endings = EXTENSIONS.join(", .");
        format!("{} is no program: expected .{endings}", file.display())
    })?;
    script.program()
}

/// Why an instance ended before it told that it was done.
fn ended(reason: &ExitReason) -> String {
    match reason {
        ExitReason::Finished | ExitReason::Exited(0) => {
            "nothing was left that it could have waited for".to_owned()
        }
        ExitReason::PollTooLong(_) => {
            "it has computed without end where the engine cannot stop it, so its instance was ended"
                .to_owned()
        }
        other => format!(
            "its instance has ended: {}",
            human::first_line(&other.to_string())
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_with_tests_are_known_by_their_names() {
        for name in [
            "a.test.js",
            "a.b.test.ts",
            "x.test.mjs",
            "x.test.cjs",
            "x.test.mts",
        ] {
            assert!(is_test(name), "{name}");
        }
        for name in [
            "a.js",
            "test.js",
            ".test.js",
            "a.test",
            "a.test.json",
            "atest.js",
            "a.tests.js",
        ] {
            assert!(!is_test(name), "{name}");
        }
    }

    #[test]
    fn folders_are_searched_and_packages_left_out() {
        let folder = tempfile::tempdir().expect("folder");
        for path in [
            "b/x.test.js",
            "a.test.ts",
            "node_modules/p/y.test.js",
            ".git/z.test.js",
            "b/x.js",
        ] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
            std::fs::write(path, "").expect("file");
        }
        let found = find(&[folder.path().to_owned(), folder.path().join("b/x.js")]).expect("files");
        let names: Vec<_> = found
            .iter()
            .map(|path| path.strip_prefix(folder.path()))
            .collect();
        let expected = ["a.test.ts", "b/x.js", "b/x.test.js"].map(|name| Ok(Path::new(name)));
        assert_eq!(names, expected);
        let error = find(&[folder.path().join("none")]).expect_err("missing");
        assert!(error.to_string().contains("there is no"), "{error}");
        let empty = find(&[folder.path().join(".git/none")]);
        assert!(empty.is_err());
    }
}
