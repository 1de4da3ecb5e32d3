//! Settings for the worker's key: its file, and its passphrase.
//!
//! Part of a [`Layer`](super::Layer), resolved by `settings`.

use std::path::{Path, PathBuf};

use wapod::Config;
use wapod::config::{KeySecret, Passphrase};

use super::handover::{Handover, KEY};
use super::picker::Picker;
use super::small_file::read_private;

/// Bytes of the file of a passphrase. A line break may be at its end.
const FILE_BYTES_MAX: u64 = 8192;

/// What one source says.
#[derive(clap::Args, Clone, Default, Debug)]
pub(crate) struct Key {
    /// File of the worker's key, made when there is none [default: in the data folder].
    /// Refused when others can read it.
    #[arg(long, value_name = "FILE", help_heading = KEY)]
    pub(super) worker_key: Option<PathBuf>,

    /// File with the passphrase of the worker's key, which is encrypted with it from
    /// then on; or in the variable WAPOD_KEY_PASSPHRASE.
    #[arg(long, value_name = "FILE", conflicts_with = "key_command", help_heading = KEY)]
    pub(super) key_passphrase_file: Option<PathBuf>,

    /// A program, with arguments, that prints the passphrase within 30 seconds, such as
    /// the client of a key service. Not in an enclave.
    #[arg(long, value_name = "COMMAND", help_heading = KEY)]
    pub(super) key_command: Option<String>,

    #[command(flatten)]
    pub(super) handover: Handover,

    /// The passphrase itself, from the environment.
    #[arg(skip)]
    pub(super) key_passphrase: Option<Passphrase>,
}

impl Key {
    /// Refuses more than one secret in one source.
    ///
    /// # Errors
    ///
    /// A text that names the source.
    pub(super) fn check(&self, source: &str) -> Result<(), String> {
        let given = [
            self.key_passphrase_file.is_some(),
            self.key_command.is_some(),
            self.key_passphrase.is_some(),
        ];
        match given.iter().filter(|is_given| **is_given).count() {
            0 | 1 => Ok(()),
            _ => Err(format!(
                "{source}: more than one of key-passphrase-file, key-command and WAPOD_KEY_PASSPHRASE"
            )),
        }
    }
}

/// What opens the key, as a source says it.
enum PassphraseSource {
    File(PathBuf),
    Command(String),
    Itself(Passphrase),
}

/// Takes the settings. Reads the file of a passphrase.
///
/// # Errors
///
/// A text of one line.
pub(super) fn settings(
    mut picker: Picker<'_, Key>,
    config: &mut Config,
    in_enclave: bool,
) -> Result<(), String> {
    if let Some((path, source)) = picker.find(|key| key.worker_key.clone()) {
        picker.show("worker-key", &path.display(), source);
        config.key.file = Some(path);
    }
    let given = picker.find(|key| {
        let file = key.key_passphrase_file.clone().map(PassphraseSource::File);
        let command = || key.key_command.clone().map(PassphraseSource::Command);
        let itself = || key.key_passphrase.clone().map(PassphraseSource::Itself);
        file.or_else(command).or_else(itself)
    });
    config.key.secret = match given {
        None => None,
        Some((PassphraseSource::File(path), source)) => {
            picker.show("key-passphrase-file", &path.display(), source);
            Some(KeySecret::Known(read(&path)?))
        }
        Some((PassphraseSource::Command(_), _)) if in_enclave => {
            return Err(
                "key-command: an enclave (WAPOD_ENCLAVE_SIZE) starts no other program; its data folder is encrypted by the processor"
                    .to_owned(),
            );
        }
        Some((PassphraseSource::Command(command), source)) => {
            picker.show("key-command", &command, source);
            Some(KeySecret::Command(command))
        }
        Some((PassphraseSource::Itself(passphrase), source)) => {
            picker.show("key-passphrase", &"(hidden)", source);
            Some(KeySecret::Known(passphrase))
        }
    };
    Ok(())
}

/// Reads a passphrase. A file that others can read is none.
fn read(path: &Path) -> Result<Passphrase, String> {
    let shown = path.display();
    let failed = |error| format!("cannot read the passphrase from {shown}: {error}");
    let mut text = read_private(path, FILE_BYTES_MAX).map_err(failed)?;
    let passphrase = Passphrase::new(std::mem::take(&mut *text).into_bytes());
    passphrase.map_err(|error| format!("the passphrase in {shown} is none: {error}"))
}
