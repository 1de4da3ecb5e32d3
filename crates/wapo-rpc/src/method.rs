//! Names of services and methods, and what is known of each before it is
//! called.
//!
//! Expanded from the rows in `schema`. A name that no service has becomes an
//! error before any argument is read. Called by `wapod::api` and by `client`.

use std::fmt;

use crate::limits::{BLOB_CALL_BYTES_MAX, BODY_BYTES_MAX, CALL_BYTES_MAX};

/// A method of any service.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Method {
    /// One that everyone may call.
    User(UserMethod),
    /// One for the operator.
    Operation(OperationMethod),
}

/// Turns rows into an enumeration.
macro_rules! define {
    (
        $service:ident
        $(
            $(#[doc = $doc:literal])*
            $name:ident: $function:ident($argument:ident) -> $answer:ident, $verb:ident, $size:ident;
        )*
    ) => {
        define! { @enum $service
            $( [$(#[doc = $doc])*] $name: $function($argument) -> $answer, $verb, $size; )*
        }
    };
    (@enum User $($rows:tt)*) => {
        define! { @enum "Methods of the service `User`, open to everyone.", "User", UserMethod, $($rows)* }
    };
    (@enum Operation $($rows:tt)*) => {
        define! { @enum "Methods of the service `Operation`, for the operator.", "Operation", OperationMethod, $($rows)* }
    };
    (
        @enum $about:literal, $service:literal, $enum:ident,
        $( [$($doc:tt)*] $name:ident: $function:ident($argument:ident) -> $answer:ident, $verb:ident, $size:ident; )*
    ) => {
        #[doc = $about]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $enum {
            $( $($doc)* $name, )*
        }

        impl $enum {
            /// Name of the service.
            pub const SERVICE: &str = $service;

            /// Every method of the service.
            pub const ALL: &[Self] = &[$( Self::$name ),*];

            /// Reads the part of the URL after `<Service>.`.
            pub fn parse(name: &str) -> Option<Self> {
                match name {
                    $( stringify!($name) => Some(Self::$name), )*
                    _ => None,
                }
            }

            /// The name within the service.
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$name => stringify!($name), )*
                }
            }

            /// Whether the method only reads, so that a plain GET may call it.
            pub const fn is_read_only(self) -> bool {
                match self {
                    $( Self::$name => define!(@$verb), )*
                }
            }

            /// Bytes of the request's body at most.
            pub const fn body_bytes_max(self) -> usize {
                match self {
                    $( Self::$name => define!(@$size), )*
                }
            }
        }

        impl fmt::Display for $enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}.{}", Self::SERVICE, self.name())
            }
        }
    };
    (@get) => { true };
    (@post) => { false };
    (@call) => { CALL_BYTES_MAX };
    (@query) => { BODY_BYTES_MAX };
    (@blob) => { BLOB_CALL_BYTES_MAX };
}

crate::for_each_user_method!(define);
crate::for_each_operation_method!(define);

impl Method {
    /// Reads `Service.Method`, exactly as in the URL.
    pub fn parse(name: &str) -> Option<Self> {
        match name.split_once('.')? {
            (UserMethod::SERVICE, name) => UserMethod::parse(name).map(Self::User),
            (OperationMethod::SERVICE, name) => OperationMethod::parse(name).map(Self::Operation),
            _ => None,
        }
    }

    /// Whether the method only reads, so that a plain GET may call it.
    pub const fn is_read_only(self) -> bool {
        match self {
            Self::User(method) => method.is_read_only(),
            Self::Operation(method) => method.is_read_only(),
        }
    }

    /// Bytes of the request's body at most.
    pub const fn body_bytes_max(self) -> usize {
        match self {
            Self::User(method) => method.body_bytes_max(),
            Self::Operation(method) => method.body_bytes_max(),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(method) => method.fmt(f),
            Self::Operation(method) => method.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact() {
        let query = Method::User(UserMethod::Query);
        assert_eq!(Method::parse("User.Query"), Some(query));
        let info = Method::Operation(OperationMethod::Info);
        assert_eq!(Method::parse("Operation.Info"), Some(info));
        for name in [
            "user.query",
            "User.Query/",
            "Query",
            "",
            "User.",
            "User.WorkerExit",
            "Operation.Query",
            "Operation.Operation.Info",
        ] {
            assert_eq!(Method::parse(name), None, "{name}");
        }
    }

    #[test]
    fn every_method_is_read_as_it_is_shown() {
        let user = UserMethod::ALL.iter().copied().map(Method::User);
        let operation = OperationMethod::ALL.iter().copied().map(Method::Operation);
        let all: Vec<Method> = user.chain(operation).collect();
        assert_eq!(all.len(), 38);
        for method in all {
            assert_eq!(Method::parse(&method.to_string()), Some(method));
        }
    }

    #[test]
    fn only_what_reads_may_be_called_by_get() {
        let read: Vec<&str> = OperationMethod::ALL
            .iter()
            .filter(|method| method.is_read_only())
            .map(|method| method.name())
            .collect();
        assert_eq!(read, ["Info", "AppList", "WorkerEvidence"]);
        assert!(!Method::User(UserMethod::Query).is_read_only());
    }
}
