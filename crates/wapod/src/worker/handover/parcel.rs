//! What goes from one worker to the other: the key, and the versions of those that follow
//! from it. Wiped when it is dropped.

use parity_scale_codec::{DecodeAll as _, Encode as _};
use wapo_crypto::{SECRET_BYTES, WorkerKey};
use zeroize::Zeroizing;

use crate::store::KeyVersions;

/// Puts it together.
pub(super) fn pack(key: &WorkerKey, versions: &KeyVersions) -> Zeroizing<Vec<u8>> {
    // Of its final size at once, so that no piece is left behind when it grows.
    Zeroizing::new([key.to_bytes().as_slice(), &versions.encode()].concat())
}

/// Takes it apart.
///
/// # Errors
///
/// A text of one line.
pub(super) fn unpack(bytes: &[u8]) -> Result<(WorkerKey, KeyVersions), String> {
    let (key, mut versions) = bytes
        .split_at_checked(SECRET_BYTES)
        .ok_or("what was handed over is too short for a key")?;
    let key = WorkerKey::from_bytes(key).map_err(|error| error.to_string())?;
    let versions = KeyVersions::decode_all(&mut versions)
        .map_err(|_| "the versions of keys that were handed over cannot be read")?;
    Ok((key, versions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wapo_rpc::AppAddress;

    #[test]
    fn key_and_versions_arrive_whole_or_not_at_all() {
        let key = WorkerKey::from_seed([1; 32]);
        let mut versions = KeyVersions::default();
        versions.raise(None);
        versions.raise(Some(AppAddress([2; 32])));
        let packed = pack(&key, &versions);
        let (opened, read) = unpack(&packed).expect("whole");
        assert_eq!((opened.public(), read), (key.public(), versions));
        for length in 0..packed.len() {
            assert!(unpack(&packed[..length]).is_err(), "{length} bytes");
        }
        let longer = [packed.as_slice(), &[0]].concat();
        assert!(unpack(&longer).is_err());
    }
}
