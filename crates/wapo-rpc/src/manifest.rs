//! What an app is to the outside: its manifest, and the address of that.
//!
//! The address is a hash of everything that decides what the app does: code,
//! arguments, environment. Two workers that run the same manifest run the same
//! app. [`AppManifest::check`] has the rules that every worker applies.

mod check;

use std::fmt;
use std::str::FromStr;

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};

pub use check::ManifestError;

use crate::hexbytes;

/// Address of an app: the hash of its manifest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct AppAddress(pub [u8; 32]);

/// Text or bytes that are no address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    /// Not hex.
    #[error("invalid address: {0}")]
    NotHex(String),
    /// Wrong length.
    #[error("invalid address: it has {0} bytes, an app's address has 32")]
    Length(usize),
}

impl AppAddress {
    /// Reads exactly 32 bytes.
    ///
    /// # Errors
    ///
    /// [`AddressError::Length`] for fewer and for more.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AddressError> {
        let array = <[u8; 32]>::try_from(bytes);
        array
            .map(Self)
            .map_err(|_| AddressError::Length(bytes.len()))
    }
}

impl FromStr for AppAddress {
    type Err = AddressError;

    /// Reads 64 hex digits, with or without `0x`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::from_bytes(&hexbytes::parse(text).map_err(AddressError::NotHex)?)
    }
}

impl fmt::Display for AppAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for AppAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppAddress({self})")
    }
}

/// What a worker is asked to run.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode, Serialize, Deserialize)]
#[serde(default)]
pub struct AppManifest {
    /// Version of this structure: 1.
    pub version: u32,
    /// Blob of the code, as `sha256:<hex>`.
    pub code_hash: String,
    /// Program arguments after the program's own name.
    pub args: Vec<String>,
    /// Environment variables.
    pub env_vars: Vec<(String, String)>,
    /// Whether instances run only while a request needs one.
    pub on_demand: bool,
    /// Whether the app may have many instances.
    pub resizable: bool,
    /// Bytes of path and payload of a query at most.
    pub max_query_size: u32,
    /// Name for people.
    pub label: String,
    /// Blobs the app needs: hash, and where else it can be had.
    pub required_blobs: Vec<(String, String)>,
}

impl AppManifest {
    /// The version that is in use.
    pub const VERSION: u32 = 1;

    /// The address of the app that this manifest describes.
    pub fn address(&self) -> AppAddress {
        AppAddress(wapo_crypto::blake2b_256(&self.encode()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_the_one_that_existing_workers_compute() {
        let manifest = AppManifest {
            version: 1,
            code_hash: "sha256:00ff".into(),
            args: vec!["a".into(), "bc".into()],
            env_vars: vec![("RUST_LOG".into(), "info".into())],
            on_demand: false,
            resizable: true,
            max_query_size: 10240,
            label: "Test App".into(),
            required_blobs: vec![("sha256:11".into(), "Qm".into())],
        };
        assert_eq!(
            hex::encode(manifest.encode()),
            "010000002c7368613235363a303066660804610862630420525553545f4c4f4710696e666f\
             00010028000020546573742041707004247368613235363a313108516d"
        );
        let address = "434c16939c8132c6f4376b1748c4a6b963031fe9ac1a1432d9f6932da6a5144c";
        assert_eq!(manifest.address().to_string(), address);
        assert_eq!(address.parse(), Ok(manifest.address()));
        assert_eq!(format!("0x{address}").parse(), Ok(manifest.address()));
    }

    #[test]
    fn addresses_have_32_bytes_and_not_one_more() {
        let long = "11".repeat(33).parse::<AppAddress>().expect_err("long");
        assert_eq!(long, AddressError::Length(33));
        let text = "xyz".parse::<AppAddress>().expect_err("text");
        assert!(text.to_string().starts_with("invalid address"));
    }
}
