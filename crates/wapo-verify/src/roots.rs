//! The roots of trust: certificates of the makers of attesting hardware.
//!
//! The defaults are the vendors' published certificates, kept in `roots/`. They are
//! an argument of each verification, so that tests and firms with hardware of their
//! own bring others.

/// One family of AMD's processors.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AmdRoot {
    /// Which family.
    pub product: AmdProduct,
    /// The root (ARK), in DER.
    pub root: Vec<u8>,
    /// The authority of chips below it (ASK), in DER, for reports that come without.
    pub authority: Vec<u8>,
}

/// Families of AMD's processors with SEV-SNP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AmdProduct {
    /// EPYC 7003.
    Milan,
    /// EPYC 9004 and 8004.
    Genoa,
    /// EPYC 9005.
    Turin,
}

/// The roots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Roots {
    /// Intel's, for SGX and TDX, in DER.
    pub intel: Vec<u8>,
    /// AMD's.
    pub amd: Vec<AmdRoot>,
    /// The simulator's, in DER. It counts only where a policy accepts the simulator.
    pub simulator: Vec<u8>,
}

impl Default for Roots {
    fn default() -> Self {
        let amd = |product, root: &str, authority: &str| AmdRoot {
            product,
            root: der(root),
            authority: der(authority),
        };
        Self {
            intel: der(include_str!("../roots/intel-sgx-root.hex")),
            amd: vec![
                amd(
                    AmdProduct::Milan,
                    include_str!("../roots/amd-milan-ark.hex"),
                    include_str!("../roots/amd-milan-ask.hex"),
                ),
                amd(
                    AmdProduct::Genoa,
                    include_str!("../roots/amd-genoa-ark.hex"),
                    include_str!("../roots/amd-genoa-ask.hex"),
                ),
                amd(
                    AmdProduct::Turin,
                    include_str!("../roots/amd-turin-ark.hex"),
                    include_str!("../roots/amd-turin-ask.hex"),
                ),
            ],
            simulator: der(include_str!("../roots/simulator-root.hex")),
        }
    }
}

/// The bytes of a file of hex digits. A damaged one is a root that no certificate
/// has, which a test would tell.
fn der(digits: &str) -> Vec<u8> {
    let digits: String = digits.split_whitespace().collect();
    hex::decode(digits).unwrap_or_default()
}
