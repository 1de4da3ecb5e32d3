//! Secrets of apps: environment that is no part of the manifest.
//!
//! Sealed in the store with a key that no guest can derive, open only in memory
//! and in the environment of the app's instances. Set and removed by people,
//! never listed. Called by `api` and by `lifecycle` at start.

use wapo_crypto::sealed::{self, Label, Purpose};
use wapo_rpc::AppAddress;
use zeroize::Zeroizing;

use super::Worker;
use super::app::{App, Secrets};
use super::lifecycle::already_deployed;
use crate::error::AppError;
use crate::limits::{SECRET_BYTES_MAX, SECRET_NAME_BYTES_MAX, SECRETS_MAX};
use crate::store::Change;

impl Worker {
    /// Sets a secret. Instances see it when they start the next time.
    ///
    /// # Errors
    ///
    /// [`AppError`] for a bad name or value, or when the store cannot be written;
    /// [`AppError::Changing`] while the app is still being deployed.
    pub(crate) async fn set_secret(
        &self,
        address: AppAddress,
        name: String,
        value: Zeroizing<Vec<u8>>,
    ) -> Result<(), AppError> {
        let app = self.app(&address).ok_or(AppError::NotFound(address))?;
        check_name(&name)?;
        let text = text_of(&value).ok_or(AppError::BadSecret("it is not UTF-8"))?;
        if text.len() > SECRET_BYTES_MAX || text.contains('\0') {
            return Err(AppError::BadSecret("it is too long or has a zero byte"));
        }
        let _one_at_a_time = app.writing.lock().await;
        if app.is_removed() {
            return Err(AppError::NotFound(address));
        }
        already_deployed(&app)?;
        let is_new = !app.secrets().contains_key(&name);
        if is_new && app.secrets().len() >= SECRETS_MAX {
            return Err(AppError::BadSecret("the app has too many already"));
        }
        let sealed = self.seal_secret(&address, &name, &text)?;
        let change = Change::PutSecret {
            app: address,
            name: name.clone(),
            sealed,
        };
        self.store.commit(vec![change]).await?;
        app.secrets().insert(name, text);
        Ok(())
    }

    /// Removes a secret and says whether there was one.
    ///
    /// # Errors
    ///
    /// As [`set_secret`](Self::set_secret).
    pub(crate) async fn remove_secret(
        &self,
        address: AppAddress,
        name: String,
    ) -> Result<bool, AppError> {
        let app = self.app(&address).ok_or(AppError::NotFound(address))?;
        let _one_at_a_time = app.writing.lock().await;
        if app.is_removed() {
            return Err(AppError::NotFound(address));
        }
        already_deployed(&app)?;
        let change = Change::RemoveSecret {
            app: address,
            name: name.clone(),
        };
        self.store.commit(vec![change]).await?;
        Ok(app.secrets().remove(&name).is_some())
    }

    /// Gives an app the secrets of the one whose place it takes. They are not in
    /// the store yet: the changes that write them are the answer.
    ///
    /// # Errors
    ///
    /// [`AppError::BadSecret`] when one cannot be sealed.
    pub(super) fn inherit_secrets(&self, heir: &App, from: &App) -> Result<Vec<Change>, AppError> {
        let secrets = from.secrets().clone();
        let mut changes = Vec::with_capacity(secrets.len());
        for (name, value) in &secrets {
            changes.push(Change::PutSecret {
                app: heir.address,
                name: name.clone(),
                sealed: self.seal_secret(&heir.address, name, value)?,
            });
        }
        *heir.secrets() = secrets;
        Ok(changes)
    }

    fn seal_secret(
        &self,
        address: &AppAddress,
        name: &str,
        value: &str,
    ) -> Result<Vec<u8>, AppError> {
        let label = label(address, name);
        let sealed = sealed::seal(self.identity.key(), label, value.as_bytes(), rand::random());
        sealed.map_err(|_| AppError::BadSecret("it is too long"))
    }

    /// Opens what the store has. What cannot be opened was sealed by another
    /// key; the app runs without it, and the log says so.
    pub(super) fn open_secrets(
        &self,
        address: &AppAddress,
        sealed: Vec<(String, Vec<u8>)>,
    ) -> Secrets {
        let mut opened = Secrets::new();
        for (name, content) in sealed {
            let value = sealed::open(self.identity.key(), label(address, &name), &content);
            match value.map(|value| text_of(&value)) {
                Ok(Some(value)) => drop(opened.insert(name, value)),
                _ => tracing::error!(app = %address, name, "a secret cannot be opened"),
            }
        }
        opened
    }
}

/// The text of a secret; `None` for what is none.
fn text_of(bytes: &[u8]) -> Option<Zeroizing<String>> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some(Zeroizing::new(text.to_owned()))
}

fn label<'a>(address: &'a AppAddress, name: &'a str) -> Label<'a> {
    Label {
        purpose: Purpose::AppSecret,
        app_address: &address.0,
        name,
    }
}

/// Names are those of environment variables (POSIX, section 8.1, plus lower case).
fn check_name(name: &str) -> Result<(), AppError> {
    let is_word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let starts_well = name.bytes().next().is_some_and(|c| !c.is_ascii_digit());
    if starts_well && name.len() <= SECRET_NAME_BYTES_MAX && name.bytes().all(is_word) {
        Ok(())
    } else {
        Err(AppError::BadSecret(
            "its name must be letters, digits and underscores, and begin with no digit",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_variables() {
        for good in ["TOKEN", "_a1", "x"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        let long = "x".repeat(SECRET_NAME_BYTES_MAX + 1);
        for bad in ["", "1A", "A=B", "A B", "ä", "A\0", &long] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
