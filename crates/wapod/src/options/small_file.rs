//! Reads a file that should be small, whatever it is.
//!
//! A pipe that nobody writes to would hold the start for ever, and a device would
//! fill the memory. Pipes are taken, since shells pass secrets that way.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

use wapod::system;
use zeroize::Zeroizing;

/// Time for whatever is at the other end of a pipe.
const PIPE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes for which there is room from the start. Secrets have no more.
const CAPACITY_BYTES: usize = 16 * 1024;

/// Reads a file of at most so many bytes. It may be a secret, and is wiped when it is
/// dropped.
///
/// # Errors
///
/// As the system says; also when it is larger, no text, or does not end in time.
pub(super) fn read_small(path: &Path, bytes_max: u64) -> io::Result<Zeroizing<String>> {
    read_if(path, bytes_max, |_| Ok(()))
}

/// The same for a file that nobody else may read. A pipe has no others.
///
/// # Errors
///
/// As [`read_small`], and [`io::ErrorKind::PermissionDenied`] where others can read it.
pub(super) fn read_private(path: &Path, bytes_max: u64) -> io::Result<Zeroizing<String>> {
    read_if(path, bytes_max, |metadata| {
        let mode = metadata.permissions().mode();
        match metadata.is_file() && mode & system::MODE_OF_OTHERS != 0 {
            true => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "others can read it: use `chmod 600`",
            )),
            false => Ok(()),
        }
    })
}

/// Reads what `check` lets pass, which is asked about what was opened, whatever has the
/// name by then.
fn read_if(
    path: &Path,
    bytes_max: u64,
    check: fn(&Metadata) -> io::Result<()>,
) -> io::Result<Zeroizing<String>> {
    let (send, outcome) = channel();
    let opened = path.to_owned();
    // Opening a pipe waits as well. If it never ends, neither does the thread,
    // and the program ends without it.
    std::thread::Builder::new().spawn(move || send.send(read(&opened, bytes_max, check)))?;
    outcome.recv_timeout(PIPE_TIMEOUT).unwrap_or_else(|_| {
        let text = format!(
            "nothing came to its end within {} seconds; is it a pipe that nobody writes to?",
            PIPE_TIMEOUT.as_secs()
        );
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}

fn read(
    path: &Path,
    bytes_max: u64,
    check: fn(&Metadata) -> io::Result<()>,
) -> io::Result<Zeroizing<String>> {
    let file = File::open(path)?;
    check(&file.metadata()?)?;
    // Mostly of its final size: no piece of a secret is left behind when it grows.
    let mut text = Zeroizing::new(String::with_capacity(CAPACITY_BYTES));
    let bytes = file.take(bytes_max + 1).read_to_string(&mut text)?;
    if bytes as u64 > bytes_max {
        let text = format!("it has more than {bytes_max} bytes, so it is something else");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_or_endless_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "12345678").expect("written");
        assert_eq!(*read_small(&path, 8).expect("fits"), "12345678");
        assert!(read_small(&path, 7).is_err());
        assert!(read_small(Path::new("/dev/zero"), 1 << 20).is_err());
        assert!(read_small(folder.path(), 8).is_err());
    }
}
