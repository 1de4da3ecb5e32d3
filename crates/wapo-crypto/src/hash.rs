//! The hash of addresses and derivation codes.
//!
//! One function, so that nobody has to remember which of the BLAKE2 variants is
//! meant. Called by `worker_key` and by whoever computes an app's address.

use blake2::Digest as _;
use blake2::digest::consts::U32;

/// BLAKE2b with a digest of 32 bytes, without a key.
pub fn blake2b_256(data: &[u8]) -> [u8; 32] {
    blake2::Blake2b::<U32>::digest(data).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vector of `b2sum -l 256` over the ASCII text `abc`.
    #[test]
    fn is_blake2b_with_32_bytes() {
        let expected = "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319";
        assert_eq!(hex::encode(blake2b_256(b"abc")), expected);
    }
}
