//! What a native function throws.

use std::fmt;

use rquickjs::{Ctx, Error, Exception};

/// An exception for a program: its class, and a message for its reader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    class: Class,
    message: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Type,
    Range,
    /// `DOMException` with this name.
    Dom(&'static str),
    /// `TypeError` with this `code`, of the network.
    Net(&'static str),
}

impl Failure {
    /// A `TypeError`.
    pub(crate) fn type_error(message: impl fmt::Display) -> Self {
        Self {
            class: Class::Type,
            message: message.to_string(),
        }
    }

    /// A `RangeError`.
    pub(crate) fn range_error(message: impl fmt::Display) -> Self {
        Self {
            class: Class::Range,
            message: message.to_string(),
        }
    }

    /// A `DOMException`, such as `OperationError`.
    pub(crate) fn dom(name: &'static str, message: impl fmt::Display) -> Self {
        Self {
            class: Class::Dom(name),
            message: message.to_string(),
        }
    }

    /// A failure of the network: a `TypeError` whose `code` programs can compare.
    pub(crate) fn net(code: &'static str, message: impl fmt::Display) -> Self {
        Self {
            class: Class::Net(code),
            message: message.to_string(),
        }
    }

    /// Throws it in a context.
    pub(crate) fn throw(&self, ctx: &Ctx<'_>) -> Error {
        match self.class {
            Class::Type => Exception::throw_type(ctx, &self.message),
            Class::Range => Exception::throw_range(ctx, &self.message),
            Class::Dom(name) => Exception::throw_dom(ctx, name, &self.message),
            Class::Net(code) => {
                let error = Exception::throw_type(ctx, &self.message);
                let thrown = ctx.catch();
                if let Some(object) = thrown.as_object() {
                    // Without memory for it, the message has to do.
                    let _ = object.set("code", code);
                }
                match thrown.is_null() {
                    true => error,
                    false => ctx.throw(thrown),
                }
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
