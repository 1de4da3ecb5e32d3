//! Quotes of TDX and SEV-SNP through the kernel's reports (configfs, `tsm/report`,
//! since Linux 6.7).
//!
//! A folder that is made there has files in it: `provider` says which hardware
//! there is, what is written into `inblob` is in the report that `outblob` gives, and
//! `auxblob` has certificates that the host keeps beside it. `generation` counts what
//! was written, so a change by another process shows. Each quote has a folder of its
//! own, which is removed after it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wapo_rpc::limits::{QUOTE_BYTES_MAX, QUOTE_CERTIFICATES_BYTES_MAX};
use wapo_rpc::statement::{Bounded, Quote};

use super::gramine::{read, write};
use super::report_place;
use super::source::{QuoteSource, ReportData, SourceError, SourceKind};

/// Bytes of `provider` and `generation`. A word or a number stands there.
const WORD_BYTES_MAX: usize = 64;
/// How long a file is tried again that is not there yet or is busy.
///
/// The kernel makes the files with the folder; the hardware may have work of others.
const READY_TIME: Duration = Duration::from_secs(5);
/// Pause between such tries.
const READY_PAUSE: Duration = Duration::from_millis(1);
/// What this daemon's folders are called, before a random number.
const FOLDER_PREFIX: &str = "wapod-";

/// Entries of the table of certificates: identifier, offset, length.
const ENTRY_BYTES: usize = 24;
/// Identifiers of certificates in the order in which they go out: of the chip, of the
/// loaded firmware, of AMD's intermediate key and of its root (GHCB, version 2, 4.1.8).
const CERTIFICATES: [[u8; 16]; 4] = [
    *b"\x63\xda\x75\x8d\xe6\x64\x45\x64\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd",
    *b"\xa8\x07\x4b\xc2\xa2\x5a\x48\x3e\xaa\xe6\x39\xc0\x45\xa0\xb8\xa1",
    *b"\x4a\xb7\xb3\x79\xbb\xac\x4f\xe4\xa0\x2f\x05\xae\xf3\x27\xc7\x82",
    *b"\xc0\xb4\x06\xa4\xa8\x03\x49\x52\x97\x43\x3f\xb6\x01\x4c\xd0\xae",
];

/// The kernel's reports.
pub(super) struct Reports {
    dir: PathBuf,
    kind: SourceKind,
}

/// The reports, where the kernel has them and knows hardware that we do.
pub(super) fn find(dir: &Path) -> Option<Reports> {
    if !dir.is_dir() {
        return None;
    }
    let reports = Reports {
        dir: dir.to_owned(),
        // Decided by the first look.
        kind: SourceKind::Tdx,
    };
    let looked = reports.folder().and_then(|folder| folder.provider());
    match looked {
        Ok(kind) => Some(Reports { kind, ..reports }),
        Err(error) => {
            tracing::warn!(%error, "the kernel's reports cannot be used: there will be no quotes");
            None
        }
    }
}

impl QuoteSource for Reports {
    fn kind(&self) -> SourceKind {
        self.kind
    }

    fn quote(&mut self, report_data: &ReportData) -> Result<Quote, SourceError> {
        let folder = self.folder()?;
        let before = folder.generation()?;
        ready(|| write(&folder.file("inblob"), report_data))?;
        let report = ready(|| read(&folder.file("outblob"), QUOTE_BYTES_MAX))?;
        let kind = folder.provider()?;
        let auxiliary = match kind {
            // An empty one cannot be told from none, and either will do.
            SourceKind::SevSnp => {
                read(&folder.file("auxblob"), QUOTE_CERTIFICATES_BYTES_MAX).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        let after = folder.generation()?;
        if after != before + 1 {
            return Err(SourceError::Wrong(format!(
                "another process has written into the report's folder: generation {before}, then {after}"
            )));
        }
        let too_long = |error: wapo_rpc::statement::TooLong| SourceError::Wrong(error.to_string());
        let report = Bounded::new(report).map_err(too_long)?;
        let quote = match kind {
            SourceKind::SevSnp => Quote::SevSnp {
                report,
                certificates: Bounded::new(certificates(&auxiliary)).map_err(too_long)?,
            },
            _ => Quote::Tdx(report),
        };
        report_place::check(quote, report_data)
    }
}

impl Reports {
    /// Makes a folder that nobody else has: the number of a process may be that of one in
    /// another container, or of one that was killed and has left folders.
    fn folder(&self) -> Result<Folder, SourceError> {
        let name = format!("{FOLDER_PREFIX}{:016x}", rand::random::<u64>());
        let path = self.dir.join(name);
        match fs::create_dir(&path) {
            Ok(()) => Ok(Folder(path)),
            Err(error) => Err(SourceError::File { path, error }),
        }
    }
}

/// A folder for one report. Removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn word(&self, name: &str) -> Result<String, SourceError> {
        let word = ready(|| read(&self.file(name), WORD_BYTES_MAX))?;
        Ok(String::from_utf8_lossy(word.trim_ascii()).into_owned())
    }

