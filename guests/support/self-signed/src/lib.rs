//! Makes a certificate and key inside a guest, for examples and fixtures.
//!
//! The key is made anew at each start and never leaves the guest, except into
//! the host when the host does the TLS. Pure Rust, so a plain toolchain builds
//! it. Real apps bring a certificate that browsers trust.

use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::{EncodePrivateKey, LineEnding};
use rcgen::{
    CertificateParams, Error, KeyIdMethod, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber,
    SignatureAlgorithm,
};

/// A certificate that signs itself, and its key.
pub struct SelfSigned {
    /// The certificate, PEM.
    pub cert_pem: String,
    /// The certificate, DER.
    pub cert_der: Vec<u8>,
    /// The key, PKCS#8 PEM.
    pub key_pem: String,
    /// The key, PKCS#8 DER.
    pub key_der: Vec<u8>,
}

impl SelfSigned {
    /// Makes a certificate for some names or addresses.
    ///
    /// # Errors
    ///
    /// When a name cannot stand in a certificate.
    pub fn new(names: &[&str]) -> Result<Self, Box<dyn std::error::Error>> {
        let key = Key::random()?;
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        let mut serial = [0; 16];
        wapo::secret::random(&mut serial)?;
        // Positive, as certificates want it.
        serial[0] &= 0x7f;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.key_identifier_method = KeyIdMethod::PreSpecified(serial.to_vec());
        let cert = params.self_signed(&key)?;
        let der = key.signing.to_pkcs8_der()?;
        Ok(Self {
            cert_pem: cert.pem(),
            cert_der: cert.der().to_vec(),
            key_pem: key.signing.to_pkcs8_pem(LineEnding::LF)?.to_string(),
            key_der: der.as_bytes().to_vec(),
        })
    }
}

struct Key {
    signing: SigningKey,
    public: Vec<u8>,
}

impl Key {
    fn random() -> wapo::Result<Self> {
        let mut bytes = [0; 32];
        loop {
            wapo::secret::random(&mut bytes)?;
            // All but a few of 2^256 numbers are keys.
            if let Ok(signing) = SigningKey::from_slice(&bytes) {
                let public = signing
                    .verifying_key()
                    .to_encoded_point(false)
                    .as_bytes()
                    .to_vec();
                return Ok(Self { signing, public });
            }
        }
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature: DerSignature = self
            .signing
            .try_sign(message)
            .map_err(|_| Error::RemoteKeyError)?;
        Ok(signature.as_bytes().to_vec())
    }
}
