//! A worker's key in a file that only a secret opens: a passphrase, or what a key
//! service gives out.
//!
//! Argon2id (RFC 9106) makes a key of the secret, AES-256-GCM encrypts the worker's key
//! with it. The worker's public key stands in the clear and is authenticated, so that a
//! file can be told from another one without the secret. Neither the secret nor
//! randomness come from here; `wapod` reads and writes such files.
//!
//! | bytes | what |
//! | --- | --- |
//! | 12 | `wapo key` and, in the last byte, the version of the layout |
//! | 12 | memory in KiB, passes, lanes of Argon2id: three `u32`, little endian |
//! | 16 | salt |
//! | 32 | the worker's public key |
//! | 12 | nonce |
//! | 80 | the key, 64 bytes, and the tag |

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use crate::aead::{NONCE_BYTES, TAG_BYTES, decrypt, encrypt};
use crate::worker_key::{PublicKey, SECRET_BYTES, WorkerKey};

/// First bytes of such a file; the last one is the version of the layout.
const HEADER: &[u8; 12] = b"wapo key   \x01";
/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;
/// Random bytes that wrapping needs: a salt, then a nonce.
pub const RANDOM_BYTES: usize = SALT_BYTES + NONCE_BYTES;
/// Where the parts begin.
const COSTS_AT: usize = 12;
const SALT_AT: usize = 24;
const PUBLIC_AT: usize = 40;
const NONCE_AT: usize = 72;
const SEALED_AT: usize = 84;
/// Bytes of the whole.
pub const WRAPPED_BYTES: usize = SEALED_AT + SECRET_BYTES + TAG_BYTES;

/// What guessing a secret costs, and opening the file as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Costs {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes, which could be computed side by side.
    pub lanes: u32,
}

impl Costs {
    /// The second choice of RFC 9106, section 4: 64 MiB, three passes, four lanes. Fits
    /// into an enclave and takes a fraction of a second.
    pub const USUAL: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
        lanes: 4,
    };

    /// What a file may ask for at most. Without a bound, a planted file
    /// could take all of the machine's memory.
    const MOST: Self = Self {
        memory_kib: 1024 * 1024,
        passes: 16,
        lanes: 16,
    };

    fn is_bounded(self) -> bool {
        self.memory_kib <= Self::MOST.memory_kib
            && self.passes <= Self::MOST.passes
            && self.lanes <= Self::MOST.lanes
    }
}

/// Why a file was not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WrappedKeyError {
    /// Length, version or costs are none that were ever written.
    #[error("it is damaged, or of a later version")]
    Form,
    /// Another secret has closed it, or a byte was changed.
    #[error("the secret does not open it")]
    Secret,
}

/// Whether bytes claim to be such a file.
pub fn is_wrapped(bytes: &[u8]) -> bool {
    // The version, the last byte, may be a later one.
    bytes.get(..HEADER.len() - 1) == HEADER.get(..HEADER.len() - 1)
}

/// The public key that such a file claims to be of; certain once it was opened.
///
/// # Errors
///
/// [`WrappedKeyError::Form`].
pub fn public_key(bytes: &[u8]) -> Result<PublicKey, WrappedKeyError> {
    parse(bytes)?;
    bytes
        .get(PUBLIC_AT..NONCE_AT)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(WrappedKeyError::Form)
}

/// Closes a key with a secret. `random` must be fresh.
///
/// # Errors
///
/// [`WrappedKeyError::Form`] for costs that Argon2id does not have.
pub fn wrap(
    key: &WorkerKey,
    secret: &[u8],
    costs: Costs,
    random: [u8; RANDOM_BYTES],
) -> Result<Vec<u8>, WrappedKeyError> {
    let (salt, nonce) = random.split_at(SALT_BYTES);
    let mut bytes = HEADER.to_vec();
    for cost in [costs.memory_kib, costs.passes, costs.lanes] {
        bytes.extend(cost.to_le_bytes());
    }
    bytes.extend(salt);
    bytes.extend(key.public());
    let derived = derive(secret, salt, costs)?;
    let stored = key.to_bytes();
    let nonce_bytes = nonce.try_into().map_err(|_| WrappedKeyError::Form)?;
    let sealed = encrypt(&derived, nonce_bytes, &bytes, stored.as_slice());
    bytes.extend(nonce);
    bytes.extend(sealed.ok_or(WrappedKeyError::Form)?);
    Ok(bytes)
}