    fn provider(&self) -> Result<SourceKind, SourceError> {
        match self.word("provider")?.as_str() {
            "tdx_guest" => Ok(SourceKind::Tdx),
            "sev_guest" => Ok(SourceKind::SevSnp),
            other => Err(SourceError::Wrong(format!(
                "the provider of reports is `{other}`, which is neither tdx_guest nor sev_guest"
            ))),
        }
    }

    fn generation(&self) -> Result<u64, SourceError> {
        let word = self.word("generation")?;
        word.parse()
            .map_err(|_| SourceError::Wrong(format!("the generation is `{word}`, not a number")))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The kernel removes the files with the folder. Where they stay, nothing is lost
        // but a folder of an ordinary file system that plays the kernel.
        if fs::remove_dir(&self.0).is_err() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Tries until a file is there and has time, within [`READY_TIME`].
fn ready<T>(mut attempt: impl FnMut() -> Result<T, SourceError>) -> Result<T, SourceError> {
    let deadline = Instant::now() + READY_TIME;
    loop {
        match attempt() {
            Err(SourceError::File { error, .. })
                if is_early(error.kind()) && Instant::now() < deadline =>
            {
                std::thread::park_timeout(READY_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

fn is_early(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotFound
            | ErrorKind::WouldBlock
            | ErrorKind::ResourceBusy
            | ErrorKind::Interrupted
    )
}

/// The certificates of a table, in order, one behind the other. What is damaged is
/// left out: a verifier that misses one says so.
fn certificates(table: &[u8]) -> Vec<u8> {
    let entries = table.chunks_exact(ENTRY_BYTES);
    let mut entries = entries.take_while(|entry| entry[..16] != [0; 16]);
    let mut found = [const { None }; CERTIFICATES.len()];
    while let Some((id, place)) = entries.next().and_then(|entry| entry.split_first_chunk()) {
        let known = CERTIFICATES.iter().position(|one| same_id(id, one));
        if let Some(slot) = known.map(|index| &mut found[index]) {
            *slot = within(table, place);
        }
    }
    found.into_iter().flatten().flatten().copied().collect()
}

/// Hosts write identifiers in network order, or the first three parts turned around.
fn same_id(found: &[u8; 16], known: &[u8; 16]) -> bool {
    let mut turned = *known;
    turned[..4].reverse();
    turned[4..6].reverse();
    turned[6..8].reverse();
    found == known || *found == turned
}

/// What an entry's offset and length name, if the table has it.
fn within<'a>(table: &'a [u8], place: &[u8]) -> Option<&'a [u8]> {
    let number = |bytes: &[u8]| {
        let four = <[u8; 4]>::try_from(bytes).ok()?;
        usize::try_from(u32::from_le_bytes(four)).ok()
    };
    let (start, length) = (number(place.get(..4)?)?, number(place.get(4..8)?)?);
    table.get(start..start.checked_add(length)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[([u8; 16], u32, u32)], rest: &[u8]) -> Vec<u8> {
        let mut table = Vec::new();
        for (id, offset, length) in entries {
            table.extend(id);
            table.extend(offset.to_le_bytes());
            table.extend(length.to_le_bytes());
        }
        table.extend([0; ENTRY_BYTES]);
        table.extend(rest);
        table
    }

    #[test]
    fn daemons_with_one_number_of_a_process_have_folders_of_their_own() {
        let dir = tempfile::tempdir().expect("folder");
        let reports = || Reports {
            dir: dir.path().to_owned(),
            kind: SourceKind::Tdx,
        };
        let left_over = reports().folder().expect("made");
        let other = reports().folder().expect("made");
        assert_ne!(left_over.0, other.0);
        assert!(left_over.0.is_dir() && other.0.is_dir());
    }

    #[test]
    fn certificates_come_out_from_the_chip_to_the_root() {
        let [chip, _, intermediate, root] = CERTIFICATES;
        let start = 5 * 24;
        let mut turned = chip;
        turned[..4].reverse();
        turned[4..6].reverse();
        turned[6..8].reverse();
        let other = [7; 16];
        let entries = [
            (root, start, 1),
            (other, start, 4),
            (intermediate, start + 1, 2),
            (turned, start + 3, 1),
        ];
        assert_eq!(certificates(&table(&entries, b"riic")), b"ciir");
        assert_eq!(certificates(&[]), b"");
    }

    #[test]
    fn a_table_that_points_beyond_itself_gives_nothing() {
        let [chip, ..] = CERTIFICATES;
        for (offset, length) in [(48, 5), (u32::MAX, u32::MAX), (49, 4), (0, u32::MAX)] {
            let bad = table(&[(chip, offset, length)], b"cert");
            assert_eq!(certificates(&bad), b"", "{offset} {length}");
        }
        let good = table(&[(chip, 48, 4)], b"cert");
        assert_eq!(certificates(&good), b"cert");
        assert_eq!(certificates(&good[..47]), b"", "cut off");
    }
}
