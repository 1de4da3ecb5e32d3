//! Builds again when files change.
//!
//! Looks at the files' times some times a second: that works on every file system,
//! containers and network drives included, and projects are small.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::source::{Built, Source};
use crate::terminal::Terminal;

/// Time between two looks at the files. A change is built when two looks agree,
/// so that a build does not start in the middle of a save.
const INTERVAL: Duration = Duration::from_millis(120);

/// What is built, as it comes.
pub(crate) struct Watcher(Option<mpsc::Receiver<Result<Built>>>);

impl Watcher {
    /// Watches what a source is made of, if there is something to watch.
    pub(crate) fn start(source: Option<Source>, terminal: &Arc<Terminal>) -> Self {
        let Some(source) = source else {
            return Self(None);
        };
        let (sender, receiver) = mpsc::channel(1);
        let built_of = source.stamp();
        tokio::spawn(watch(source, built_of, Arc::clone(terminal), sender));
        Self(Some(receiver))
    }

    /// Whether anything is watched.
    pub(crate) fn is_active(&self) -> bool {
        self.0.is_some()
    }

    /// Waits for the result of the next build; for ever when nothing is watched.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Built> {
        let next = match &mut self.0 {
            Some(receiver) => receiver.recv().await,
            None => None,
        };
        match next {
            Some(result) => result,
            None => std::future::pending().await,
        }
    }
}

async fn watch(
    source: Source,
    mut built_of: u64,
    terminal: Arc<Terminal>,
    sender: mpsc::Sender<Result<Built>>,
) {
    let source = Arc::new(source);
    let mut last_seen = built_of;
    while !sender.is_closed() {
        sleep(INTERVAL).await;
        let seen = blocking(&source, Source::stamp).await;
        let Some(seen) = seen else { return };
        let is_quiet = seen == last_seen;
        last_seen = seen;
        if seen == built_of || !is_quiet {
            continue;
        }
        built_of = seen;
        let terminal = Arc::clone(&terminal);
        terminal.note("Changed", &source.name());
        let Some(built) = blocking(&source, move |source| source.build(&terminal, None)).await
        else {
            return;
        };
        if sender.send(built).await.is_err() {
            return;
        }
    }
}

/// Runs something that blocks; `None` when the program is ending.
async fn blocking<T: Send + 'static>(
    source: &Arc<Source>,
    work: impl FnOnce(&Source) -> T + Send + 'static,
) -> Option<T> {
    let source = Arc::clone(source);
    tokio::task::spawn_blocking(move || work(&source))
        .await
        .ok()
}
