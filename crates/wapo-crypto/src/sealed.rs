//! Data that the worker keeps for one app, encrypted at rest.
//!
//! A header with a version, a nonce, the ciphertext, the tag. The key belongs to
//! one purpose and one app and comes from the worker's key by a way of its own:
//! no call of a guest leads there. Purpose, app and name are authenticated, so a
//! file that was moved does not open. An older file of the same name does; where
//! that matters, the owner of the data has to count. Called by code that stores
//! secrets and boot data; this module stores nothing.

use zeroize::Zeroizing;

use crate::aead;
use crate::worker_key::WorkerKey;

/// First bytes of everything sealed; the last one is the version of the layout.
const HEADER: &[u8; 12] = b"wapo sealed\x01";
/// The guest-visible secret under which Wapo 0.x encrypted boot data.
const LEGACY_BOOT_DATA_PATH: &[u8] = b"enc_bootdata";

/// What sealed data is for. Numbers never change: stored data depends on them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Purpose {
    /// A secret that the operator gave an app.
    AppSecret = 1,
    /// The record that an app writes for its next start.
    BootData = 2,
    /// The certificate of an app's domain and its key.
    DomainKey = 3,
}

/// Whose data it is, and which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label<'a> {
    /// What the data is for.
    pub purpose: Purpose,
    /// The app it belongs to.
    pub app_address: &'a [u8; 32],
    /// Which of the app's data of this purpose; may be empty.
    pub name: &'a str,
}

/// Why sealed data stays closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealedError {
    /// No header of ours: another program's file, or one of Wapo 0.x.
    #[error("this is not sealed data: it does not start with the header and its version")]
    Header,
    /// Cut off before the end.
    #[error("the sealed data has {0} bytes only: its end is missing, restore it from a backup")]
    Truncated(usize),
    /// Another worker's, another app's, under another name, or damaged.
    #[error("the sealed data was made for another worker, app, purpose or name, or is damaged")]
    Tag,
    /// More than the cipher can take.
    #[error("data of more than 64 GiB cannot be sealed")]
    TooLong,
}

/// Encrypts `data` for one purpose, app and name. `nonce` is random.
///
/// # Errors
///
/// [`SealedError::TooLong`].
pub fn seal(
    key: &WorkerKey,
    label: Label<'_>,
    data: &[u8],
    nonce: [u8; 12],
) -> Result<Vec<u8>, SealedError> {
    let cipher_key = key.sealing_key(&context(label));
    let ciphertext =
        aead::encrypt(&cipher_key, nonce, &associated(label), data).ok_or(SealedError::TooLong)?;
    Ok([HEADER.as_slice(), &nonce, &ciphertext].concat())
}

/// Decrypts what [`seal`] made with the same key and label. It is wiped when it is dropped.
///
/// # Errors
///
/// [`SealedError`] for anything else.
pub fn open(
    key: &WorkerKey,
    label: Label<'_>,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealedError> {
    let rest = sealed.strip_prefix(HEADER).ok_or(SealedError::Header)?;
    let (nonce, ciphertext) = rest
        .split_first_chunk::<{ aead::NONCE_BYTES }>()
        .filter(|(_, ciphertext)| ciphertext.len() >= aead::TAG_BYTES)
        .ok_or(SealedError::Truncated(sealed.len()))?;
    let cipher_key = key.sealing_key(&context(label));
    aead::decrypt(&cipher_key, *nonce, &associated(label), ciphertext).ok_or(SealedError::Tag)
}

