//! What has to be asked of a caching service (PCCS, API version 4) for a quote's
//! collateral, and how the answers become one text.
//!
//! No I/O: who calls does that, the command with its own client, a worker with its
//! operator's. Nothing is checked here but sizes and forms: collateral is checked where a
//! quote is, and its source need not be trusted.

use dcap_qvl::QuoteCollateralV3;
use dcap_qvl::config::PckCa;
use dcap_qvl::intel::{quote_ca, quote_fmspc};
use dcap_qvl::quote::Quote;
use serde::Deserialize;
use serde_json::value::RawValue;
use wapo_rpc::limits::COLLATERAL_BYTES_MAX;

/// Where Intel itself publishes the list of its root, which its service does not have.
const INTEL_ROOT_CRL: &str = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der";
/// Begins the address of Intel's own service.
const INTEL_SERVICE: &str = "https://api.trustedservices.intel.com";

/// Why there is no collateral.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CollateralError {
    /// Not a quote that has collateral, or a broken one.
    #[error("the quote names no platform whose collateral could be fetched: {0}")]
    Quote(String),
    /// The service said something else.
    #[error("the answer to {what} is not what a PCCS gives: {why}")]
    Answer {
        /// The path that was asked for.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// More than evidence may carry.
    #[error("the collateral has {0} bytes, and at most {COLLATERAL_BYTES_MAX} are used")]
    TooLong(usize),
    /// Not the JSON that [`Plan::assemble`] writes.
    #[error("the collateral cannot be read: {0}")]
    Unreadable(String),
}

/// Reads collateral from any source. What it says is not checked.
///
/// # Errors
///
/// [`CollateralError::TooLong`], [`CollateralError::Unreadable`]
pub fn read(json: &[u8]) -> Result<QuoteCollateralV3, CollateralError> {
    if json.len() > COLLATERAL_BYTES_MAX {
        return Err(CollateralError::TooLong(json.len()));
    }
    serde_json::from_slice(json).map_err(|error| CollateralError::Unreadable(error.to_string()))
}

/// One thing to ask for, with GET.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The whole URL.
    pub url: String,
    /// Headers of the answer of which the first that is there has the issuer's chain.
    pub chain_headers: &'static [&'static str],
}

/// What came.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Answer {
    /// The value of the header that [`Request::chain_headers`] asks for.
    pub chain: Option<String>,
    /// The content.
    pub body: Vec<u8>,
}

/// What has to be asked for one quote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    kind: &'static str,
    fmspc: String,
    authority: &'static str,
}

impl Plan {
    /// For a quote of SGX or TDX.
    ///
    /// # Errors
    ///
    /// [`CollateralError::Quote`]
    pub fn of(quote: &[u8]) -> Result<Self, CollateralError> {
        let broken = |error: anyhow::Error| CollateralError::Quote(format!("{error:#}"));
        let quote = Quote::parse(quote).map_err(broken)?;
        Ok(Self {
            kind: if quote.header.is_sgx() { "sgx" } else { "tdx" },
            fmspc: hex::encode_upper(quote_fmspc(&quote).map_err(broken)?),
            authority: quote_ca(&quote)
                .as_ref()
                .map_or("processor", PckCa::as_id_str),
        })
    }

    /// The requests to a service, whose answers [`assemble`](Self::assemble) takes in this
    /// order.
    pub fn requests(&self, service: &str) -> [Request; 4] {
        let base = service.trim_end_matches('/');
        let base = base.trim_end_matches("/sgx/certification/v4");
        let Self {
            kind,
            fmspc,
            authority,
        } = self;
        let ask = |path: String, chain_headers| Request {
            url: format!("{base}/{path}"),
            chain_headers,
        };
        let mut root = ask("sgx/certification/v4/rootcacrl".to_owned(), &[]);
        if base.starts_with(INTEL_SERVICE) {
            root.url = INTEL_ROOT_CRL.to_owned();
        }
        [
            ask(
                format!("sgx/certification/v4/pckcrl?ca={authority}&encoding=der"),
                &["SGX-PCK-CRL-Issuer-Chain"],
            ),
            ask(
                format!("{kind}/certification/v4/tcb?fmspc={fmspc}"),
                &["TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"],
            ),
            ask(
                format!("{kind}/certification/v4/qe/identity"),
                &["SGX-Enclave-Identity-Issuer-Chain"],
            ),
            root,
        ]
    }

    /// Puts the answers together: JSON, as evidence carries it.
    ///
    /// # Errors
    ///
    /// [`CollateralError`]
    pub fn assemble(&self, answers: [Answer; 4]) -> Result<String, CollateralError> {
        let [pck_crl, tcb, identity, root] = answers;
        let tcb_info_issuer_chain = chain("tcb", tcb.chain)?;
        let qe_identity_issuer_chain = chain("qe/identity", identity.chain)?;
        let tcb = signed::<Tcb<'_>>("tcb", &tcb.body)?;
        let identity = signed::<Identity<'_>>("qe/identity", &identity.body)?;
        let collateral = QuoteCollateralV3 {
            pck_crl_issuer_chain: chain("pckcrl", pck_crl.chain)?,
            root_ca_crl: der_or_hex("rootcacrl", root.body)?,
            pck_crl: der_or_hex("pckcrl", pck_crl.body)?,
            tcb_info_issuer_chain,
            tcb_info: tcb.tcb_info.get().to_owned(),
            tcb_info_signature: signature("tcb", tcb.signature)?,
            qe_identity_issuer_chain,
            qe_identity: identity.enclave_identity.get().to_owned(),
            qe_identity_signature: signature("qe/identity", identity.signature)?,
            pck_certificate_chain: None,
        };
        let text = serde_json::to_string(&collateral)
            .map_err(|error| wrong("everything", error.to_string()))?;
        match text.len() {
            length if length > COLLATERAL_BYTES_MAX => Err(CollateralError::TooLong(length)),
            _ => Ok(text),
        }
    }
}

