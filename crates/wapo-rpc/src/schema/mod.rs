//! The interface as a table: every message, every field, every method, once.
//!
//! Rows are handed to a macro, and these expand them: `message` to structs,
//! `method` to names and limits, `client` and the daemon to calls, and this
//! module to the constants [`MESSAGES`] and [`METHODS`], which documents are
//! rendered from. Needs nothing but `core`, because `cargo xtask codegen`
//! includes this folder by path. No encoding, no I/O.
//!
//! A row never changes once it was released: clients hold to names, numbers,
//! types and (in JSON arrays) the order of fields. Fields of ours have numbers
//! from [`EXTENSION_TAG_MIN`].

mod app;
mod methods;
mod query;
mod session;
mod worker;

pub(crate) use app::{app_messages, usage_messages};
pub(crate) use query::{common_messages, query_messages};
pub(crate) use session::session_messages;
pub(crate) use worker::worker_messages;

/// Fields of messages that existed in Wapo 0.x have smaller numbers.
pub const EXTENSION_TAG_MIN: u32 = 100;

/// A message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MessageInfo {
    /// Name, as in the `.proto` file.
    pub name: &'static str,
    /// Lines of documentation.
    pub doc: &'static [&'static str],
    /// Fields in the order that they have in JSON.
    pub fields: &'static [FieldInfo],
}

/// A field of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldInfo {
    /// Name, in `.proto` and in JSON.
    pub name: &'static str,
    /// Number in protobuf.
    pub tag: u32,
    /// What it holds.
    pub kind: Kind,
    /// Lines of documentation.
    pub doc: &'static [&'static str],
}

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `bool`
    Bool,
    /// `uint32`
    U32,
    /// `uint64`
    U64,
    /// `string`
    String,
    /// `bytes`; hex in JSON
    Bytes,
    /// Another message, or none.
    Message(&'static str),
    /// Any number of strings.
    Strings,
    /// Any number of byte strings.
    BytesList,
    /// Any number of messages.
    Messages(&'static str),
}

/// A method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MethodInfo {
    /// `User` or `Operation`.
    pub service: &'static str,
    /// Name within the service.
    pub name: &'static str,
    /// Lines of documentation.
    pub doc: &'static [&'static str],
    /// Name of the message it takes.
    pub argument: &'static str,
    /// Name of the message it answers with.
    pub answer: &'static str,
    /// Whether a plain GET may call it.
    pub is_read_only: bool,
}

macro_rules! kind {
    (bool) => {
        Kind::Bool
    };
    (u32) => {
        Kind::U32
    };
    (u64) => {
        Kind::U64
    };
    (string) => {
        Kind::String
    };
    (bytes) => {
        Kind::Bytes
    };
    ([string]) => {
        Kind::Strings
    };
    ([bytes]) => {
        Kind::BytesList
    };
    ([$message:ident]) => {
        Kind::Messages(stringify!($message))
    };
    ($message:ident) => {
        Kind::Message(stringify!($message))
    };
}

macro_rules! describe_messages {
    ($(
        $(#[doc = $doc:literal])*
        $(#[prost($option:ident)])?
        $name:ident {
            $( $(#[doc = $field_doc:literal])* $field:ident: $kind:tt = $tag:tt, )*
        }
    )*) => {
        &[$( MessageInfo {
            name: stringify!($name),
            doc: &[$($doc),*],
            fields: &[$( FieldInfo {
                name: stringify!($field),
                tag: $tag,
                kind: kind!($kind),
                doc: &[$($field_doc),*],
            } ),*],
        } ),*]
    };
}

macro_rules! describe_methods {
    (
        $service:ident
        $(
            $(#[doc = $doc:literal])*
            $name:ident: $function:ident($argument:ident) -> $answer:ident, $verb:ident, $size:ident;
        )*
    ) => {
        &[$( MethodInfo {
            service: stringify!($service),
            name: stringify!($name),
            doc: &[$($doc),*],
            argument: stringify!($argument),
            answer: stringify!($answer),
            is_read_only: describe_methods!(@$verb),
        } ),*]
    };
    (@get) => { true };
    (@post) => { false };
}

/// Every message, by topic.
pub const MESSAGES: &[&[MessageInfo]] = &[
    common_messages!(describe_messages),
    worker_messages!(describe_messages),
    session_messages!(describe_messages),
    app_messages!(describe_messages),
    usage_messages!(describe_messages),
    query_messages!(describe_messages),
];

/// Every method, by service.
pub const METHODS: &[&[MethodInfo]] = &[
    crate::for_each_user_method!(describe_methods),
    crate::for_each_operation_method!(describe_methods),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_and_numbers_are_unique() {
        let mut messages = HashSet::new();
        for message in MESSAGES.iter().copied().flatten() {
            assert!(messages.insert(message.name), "{}", message.name);
            let tags: HashSet<u32> = message.fields.iter().map(|field| field.tag).collect();
            let names: HashSet<&str> = message.fields.iter().map(|field| field.name).collect();
            assert_eq!(tags.len(), message.fields.len(), "{}", message.name);
            assert_eq!(names.len(), message.fields.len(), "{}", message.name);
        }
        let mut methods = HashSet::new();
        for method in METHODS.iter().copied().flatten() {
            assert!(methods.insert((method.service, method.name)), "{method:?}");
        }
    }

    #[test]
    fn every_name_that_is_used_is_a_message() {
        let names: HashSet<&str> = MESSAGES.iter().copied().flatten().map(|m| m.name).collect();
        for method in METHODS.iter().copied().flatten() {
            assert!(names.contains(method.argument), "{method:?}");
            assert!(names.contains(method.answer), "{method:?}");
        }
        for field in MESSAGES.iter().copied().flatten().flat_map(|m| m.fields) {
            if let Kind::Message(name) | Kind::Messages(name) = field.kind {
                assert!(names.contains(name), "{field:?}");
            }
        }
    }

    #[test]
    fn everything_is_documented() {
        for message in MESSAGES.iter().copied().flatten() {
            assert!(!message.doc.is_empty(), "{}", message.name);
            for field in message.fields {
                assert!(!field.doc.is_empty(), "{}.{}", message.name, field.name);
            }
        }
        for method in METHODS.iter().copied().flatten() {
            assert!(!method.doc.is_empty(), "{}", method.name);
        }
    }
}
