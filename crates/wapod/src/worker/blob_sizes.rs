//! The blobs that apps name in their manifests, and their bytes on the disk.
//!
//! Reads no blob and removes none: `blobs` does. Called by `deploy` and `lifecycle`, for what
//! an app is billed as storage.

use std::collections::HashMap;

use wapo_rpc::AppManifest;

use crate::blobs::BlobFolder;

/// Bytes of blobs. Many apps name the same: the disk is asked once for each.
pub(super) struct BlobSizes<'a> {
    blobs: &'a BlobFolder,
    known: HashMap<String, u64>,
}

impl<'a> BlobSizes<'a> {
    pub(super) fn new(blobs: &'a BlobFolder) -> Self {
        Self {
            blobs,
            known: HashMap::new(),
        }
    }

    /// Bytes of the blobs that a manifest names. Looks at the disk, briefly.
    pub(super) fn of(&mut self, manifest: &AppManifest) -> u64 {
        blobs_of(manifest).map(|text| self.of_one(text)).sum()
    }

    fn of_one(&mut self, text: &str) -> u64 {
        if let Some(size) = self.known.get(text) {
            return *size;
        }
        let name = text.parse().ok();
        let size = name.and_then(|name| self.blobs.size(&name));
        let size = size.unwrap_or_default();
        self.known.insert(text.to_owned(), size);
        size
    }
}

/// Names of the blobs that a manifest names, the code first.
pub(super) fn blobs_of(manifest: &AppManifest) -> impl Iterator<Item = &String> {
    let required = manifest.required_blobs.iter().map(|(hash, _)| hash);
    std::iter::once(&manifest.code_hash).chain(required)
}