// The signed parts are kept as they are written: the signature is over these bytes.
#[derive(Deserialize)]
struct Tcb<'a> {
    #[serde(rename = "tcbInfo", borrow)]
    tcb_info: &'a RawValue,
    signature: &'a str,
}

#[derive(Deserialize)]
struct Identity<'a> {
    #[serde(rename = "enclaveIdentity", borrow)]
    enclave_identity: &'a RawValue,
    signature: &'a str,
}

fn signed<'a, T: Deserialize<'a>>(what: &str, body: &'a [u8]) -> Result<T, CollateralError> {
    serde_json::from_slice(body).map_err(|error| wrong(what, error.to_string()))
}

fn signature(what: &str, digits: &str) -> Result<Vec<u8>, CollateralError> {
    hex::decode(digits).map_err(|error| wrong(what, format!("its signature is {error}")))
}

/// A list as DER, or as the hex digits in which some services write it.
fn der_or_hex(what: &str, body: Vec<u8>) -> Result<Vec<u8>, CollateralError> {
    /// A sequence, with a length of more than one byte.
    const DER: [u8; 1] = [0x30];
    const LONG: std::ops::RangeInclusive<u8> = 0x81..=0x84;
    match body.as_slice() {
        [tag, length, ..] if DER.contains(tag) && LONG.contains(length) => Ok(body),
        digits => hex::decode(digits.trim_ascii())
            .map_err(|_| wrong(what, "neither DER nor hex digits".to_owned())),
    }
}

fn chain(what: &str, value: Option<String>) -> Result<String, CollateralError> {
    let value = value.ok_or_else(|| wrong(what, "no header has the issuer's chain".to_owned()))?;
    percent_decoded(&value).ok_or_else(|| wrong(what, "the issuer's chain is not text".to_owned()))
}

/// RFC 3986, 2.1.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.extend(hex::decode(digits).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

fn wrong(what: &str, why: String) -> CollateralError {
    CollateralError::Answer {
        what: what.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            kind: "tdx",
            fmspc: "00806F050000".to_owned(),
            authority: "platform",
        }
    }

    #[test]
    fn requests_are_those_of_the_documented_interface() {
        let urls = plan()
            .requests("https://pccs.example.com/")
            .map(|request| request.url);
        assert_eq!(
            urls,
            [
                "https://pccs.example.com/sgx/certification/v4/pckcrl?ca=platform&encoding=der",
                "https://pccs.example.com/tdx/certification/v4/tcb?fmspc=00806F050000",
                "https://pccs.example.com/tdx/certification/v4/qe/identity",
                "https://pccs.example.com/sgx/certification/v4/rootcacrl",
            ]
        );
        let of_intel = plan().requests(INTEL_SERVICE);
        assert_eq!(of_intel[3].url, INTEL_ROOT_CRL);
    }

    #[test]
    fn answers_of_another_form_are_named() {
        let good = |body: &[u8]| Answer {
            chain: Some("a%20b".to_owned()),
            body: body.to_vec(),
        };
        let list = || good(b"3081");
        let tcb = || good(br#"{"tcbInfo": {"b":1, "a":2},"signature":"00ff"}"#);
        let identity = || good(br#"{"enclaveIdentity":{},"signature":"00"}"#);
        let text = plan()
            .assemble([list(), tcb(), identity(), list()])
            .expect("collateral");
        let collateral: QuoteCollateralV3 = serde_json::from_str(&text).expect("collateral");
        assert_eq!(collateral.tcb_info, r#"{"b":1, "a":2}"#, "as it was signed");
        assert_eq!(collateral.pck_crl, [0x30, 0x81]);
        assert_eq!(collateral.tcb_info_issuer_chain, "a b");
        let none = Answer {
            chain: None,
            ..list()
        };
        for (answers, says) in [
            ([list(), list(), identity(), list()], "tcb"),
            ([none, tcb(), identity(), list()], "no header"),
            ([list(), tcb(), good(b"{}"), list()], "enclaveIdentity"),
            ([list(), tcb(), identity(), good(b"<html>")], "neither DER"),
        ] {
            let error = plan().assemble(answers).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
        let long = format!(
            r#"{{"tcbInfo":"{}","signature":"00"}}"#,
            "x".repeat(COLLATERAL_BYTES_MAX)
        );
        let long = plan().assemble([list(), good(long.as_bytes()), identity(), list()]);
        assert!(matches!(long, Err(CollateralError::TooLong(_))));
        assert!(Plan::of(&[3; 2000]).is_err());
        assert_eq!(percent_decoded("%0"), None);
    }
}
