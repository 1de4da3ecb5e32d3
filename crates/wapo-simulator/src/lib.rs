//! Plays the hardware that attests: SGX quotes and their collateral under a root of
//! its own, which derives from a seed. Bytes in, bytes out.
//!
//! No hardware stands behind such a quote: a holder of the seed can make any. So
//! verifiers refuse it unless they are asked to accept this root. The form is that of
//! DCAP (quote version 3 with a PCK chain, collateral as the `QuoteCollateralV3` of
//! dcap-qvl), so that the same code makes, sends, checks and refuses both. Called by
//! `wapod --attestation simulator` and by tests, which make every bad case with
//! [`Enclave`], [`Platform`] and the time.

#![forbid(unsafe_code)]

mod certificates;
mod collateral;
mod keys;
mod quote;

pub use certificates::SimulatorError;

use certificates::Pki;
use collateral::Dates;

/// Seed of the public root.
///
/// Workers with `--attestation simulator` use it, and verifiers that accept the
/// simulator trust its root. It is no secret, because a secret would promise
/// something that no simulator can keep.
pub const DEVELOPMENT_SEED: [u8; 32] = *b"wapo simulator: known to anyone.";

/// Bytes of a quote's report data.
pub const REPORT_DATA_BYTES: usize = 64;

/// Seconds for which collateral counts after it was made: 30 days, as Intel's.
pub const COLLATERAL_LIFE_S: u64 = 30 * 24 * 60 * 60;

/// What the simulated enclave says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enclave {
    /// Hash of what was loaded (MRENCLAVE).
    pub measurement: [u8; 32],
    /// Hash of the key that signed it (MRSIGNER).
    pub signer: [u8; 32],
    /// The signer's number for the product.
    pub product_id: u16,
    /// The signer's version of it.
    pub svn: u16,
    /// Whether the host may look into it: such an enclave keeps no secret.
    pub debug: bool,
}

impl Default for Enclave {
    fn default() -> Self {
        Self {
            measurement: keys::digest(b"wapo simulator: measurement", &[]),
            signer: keys::digest(b"wapo simulator: signer", &[]),
            product_id: 1,
            svn: 1,
            debug: false,
        }
    }
}

/// How current the simulated platform's firmware is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlatformLevel {
    /// `UpToDate`.
    Current,
    /// `SWHardeningNeeded`, with the advisory `INTEL-SA-00334`.
    HardeningNeeded,
    /// `OutOfDate`, with the advisories `INTEL-SA-00334` and `INTEL-SA-00615`.
    OutOfDate,
    /// `Revoked`.
    Revoked,
}

/// The simulated machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Platform {
    /// How current it is.
    pub level: PlatformLevel,
    /// Whether the certificate of its attestation key is on the revocation list.
    pub pck_revoked: bool,
}

impl Default for Platform {
    fn default() -> Self {
        Self {
            level: PlatformLevel::Current,
            pck_revoked: false,
        }
    }
}

/// Makes quotes and collateral. The same seed gives the same keys and certificates.
pub struct Simulator {
    pki: Pki,
    enclave: Enclave,
    platform: Platform,
}

impl Simulator {
    /// A simulator for one enclave on one platform.
    ///
    /// # Errors
    ///
    /// [`SimulatorError`] when a certificate cannot be made, which no seed causes.
    pub fn new(
        seed: &[u8; 32],
        enclave: Enclave,
        platform: Platform,
    ) -> Result<Self, SimulatorError> {
        Ok(Self {
            pki: Pki::new(seed, platform.level)?,
            enclave,
            platform,
        })
    }

    /// The certificate of the root, in DER: what a verifier has to trust.
    pub fn root(&self) -> &[u8] {
        self.pki.root_der()
    }

    /// A quote over 64 bytes of report data.
    pub fn quote(&self, report_data: &[u8; REPORT_DATA_BYTES]) -> Vec<u8> {
        quote::make(&self.pki, &self.enclave, report_data)
    }

    /// The collateral as it is published at a time (unix seconds), as JSON. It counts
    /// from then on for [`COLLATERAL_LIFE_S`].
    ///
    /// # Errors
    ///
    /// [`SimulatorError`] when the time is beyond the year 9999.
    pub fn collateral(&self, now: u64) -> Result<String, SimulatorError> {
        let dates = Dates::from(now, COLLATERAL_LIFE_S)?;
        collateral::make(&self.pki, &self.platform, &dates)
    }
}
