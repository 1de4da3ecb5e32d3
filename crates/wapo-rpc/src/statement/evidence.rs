//! Evidence: what hardware says of a worker, and the worker of an app's key.
//!
//! A chain: the quote's report data is the hash of the worker's claims, among
//! them the worker's public key; that key signs the claims of an app, among them
//! the app's public key. Claims travel as the bytes that were hashed or signed,
//! so that nobody has to encode them again in the same way to check. Nothing
//! here is checked but sizes: that is the work of a verifier. The worker makes
//! evidence, guests and the command carry it.

use parity_scale_codec::{Decode, Encode};
use wapo_crypto::{ContentType, report_data};

use super::session::SESSION_BYTES;
use super::{Bounded, Signature, Statement, StatementError, decode};
use crate::limits::{
    APP_CLAIMS_BYTES_MAX, CLAIMED_ARGS_MAX, CLAIMED_KEY_BYTES_MAX, CODE_HASH_BYTES_MAX,
    COLLATERAL_BYTES_MAX, EVIDENCE_NONCE_BYTES_MAX, HOST_CONTROLLED_MAX, LABEL_BYTES_MAX,
    MANIFEST_BYTES_MAX, QUOTE_BYTES_MAX, QUOTE_CERTIFICATES_BYTES_MAX, SETTING_NAME_BYTES_MAX,
    SOFTWARE_BYTES_MAX, WORKER_CLAIMS_BYTES_MAX,
};
use crate::manifest::AppAddress;

/// The object identifier of the certificate extension that holds an
/// [`AppEvidence`]: an arc below 2.25, which needs no registration (X.667).
///
/// A number drawn at random, of 31 bits: common readers of certificates (Go's, that
/// of RustCrypto) keep an arc in 31 or 32 bits and refuse a certificate with a larger
/// one altogether.
pub const CERTIFICATE_EXTENSION_OID: [u64; 3] = [2, 25, 1_489_751_802];

/// What hardware signs over the claims of a worker, or what stands for it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[allow(
    clippy::cast_possible_truncation,
    reason = "derived code narrows the index"
)]
pub enum Quote {
    /// A quote of SGX, version 3, with the platform's certificates.
    #[codec(index = 0)]
    Sgx(Bounded<Vec<u8>, QUOTE_BYTES_MAX>),
    /// A quote of TDX, version 4 or 5.
    #[codec(index = 1)]
    Tdx(Bounded<Vec<u8>, QUOTE_BYTES_MAX>),
    /// A report of SEV-SNP.
    #[codec(index = 2)]
    SevSnp {
        /// The report.
        report: Bounded<Vec<u8>, QUOTE_BYTES_MAX>,
        /// Certificates in DER, one behind the other: that of the chip or of the
        /// loaded firmware, those of AMD; none where the host gave none.
        certificates: Bounded<Vec<u8>, QUOTE_CERTIFICATES_BYTES_MAX>,
    },
    /// A quote like that of SGX, from no hardware: proves nothing.
    #[codec(index = 3)]
    Simulator(Bounded<Vec<u8>, QUOTE_BYTES_MAX>),
}

impl Quote {
    /// Whether no hardware stands behind it.
    pub fn is_simulated(&self) -> bool {
        matches!(self, Self::Simulator(_))
    }
}

/// What a worker says of itself; its hash is in the quote.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct WorkerClaims {
    /// Version of this structure: 1.
    pub version: u8,
    /// The key that signs the worker's statements.
    pub pubkey: [u8; 32],
    /// A key for private queries (X25519, for HPKE).
    pub query_pubkey: [u8; 32],
    /// A key for signatures of answers (P-256, in DER, RFC 5480).
    pub answer_pubkey: Bounded<Vec<u8>, CLAIMED_KEY_BYTES_MAX>,
    /// The worker's session.
    pub session: [u8; SESSION_BYTES],
    /// Name and version of the software.
    pub software: Bounded<String, SOFTWARE_BYTES_MAX>,
    /// Settings that the host decided, and that no measurement covers.
    pub host_controlled: Bounded<Vec<Bounded<String, SETTING_NAME_BYTES_MAX>>, HOST_CONTROLLED_MAX>,
    /// Version of the query and the answer key.
    pub key_version: u32,
    /// Seconds since 1970, by the worker's clock, which the host may set.
    pub issued_at: u64,
    /// Seconds since 1970.
    pub expires_at: u64,
    /// What a verifier gave, so that the quote is newer than that; may be empty.
    pub nonce: Bounded<Vec<u8>, EVIDENCE_NONCE_BYTES_MAX>,
}

impl WorkerClaims {
    /// The version that is in use.
    pub const VERSION: u8 = 1;
}

