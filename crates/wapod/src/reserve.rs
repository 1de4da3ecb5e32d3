//! A reserve file that is deleted when the disk is full.
//!
//! A file of some MiB in the data folder is deleted when the disk is full and an
//! operator stops or removes an app, or the daemon starts: the store needs free space
//! even for changes that make it smaller. It is made again when there is room enough.
//! Used by `data_dir` and `store`.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::limits::{RESERVE_BYTES, RESERVE_INTERVAL};
use crate::system::FILE_MODE;

/// Name of the file, below the data folder.
pub(crate) const RESERVE: &str = "reserve";

/// The file of one data folder.
pub(crate) struct Reserve {
    path: PathBuf,
    tried: Option<Instant>,
}

impl Reserve {
    /// Of a folder. Makes nothing yet.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            path: folder.join(RESERVE),
            tried: None,
        }
    }

    /// Gives the room back to the disk; says whether there was any.
    pub(crate) fn give_up(&self) -> bool {
        let is_given = fs::remove_file(&self.path).is_ok();
        if is_given {
            tracing::warn!(
                "the disk is full: {} was given up for what the operator does next",
                self.path.display()
            );
        }
        is_given
    }

    /// Makes the file when it is missing and the disk has room for more than that.
    /// Looks now and then only. Blocks.
    pub(crate) fn remake(&mut self) {
        let is_early = self
            .tried
            .is_some_and(|tried| tried.elapsed() < RESERVE_INTERVAL);
        if is_early {
            return;
        }
        self.tried = Some(Instant::now());
        let is_there = fs::metadata(&self.path).is_ok_and(|file| file.len() >= RESERVE_BYTES);
        if is_there || !self.has_room() {
            return;
        }
        if let Err(error) = make(&self.path) {
            // Half of it would look like a reserve and be none.
            let _ = fs::remove_file(&self.path);
            tracing::warn!(%error, "no reserve for a full disk could be made");
        }
    }

    fn has_room(&self) -> bool {
        let folder = self.path.parent().unwrap_or_else(|| Path::new("."));
        let free = rustix::fs::statvfs(folder);
        free.is_ok_and(|free| free.f_bavail.saturating_mul(free.f_frsize) >= 4 * RESERVE_BYTES)
    }
}

fn make(path: &Path) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(path)?;
    // Not zeros: file systems that compress would keep no room for them.
    let mut piece = [0_u8; 64 * 1024];
    for _ in 0..RESERVE_BYTES / piece.len() as u64 {
        rand::fill(&mut piece);
        file.write_all(&piece)?;
    }
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_made_given_up_once_and_made_again() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join(RESERVE);
        let mut reserve = Reserve::new(folder.path());
        assert!(!reserve.give_up(), "there is none yet");
        reserve.remake();
        let made = fs::metadata(&path).expect("it is made");
        assert_eq!(made.len(), RESERVE_BYTES);
        assert!(reserve.give_up());
        assert!(!path.exists() && !reserve.give_up());
        reserve.remake();
        assert!(!path.exists(), "not at once");
        Reserve::new(folder.path()).remake();
        assert!(path.exists());
    }
}
