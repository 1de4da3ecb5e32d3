//! Which servers a script may connect to.

use rquickjs::Ctx;

use crate::engine::{Engine, Failure};

/// What an isolate may reach.
#[derive(Clone, Debug, Default)]
pub(crate) enum Network {
    /// Nothing.
    #[default]
    Off,
    /// All that the program may.
    Any,
    /// Hosts, with a port (`example.com:443`) or with any.
    Hosts(Vec<String>),
}

impl Network {
    fn allows(&self, host: &str, port: u16) -> bool {
        match self {
            Self::Off => false,
            Self::Any => true,
            Self::Hosts(hosts) => hosts.iter().any(|allowed| {
                let (name, wanted) = split(allowed);
                name.eq_ignore_ascii_case(host) && wanted.is_none_or(|wanted| wanted == port)
            }),
        }
    }
}

/// Host and port of a rule. A colon inside of brackets, or one of several, is part of
/// the address.
fn split(rule: &str) -> (&str, Option<u16>) {
    let (name, port) = match rule.rsplit_once(':') {
        Some((name, port)) if name.ends_with(']') || !name.contains(':') => {
            (name, port.parse().ok())
        }
        _ => (rule, None),
    };
    (bare(name), port)
}

/// An address without the brackets that IPv6 has in URLs.
fn bare(host: &str) -> &str {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host)
}

/// Whether the script that a context runs may connect somewhere.
///
/// # Errors
///
/// It is that of an isolate, and may not.
pub(crate) fn check(ctx: &Ctx<'_>, host: &str, port: u16) -> Result<(), Failure> {
    let engine = Engine::of(ctx);
    let isolate = engine.as_ref().and_then(Engine::isolate);
    match isolate {
        Some(isolate) if !isolate.network.allows(bare(host), port) => Err(Failure::type_error(
            format!("the isolate may not connect to {host}:{port}: its creator has not allowed it"),
        )),
        _ => Ok(()),
    }
}
