//! What a signature file of an enclave says: whom it measures, who has signed.
//!
//! Reads SIGSTRUCT, the file that the processor checks when an enclave is started
//! (Intel SDM, volume 3D, "Enclave Signature Structure"). The processor checks the RSA
//! signature; this does not. Called by `dist` and by `cargo xtask sigstruct`.

use std::fmt;

use anyhow::{Result, ensure};
use sha2::{Digest as _, Sha256};

/// Bytes of the structure.
const BYTES: usize = 1808;
/// Where its fields are.
const HEADER: usize = 0;
const HEADER2: usize = 24;
const MODULUS: usize = 128;
const EXPONENT: usize = 512;
const ATTRIBUTES: usize = 928;
const ENCLAVE_HASH: usize = 960;
const PRODUCT: usize = 1024;
const VERSION: usize = 1026;
/// Bytes of an RSA-3072 modulus.
const MODULUS_BYTES: usize = 384;
/// The two constants by which the structure is known.
const HEADER_IS: [u8; 16] = [6, 0, 0, 0, 0xe1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
const HEADER2_IS: [u8; 16] = [1, 1, 0, 0, 0x60, 0, 0, 0, 0x60, 0, 0, 0, 1, 0, 0, 0];
/// The bit of the attributes that opens an enclave to its host's debugger.
const DEBUG: u8 = 2;

/// The measurement and the signer.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Sigstruct {
    enclave: [u8; 32],
    signer: [u8; 32],
    product: u16,
    version: u16,
    is_debug: bool,
}

impl Sigstruct {
    /// Reads the bytes of a `.sig` file.
    ///
    /// # Errors
    ///
    /// They are none.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        ensure!(
            bytes.len() == BYTES,
            "a signature of an enclave has {BYTES} bytes, this has {}",
            bytes.len()
        );
        let at = |start: usize, length: usize| &bytes[start..start + length];
        ensure!(
            at(HEADER, 16) == HEADER_IS && at(HEADER2, 16) == HEADER2_IS,
            "this is no signature of an enclave: its headers are others"
        );
        ensure!(
            at(EXPONENT, 4) == [3, 0, 0, 0],
            "SGX takes signatures with exponent 3 only"
        );
        let modulus = at(MODULUS, MODULUS_BYTES);
        ensure!(
            modulus[MODULUS_BYTES - 1] & 0x80 != 0 && modulus[0] & 1 == 1,
            "the key that has signed is no RSA key of 3072 bits"
        );
        let mut enclave = [0; 32];
        enclave.copy_from_slice(at(ENCLAVE_HASH, 32));
        let number = |start: usize| u16::from_le_bytes([bytes[start], bytes[start + 1]]);
        Ok(Self {
            enclave,
            signer: Sha256::digest(modulus).into(),
            product: number(PRODUCT),
            version: number(VERSION),
            is_debug: bytes[ATTRIBUTES] & DEBUG != 0,
        })
    }

    /// All that says which enclave it is, in the form of Wapo 0.x: measurement,
    /// product and version (little endian), signer.
    fn mr(&self) -> String {
        let mut bytes = self.enclave.to_vec();
        bytes.extend(self.product.to_le_bytes());
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.signer);
        format!("0x{}", hex::encode(bytes))
    }
}

impl fmt::Display for Sigstruct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "mr_enclave: {}", hex::encode(self.enclave))?;
        writeln!(f, "mr_signer: {}", hex::encode(self.signer))?;
        writeln!(f, "isv_prod_id: {}", self.product)?;
        writeln!(f, "isv_svn: {}", self.version)?;
        writeln!(f, "debug_enclave: {}", self.is_debug)?;
        write!(f, "mr: {}", self.mr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Vec<u8> {
        let mut bytes = vec![0; BYTES];
        bytes[..16].copy_from_slice(&HEADER_IS);
        bytes[HEADER2..HEADER2 + 16].copy_from_slice(&HEADER2_IS);
        bytes[MODULUS..MODULUS + MODULUS_BYTES].fill(0xa5);
        bytes[EXPONENT] = 3;
        bytes[ENCLAVE_HASH..ENCLAVE_HASH + 32].fill(0x11);
        bytes[PRODUCT..PRODUCT + 4].copy_from_slice(&[0x02, 0x01, 0x04, 0x03]);
        bytes
    }

    #[test]
    fn the_measurement_is_written_as_wapo_0_wrote_it() {
        let read = Sigstruct::parse(&made()).expect("a signature");
        // sha256 of 384 bytes 0xa5.
        let signer = "591db8212761667b7d96cec1d83be701764c49f18869bd93eefd3fa14b8fc876";
        let expected = format!("0x{}02010403{signer}", "11".repeat(32));
        assert_eq!(read.mr(), expected);
        assert_eq!((read.product, read.version), (0x0102, 0x0304));
        assert!(!read.is_debug && read.to_string().ends_with(&expected));
    }

    #[test]
    fn an_enclave_that_is_open_to_debuggers_is_told() {
        let mut bytes = made();
        bytes[ATTRIBUTES] = 0x06;
        let text = Sigstruct::parse(&bytes).expect("a signature").to_string();
        assert!(text.contains("debug_enclave: true"), "{text}");
    }

    #[test]
    fn other_files_are_refused() {
        let good = made();
        assert!(Sigstruct::parse(&good[..BYTES - 1]).is_err());
        assert!(Sigstruct::parse(&[]).is_err());
        let must_be = (0..16)
            .chain(HEADER2..HEADER2 + 16)
            .chain(EXPONENT..EXPONENT + 4);
        for at in must_be {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            assert!(Sigstruct::parse(&bytes).is_err(), "byte {at}");
        }
        let mut short = good.clone();
        short[MODULUS + MODULUS_BYTES - 1] = 0x25;
        assert!(Sigstruct::parse(&short).is_err());
    }

    #[test]
    fn each_byte_that_is_measured_changes_the_measurement() {
        let good = Sigstruct::parse(&made()).expect("a signature").mr();
        for at in (MODULUS + 1..EXPONENT).chain(ENCLAVE_HASH..ENCLAVE_HASH + 32) {
            let mut bytes = made();
            bytes[at] ^= 1;
            assert_ne!(Sigstruct::parse(&bytes).expect("a signature").mr(), good);
        }
    }
}
