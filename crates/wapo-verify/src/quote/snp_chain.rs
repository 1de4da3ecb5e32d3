//! The certificates of AMD's chips: from the root over the authority to the chip, or
//! to a key that AMD gave a provider of machines. Called by `snp`.

use ring::signature::{RSA_PSS_2048_8192_SHA384, UnparsedPublicKey};
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Reader as _, SliceReader};

use super::snp::Tcb;
use crate::roots::{AmdProduct, AmdRoot, Roots};

/// Certificates beside a report at most: chip, authority, root.
const CERTIFICATES_MAX: usize = 3;
/// Names of extensions, below AMD's number.
const AMD: &str = "1.3.6.1.4.1.3704.1";

/// A key that signs reports, as its certificates say.
pub(super) struct Chip {
    /// The family.
    pub(super) product: AmdProduct,
    /// The point, uncompressed.
    pub(super) public_key: Vec<u8>,
    /// Versions for which the key was derived.
    pub(super) tcb: Tcb,
    /// Whose key it is.
    pub(super) key: SigningKey,
}

/// Whose key signs.
pub(super) enum SigningKey {
    /// The chip's own, with its identifier (VCEK).
    Chip(Vec<u8>),
    /// One that a provider of machines loaded (VLEK).
    Loaded,
}

/// A certificate, read.
struct Read<'a> {
    der: &'a [u8],
    signed: &'a [u8],
    signature: Vec<u8>,
    certificate: Certificate,
}

/// Finds the chip's key, with the signatures of all certificates on the way checked, and
/// the dates of those that were given: what the roots know counts as it is.
///
/// `certificates` are in DER, one behind the other, the chip's first; those above it may
/// be missing, as the roots have them.
///
/// # Errors
///
/// What is wrong with the certificates.
pub(super) fn verify(certificates: &[u8], roots: &Roots, now: u64) -> Result<Chip, String> {
    let given = split(certificates)?;
    let Some((chip, above)) = given.split_first() else {
        return Err(
            "there are no certificates of the chip: the host gave none; --certificates FILE gives them"
                .to_owned(),
        );
    };
    let root = roots
        .amd
        .iter()
        .find(|root| is_below(chip, above, root))
        .ok_or("the certificates do not lead to a root of AMD that is known")?;
    for certificate in &given {
        counts_at(&certificate.certificate, now)?;
    }
    chip_of(&chip.certificate, root.product)
}

/// Whether the chip's certificate leads to this root, and all that were given are used.
fn is_below(chip: &Read<'_>, above: &[Read<'_>], root: &AmdRoot) -> bool {
    let Some(trusted) = read(&root.root) else {
        return false;
    };
    let known;
    let authority = match above {
        [] => {
            known = read(&root.authority);
            known.as_ref()
        }
        [authority] => Some(authority),
        [authority, top] if top.der == root.root => Some(authority),
        _ => None,
    };
    authority.is_some_and(|authority| {
        is_signed_by(authority, &trusted.certificate) && is_signed_by(chip, &authority.certificate)
    })
}

fn is_signed_by(certificate: &Read<'_>, by: &Certificate) -> bool {
    let key = by.tbs_certificate().subject_public_key_info();
    UnparsedPublicKey::new(
        &RSA_PSS_2048_8192_SHA384,
        key.subject_public_key.raw_bytes(),
    )
    .verify(certificate.signed, &certificate.signature)
    .is_ok()
        && certificate.certificate.tbs_certificate().issuer() == by.tbs_certificate().subject()
}

fn counts_at(certificate: &Certificate, now: u64) -> Result<(), String> {
    let validity = certificate.tbs_certificate().validity();
    let from = validity.not_before.to_unix_duration().as_secs();
    let until = validity.not_after.to_unix_duration().as_secs();
    if (from..=until).contains(&now) {
        Ok(())
    } else {
        Err("a certificate of the chip is expired or of the future".to_owned())
    }
}

/// Splits certificates that stand one behind the other.
fn split(mut bytes: &[u8]) -> Result<Vec<Read<'_>>, String> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let length = SliceReader::new(bytes)
            .and_then(|mut reader| reader.tlv_bytes())
            .map_or(0, <[u8]>::len);
        let (der, rest) = bytes.split_at(length);
        let certificate = read(der).ok_or("the certificates of the chip cannot be read")?;
        found.push(certificate);
        if found.len() > CERTIFICATES_MAX {
            return Err(format!(
                "more than {CERTIFICATES_MAX} certificates of the chip"
            ));
        }
        bytes = rest;
    }
    Ok(found)
}

fn read(der: &[u8]) -> Option<Read<'_>> {
    let certificate = Certificate::from_der(der).ok()?;
    let outer = &mut SliceReader::new(der).ok()?;
    let signed = outer
        .sequence(|inner| {
            let signed = inner.tlv_bytes()?;
            inner.tlv_bytes()?;
            inner.tlv_bytes()?;
            Ok::<_, x509_cert::der::Error>(signed)
        })
        .ok()?;
    // The one outside is not signed.
    let is_same = certificate.signature_algorithm() == certificate.tbs_certificate().signature();
    let signature = certificate.signature().as_bytes()?.to_vec();
    is_same.then_some(Read {
        der,
        signed,
        signature,
        certificate,
    })
}

fn chip_of(certificate: &Certificate, product: AmdProduct) -> Result<Chip, String> {
    let version = |arc: &str| {
        let value = extension(certificate, &format!("{AMD}.3.{arc}"))?;
        u8::from_der(value).ok()
    };
    let missing = || "the certificate does not say for which versions it is".to_owned();
    let tcb = Tcb {
        fmc: match product {
            AmdProduct::Turin => version("9").ok_or_else(missing)?,
            AmdProduct::Milan | AmdProduct::Genoa => 0,
        },
        bootloader: version("1").ok_or_else(missing)?,
        tee: version("2").ok_or_else(missing)?,
        snp: version("3").ok_or_else(missing)?,
        microcode: version("8").ok_or_else(missing)?,
    };
    let key = extension(certificate, &format!("{AMD}.4"))
        .map_or(SigningKey::Loaded, |id| SigningKey::Chip(id.to_vec()));
    let public_key = certificate
        .tbs_certificate()
        .subject_public_key_info()
        .subject_public_key
        .raw_bytes()
        .to_vec();
    Ok(Chip {
        product,
        public_key,
        tcb,
        key,
    })
}

fn extension<'a>(certificate: &'a Certificate, name: &str) -> Option<&'a [u8]> {
    certificate
        .tbs_certificate()
        .extensions()?
        .iter()
        .find(|extension| extension.extn_id.to_string() == name)
        .map(|extension| extension.extn_value.as_bytes())
}
