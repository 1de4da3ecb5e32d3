//! Accounts as people write them: SS58, a form of base58 with a network's
//! number and a checksum.
//!
//! The daemon reads the account that is paid with it. Writing is left to
//! wallets.

use blake2::{Blake2b512, Digest as _};
use ss58_registry::Ss58AddressFormat;

use crate::limits::ACCOUNT_BYTES;

/// What is hashed before the checked bytes.
const CHECKSUM_PREFIX: &[u8] = b"SS58PRE";
/// Bytes of the checksum of an account of 32 bytes.
const CHECKSUM_BYTES: usize = 2;
/// The number of "any network".
const GENERIC_SUBSTRATE: u16 = 42;
/// Characters of the longest address: 36 bytes in base58. Decoding takes time
/// that grows with the square of the length.
const TEXT_BYTES_MAX: usize = 50;

/// Text that is no account on a known network.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AccountError {
    /// Not base58, the wrong length, or a typing mistake.
    #[error("invalid account: not an SS58 address of 32 bytes; check for a typing mistake")]
    Malformed,
    /// A network that nobody registered.
    #[error(
        "invalid account: network {0} is not registered; use the account's form for network 42"
    )]
    UnknownNetwork(u16),
}

/// Reads an account.
///
/// # Errors
///
/// [`AccountError`]
pub fn decode(text: &str) -> Result<[u8; ACCOUNT_BYTES], AccountError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(AccountError::Malformed);
    }
    let bytes = bs58::decode(text)
        .into_vec()
        .map_err(|_| AccountError::Malformed)?;
    let (network, network_bytes) = network(&bytes).ok_or(AccountError::Malformed)?;
    if bytes.len() != network_bytes + ACCOUNT_BYTES + CHECKSUM_BYTES {
        return Err(AccountError::Malformed);
    }
    let (checked, checksum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
    let hash = Blake2b512::new()
        .chain_update(CHECKSUM_PREFIX)
        .chain_update(checked)
        .finalize();
    if !hash.starts_with(checksum) {
        return Err(AccountError::Malformed);
    }
    let format = Ss58AddressFormat::custom(network);
    if format.is_reserved() || (format.is_custom() && network != GENERIC_SUBSTRATE) {
        return Err(AccountError::UnknownNetwork(network));
    }
    <[u8; ACCOUNT_BYTES]>::try_from(&checked[network_bytes..]).map_err(|_| AccountError::Malformed)
}

/// The network's number and how many bytes it takes.
fn network(bytes: &[u8]) -> Option<(u16, usize)> {
    match *bytes {
        [simple @ 0..=63, ..] => Some((u16::from(simple), 1)),
        // Six bits of the first byte are bits 2 to 7 of the number; the second
        // byte has the lowest two on top, and the highest six below.
        [first @ 64..=127, second, ..] => {
            let lower = (first << 2) | (second >> 6);
            let upper = second & 0b0011_1111;
            Some((u16::from_le_bytes([lower, upper]), 2))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: [u8; 32] = [
        0xd4, 0x35, 0x93, 0xc7, 0x15, 0xfd, 0xd3, 0x1c, 0x61, 0x14, 0x1a, 0xbd, 0x04, 0xa9, 0x9f,
        0xd6, 0x82, 0x2c, 0x85, 0x58, 0x85, 0x4c, 0xcd, 0xe3, 0x9a, 0x56, 0x84, 0xe7, 0xa5, 0x6d,
        0xa2, 0x7d,
    ];

    fn encode(network: u16, account: &[u8]) -> String {
        let [lower, upper] = network.to_le_bytes();
        let mut bytes = if network < 64 {
            vec![lower]
        } else {
            vec![0b0100_0000 | (lower >> 2), upper | ((lower & 0b11) << 6)]
        };
        bytes.extend(account);
        let hash = Blake2b512::new()
            .chain_update(CHECKSUM_PREFIX)
            .chain_update(&bytes)
            .finalize();
        bytes.extend(&hash[..CHECKSUM_BYTES]);
        bs58::encode(bytes).into_string()
    }

    #[test]
    fn the_same_account_is_read_from_its_form_on_each_network() {
        for text in [
            // The well-known test account: any network, Polkadot, Kusama.
            "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
            "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5",
            "HNZata7iMYWmk5RvZRTiAsSDhV8366zq2YGb3tLH5Upf74F",
        ] {
            assert_eq!(decode(text), Ok(ALICE), "{text}");
        }
        for network in [42, 30, 252, 2254] {
            assert_eq!(decode(&encode(network, &ALICE)), Ok(ALICE), "{network}");
        }
    }

    #[test]
    fn networks_that_nobody_registered_are_refused() {
        for network in [46, 47, 16383] {
            let error = decode(&encode(network, &ALICE)).expect_err("refused");
            assert_eq!(error, AccountError::UnknownNetwork(network));
        }
    }

    #[test]
    fn typing_mistakes_are_found() {
        let long = "5".repeat(100_000);
        for text in [
            "",
            "5",
            "0OIl",
            "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQZ",
            "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQ",
            &encode(42, &ALICE[..31]),
            &encode(42, &[1; 33]),
            &long,
        ] {
            let error = decode(text).expect_err(text);
            assert!(error.to_string().starts_with("invalid account"), "{text}");
        }
    }
}
