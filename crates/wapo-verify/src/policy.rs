//! What a verifier demands. Read from TOML or JSON by the caller; docs/verifying.md
//! has the words.
//!
//! An empty policy accepts any program on genuine hardware that is not in debug mode and,
//! with SGX and TDX, up to date: it says what is there, and demands little. Lists are "one
//! of these".

use dcap_qvl::TcbStatus;
use serde::{Deserialize, Deserializer, de};
use wapo_rpc::hexbytes::from_hex;

/// The demands.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Whether quotes of the simulator, behind which there is no hardware, count.
    pub accept_simulator: bool,
    /// Kinds of hardware that count; any when empty.
    pub hardware: Vec<Hardware>,
    /// Programs in SGX (and the simulator) that count.
    #[serde(deserialize_with = "entries")]
    pub sgx: Vec<SgxProgram>,
    /// Machines of TDX that count.
    #[serde(deserialize_with = "entries")]
    pub tdx: Vec<TdxProgram>,
    /// Machines of SEV-SNP that count.
    #[serde(deserialize_with = "entries")]
    pub sev_snp: Vec<SnpProgram>,
    /// States of the platform that count (SGX and TDX), in Intel's words.
    pub tcb: Vec<TcbStatus>,
    /// Intel's advisories that are accepted where the platform is subject to them.
    pub advisories: Vec<String>,
    /// Machines that count, as hex of the identifier that their certificate has (PPID
    /// of Intel's, chip id of AMD's): those whose place the verifier knows. Any when
    /// empty.
    pub platforms: Vec<HexBytes>,
    /// Seconds since evidence was issued, at most.
    pub age_max_s: Option<u64>,
    /// Workers that count, by public key; any when empty.
    pub workers: Vec<HexArray<32>>,
    /// Settings that the host may decide. Where it is absent, any, and they are shown.
    pub host_controlled: Option<Vec<String>>,
    /// Apps that count; any when empty.
    #[serde(deserialize_with = "entries")]
    pub apps: Vec<AppRule>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            accept_simulator: false,
            hardware: Vec::new(),
            sgx: Vec::new(),
            tdx: Vec::new(),
            sev_snp: Vec::new(),
            tcb: vec![TcbStatus::UpToDate],
            advisories: Vec::new(),
            platforms: Vec::new(),
            age_max_s: None,
            workers: Vec::new(),
            host_controlled: None,
            apps: Vec::new(),
        }
    }
}

/// Entries of a list. One without any key would match everything, and count as a demand
/// that passed.
fn entries<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de> + Default + PartialEq,
    D: Deserializer<'de>,
{
    let entries = Vec::<T>::deserialize(deserializer)?;
    if entries.contains(&T::default()) {
        return Err(de::Error::custom(
            "an entry without a key demands nothing, and everything would match it: write what it demands, or leave it out",
        ));
    }
    Ok(entries)
}

/// What made a quote.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hardware {
    /// Intel SGX: an enclave.
    Sgx,
    /// Intel TDX: a virtual machine.
    Tdx,
    /// AMD SEV-SNP: a virtual machine.
    SevSnp,
    /// No hardware.
    Simulator,
}

impl Hardware {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sgx => "Intel SGX",
            Self::Tdx => "Intel TDX",
            Self::SevSnp => "AMD SEV-SNP",
            Self::Simulator => "the simulator",
        }
    }
}

/// An enclave of SGX. What is absent is not looked at.
#[derive(Clone, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SgxProgram {
    /// Hash of what was loaded (MRENCLAVE).
    pub measurement: Option<HexArray<32>>,
    /// Hash of the key that signed it (MRSIGNER).
    pub signer: Option<HexArray<32>>,
    /// The signer's number for the product.
    pub product_id: Option<u16>,
    /// The signer's version, at least.
    pub svn_min: Option<u16>,
}

/// A machine of TDX. What is absent is not looked at.
#[derive(Clone, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TdxProgram {
    /// Hash of what the machine began with (MRTD).
    pub mrtd: Option<HexArray<48>>,
    /// Firmware's configuration.
    pub rtmr0: Option<HexArray<48>>,
    /// Kernel.
    pub rtmr1: Option<HexArray<48>>,
    /// Command line and first disk.
    pub rtmr2: Option<HexArray<48>>,
    /// What the system adds as it runs.
    pub rtmr3: Option<HexArray<48>>,
}

/// A machine of SEV-SNP. What is absent is not looked at.
#[derive(Clone, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SnpProgram {
    /// Hash of what the machine began with.
    pub measurement: Option<HexArray<48>>,
    /// Version of the chip's boot loader, at least.
    pub bootloader_min: Option<u8>,
    /// Version of the chip's own system, at least.
    pub tee_min: Option<u8>,
    /// Version of the firmware of SEV-SNP, at least.
    pub snp_min: Option<u8>,
    /// Version of the microcode, at least.
    pub microcode_min: Option<u8>,
}

/// An app. What is absent is not looked at.
#[derive(Clone, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppRule {
    /// Its address.
    pub address: Option<HexArray<32>>,
    /// The name of its code, as `sha256:…`.
    pub code_hash: Option<String>,
    /// Its arguments, all of them and in order.
    pub args: Option<Vec<String>>,
    /// BLAKE2b-256 of its encoded environment.
    pub env_hash: Option<HexArray<32>>,
}

/// Bytes that are written as hex, with or without `0x`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HexArray<const LENGTH: usize>(pub [u8; LENGTH]);

impl<'de, const LENGTH: usize> Deserialize<'de> for HexArray<LENGTH> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let HexBytes(bytes) = HexBytes::deserialize(deserializer)?;
        let actual = bytes.len();
        <[u8; LENGTH]>::try_from(bytes)
            .map(Self)
            .map_err(|_| de::Error::custom(format!("{LENGTH} bytes as hex, not {actual}")))
    }
}

/// As [`HexArray`], of any length.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HexBytes(pub Vec<u8>);

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text)
            .map(Self)
            .map_err(|error| de::Error::custom(format!("no hex: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_says_what_it_does_not_know() {
        let read = |text: &str| serde_json::from_str::<Policy>(text);
        let policy = read(r#"{"sgx":[{"signer":"0xABababababababababababababababababababababababababababababababab","svn_min":2}],"tcb":["UpToDate","SWHardeningNeeded"]}"#).expect("a policy");
        assert_eq!(policy.sgx[0].signer, Some(HexArray([0xab; 32])));
        assert_eq!(policy.tcb.len(), 2);
        assert_eq!(read("{}").expect("empty"), Policy::default());
        for (text, says) in [
            (r#"{"sxg":[]}"#, "unknown field `sxg`"),
            (r#"{"sgx":[{"mrenclave":"00"}]}"#, "unknown field"),
            (
                r#"{"sgx":[{"measurement":"00"}]}"#,
                "32 bytes as hex, not 1",
            ),
            (r#"{"platforms":["xy"]}"#, "no hex"),
            (r#"{"hardware":["nitro"]}"#, "unknown variant"),
            (r#"{"tcb":["Fine"]}"#, "unknown variant"),
            (r#"{"sgx":[{}]}"#, "an entry without a key"),
            (r#"{"tdx":[{}]}"#, "an entry without a key"),
            (
                r#"{"sev_snp":[{"snp_min":1},{}]}"#,
                "an entry without a key",
            ),
            (r#"{"apps":[{"address":null}]}"#, "an entry without a key"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
