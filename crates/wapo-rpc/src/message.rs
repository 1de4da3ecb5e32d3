//! The messages of the interface, as structs.
//!
//! Expanded from the rows in `schema`, which say what each field is. Field
//! numbers are public and never change; fields of ours start at 100. The order
//! of the fields in a struct is their order in JSON. Read and written by
//! `encoding`.

mod empty;

use std::fmt;

use prost::Message;
use serde::{Deserialize, Serialize};

pub use empty::Empty;

use crate::hexbytes;
use crate::manifest::{AddressError, AppAddress};
use crate::schema::{
    app_messages, common_messages, query_messages, session_messages, usage_messages,
    worker_messages,
};

/// Turns rows into structs.
macro_rules! define {
    ($(
        $(#[doc = $doc:literal])*
        $(#[prost($option:ident)])?
        $name:ident { $($fields:tt)* }
    )*) => {
        $( define_one! {
            [ $(#[doc = $doc])* $(#[prost($option)])? ] $name [] $($fields)*
        } )*
    };
}

/// Turns one row into a struct, field by field: an attribute cannot be the
/// result of a macro, so the attributes of a kind are written here.
macro_rules! define_one {
    // It is `null` in JSON, which no derived code writes.
    ($attributes:tt Empty []) => {};
    ([$($attribute:tt)*] $name:ident [$($done:tt)*]) => {
        #[derive(Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
        #[serde(default)]
        $($attribute)*
        pub struct $name { $($done)* }
    };
    ($head:tt $name:ident [$($done:tt)*]
     $(#[doc = $doc:literal])* $field:ident: bool = $tag:tt, $($rest:tt)*) => {
        define_one! { $head $name [$($done)*
            $(#[doc = $doc])*
            #[prost(bool, tag = $tag)]
            pub $field: bool,
        ] $($rest)* }
    };
    ($head:tt $name:ident [$($done:tt)*]
     $(#[doc = $doc:literal])* $field:ident: u32 = $tag:tt, $($rest:tt)*) => {
        define_one! { $head $name [$($done)*
            $(#[doc = $doc])*
            #[prost(uint32, tag = $tag)]
            pub $field: u32,
        ] $($rest)* }
    };
    ($head:tt $name:ident [$($done:tt)*]
     $(#[doc = $doc:literal])* $field:ident: u64 = $tag:tt, $($rest:tt)*) => {
        define_one! { $head $name [$($done)*
            $(#[doc = $doc])*
            #[prost(uint64, tag = $tag)]
            pub $field: u64,
        ] $($rest)* }
    };
    ($head:tt $name:ident [$($done:tt)*]
     $(#[doc = $doc:literal])* $field:ident: string = $tag:tt, $($rest:tt)*) => {
        define_one! { $head $name [$($done)*
            $(#[doc = $doc])*
            #[prost(string, tag = $tag)]
            pub $field: String,
        ] $($rest)* }
    };
    ($head:tt $name:ident [$($done:tt)*]
     $(#[doc = $doc:literal])* $field:ident: bytes = $tag:tt, $($rest:tt)*) => {
        define_one! { $head $name [$($done)*
            $(#[doc = $doc])*
            #[prost(bytes = "vec", tag = $tag)]
            #[serde(with = "hexbytes")]
            pub $field: Vec<u8>,
        ] $($rest)* }
    };
    ($head:tt $name:ident [$($done:tt)*]
     $(#[doc = $doc:literal])* $field:ident: [string] = $tag:tt, $($rest:tt)*) => {
        define_one! { $head $name [$($done)*
            $(#[doc = $doc])*
            #[prost(string, repeated, tag = $tag)]
            pub $field: Vec<String>,
        ] $($rest)* }
    };
    ($head:tt $name:ident [$($done:tt)*]
     $(#[doc = $doc:literal])* $field:ident: [bytes] = $tag:tt, $($rest:tt)*) => {
        define_one! { $head $name [$($done)*
            $(#[doc = $doc])*
            #[prost(bytes = "vec", repeated, tag = $tag)]
            #[serde(with = "hexbytes::list")]
            pub $field: Vec<Vec<u8>>,
        ] $($rest)* }
    };
    ($head:tt $name:ident [$($done:tt)*]
     $(#[doc = $doc:literal])* $field:ident: [$message:ident] = $tag:tt, $($rest:tt)*) => {
        define_one! { $head $name [$($done)*
            $(#[doc = $doc])*
            #[prost(message, repeated, tag = $tag)]
            pub $field: Vec<$message>,
        ] $($rest)* }
    };
    ($head:tt $name:ident [$($done:tt)*]
     $(#[doc = $doc:literal])* $field:ident: $message:ident = $tag:tt, $($rest:tt)*) => {
        define_one! { $head $name [$($done)*
            $(#[doc = $doc])*
            #[prost(message, optional, tag = $tag)]
            pub $field: Option<$message>,
        ] $($rest)* }
    };
}

common_messages!(define);
worker_messages!(define);
session_messages!(define);
app_messages!(define);
usage_messages!(define);
query_messages!(define);

impl From<AppAddress> for Address {
    fn from(address: AppAddress) -> Self {
        Self {
            address: address.0.to_vec(),
        }
    }
}

impl Address {
    /// The address in it.
    ///
    /// # Errors
    ///
    /// [`AddressError::Length`] unless there are exactly 32 bytes.
    pub fn app(&self) -> Result<AppAddress, AddressError> {
        AppAddress::from_bytes(&self.address)
    }
}

impl From<(String, String)> for StringPair {
    fn from((key, value): (String, String)) -> Self {
        Self { key, value }
    }
}

impl From<StringPair> for (String, String) {
    fn from(pair: StringPair) -> Self {
        (pair.key, pair.value)
    }
}

/// Without the secret.
impl fmt::Debug for SecretSetArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretSetArgs")
            .field("address", &hex::encode(&self.address))
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Without the key.
impl fmt::Debug for DomainAddArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainAddArgs")
            .field("address", &hex::encode(&self.address))
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_in_debug_output() {
        let args = SecretSetArgs {
            name: "TOKEN".into(),
            value: b"hush".to_vec(),
            ..SecretSetArgs::default()
        };
        let text = format!("{args:?}");
        assert!(text.contains("TOKEN") && !text.contains("104") && !text.contains("hush"));
    }

    #[test]
    fn an_address_has_32_bytes() {
        let of = |bytes| Address {
            address: vec![7; bytes],
        };
        assert_eq!(of(32).app(), Ok(AppAddress([7; 32])));
        for bytes in [0, 31, 33, 40] {
            assert_eq!(of(bytes).app(), Err(AddressError::Length(bytes)));
        }
    }
}
