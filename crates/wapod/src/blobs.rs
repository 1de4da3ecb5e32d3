//! Content-addressed files: code of apps and what else they need.
//!
//! A blob is named by its hash, the file by the hex digits alone. What comes in
//! is hashed on the way into a temporary file and gets its name only when the
//! hash is right; what goes out is hashed again, so a damaged or exchanged file
//! is an error and never wrong content. Called by `worker`, `embedder` and the
//! blob routes of `api`.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bytes::Bytes;
use sha2::{Digest as _, Sha256, Sha512};
use tempfile::NamedTempFile;

use crate::data_dir::{Durability, persist};
use crate::limits::BLOB_PIECE_BYTES;

/// Hash function of a blob's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn digest_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// Name of a blob: `sha256:<hex>` or `sha512:<hex>`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct BlobName {
    algorithm: Algorithm,
    digest: Vec<u8>,
}

/// Name under which a client wants to store a blob; the digest may be open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WantedName {
    algorithm: Algorithm,
    digest: Option<Vec<u8>>,
}

/// What can go wrong with blobs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    #[error("Invalid hash algorithm: `{0}` is neither sha256:<hex> nor sha512:<hex>")]
    BadName(String),
    #[error("blob hash mismatch, actual: {actual}, expected: {expected}")]
    Mismatch { actual: String, expected: String },
    #[error("Object not found")]
    NotFound,
    #[error("the blob is larger than {max} bytes")]
    TooLarge { max: u64 },
    #[error("the stored blob {0} is damaged: put it again")]
    Damaged(BlobName),
    #[error("cannot store the blob: {0}")]
    Io(#[from] io::Error),
}

impl FromStr for WantedName {
    type Err = BlobError;

    /// Reads a name; nothing at all stands for `sha256:`.
    fn from_str(text: &str) -> Result<Self, BlobError> {
        let bad = || BlobError::BadName(text.to_owned());
        if text.is_empty() {
            return Ok(Self {
                algorithm: Algorithm::Sha256,
                digest: None,
            });
        }
        let (algorithm, digits) = text.split_once(':').ok_or_else(bad)?;
        let algorithm = match algorithm {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(bad()),
        };
        let digest = match hex::decode(digits).map_err(|_| bad())? {
            digest if digest.is_empty() => None,
            // The length keeps a name from leaving the folder.
            digest if digest.len() == algorithm.digest_bytes() => Some(digest),
            _ => return Err(bad()),
        };
        Ok(Self { algorithm, digest })
    }
}

impl FromStr for BlobName {
    type Err = BlobError;

    fn from_str(text: &str) -> Result<Self, BlobError> {
        let WantedName { algorithm, digest } = text.parse()?;
        let digest = digest.ok_or_else(|| BlobError::BadName(text.to_owned()))?;
        Ok(Self { algorithm, digest })
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), hex::encode(&self.digest))
    }
}

impl BlobName {
    /// The name that belongs to hex digits alone, by their number.
    pub(crate) fn from_digits(digits: &str) -> Option<Self> {
        let digest = hex::decode(digits.strip_prefix("0x").unwrap_or(digits)).ok()?;
        let algorithms = [Algorithm::Sha256, Algorithm::Sha512];
        let mut fitting = algorithms.into_iter();
        let algorithm = fitting.find(|algorithm| algorithm.digest_bytes() == digest.len())?;
        Some(Self { algorithm, digest })
    }

    fn file_name(&self) -> String {
        hex::encode(&self.digest)
    }
}

/// A digest that is being computed.
enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    fn update(&mut self, data: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(data),
            Self::Sha512(hasher) => hasher.update(data),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
            Self::Sha512(hasher) => hasher.finalize().to_vec(),
        }
    }
}

/// A folder of blobs, and perhaps one more that is only read.
#[derive(Clone)]
pub(crate) struct BlobFolder {
    folder: PathBuf,
    more: Option<PathBuf>,
    durability: Durability,
}

impl BlobFolder {
    /// Takes a folder, and clears away what uploads left that were cut off. Blocks.
    pub(crate) fn new(folder: PathBuf, more: Option<PathBuf>) -> Self {
        let _ = std::fs::remove_dir_all(folder.join(UPLOADS));
        Self {
            folder,
            more,
            durability: Durability::Durable,
        }
    }

    /// The same, for a folder that need not survive a crash.
    pub(crate) fn with_durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    fn path(&self, name: &BlobName) -> PathBuf {
        let own = self.folder.join(name.file_name());
        match &self.more {
            Some(more) if !own.exists() => more.join(name.file_name()),
            _ => own,
        }
    }

    /// Whether there is such a blob. Blocks.
    pub(crate) fn exists(&self, name: &BlobName) -> bool {
        self.path(name).is_file()
    }

    /// Bytes of a blob. Blocks.
    pub(crate) fn size(&self, name: &BlobName) -> Option<u64> {
        let metadata = std::fs::metadata(self.path(name)).ok()?;
        metadata.is_file().then_some(metadata.len())
    }