/// Decrypts a file of boot data that Wapo 0.x wrote.
///
/// Try [`open`] first, this after [`SealedError::Header`] only, and seal what
/// was found at once: the app itself can derive the key of the old form.
///
/// # Errors
///
/// [`SealedError`] if the file is not this app's, or is damaged.
pub fn open_legacy_boot_data(
    key: &WorkerKey,
    app_address: &[u8; 32],
    file: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealedError> {
    let (ciphertext, nonce) = file
        .split_last_chunk::<{ aead::NONCE_BYTES }>()
        .filter(|(ciphertext, _)| ciphertext.len() >= aead::TAG_BYTES)
        .ok_or(SealedError::Truncated(file.len()))?;
    let secret = key.derive_secret(app_address, LEGACY_BOOT_DATA_PATH);
    let cipher_key = Zeroizing::new(std::array::from_fn(|index| secret[index]));
    aead::decrypt(&cipher_key, *nonce, b"", ciphertext).ok_or(SealedError::Tag)
}

/// Purpose and app. Both have a fixed length, so nothing can be read in two ways.
fn context(label: Label<'_>) -> Vec<u8> {
    [&[label.purpose as u8], label.app_address.as_slice()].concat()
}

/// What is authenticated beside the data: header, purpose, app, name.
fn associated(label: Label<'_>) -> Vec<u8> {
    [HEADER.as_slice(), &context(label), label.name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: Label<'_> = Label {
        purpose: Purpose::AppSecret,
        app_address: &[0x11; 32],
        name: "DATABASE_URL",
    };

    fn key() -> WorkerKey {
        WorkerKey::from_seed([1; 32])
    }

    fn sealed() -> Vec<u8> {
        seal(&key(), LABEL, b"postgres://", [7; 12]).expect("sealed")
    }

    #[test]
    fn what_was_sealed_opens_for_the_same_worker_app_purpose_and_name_only() {
        let opened = open(&key(), LABEL, &sealed());
        assert_eq!(opened, Ok(Zeroizing::new(b"postgres://".to_vec())));
        let others = [
            Label {
                purpose: Purpose::BootData,
                ..LABEL
            },
            Label {
                app_address: &[0x12; 32],
                ..LABEL
            },
            Label {
                name: "DATABASE_UR",
                ..LABEL
            },
            Label { name: "", ..LABEL },
        ];
        for other in others {
            let opened = open(&key(), other, &sealed());
            assert_eq!(opened, Err(SealedError::Tag), "{other:?}");
        }
        let other_worker = WorkerKey::from_seed([2; 32]);
        let opened = open(&other_worker, LABEL, &sealed());
        assert_eq!(opened, Err(SealedError::Tag));
    }

    #[test]
    fn sealed_data_with_any_bit_flipped_stays_closed() {
        for bit in 0..sealed().len() * 8 {
            let mut flipped = sealed();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let expected = match bit / 8 {
                0..12 => SealedError::Header,
                _ => SealedError::Tag,
            };
            assert_eq!(open(&key(), LABEL, &flipped), Err(expected), "bit {bit}");
        }
    }

    #[test]
    fn sealed_data_that_was_cut_off_is_reported_as_such() {
        for length in 0..sealed().len() {
            let expected = match length {
                0..12 => SealedError::Header,
                12..40 => SealedError::Truncated(length),
                _ => SealedError::Tag,
            };
            let opened = open(&key(), LABEL, &sealed()[..length]);
            assert_eq!(opened, Err(expected), "{length} bytes");
            let legacy = open_legacy_boot_data(&key(), &[0x11; 32], &sealed()[..length]);
            assert!(legacy.is_err(), "{length} bytes");
        }
    }

    #[test]
    fn no_secret_that_a_guest_can_derive_opens_sealed_data() {
        let sealed = sealed();
        let rest = sealed.strip_prefix(HEADER).expect("header");
        let (nonce, ciphertext) = rest.split_first_chunk::<12>().expect("nonce");
        for path in [
            &b""[..],
            b"enc_bootdata",
            &context(LABEL),
            &associated(LABEL),
        ] {
            let secret = key().derive_secret(LABEL.app_address, path);
            for half in secret.chunks_exact(32) {
                let guess = half.try_into().expect("32 bytes");
                let opened = aead::decrypt(guess, *nonce, &associated(LABEL), ciphertext);
                assert_eq!(opened, None, "{path:?}");
            }
        }
    }
}