/// Opens a key with its secret. Takes the memory and time that its costs say, which are
/// bounded.
///
/// # Errors
///
/// [`WrappedKeyError`].
pub fn unwrap(bytes: &[u8], secret: &[u8]) -> Result<WorkerKey, WrappedKeyError> {
    let costs = parse(bytes)?;
    let public = public_key(bytes)?;
    let derived = derive(secret, &bytes[SALT_AT..PUBLIC_AT], costs)?;
    let nonce = bytes[NONCE_AT..SEALED_AT].try_into();
    let nonce = nonce.map_err(|_| WrappedKeyError::Form)?;
    let opened = decrypt(&derived, nonce, &bytes[..NONCE_AT], &bytes[SEALED_AT..]);
    let opened = opened.ok_or(WrappedKeyError::Secret)?;
    let key = WorkerKey::from_bytes(&opened).map_err(|_| WrappedKeyError::Form)?;
    match key.public() == public {
        true => Ok(key),
        false => Err(WrappedKeyError::Form),
    }
}

fn parse(bytes: &[u8]) -> Result<Costs, WrappedKeyError> {
    if bytes.len() != WRAPPED_BYTES || !bytes.starts_with(HEADER) {
        return Err(WrappedKeyError::Form);
    }
    let cost = |index: usize| {
        let at = COSTS_AT + index * 4;
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    let costs = Costs {
        memory_kib: cost(0),
        passes: cost(1),
        lanes: cost(2),
    };
    costs
        .is_bounded()
        .then_some(costs)
        .ok_or(WrappedKeyError::Form)
}

fn derive(
    secret: &[u8],
    salt: &[u8],
    costs: Costs,
) -> Result<Zeroizing<[u8; 32]>, WrappedKeyError> {
    let params = Params::new(costs.memory_kib, costs.passes, costs.lanes, Some(32));
    let params = params.map_err(|_| WrappedKeyError::Form)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(secret, salt, key.as_mut_slice())
        .map_err(|_| WrappedKeyError::Form)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Costs = Costs {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };

    fn wrapped() -> Vec<u8> {
        let key = WorkerKey::from_seed([7; 32]);
        wrap(&key, b"correct horse", QUICK, [9; RANDOM_BYTES]).expect("wrapped")
    }

    #[test]
    fn a_wrapped_key_opens_with_its_secret_alone() {
        let bytes = wrapped();
        assert_eq!(bytes.len(), WRAPPED_BYTES);
        let public = WorkerKey::from_seed([7; 32]).public();
        assert_eq!(public_key(&bytes), Ok(public));
        let opened = unwrap(&bytes, b"correct horse").expect("opened");
        assert_eq!(opened.public(), public);
        for wrong in [&b""[..], b"correct hors", b"correct horse\n"] {
            assert_eq!(unwrap(&bytes, wrong).err(), Some(WrappedKeyError::Secret));
        }
        let stored = WorkerKey::from_seed([7; 32]).to_bytes();
        assert!(!bytes.windows(32).any(|window| window == &stored[..32]));
    }

    #[test]
    fn each_byte_that_is_changed_or_missing_is_refused() {
        let good = wrapped();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            assert!(unwrap(&bytes, b"correct horse").is_err(), "byte {at}");
            assert!(unwrap(&good[..at], b"correct horse").is_err(), "{at} bytes");
        }
        let longer = [good.as_slice(), &[0]].concat();
        assert!(unwrap(&longer, b"correct horse").is_err());
    }

    #[test]
    fn a_file_cannot_ask_for_any_memory_and_time() {
        for (at, value) in [(0, 1 << 21), (4, 17), (8, 17), (0, 0), (4, 0), (8, 0)] {
            let mut bytes = wrapped();
            bytes[COSTS_AT + at..COSTS_AT + at + 4].copy_from_slice(&u32::to_le_bytes(value));
            assert_eq!(unwrap(&bytes, b"").err(), Some(WrappedKeyError::Form));
        }
    }

    #[test]
    fn a_plain_key_is_no_wrapped_one() {
        assert!(is_wrapped(&wrapped()));
        assert!(!is_wrapped(
            WorkerKey::from_seed([7; 32]).to_bytes().as_slice()
        ));
        assert!(!is_wrapped(b"wapo") && !is_wrapped(b""));
    }

    #[test]
    fn argon2id_is_that_of_the_rfc() {
        // RFC 9106, section 5.3, needs a secret value and associated data, which are not
        // used here; this is its C library's own vector for the rest.
        let costs = Costs {
            memory_kib: 1 << 16,
            passes: 2,
            lanes: 1,
        };
        let key = derive(b"password", b"somesalt", costs).expect("derived");
        assert_eq!(
            key.as_slice(),
            [
                0x09, 0x31, 0x61, 0x15, 0xd5, 0xcf, 0x24, 0xed, 0x5a, 0x15, 0xa3, 0x1a, 0x3b, 0xa3,
                0x26, 0xe5, 0xcf, 0x32, 0xed, 0xc2, 0x47, 0x02, 0x98, 0x7c, 0x02, 0xb6, 0x56, 0x6f,
                0x61, 0x91, 0x3c, 0xf7,
            ]
        );
    }
}
