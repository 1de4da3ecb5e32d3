//! The two hashes, each with one name.
//!
//! So that nobody has to remember which of the BLAKE2 variants is meant, or
//! that Ethereum's Keccak is not the SHA-3 that became a standard. Called by the
//! other modules and by code that computes an app's address.

use blake2::Digest as _;
use blake2::digest::consts::U32;

/// BLAKE2b with a digest of 32 bytes, without a key.
pub fn blake2b_256(data: &[u8]) -> [u8; 32] {
    blake2::Blake2b::<U32>::digest(data).into()
}

/// Keccak with a digest of 32 bytes, in the form that Ethereum uses.
pub(crate) fn keccak_256(data: &[u8]) -> [u8; 32] {
    sha3::Keccak256::digest(data).into()
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

    /// The hash of nothing, which every Ethereum client knows as that of an
    /// account without code.
    #[test]
    fn is_keccak_as_ethereum_has_it() {
        let expected = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
        assert_eq!(hex::encode(keccak_256(b"")), expected);
    }
}
