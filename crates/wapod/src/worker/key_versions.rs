//! Rotation of keys: raises the version of an app's key, or of the worker's own.
//!
//! A key follows from its version, so the old one is not stored, and is made again by
//! code that has to read what it protected. Versions outlive the app that they are of: a
//! key that was given up does not come back with a deployment. Called by `api`.

use wapo_rpc::AppAddress;

use super::Worker;
use crate::error::AppError;
use crate::limits::KEY_VERSIONS_MAX;
use crate::store::Change;

impl Worker {
    /// Raises the version of an app's key, or of the worker's keys for private queries and
    /// signatures of answers, and says what it is.
    ///
    /// # Errors
    ///
    /// [`AppError`] when there is no such app, or the store cannot be written; nothing
    /// has changed then.
    pub(crate) async fn rotate_keys(&self, app: Option<AppAddress>) -> Result<u32, AppError> {
        if let Some(address) = app {
            self.app(&address).ok_or(AppError::NotFound(address))?;
        }
        let _one_at_a_time = self.rotating.lock().await;
        let mut versions = self.attester.keys().clone();
        if app.is_some_and(|app| !versions.has_room_for(&app)) {
            return Err(AppError::Refused(format!(
                "keys of {KEY_VERSIONS_MAX} apps have been changed, which is all that a worker remembers"
            )));
        }
        let version = versions.raise(app);
        let version = version.ok_or_else(|| {
            AppError::Refused("the key has had all versions that there are".to_owned())
        })?;
        let change = Change::PutKeyVersions(versions.clone());
        self.store.commit(vec![change]).await?;
        *self.attester.keys() = versions;
        self.attested_changed.notify_one();
        Ok(version)
    }
}