    /// Reads a blob and checks it. Blocks.
    ///
    /// # Errors
    ///
    /// [`BlobError`]; no content that has not the right hash.
    pub(crate) fn read(&self, name: &BlobName, max_bytes: u64) -> Result<Vec<u8>, BlobError> {
        let content = read_at_most(&self.path(name), max_bytes)?;
        let mut hasher = Hasher::new(name.algorithm);
        hasher.update(&content);
        if hasher.finish() == name.digest {
            Ok(content)
        } else {
            tracing::warn!(blob = %name, "a blob does not have the hash of its name");
            Err(BlobError::Damaged(name.clone()))
        }
    }

    /// Opens a blob for reading, after a look at all of it. Blocks.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(crate) fn open_checked(&self, name: &BlobName) -> Result<(File, u64), BlobError> {
        let mut file = File::open(self.path(name)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => BlobError::NotFound,
            _ => BlobError::Io(error),
        })?;
        let mut hasher = Hasher::new(name.algorithm);
        let mut bytes = 0;
        while let Some(piece) = next_piece(&mut file)? {
            hasher.update(&piece);
            bytes += piece.len() as u64;
        }
        if hasher.finish() != name.digest {
            tracing::warn!(blob = %name, "a blob does not have the hash of its name");
            return Err(BlobError::Damaged(name.clone()));
        }
        file.rewind()?;
        Ok((file, bytes))
    }

    /// Removes a blob. Blocks.
    ///
    /// # Errors
    ///
    /// [`BlobError::NotFound`], or as the system says.
    pub(crate) fn remove(&self, name: &BlobName) -> Result<(), BlobError> {
        let path = self.folder.join(name.file_name());
        std::fs::remove_file(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => BlobError::NotFound,
            _ => BlobError::Io(error),
        })
    }

    /// Stores a blob that is in memory. Blocks.
    ///
    /// # Errors
    ///
    /// As [`Upload::finish`].
    pub(crate) fn put(&self, wanted: WantedName, content: &[u8]) -> Result<BlobName, BlobError> {
        let mut upload = self.upload(wanted, u64::MAX)?;
        upload.write(content)?;
        upload.finish()
    }

    /// Begins to store a blob of at most `max_bytes`. Blocks.
    ///
    /// # Errors
    ///
    /// As the system says.
    pub(crate) fn upload(&self, wanted: WantedName, max_bytes: u64) -> Result<Upload, BlobError> {
        let folder = self.folder.join(UPLOADS);
        std::fs::create_dir_all(&folder)?;
        Ok(Upload {
            folder: self.folder.clone(),
            file: tempfile::Builder::new().tempfile_in(folder)?,
            hasher: Hasher::new(wanted.algorithm),
            wanted,
            durability: self.durability,
            room: max_bytes,
            max_bytes,
        })
    }
}

/// Folder of uploads in progress, below the blobs.
const UPLOADS: &str = ".tmp";

/// A blob on its way in. Dropping it leaves nothing behind.
pub(crate) struct Upload {
    folder: PathBuf,
    file: NamedTempFile,
    hasher: Hasher,
    wanted: WantedName,
    durability: Durability,
    room: u64,
    max_bytes: u64,
}

impl Upload {
    /// Takes the next piece. Blocks.
    ///
    /// # Errors
    ///
    /// [`BlobError::TooLarge`] beyond the limit, or as the system says.
    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<(), BlobError> {
        let left = self.room.checked_sub(piece.len() as u64);
        self.room = left.ok_or(BlobError::TooLarge {
            max: self.max_bytes,
        })?;
        self.hasher.update(piece);
        Ok(self.file.write_all(piece)?)
    }

    /// Gives the blob its name. It is there for good when this returns. Blocks.
    ///
    /// # Errors
    ///
    /// [`BlobError::Mismatch`] when it is not the blob that was announced, or
    /// as the system says; nothing has changed then.
    pub(crate) fn finish(self) -> Result<BlobName, BlobError> {
        let name = BlobName {
            algorithm: self.wanted.algorithm,
            digest: self.hasher.finish(),
        };
        if let Some(digest) = self.wanted.digest
            && digest != name.digest
        {
            return Err(BlobError::Mismatch {
                actual: hex::encode(&name.digest),
                expected: hex::encode(digest),
            });
        }
        let path = self.folder.join(name.file_name());
        persist(self.file, &path, self.durability)?;
        Ok(name)
    }
}

/// Reads on in a file; `None` at its end. Blocks.
///
/// # Errors
///
/// As the system says.
pub(crate) fn next_piece(file: &mut File) -> io::Result<Option<Bytes>> {
    let mut piece = Vec::with_capacity(BLOB_PIECE_BYTES);
    file.take(BLOB_PIECE_BYTES as u64).read_to_end(&mut piece)?;
    Ok((!piece.is_empty()).then(|| Bytes::from(piece)))
}

