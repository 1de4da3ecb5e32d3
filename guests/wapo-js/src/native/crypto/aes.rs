//! AES in the modes of the Web Cryptography API: CTR, CBC (SP 800-38A), GCM
//! (SP 800-38D) and KW (RFC 3394).

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{
    Block, BlockDecryptMut, BlockEncrypt, BlockEncryptMut, BlockSizeUser, KeyInit, KeyIvInit,
    consts::U16,
};
use aes::{Aes128, Aes192, Aes256};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use subtle::ConstantTimeEq;

use super::operation;
use crate::engine::Failure;

const BLOCK_BYTES: usize = 16;

/// Blocks that are encrypted together, for the sake of speed.
const BLOCKS_AT_ONCE: usize = 8;

/// Bits of the counter of GCM.
const GCM_COUNTER_BITS: u32 = 32;

fn wrong_length() -> Failure {
    operation("a key of AES has 128, 192 or 256 bits")
}

/// Evaluates an expression with the type of AES for the length of a key.
macro_rules! with_aes {
    ($key:expr, $kind:ident => $body:expr) => {
        match $key.len() {
            16 => {
                type $kind = Aes128;
                $body
            }
            24 => {
                type $kind = Aes192;
                $body
            }
            32 => {
                type $kind = Aes256;
                $body
            }
            _ => Err(wrong_length()),
        }
    };
}

/// Encrypts or decrypts with a counter of that many bits, which wraps within
/// them.
pub(super) fn ctr(
    key: &[u8],
    counter: &[u8],
    bits: u32,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    let counter: [u8; BLOCK_BYTES] = counter
        .try_into()
        .map_err(|_| operation("the counter of AES-CTR has 16 bytes"))?;
    if !(1..=128).contains(&bits) {
        return Err(operation("the counter of AES-CTR has 1 to 128 bits"));
    }
    let blocks = bytes.len().div_ceil(BLOCK_BYTES) as u128;
    if bits < 128 && blocks > 1 << bits {
        return Err(operation(
            "the data is too long for the bits of the counter",
        ));
    }
    with_aes!(key, C => {
        let cipher = C::new_from_slice(key).map_err(|_| wrong_length())?;
        let mut bytes = bytes;
        apply_counter(&cipher, u128::from_be_bytes(counter), bits, &mut bytes);
        Ok(bytes)
    })
}

fn apply_counter<C: BlockEncrypt + BlockSizeUser<BlockSize = U16>>(
    cipher: &C,
    counter: u128,
    bits: u32,
    bytes: &mut [u8],
) {
    let mask = u128::MAX >> (128 - bits);
    let mut next = counter;
    for part in bytes.chunks_mut(BLOCKS_AT_ONCE * BLOCK_BYTES) {
        let mut stream = [Block::<C>::default(); BLOCKS_AT_ONCE];
        for block in &mut stream {
            block.copy_from_slice(&next.to_be_bytes());
            next = (next & !mask) | (next.wrapping_add(1) & mask);
        }
        cipher.encrypt_blocks(&mut stream);
        for (byte, key) in part.iter_mut().zip(stream.iter().flatten()) {
            *byte ^= key;
        }
    }
}

/// What GCM needs besides the key.
pub(super) struct Gcm<'a> {
    pub(super) iv: &'a [u8],
    pub(super) additional: &'a [u8],
    pub(super) tag_bytes: usize,
}

