//! Who may use the operator's port.
//!
//! With a token, whoever shows it. Always kept out: web pages of other origins,
//! which reach loopback through the operator's own browser, be it by a plain
//! request or by a name that suddenly points here (DNS rebinding).

use hyper::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use hyper::http::uri::Authority;
use hyper::{Request, body::Incoming};
use wapo_crypto::blake2b_256;

use crate::config::AdminToken;

/// Why somebody is kept out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Denied {
    /// No token, or a wrong one.
    Token,
    /// A name that is not one of ours.
    Host,
    /// A page from elsewhere.
    Origin,
}

/// The rules of one port.
pub(super) struct Gate {
    /// Hash of the token.
    token: Option<[u8; 32]>,
    /// Names besides addresses and `localhost` under which the port is reached.
    names: Vec<String>,
}

impl Gate {
    pub(super) fn new(token: Option<&AdminToken>, names: Vec<String>) -> Self {
        Self {
            token: token.map(|token| blake2b_256(token.0.as_bytes())),
            names,
        }
    }

    /// Whether a browser would send this on behalf of a page from elsewhere.
    ///
    /// # Errors
    ///
    /// [`Denied::Host`] or [`Denied::Origin`].
    pub(super) fn check_browser(&self, request: &Request<Incoming>) -> Result<(), Denied> {
        let headers = request.headers();
        let host = match request.uri().authority() {
            Some(authority) => Some(authority.clone()),
            None => header(headers, &HOST).and_then(|text| text.parse::<Authority>().ok()),
        };
        let host = host.ok_or(Denied::Host)?;
        if !self.is_ours(host.host()) {
            return Err(Denied::Host);
        }
        let Some(origin) = headers.get(ORIGIN) else {
            return Ok(());
        };
        let origin = origin.to_str().unwrap_or_default();
        let same = origin
            .split_once("://")
            .is_some_and(|(_, rest)| rest == host.as_str());
        if same { Ok(()) } else { Err(Denied::Origin) }
    }

    /// Whether the request shows the token, if there is one.
    ///
    /// # Errors
    ///
    /// [`Denied::Token`].
    pub(super) fn check_token(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let Some(expected) = &self.token else {
            return Ok(());
        };
        let shown = header(headers, &AUTHORIZATION).and_then(|text| text.strip_prefix("Bearer "));
        // Hashes are compared: how long that takes says nothing about the token.
        let shown = shown.map(|text| blake2b_256(text.as_bytes()));
        if shown.as_ref() == Some(expected) {
            Ok(())
        } else {
            Err(Denied::Token)
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        // A page is never served under a bare address that is not its own.
        address.parse::<std::net::IpAddr>().is_ok()
            || host == "localhost"
            || self.names.contains(&host)
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &hyper::header::HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?.to_str().ok()?;
    // Two of them could be read in two ways.
    all.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let parse = |value: &str| value.parse().expect("header");
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.parse().expect("name"), parse(value)))
            .collect()
    }

    #[test]
    fn tokens_are_exact() {
        let gate = Gate::new(Some(&AdminToken("secret".to_owned())), Vec::new());
        let check = |value| gate.check_token(&headers(&[("authorization", value)]));
        assert_eq!(check("Bearer secret"), Ok(()));
        for bad in [
            "Bearer secre",
            "Bearer secrett",
            "bearer secret",
            "secret",
            "Basic secret",
        ] {
            assert_eq!(check(bad), Err(Denied::Token), "{bad}");
        }
        assert_eq!(gate.check_token(&HeaderMap::new()), Err(Denied::Token));
        let open = Gate::new(None, Vec::new());
        assert_eq!(open.check_token(&HeaderMap::new()), Ok(()));
    }

    #[test]
    fn names_that_point_here_are_not_ours() {
        let gate = Gate::new(None, vec!["worker.example".to_owned()]);
        for ours in [
            "localhost",
            "LOCALHOST.",
            "127.0.0.1",
            "[::1]",
            "worker.example",
        ] {
            assert!(gate.is_ours(ours), "{ours}");
        }
        for foreign in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.example",
            "",
        ] {
            assert!(!gate.is_ours(foreign), "{foreign}");
        }
    }
}
