//! A folder of files named by their hash.
//!
//! Read only: `<folder>/<lower-case hex>`, without the algorithm. What is read
//! is hashed before a guest sees it, so a damaged or exchanged file is an error
//! and never wrong content. Called by `embedder`, on blocking threads.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256, Sha512};
use wapo_abi::Errno;

/// A folder of blobs.
#[derive(Clone)]
pub(crate) struct BlobFolder(PathBuf);

#[derive(Clone, Copy)]
enum Algorithm {
    Sha256,
    Sha512,
}

impl BlobFolder {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Reads the blob of a name such as `sha256:00ff…`. Blocks.
    pub(crate) fn read(&self, name: &str, max_bytes: u64) -> Result<Vec<u8>, Errno> {
        let (algorithm, digest) = parse(name).ok_or(Errno::IO_ERROR)?;
        let path = self.0.join(hex::encode(&digest));
        let content = read_at_most(&path, max_bytes)?;
        let actual = match algorithm {
            Algorithm::Sha256 => Sha256::digest(&content).to_vec(),
            Algorithm::Sha512 => Sha512::digest(&content).to_vec(),
        };
        if actual == digest {
            Ok(content)
        } else {
            tracing::warn!(path = %path.display(), "blob does not have the hash of its name");
            Err(Errno::IO_ERROR)
        }
    }
}

/// Splits a name; the digest has the length of its algorithm, so that a name
/// never leaves the folder.
fn parse(name: &str) -> Option<(Algorithm, Vec<u8>)> {
    let (algorithm, digits) = name.split_once(':')?;
    let (algorithm, length) = match algorithm {
        "sha256" => (Algorithm::Sha256, 32),
        "sha512" => (Algorithm::Sha512, 64),
        _ => return None,
    };
    let digest = hex::decode(digits).ok()?;
    (digest.len() == length).then_some((algorithm, digest))
}

fn read_at_most(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Errno> {
    let file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Errno::NOT_FOUND,
        _ => Errno::IO_ERROR,
    })?;
    let bytes = file.metadata().map_err(|_| Errno::IO_ERROR)?.len();
    if bytes > max_bytes {
        return Err(Errno::RESOURCE_LIMITED);
    }
    let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    // The file may grow while it is read; the hash would find out, memory not.
    let read = file.take(max_bytes + 1).read_to_end(&mut content);
    match read {
        Ok(read) if read as u64 > max_bytes => Err(Errno::RESOURCE_LIMITED),
        Ok(_) => Ok(content),
        Err(_) => Err(Errno::IO_ERROR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_checked_before_they_are_used() {
        let folder = tempfile::tempdir().expect("folder");
        let hash = hex::encode(Sha256::digest(b"content"));
        let blobs = BlobFolder::new(folder.path().to_owned());
        let name = format!("sha256:{}", hash.to_uppercase());

        assert_eq!(blobs.read(&name, 100), Err(Errno::NOT_FOUND));
        std::fs::write(folder.path().join(&hash), b"content").expect("write");
        assert_eq!(blobs.read(&name, 100), Ok(b"content".to_vec()));
        assert_eq!(blobs.read(&name, 7), Ok(b"content".to_vec()));
        assert_eq!(blobs.read(&name, 6), Err(Errno::RESOURCE_LIMITED));
        std::fs::write(folder.path().join(&hash), b"forged!").expect("write");
        assert_eq!(blobs.read(&name, 100), Err(Errno::IO_ERROR));
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        let folder = tempfile::tempdir().expect("folder");
        let blobs = BlobFolder::new(folder.path().to_owned());
        for name in [
            "",
            "sha256:",
            "sha256:../x",
            "md5:00",
            "/etc/passwd",
            "sha512:00",
        ] {
            assert_eq!(blobs.read(name, 9), Err(Errno::IO_ERROR), "{name}");
        }
    }
}
