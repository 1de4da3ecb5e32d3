//! Types that Wapo 0.x had in a crate of their own, re-exported as `wapo::env`.

pub use wapo_abi::message::{InputChannel, MetricsToken};

pub use crate::compat::errors::NoSuchError;
pub use crate::task::{spawn, spawn_named};
pub use wapo_macros::main;

/// An address in a guest's memory.
pub type IntPtr = i32;

/// A result of a call as it travels: whether it failed, and a number.
pub type IntRet = i64;

/// What travels as 32 bits.
pub trait I32Convertible: Sized {
    /// The bits.
    fn to_i32(&self) -> i32;
    /// The value of the bits.
    ///
    /// # Errors
    ///
    /// They stand for none.
    fn from_i32(bits: i32) -> Result<Self>;
}

impl I32Convertible for () {
    fn to_i32(&self) -> i32 {
        0
    }

    fn from_i32(_: i32) -> Result<Self> {
        Ok(())
    }
}

impl I32Convertible for i32 {
    fn to_i32(&self) -> i32 {
        *self
    }

    fn from_i32(bits: i32) -> Result<Self> {
        Ok(bits)
    }
}

impl I32Convertible for u32 {
    fn to_i32(&self) -> i32 {
        self.cast_signed()
    }

    fn from_i32(bits: i32) -> Result<Self> {
        Ok(bits.cast_unsigned())
    }
}

impl I32Convertible for OcallError {
    fn to_i32(&self) -> i32 {
        i32::from(self.code())
    }

    fn from_i32(bits: i32) -> Result<Self> {
        let number = u8::try_from(bits).map_err(|_| Self::INVALID_ENCODING)?;
        Self::try_from(number).map_err(|_| Self::INVALID_ENCODING)
    }
}

/// Results that travel as one number.
pub trait RetEncode {
    /// The number.
    fn encode_ret(self) -> IntRet;
}

impl<A: I32Convertible, B: I32Convertible> RetEncode for Result<A, B> {
    fn encode_ret(self) -> IntRet {
        let (is_error, bits) = match self {
            Ok(value) => (0, value.to_i32()),
            Err(error) => (1, error.to_i32()),
        };
        (is_error << 32) | i64::from(bits.cast_unsigned())
    }
}

/// Errors under their old name.
pub type OcallError = crate::error::Error;

/// A result with [`OcallError`].
pub type Result<T, E = OcallError> = std::result::Result<T, E>;

/// Configuration of TLS.
pub mod tls {
    pub use wapo_abi::message::{TlsClientConfig, TlsServerConfig};
}

/// Tasks under their old path.
pub mod tasks {
    pub use crate::task::{Canceled, JoinHandle, intern_waker, spawn, spawn_named, wapo_poll};
}

/// Host calls under their old path.
pub mod ocall_funcs_guest {
    pub use crate::compat::ocall::*;
}

/// Messages between guest and host.
#[allow(
    clippy::cast_possible_truncation,
    reason = "in the codec's derive: a variant's index is a u8"
)]
pub mod messages {
    use parity_scale_codec::{Decode, Encode};
    pub use wapo_abi::message::{HttpHead, HttpRequest, HttpResponseHead, QueryRequest};

    /// An account on a chain.
    pub type AccountId = [u8; 32];
    /// A hash.
    pub type H256 = [u8; 32];

    /// Why a query failed. No host sends it; programs may.
    #[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
    #[allow(missing_docs, reason = "names only; nothing here gives them a meaning")]
    pub enum QueryError {
        OcallError(super::OcallError),
        BadOrigin,
        RuntimeError(String),
        InstanceNotFound,
        NoResponse,
        ServiceUnavailable,
        Timeout,
        InvalidSignature,
        ContractNotFound,
        DecodeError,
        OtherError(String),
        Unsupported,
        InvalidContractExecResult,
        DispatchError(String),
    }

    /// The answer to a query. No host sends it; programs may.
    #[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
    pub enum QueryResponse {
        /// An output with what it cost.
        OutputWithGasEstimation {
            /// The output.
            output: Vec<u8>,
            /// Gas that was used.
            gas_consumed: u64,
            /// Gas that was needed.
            gas_required: u64,
            /// Amount of the deposit.
            storage_deposit_value: u128,
            /// Whether the deposit is charged or given back.
            storage_deposit_is_charge: bool,
        },
        /// An output.
        SimpleOutput(Vec<u8>),
    }
}
