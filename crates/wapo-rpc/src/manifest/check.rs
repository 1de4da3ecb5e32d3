//! From the message to the manifest: what a worker refuses to deploy.

use parity_scale_codec::Encode as _;

use super::AppManifest;
use crate::limits::{LABEL_BYTES_MAX, MANIFEST_BYTES_MAX};
use crate::message::{Manifest, StringPair};
use crate::text::is_hidden;

/// Why a manifest is refused. The first reason, in this order.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ManifestError {
    /// A version from the future, or none.
    #[error("unsupported manifest version {0}: this worker knows version {known}", known = AppManifest::VERSION)]
    Version(u32),
    /// Both at once.
    #[error("on-demand app can not be resizable: requests decide how many instances it has")]
    OnDemandAndResizable,
    /// More than the limit.
    #[error("label too long: {0} bytes, at most {LABEL_BYTES_MAX}")]
    LabelTooLong(usize),
    /// What a terminal or a page would obey instead of showing it.
    #[error("label holds the invisible character {}: leave it out", .0.escape_unicode())]
    LabelHidden(char),
    /// More than the limit.
    #[error("manifest too large, {0} bytes, at most {MANIFEST_BYTES_MAX}; put data into blobs")]
    TooLarge(usize),
    /// No hash of a known kind.
    #[error("`{0}` is no hash of code: write sha256:<64 hex digits> or sha512:<128 hex digits>")]
    CodeHash(String),
}

impl AppManifest {
    /// Says what is wrong with a manifest, whatever it came from.
    ///
    /// # Errors
    ///
    /// [`ManifestError`]
    pub fn check(&self) -> Result<(), ManifestError> {
        if self.version != Self::VERSION {
            return Err(ManifestError::Version(self.version));
        }
        if self.on_demand && self.resizable {
            return Err(ManifestError::OnDemandAndResizable);
        }
        if self.label.len() > LABEL_BYTES_MAX {
            return Err(ManifestError::LabelTooLong(self.label.len()));
        }
        if let Some(hidden) = self.label.chars().find(|one| is_hidden(*one)) {
            return Err(ManifestError::LabelHidden(hidden));
        }
        let bytes = self.encoded_size();
        if bytes > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLarge(bytes));
        }
        if !is_blob_hash(&self.code_hash) {
            return Err(ManifestError::CodeHash(self.code_hash.clone()));
        }
        Ok(())
    }
}

fn is_blob_hash(text: &str) -> bool {
    let digits = match text.split_once(':') {
        Some(("sha256", hex)) if hex.len() == 64 => hex,
        Some(("sha512", hex)) if hex.len() == 128 => hex,
        _ => return false,
    };
    digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl TryFrom<Manifest> for AppManifest {
    type Error = ManifestError;

    fn try_from(message: Manifest) -> Result<Self, ManifestError> {
        let pairs = |list: Vec<StringPair>| list.into_iter().map(Into::into).collect();
        let manifest = Self {
            version: message.version,
            code_hash: message.code_hash,
            args: message.args,
            env_vars: pairs(message.env_vars),
            on_demand: message.on_demand,
            resizable: message.resizable,
            max_query_size: message.max_query_size,
            label: message.label,
            required_blobs: pairs(message.required_blobs),
        };
        manifest.check().map(|()| manifest)
    }
}

impl From<AppManifest> for Manifest {
    fn from(manifest: AppManifest) -> Self {
        let pairs = |list: Vec<(String, String)>| list.into_iter().map(Into::into).collect();
        Self {
            version: manifest.version,
            code_hash: manifest.code_hash,
            args: manifest.args,
            env_vars: pairs(manifest.env_vars),
            on_demand: manifest.on_demand,
            resizable: manifest.resizable,
            max_query_size: manifest.max_query_size,
            label: manifest.label,
            required_blobs: pairs(manifest.required_blobs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> AppManifest {
        AppManifest {
            version: 1,
            code_hash: format!("sha256:{}", "aB".repeat(32)),
            env_vars: vec![("K".into(), "V".into())],
            label: "x".repeat(64),
            ..AppManifest::default()
        }
    }

    fn refused(change: impl FnOnce(&mut AppManifest)) -> ManifestError {
        let mut manifest = good();
        change(&mut manifest);
        AppManifest::try_from(Manifest::from(manifest)).expect_err("refused")
    }

    #[test]
    fn a_good_manifest_survives_the_way_there_and_back() {
        assert_eq!(AppManifest::try_from(Manifest::from(good())), Ok(good()));
    }

    #[test]
    fn each_rule_has_its_error() {
        assert_eq!(refused(|m| m.version = 2), ManifestError::Version(2));
        let both = refused(|m| (m.on_demand, m.resizable) = (true, true));
        assert_eq!(both, ManifestError::OnDemandAndResizable);
        let label = refused(|m| m.label.push('x'));
        assert_eq!(label, ManifestError::LabelTooLong(65));
        for hidden in ['\u{1b}', '\n', '\u{202e}', '\u{9b}'] {
            let label = refused(|m| m.label = format!("a{hidden}b"));
            assert_eq!(label, ManifestError::LabelHidden(hidden));
        }
        for hash in ["", "sha256:", "sha256:00ff", "md5:00", "SHA256:00"] {
            let error = refused(|m| m.code_hash = hash.into());
            assert_eq!(error, ManifestError::CodeHash(hash.into()));
        }
        let text = refused(|m| m.version = 0).to_string();
        assert!(text.starts_with("unsupported manifest version 0"), "{text}");
    }

    #[test]
    fn size_is_that_of_the_encoding_to_the_byte() {
        let with_argument = |bytes| {
            let mut manifest = good();
            manifest.args = vec!["x".repeat(bytes)];
            manifest
        };
        // A length of one argument from 64 to 16383 bytes takes two bytes.
        let others = with_argument(100).encode().len() - 100;
        let longest = with_argument(MANIFEST_BYTES_MAX - others);
        assert_eq!(longest.encode().len(), MANIFEST_BYTES_MAX);
        assert_eq!(longest.check(), Ok(()));
        let error = with_argument(MANIFEST_BYTES_MAX - others + 1).check();
        let too_large = ManifestError::TooLarge(MANIFEST_BYTES_MAX + 1);
        assert_eq!(error, Err(too_large));
    }
}