impl Gcm<'_> {
    fn check(&self) -> Result<(), Failure> {
        if self.iv.is_empty() {
            return Err(operation("the iv of AES-GCM is empty"));
        }
        if !matches!(self.tag_bytes, 4 | 8 | 12..=16) {
            return Err(operation(
                "the tag of AES-GCM has 32, 64, 96, 104, 112, 120 or 128 bits",
            ));
        }
        Ok(())
    }

    /// Encrypts; the tag comes last.
    pub(super) fn seal(&self, key: &[u8], mut bytes: Vec<u8>) -> Result<Vec<u8>, Failure> {
        self.check()?;
        with_aes!(key, C => {
            let cipher = C::new_from_slice(key).map_err(|_| wrong_length())?;
            let (hash, first) = self.begin(&cipher);
            apply_counter(&cipher, after(first), GCM_COUNTER_BITS, &mut bytes);
            let tag = self.tag(&cipher, hash, first, &bytes);
            bytes.extend_from_slice(&tag[..self.tag_bytes]);
            Ok(bytes)
        })
    }

    /// Decrypts what has the right tag.
    pub(super) fn open(&self, key: &[u8], mut bytes: Vec<u8>) -> Result<Vec<u8>, Failure> {
        self.check()?;
        let length = bytes
            .len()
            .checked_sub(self.tag_bytes)
            .ok_or_else(|| operation("the data is shorter than the tag"))?;
        let given = bytes.split_off(length);
        with_aes!(key, C => {
            let cipher = C::new_from_slice(key).map_err(|_| wrong_length())?;
            let (hash, first) = self.begin(&cipher);
            let tag = self.tag(&cipher, hash, first, &bytes);
            if !bool::from(tag[..self.tag_bytes].ct_eq(&given)) {
                return Err(operation("the data is not what was encrypted with this key"));
            }
            apply_counter(&cipher, after(first), GCM_COUNTER_BITS, &mut bytes);
            Ok(bytes)
        })
    }

    /// GHASH with its key, and the first counter block (SP 800-38D, 7.1).
    fn begin<C: BlockEncrypt + BlockSizeUser<BlockSize = U16>>(&self, cipher: &C) -> (GHash, u128) {
        let mut key = Block::<C>::default();
        cipher.encrypt_block(&mut key);
        let hash = GHash::new(&key);
        let mut block = [0; BLOCK_BYTES];
        if let Some(place) = block
            .get_mut(..12)
            .filter(|place| place.len() == self.iv.len())
        {
            place.copy_from_slice(self.iv);
            return (hash, u128::from_be_bytes(block) | 1);
        }
        let mut of_iv = hash.clone();
        of_iv.update_padded(self.iv);
        of_iv.update(&[lengths(0, self.iv.len())]);
        block.copy_from_slice(&of_iv.finalize());
        (hash, u128::from_be_bytes(block))
    }

    fn tag<C: BlockEncrypt + BlockSizeUser<BlockSize = U16>>(
        &self,
        cipher: &C,
        mut hash: GHash,
        first: u128,
        encrypted: &[u8],
    ) -> [u8; BLOCK_BYTES] {
        hash.update_padded(self.additional);
        hash.update_padded(encrypted);
        hash.update(&[lengths(self.additional.len(), encrypted.len())]);
        let mut tag = [0; BLOCK_BYTES];
        tag.copy_from_slice(&hash.finalize());
        apply_counter(cipher, first, GCM_COUNTER_BITS, &mut tag);
        tag
    }
}

/// The counter block after the first one.
fn after(first: u128) -> u128 {
    let mask = u128::from(u32::MAX);
    (first & !mask) | (first.wrapping_add(1) & mask)
}

/// The last block of GHASH: lengths in bits.
fn lengths(additional: usize, encrypted: usize) -> ghash::Block {
    let mut block = ghash::Block::default();
    block[..8].copy_from_slice(&(additional as u64 * 8).to_be_bytes());
    block[8..].copy_from_slice(&(encrypted as u64 * 8).to_be_bytes());
    block
}

fn wrong_iv<E>(_: E) -> Failure {
    operation("the iv of AES-CBC has 16 bytes")
}

pub(super) fn cbc_encrypt(key: &[u8], iv: &[u8], bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    with_aes!(key, C => {
        let cipher = cbc::Encryptor::<C>::new_from_slices(key, iv).map_err(wrong_iv)?;
        Ok(cipher.encrypt_padded_vec_mut::<Pkcs7>(bytes))
    })
}

pub(super) fn cbc_decrypt(key: &[u8], iv: &[u8], bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    with_aes!(key, C => {
        let cipher = cbc::Decryptor::<C>::new_from_slices(key, iv).map_err(wrong_iv)?;
        cipher
            .decrypt_padded_vec_mut::<Pkcs7>(bytes)
            .map_err(|_| operation("the data is not what was encrypted with this key"))
    })
}

pub(super) fn wrap(key: &[u8], bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    if bytes.len() < 16 || !bytes.len().is_multiple_of(8) {
        return Err(operation(
            "AES-KW wraps keys of a multiple of 64 bits, from 128 on",
        ));
    }
    with_aes!(key, C => {
        let kek = aes_kw::Kek::<C>::new(key.into());
        kek.wrap_vec(bytes).map_err(|_| operation("the key could not be wrapped"))
    })
}

pub(super) fn unwrap(key: &[u8], bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    if bytes.len() < 24 || !bytes.len().is_multiple_of(8) {
        return Err(operation("AES-KW never gives data of this length"));
    }
    with_aes!(key, C => {
        let kek = aes_kw::Kek::<C>::new(key.into());
        kek.unwrap_vec(bytes)
            .map_err(|_| operation("the data is not what was wrapped with this key"))
    })
}
