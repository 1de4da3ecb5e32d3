//! Names of services and methods.
//!
//! A name that no service has becomes an error before any argument is read.
//! Called by `wapod::api`.

/// A method of any service.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Method {
    /// One of the public service.
    User(UserMethod),
}

/// Methods of the service `User`, open to everyone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UserMethod {
    /// The worker at a glance.
    Info,
    /// Asks an app.
    Query,
}

impl Method {
    /// Reads `Service.Method`, exactly as in the URL.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "User.Info" => Some(Self::User(UserMethod::Info)),
            "User.Query" => Some(Self::User(UserMethod::Query)),
            _ => None,
        }
    }

    /// Whether the method only reads, so that a plain GET may call it.
    pub fn is_read_only(self) -> bool {
        match self {
            Self::User(UserMethod::Info) => true,
            Self::User(UserMethod::Query) => false,
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
        for name in [
            "user.query",
            "User.Query/",
            "Query",
            "",
            "User.",
            "Operation.Info",
        ] {
            assert_eq!(Method::parse(name), None, "{name}");
        }
    }
}