fn read_at_most(path: &Path, max_bytes: u64) -> Result<Vec<u8>, BlobError> {
    let too_large = BlobError::TooLarge { max: max_bytes };
    let file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => BlobError::NotFound,
        _ => BlobError::Io(error),
    })?;
    let bytes = file.metadata()?.len();
    if bytes > max_bytes {
        return Err(too_large);
    }
    let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    // The file may grow while it is read; the hash would find out, memory not.
    let limit = max_bytes.saturating_add(1);
    let read = file.take(limit).read_to_end(&mut content)?;
    if read as u64 > max_bytes {
        return Err(too_large);
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, BlobFolder) {
        let folder = tempfile::tempdir().expect("folder");
        let blobs = BlobFolder::new(folder.path().to_owned(), None);
        (folder, blobs)
    }

    fn wanted(text: &str) -> WantedName {
        text.parse().expect("a name")
    }

    fn files(folder: &tempfile::TempDir) -> usize {
        let walk = |path: &Path| std::fs::read_dir(path).map_or(0, Iterator::count);
        walk(folder.path()) - usize::from(folder.path().join(UPLOADS).exists())
            + walk(&folder.path().join(UPLOADS))
    }

    #[test]
    fn blobs_get_the_name_of_their_content() {
        let (_folder, blobs) = folder();
        let content = b"content";
        for (open, algorithm) in [("", "sha256"), ("sha256:", "sha256"), ("sha512:", "sha512")] {
            let name = blobs.put(wanted(open), content).expect("stored");
            let text = name.to_string();
            assert!(text.starts_with(algorithm), "{text}");
            let loud: BlobName = text
                .to_uppercase()
                .replace("SHA", "sha")
                .parse()
                .expect("name");
            assert_eq!(loud, name);
            assert_eq!(blobs.put(wanted(&text), content).expect("again"), name);
            assert_eq!(blobs.read(&name, 7).expect("there"), content);
            assert!(blobs.exists(&name));
            assert_eq!(blobs.size(&name), Some(7));
            let digits = text.split_once(':').expect("colon").1.to_owned();
            assert_eq!(BlobName::from_digits(&format!("0x{digits}")), Some(name));
        }
    }

    #[test]
    fn wrong_content_leaves_nothing_behind() {
        let (folder, blobs) = folder();
        let name = blobs
            .put(wanted(""), b"content")
            .expect("stored")
            .to_string();
        let error = blobs.put(wanted(&name), b"other").expect_err("mismatch");
        assert!(
            error
                .to_string()
                .starts_with("blob hash mismatch, actual: ")
        );
        let mut upload = blobs.upload(wanted(""), 3).expect("begun");
        upload.write(b"abc").expect("fits");
        let error = upload.write(b"d").expect_err("too long");
        assert!(matches!(error, BlobError::TooLarge { max: 3 }));
        drop(upload);
        assert_eq!(files(&folder), 1);
    }

    #[test]
    fn blobs_are_checked_before_they_are_used() {
        let (folder, blobs) = folder();
        let name = blobs.put(wanted(""), b"content").expect("stored");
        assert!(matches!(
            blobs.read(&name, 6),
            Err(BlobError::TooLarge { max: 6 })
        ));
        std::fs::write(folder.path().join(name.file_name()), b"forged!").expect("write");
        assert!(matches!(blobs.read(&name, 100), Err(BlobError::Damaged(_))));
        blobs.remove(&name).expect("removed");
        assert!(matches!(blobs.read(&name, 100), Err(BlobError::NotFound)));
        assert!(matches!(blobs.remove(&name), Err(BlobError::NotFound)));
        assert!(!blobs.exists(&name));
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        for name in [
            "",
            "sha256:",
            "sha256:../x",
            "md5:00",
            "/etc/passwd",
            "sha512:00",
        ] {
            assert!(name.parse::<BlobName>().is_err(), "{name}");
        }
        assert_eq!(BlobName::from_digits("../../etc"), None);
        assert_eq!(BlobName::from_digits(""), None);
    }

    #[test]
    fn the_other_folder_is_only_read() {
        let (folder, blobs) = folder();
        let name = blobs.put(wanted(""), b"content").expect("stored");
        let empty = tempfile::tempdir().expect("folder");
        let both = BlobFolder::new(empty.path().to_owned(), Some(folder.path().to_owned()));
        assert_eq!(both.read(&name, 7).expect("there"), b"content");
        assert!(matches!(both.remove(&name), Err(BlobError::NotFound)));
        assert!(blobs.exists(&name));
    }

    #[test]
    fn uploads_that_were_cut_off_are_cleared_away() {
        let (folder, blobs) = folder();
        let mut upload = blobs.upload(wanted(""), 100).expect("begun");
        upload.write(b"half").expect("written");
        let (_, left) = upload.file.keep().expect("as after a crash");
        assert!(left.exists());
        let _again = BlobFolder::new(folder.path().to_owned(), None);
        assert!(!left.exists());
    }
}
