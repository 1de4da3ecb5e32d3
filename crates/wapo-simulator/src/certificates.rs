//! The certificates of the simulated hardware: root, signer of collateral, authority
//! of platforms, platform. As Intel's, with the extension that tells the platform's
//! versions, and valid from 2020 to 2049, because the simulator keeps no secret that
//! could get old.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DistinguishedName, DnType,
    IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, SerialNumber,
};
use time::OffsetDateTime;

use crate::PlatformLevel;
use crate::keys::{Key, digest};

/// 2020-01-01, in unix seconds.
const VALID_FROM_S: i64 = 1_577_836_800;
/// 2049-12-31, in unix seconds: later dates are written in another form.
const VALID_UNTIL_S: i64 = 2_524_521_600;
/// Serial number of the platform's certificate, by which it is revoked.
pub(crate) const PCK_SERIAL: u64 = 4;
/// Which family of machines it is: the first bytes of a hash would do, so does this.
pub(crate) const FMSPC: [u8; 6] = *b"wapo\0\x01";
/// Version of the enclave that certifies platforms.
pub(crate) const PCE_SVN: u16 = 11;

/// The arcs of Intel's extension for SGX.
const SGX_EXTENSION: [u64; 7] = [1, 2, 840, 113_741, 1, 13, 1];
/// The same as it is written in DER.
const SGX_EXTENSION_DER: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01];

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The library refused.
    #[error("the certificate was not made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A date that cannot be written.
    #[error("{0} is no unix time before the year 10000")]
    Time(u64),
}

/// Keys and certificates.
pub(crate) struct Pki {
    pub(crate) root: Authority,
    pub(crate) platform_ca: Authority,
    pub(crate) collateral_signer: Authority,
    pub(crate) platform: Authority,
    /// Signs reports of enclaves; certified by the quoting enclave's report.
    pub(crate) attestation_key: Key,
}

/// A key, what is said about it, and its certificate.
pub(crate) struct Authority {
    pub(crate) key: Key,
    params: CertificateParams,
    certificate: Certificate,
}

impl Authority {
    /// What issues certificates and revocation lists.
    pub(crate) fn issuer(&self) -> Issuer<'_, &Key> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// How revocation lists refer to the key.
    pub(crate) fn key_id(&self) -> Vec<u8> {
        key_id(&self.key)
    }

    /// The certificate as text.
    pub(crate) fn pem(&self) -> String {
        // rcgen ends lines as Windows does; Intel's chains have one character.
        self.certificate.pem().replace("\r\n", "\n")
    }
}

impl Pki {
    /// All of it, from a seed.
    pub(crate) fn new(seed: &[u8; 32], level: PlatformLevel) -> Result<Self, SimulatorError> {
        let key = |name: &str| Key::derive(seed, name);
        let root = Authority::root(key("root"))?;
        let platform_ca = root.issue(
            key("platform authority"),
            authority("Wapo Simulator Platform CA", 2, 0),
        )?;
        let mut signer = leaf("Wapo Simulator Collateral Signing", 3);
        signer.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let collateral_signer = root.issue(key("collateral"), signer)?;
        let mut pck = leaf("Wapo Simulator Platform", PCK_SERIAL);
        pck.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let extension = sgx_extension(seed, level);
        pck.custom_extensions = vec![CustomExtension::from_oid_content(&SGX_EXTENSION, extension)];
        let platform = platform_ca.issue(key("platform"), pck)?;
        Ok(Self {
            root,
            platform_ca,
            collateral_signer,
            platform,
            attestation_key: key("attestation"),
        })
    }

    /// The root's certificate, in DER.
    pub(crate) fn root_der(&self) -> &[u8] {
        self.root.certificate.der()
    }

    /// The chain that a quote carries: platform, its authority, root.
    pub(crate) fn pck_chain(&self) -> String {
        [&self.platform, &self.platform_ca, &self.root]
            .map(Authority::pem)
            .concat()
    }

    /// The chain of the signer of collateral.
    pub(crate) fn collateral_chain(&self) -> String {
        [&self.collateral_signer, &self.root]
            .map(Authority::pem)
            .concat()
    }
}

impl Authority {
    fn root(key: Key) -> Result<Self, SimulatorError> {
        let params = authority("Wapo Simulator Root (no hardware)", 1, 1);
        let params = identified(params, &key);
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            key,
            params,
            certificate,
        })
    }

    fn issue(&self, key: Key, params: CertificateParams) -> Result<Self, SimulatorError> {
        let params = identified(params, &key);
        let certificate = params.signed_by(&key, &self.issuer())?;
        Ok(Self {
            key,
            params,
            certificate,
        })
    }
}

/// Names the key by a hash, as revocation lists refer to it.
fn identified(mut params: CertificateParams, key: &Key) -> CertificateParams {
    params.key_identifier_method = KeyIdMethod::PreSpecified(key_id(key));
    params
}

fn key_id(key: &Key) -> Vec<u8> {
    digest(b"key identifier", key.raw_public())[..20].to_vec()
}

fn leaf(name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, name.to_owned());
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = date(VALID_FROM_S);
    params.not_after = date(VALID_UNTIL_S);
    params.use_authority_key_identifier_extension = true;
    params
}

fn authority(name: &str, serial: u64, below: u8) -> CertificateParams {
    let mut params = leaf(name, serial);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A date that is a constant above.
fn date(unix_s: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(unix_s).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Version of each of the 16 parts of a platform.
pub(crate) const fn component_svn(level: PlatformLevel) -> u8 {
    match level {
        PlatformLevel::Current => 4,
        PlatformLevel::HardeningNeeded => 3,
        PlatformLevel::OutOfDate => 2,
        PlatformLevel::Revoked => 1,
    }
}

/// The content of Intel's extension: which platform it is and its versions.
fn sgx_extension(seed: &[u8; 32], level: PlatformLevel) -> Vec<u8> {
    let svn = component_svn(level);
    let mut tcb: Vec<Vec<u8>> = (1..=16)
        .map(|part| field(&[2, part], &der(0x02, &[svn])))
        .collect();
    let pce_svn = PCE_SVN.to_be_bytes();
    tcb.push(field(&[2, 17], &der(0x02, &pce_svn[1..])));
    tcb.push(field(&[2, 18], &der(0x04, &[svn; 16])));
    let platform_id = &digest(b"platform id", seed)[..16];
    let fields = [
        field(&[1], &der(0x04, platform_id)),
        field(&[2], &der(0x30, &tcb.concat())),
        field(&[3], &der(0x04, &[0; 2])),
        field(&[4], &der(0x04, &FMSPC)),
        // 0: a standard platform of one processor.
        field(&[5], &der(0x0a, &[0])),
    ];
    der(0x30, &fields.concat())
}

/// A name below Intel's extension, and its value.
fn field(arcs: &[u8], value: &[u8]) -> Vec<u8> {
    let name = der(0x06, &[&SGX_EXTENSION_DER, arcs].concat());
    der(0x30, &[&name, value].concat())
}

/// Tag, length, content. Contents here are below 64 KiB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let mut out = match (high, low) {
        (0, 0..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    out.extend(content);
    out
}
