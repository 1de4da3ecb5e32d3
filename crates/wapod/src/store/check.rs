//! Looks through a store before anything is written to it.
//!
//! The whole file is read and its checksums are compared, while what the library
//! would write goes to memory: a file that turns out to be damaged is left as it
//! is, bit by bit. Damage can make the library panic, so all of this happens on a
//! thread whose end is waited for. Called by `store` when a file is opened.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{Database, StorageBackend};

use super::contents::{Contents, read};
use super::error::OpenError;
use super::file::CACHE_BYTES;

/// Threads on which the library may panic. What becomes of it is an error of
/// the caller, so the panic itself need not be shown.
pub const STORE_THREAD: &str = "wapod-store";

/// Bytes of a piece that is kept in memory when it is written.
const PIECE_BYTES: u64 = 4096;

/// Runs something on a thread of its own; a panic becomes an error.
pub(super) fn contained<T: Send>(
    work: impl FnOnce() -> Result<T, OpenError> + Send,
) -> Result<T, OpenError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(STORE_THREAD.to_owned());
        let thread = thread
            .spawn_scoped(scope, work)
            .map_err(OpenError::Thread)?;
        let panicked = |_| {
            Err(OpenError::Damaged(
                "its content contradicts itself".to_owned(),
            ))
        };
        thread.join().unwrap_or_else(panicked)
    })
}

/// Reads everything that is in a store, and writes nothing.
///
/// # Errors
///
/// [`OpenError::Damaged`] when any part of it cannot be what a daemon wrote.
pub(super) fn look_through(path: &Path) -> Result<Contents, OpenError> {
    let untouched = Untouched::new(File::open(path).map_err(OpenError::Io)?)?;
    let mut database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(untouched)?;
    // Says `false` after a repair, which is what a crash leaves to be done.
    database.check_integrity()?;
    read(&database)
}

/// A file below, what was written since above.
#[derive(Debug)]
struct Untouched {
    file: File,
    changed: Mutex<Changed>,
}

#[derive(Debug)]
struct Changed {
    bytes: u64,
    /// Bytes of the file that still count.
    file_bytes: u64,
    pieces: BTreeMap<u64, Vec<u8>>,
}

impl Untouched {
    fn new(file: File) -> Result<Self, OpenError> {
        let bytes = file.metadata().map_err(OpenError::Io)?.len();
        let pieces = BTreeMap::new();
        let changed = Mutex::new(Changed {
            bytes,
            file_bytes: bytes,
            pieces,
        });
        Ok(Self { file, changed })
    }

    fn changed(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A piece as it is in the file, with zeros beyond its end.
    fn piece_of_file(&self, number: u64, file_bytes: u64) -> io::Result<Vec<u8>> {
        let mut piece = vec![0; usize::try_from(PIECE_BYTES).unwrap_or_default()];
        let begin = number * PIECE_BYTES;
        let there = usize::try_from(file_bytes.saturating_sub(begin).min(PIECE_BYTES));
        let there = piece.get_mut(..there.unwrap_or_default());
        self.file.read_exact_at(there.unwrap_or_default(), begin)?;
        Ok(piece)
    }
}

/// The parts of a range, piece by piece: number, place in the piece, bytes.
fn parts(offset: u64, bytes: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset.saturating_add(bytes as u64);
    let mut at = offset;
    std::iter::from_fn(move || {
        let number = at / PIECE_BYTES;
        let next = ((number + 1) * PIECE_BYTES).min(end);
        let place = usize::try_from(at % PIECE_BYTES).ok()?;
        let length = usize::try_from(next.checked_sub(at)?).ok()?;
        at = next;
        (length > 0).then_some((number, place, length))
    })
}

impl StorageBackend for Untouched {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changed().bytes)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changed = self.changed();
        let end = offset.checked_add(out.len() as u64);
        if end.is_none_or(|end| end > changed.bytes) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = out;
        for (number, place, length) in parts(offset, rest.len()) {
            let (now, later) = rest.split_at_mut(length);
            rest = later;
            let read;
            let piece = match changed.pieces.get(&number) {
                Some(piece) => piece,
                None => {
                    read = self.piece_of_file(number, changed.file_bytes)?;
                    &read
                }
            };
            now.copy_from_slice(piece.get(place..place + length).unwrap_or_default());
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changed = self.changed();
        if len < changed.bytes {
            // What is cut off reads as zeros if the store grows again.
            changed.file_bytes = changed.file_bytes.min(len);
            let last = len / PIECE_BYTES;
            changed.pieces.split_off(&(last + 1));
            let kept = usize::try_from(len % PIECE_BYTES).unwrap_or_default();
            if let Some(piece) = changed.pieces.get_mut(&last) {
                piece.get_mut(kept..).unwrap_or_default().fill(0);
            }
        }
        changed.bytes = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changed = self.changed();
        let mut rest = data;
        for (number, place, length) in parts(offset, data.len()) {
            let (now, later) = rest.split_at(length);
            rest = later;
            if !changed.pieces.contains_key(&number) {
                let piece = self.piece_of_file(number, changed.file_bytes)?;
                changed.pieces.insert(number, piece);
            }
            if let Some(piece) = changed.pieces.get_mut(&number)
                && let Some(piece) = piece.get_mut(place..place + length)
            {
                piece.copy_from_slice(now);
            }
        }
        changed.bytes = changed.bytes.max(offset.saturating_add(data.len() as u64));
        Ok(())
    }
}
