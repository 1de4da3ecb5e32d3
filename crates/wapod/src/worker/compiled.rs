//! The compiled code of apps. A module that no app refers to any more is removed: when the worker
//! starts, when an app has gone, and when a deployment has failed.

use std::collections::HashSet;

use super::Worker;
use super::app::App;
use super::code::Code;

impl App {
    /// Lets the engine drop the code of an app that does not run. Where it would have to
    /// be compiled again, the app holds it.
    pub(super) fn release_code(&self, engine: &wapo_host::Engine) {
        if !engine.has_modules_on_disk() {
            return;
        }
        // An app that is about to start holds the lock, and has it released later.
        if let Ok(mut code) = self.code.try_lock()
            && let Code::Held(program) = &*code
        {
            let released = program.downgrade();
            *code = Code::Released(released);
        }
    }
}

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
    match &*app.code.try_lock().ok()? {
        Code::Absent => None,
        Code::Held(program) => Some(program.hash()),
        Code::Released(program) => Some(program.hash()),
    }
}