/// Stands inside quotes, which prove it; there is no signature beside.
impl Statement for WorkerClaims {
    const CONTENT_TYPE: ContentType = ContentType::WorkerEvidence;
}

/// A quote, and the claims that it is about.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct WorkerEvidence {
    /// The quote.
    pub quote: Quote,
    /// [`WorkerClaims`], encoded: exactly the bytes whose hash the quote has.
    pub claims: Bounded<Vec<u8>, WORKER_CLAIMS_BYTES_MAX>,
    /// What a verifier needs beside a quote of SGX, TDX or the simulator, in
    /// JSON; a verifier checks it, and may take its own in its place.
    pub collateral: Option<Bounded<Vec<u8>, COLLATERAL_BYTES_MAX>>,
}

impl WorkerEvidence {
    /// Reads the claims.
    ///
    /// # Errors
    ///
    /// [`StatementError`] for bytes that are none.
    pub fn worker_claims(&self) -> Result<WorkerClaims, StatementError> {
        decode(&self.claims)
    }

    /// The report data that the quote must have.
    pub fn report_data(&self) -> [u8; report_data::REPORT_DATA_BYTES] {
        report_data::for_worker_claims(&self.claims)
    }
}

/// What an app may use, as far as its key depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct AppLimits {
    /// Bytes of memory of one instance at most.
    pub memory_bytes: u64,
    /// Instances at most.
    pub instances: u32,
    /// Gas of one instance; 0 for no limit.
    pub gas_max: u64,
}

/// What a worker says of an app that it runs.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct AppClaims {
    /// Version of this structure: 1.
    pub version: u8,
    /// Public key of the worker.
    pub worker: [u8; 32],
    /// The worker's session.
    pub worker_session: [u8; SESSION_BYTES],
    /// Address of the app.
    pub address: AppAddress,
    /// Random number of its deployment.
    pub deployment: [u8; SESSION_BYTES],
    /// The blob of its code.
    pub code_hash: Bounded<String, CODE_HASH_BYTES_MAX>,
    /// Its arguments.
    pub args: Bounded<Vec<Bounded<String, MANIFEST_BYTES_MAX>>, CLAIMED_ARGS_MAX>,
    /// BLAKE2b-256 of the encoded environment of its manifest.
    pub env_hash: [u8; 32],
    /// Its name for people.
    pub label: Bounded<String, LABEL_BYTES_MAX>,
    /// What it may use.
    pub limits: AppLimits,
    /// Version of its key.
    pub key_version: u32,
    /// Its key (P-256, in DER, RFC 5480).
    pub app_pubkey: Bounded<Vec<u8>, CLAIMED_KEY_BYTES_MAX>,
    /// Seconds since 1970, by the worker's clock, which the host may set.
    pub issued_at: u64,
    /// Seconds since 1970.
    pub expires_at: u64,
    /// What a verifier gave; may be empty.
    pub nonce: Bounded<Vec<u8>, EVIDENCE_NONCE_BYTES_MAX>,
}

impl AppClaims {
    /// The version that is in use.
    pub const VERSION: u8 = 1;
}

/// Encoded, all that an app's key follows from beside the worker's: its program, which is
/// address, code, arguments and hash of the environment, its limits, and the version of the
/// key.
pub fn app_key_parameters(
    program: (AppAddress, &str, &[String], [u8; 32]),
    limits: AppLimits,
    key_version: u32,
) -> Vec<u8> {
    (program, limits, key_version).encode()
}

impl Statement for AppClaims {
    const CONTENT_TYPE: ContentType = ContentType::AppEvidence;
}

/// Evidence of a worker, and what that worker says of an app.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct AppEvidence {
    /// The worker.
    pub worker: WorkerEvidence,
    /// [`AppClaims`], encoded: exactly the bytes that were signed.
    pub claims: Bounded<Vec<u8>, APP_CLAIMS_BYTES_MAX>,
    /// The worker's signature over them.
    pub signature: Signature,
}

impl AppEvidence {
    /// Reads the claims of the app.
    ///
    /// # Errors
    ///
    /// [`StatementError`] for bytes that are none.
    pub fn app_claims(&self) -> Result<AppClaims, StatementError> {
        decode(&self.claims)
    }
}

#[cfg(test)]
mod tests {
    use parity_scale_codec::Compact;

    use super::*;

    fn worker_claims() -> WorkerClaims {
        WorkerClaims {
            version: WorkerClaims::VERSION,
            pubkey: [2; 32],
            query_pubkey: [3; 32],
            answer_pubkey: Bounded::from([4, 4]),
            session: [5; 32],
            software: Bounded::new("wapod 1".into()).expect("short"),
            host_controlled: Bounded::new(vec![Bounded::new("pccs".into()).expect("short")])
                .expect("one"),
            key_version: 6,
            issued_at: 7,
            expires_at: 8,
            nonce: Bounded::from([9]),
        }
    }

