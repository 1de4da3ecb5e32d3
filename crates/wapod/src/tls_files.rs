//! Certificate and key of a port, in files that are read again when they change.
//!
//! Programs that renew certificates replace files; the port must not be restarted for
//! that. A [`FileCertificate`] is looked at by a task of its port every few seconds. What
//! cannot be used is said once, and the old certificate stays. Read by `server` at the
//! start, asked by `api::https` at each handshake. What a certificate holds is in
//! `identity`.

mod identity;

use std::fmt::{self, Display};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

pub(crate) use identity::{identity, not_after_seconds, validity_seconds};

use crate::limits::{TLS_FILE_BYTES_MAX, TLS_FILES_INTERVAL};

/// Where a port's certificate and its key are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// PEM file of the chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// PEM file of the key; `None` when it is in the same file.
    pub key: Option<PathBuf>,
}

impl FromStr for TlsFiles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (certificate, key) = match text.split_once(',') {
            Some((certificate, key)) => (certificate.trim(), Some(key.trim())),
            None => (text.trim(), None),
        };
        if certificate.is_empty() || key.is_some_and(str::is_empty) {
            return Err(format!(
                "`{text}` names no files: write CERTIFICATE,KEY, or one PEM file that has both"
            ));
        }
        Ok(Self {
            certificate: certificate.into(),
            key: key.map(PathBuf::from),
        })
    }
}

impl Display for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.certificate.display())?;
        match &self.key {
            Some(key) => write!(f, ",{}", key.display()),
            None => Ok(()),
        }
    }
}

impl TlsFiles {
    /// Checks that the files can be used, so that a mistake is found before a start.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// A text of one line that names the file.
    pub fn check(&self) -> Result<(), String> {
        self.read().map(drop)
    }

    fn read(&self) -> Result<CertifiedKey, String> {
        let chain = read_file(&self.certificate)?;
        let key = match &self.key {
            Some(path) => &read_file(path)?,
            None => &chain,
        };
        let key_file = self.key.as_ref().unwrap_or(&self.certificate);
        identity(&chain, key).map_err(|error| match error {
            identity::Unusable::Certificate(text) => {
                format!("{}: {text}", self.certificate.display())
            }
            identity::Unusable::Key(text) => format!("{}: {text}", key_file.display()),
        })
    }

    fn stamp(&self) -> Stamp {
        let of = |path: &Path| {
            let found = fs::metadata(path).ok()?;
            Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
        };
        Stamp(of(&self.certificate), self.key.as_deref().and_then(of))
    }
}

/// What tells one state of the files from another. A link to another file changes it, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp(Option<FileStamp>, Option<FileStamp>);

/// Number, bytes, and time of the last change of a file.
type FileStamp = (u64, u64, i64, i64);

/// Reads a file that may hold a key: it is wiped when it is dropped.
fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("cannot read {shown}: {error}");
    // A pipe would be waited for.
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    // Of its final size, so that no piece is left behind when it grows.
    let room = metadata.len().min(TLS_FILE_BYTES_MAX) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(room).unwrap_or_default(),
    ));
    let file = File::open(path).map_err(failed)?;
    let mut file = file.take(TLS_FILE_BYTES_MAX + 1);
    file.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > TLS_FILE_BYTES_MAX {
        return Err(format!(
            "{shown} is larger than a certificate: {TLS_FILE_BYTES_MAX} bytes are the most"
        ));
    }
    Ok(bytes)
}

/// The certificate of a port, as its files had it last.
#[derive(Debug)]
pub(crate) struct FileCertificate {
    port: &'static str,
    files: TlsFiles,
    current: RwLock<Arc<CertifiedKey>>,
    seen: Mutex<Seen>,
    /// Seconds since 1970; 0 where it is not known.
    not_after: AtomicU64,
    adopted: AtomicU64,
    refused: AtomicU64,
}

/// What was found at the last look.
#[derive(Debug)]
struct Seen {
    stamp: Stamp,
    /// Whether it could be used.
    is_good: bool,
}

/// How a port's certificate is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CertificateReading {
    pub(crate) port: &'static str,
    /// Seconds since 1970 after which clients refuse it; 0 where it is not known.
    pub(crate) not_after: u64,
    /// Changes that were taken over.
    pub(crate) adopted: u64,
    /// Changes that could not be used.
    pub(crate) refused: u64,
}

impl FileCertificate {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    ///
    /// A text of one line that names the file.
    pub(crate) fn open(port: &'static str, files: TlsFiles) -> Result<Self, String> {
        // The stamp is taken first: a change meanwhile is seen at the next look.
        let stamp = files.stamp();
        let key = files.read()?;
        Ok(Self {
            port,
            not_after: AtomicU64::new(not_after_seconds(&key).unwrap_or_default()),
            current: RwLock::new(Arc::new(key)),
            files,
            seen: Mutex::new(Seen {
                stamp,
                is_good: true,
            }),
            adopted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// Looks at the files again and again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. Ends when it is dropped only.
    pub(crate) async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(TLS_FILES_INTERVAL).await;
            let this = Arc::clone(&self);
            // It does not panic, and the runtime is not gone while this runs.
            let _ = tokio::task::spawn_blocking(move || this.look()).await;
        }
    }

    /// Takes over what has changed. Blocks.
    fn look(&self) {
        let stamp = self.files.stamp();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = seen.stamp != stamp;
        // What was bad is read again: it may have been written half at that time.
        if !is_new && seen.is_good {
            return;
        }
        let read = self.files.read();
        (seen.stamp, seen.is_good) = (stamp, read.is_ok());
        match read {
            Ok(key) => {
                let not_after = not_after_seconds(&key).unwrap_or_default();
                self.not_after.store(not_after, Ordering::Relaxed);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                self.adopted.fetch_add(1, Ordering::Relaxed);
                tracing::info!(port = self.port, "the port has a new certificate");
            }
            Err(error) if is_new => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    port = self.port,
                    "the port keeps its certificate, because the new one cannot be used: {error}"
                );
            }
            Err(_) => {}
        }
    }

    /// The certificate of this moment.
    pub(crate) fn current(&self) -> Arc<CertifiedKey> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn reading(&self) -> CertificateReading {
        CertificateReading {
            port: self.port,
            not_after: self.not_after.load(Ordering::Relaxed),
            adopted: self.adopted.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

impl ResolvesServerCert for FileCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

#[cfg(test)]
mod tests;
