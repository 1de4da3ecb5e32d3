//! Compiled modules that no app refers to any more are removed: when the worker
//! starts, when an app has gone, and when a deployment has failed.

use std::collections::HashSet;

use super::Worker;
use super::app::App;

impl Worker {
    /// Removes the compiled modules of apps that are gone, in the data folder's
    /// own cache.
    pub(super) async fn remove_unused_code(&self) {
        let apps = self.all_apps();
        let live: Option<HashSet<_>> = apps.iter().map(|app| code_hash(app)).collect();
        let Some(live) = live else {
            return;
        };
        // An app that comes meanwhile has its module compiled once more, later.
        let engine = self.engine.clone();
        let removing = tokio::task::spawn_blocking(move || engine.keep_only(&live));
        // It is done again with the next change.
        let _ = removing.await;
    }
}

/// SHA-256 of the code of an app; `None` when only another hash is known.
fn code_hash(app: &App) -> Option<[u8; 32]> {
    let name = &app.manifest.code_hash;
    let digits = name.strip_prefix("sha256:").unwrap_or(name);
    if let Ok(Ok(hash)) = hex::decode(digits).map(TryInto::try_into) {
        return Some(hash);
    }
    let program = app.program.try_lock().ok()?;
    program.as_ref().map(wapo_host::WeakProgram::hash)
}