    fn app_claims() -> AppClaims {
        AppClaims {
            version: AppClaims::VERSION,
            worker: [2; 32],
            worker_session: [3; 32],
            address: AppAddress([4; 32]),
            deployment: [5; 32],
            code_hash: Bounded::new("sha256:ab".into()).expect("short"),
            args: Bounded::new(vec![Bounded::new("a".into()).expect("short")]).expect("one"),
            env_hash: [6; 32],
            label: Bounded::new("app".into()).expect("short"),
            limits: AppLimits {
                memory_bytes: 7,
                instances: 8,
                gas_max: 9,
            },
            key_version: 10,
            app_pubkey: Bounded::from([11, 11]),
            issued_at: 12,
            expires_at: 13,
            nonce: Bounded::default(),
        }
    }

    #[test]
    fn claims_of_a_worker_are_the_documented_layout() {
        let expected = [
            "01",
            &"02".repeat(32),
            &"03".repeat(32),
            "080404",
            &"05".repeat(32),
            "1c7761706f642031",
            "041070636373",
            "06000000",
            "0700000000000000",
            "0800000000000000",
            "0409",
        ]
        .concat();
        assert_eq!(hex::encode(worker_claims().encode()), expected);
        assert_eq!(decode(&worker_claims().encode()), Ok(worker_claims()));
    }

    #[test]
    fn claims_of_an_app_are_the_documented_layout() {
        let expected = [
            "01",
            &"02".repeat(32),
            &"03".repeat(32),
            &"04".repeat(32),
            &"05".repeat(32),
            "247368613235363a6162",
            "040461",
            &"06".repeat(32),
            "0c617070",
            "07000000000000000800000009000000000000000a000000",
            "080b0b",
            "0c000000000000000d00000000000000",
            "00",
        ]
        .concat();
        assert_eq!(hex::encode(app_claims().encode()), expected);
        assert_eq!(decode(&app_claims().encode()), Ok(app_claims()));
    }

    #[test]
    fn an_apps_key_follows_from_what_it_is_and_not_from_the_time() {
        let expected = [
            &"04".repeat(32),
            "247368613235363a6162",
            "040461",
            &"06".repeat(32),
            "070000000000000008000000090000000000000",
            "00a000000",
        ]
        .concat();
        let claims = app_claims();
        let args = ["a".to_owned()];
        let program = (
            claims.address,
            &**claims.code_hash,
            &args[..],
            claims.env_hash,
        );
        let parameters = app_key_parameters(program, claims.limits, claims.key_version);
        assert_eq!(hex::encode(parameters), expected);
    }

    #[test]
    fn evidence_is_the_documented_layout() {
        let quotes = [
            (Quote::Sgx([1].into()), "000401"),
            (Quote::Tdx([1].into()), "010401"),
            (
                Quote::SevSnp {
                    report: [1].into(),
                    certificates: [2].into(),
                },
                "0204010402",
            ),
            (Quote::Simulator([1].into()), "030401"),
        ];
        for (quote, expected) in quotes {
            let worker = WorkerEvidence {
                quote,
                claims: [3].into(),
                collateral: Some([4].into()),
            };
            let evidence = AppEvidence {
                worker,
                claims: [5].into(),
                signature: [6].into(),
            };
            let expected = format!("{expected}040301040404050406");
            assert_eq!(hex::encode(evidence.encode()), expected);
            assert_eq!(decode(&evidence.encode()), Ok(evidence));
        }
    }

    #[test]
    fn a_quote_of_more_than_the_limit_is_refused_by_its_length() {
        let length = Compact(u32::try_from(QUOTE_BYTES_MAX).expect("fits") + 1);
        for index in [0, 1, 3] {
            let lie = [vec![index], length.encode()].concat();
            let error = decode::<Quote>(&lie).expect_err("too long").to_string();
            assert!(error.contains("longer than it may be"), "{error}");
        }
        assert!(decode::<Quote>(&[4, 0]).is_err(), "an unknown kind");
    }

    #[test]
    fn evidence_gives_the_claims_that_it_holds_and_their_report_data() {
        let mut evidence = WorkerEvidence {
            quote: Quote::Sgx(Bounded::default()),
            claims: Bounded::new(worker_claims().encode()).expect("short"),
            collateral: None,
        };
        assert_eq!(evidence.worker_claims(), Ok(worker_claims()));
        let data = report_data::for_worker_claims(&worker_claims().encode());
        assert_eq!(evidence.report_data(), data);
        evidence.claims = [1].into();
        assert!(evidence.worker_claims().is_err());
    }
}
