//! Who may use the operator's port.
//!
//! With a token, every client that sends it. Always kept out: web pages of other
//! origins, which reach loopback through the operator's own browser, be it by a plain
//! request or by a name that suddenly points here (DNS rebinding).

use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::{Method, Request};
use wapo_crypto::blake2b_256;

use crate::config::AdminToken;

/// Where a browser says what a request is for (W3C Fetch Metadata).
static SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
static MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
static DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Denied {
    /// No token, or a wrong one.
    Token,
    /// A name that is not one of ours.
    Host,
    /// A page from elsewhere.
    Origin,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Room {
    /// What every client may have: the console's files and `/health`.
    Hall,
    /// What only the operator may.
    Office,
}

/// The rules of one port.
pub(super) struct Gate {
    /// Hash of the token.
    token: Option<[u8; 32]>,
}

impl Gate {
    pub(super) fn new(token: Option<&AdminToken>) -> Self {
        Self {
            token: token.map(|token| blake2b_256(token.0.as_bytes())),
        }
    }

    /// Whether a request may be answered.
    ///
    /// A name that is neither an address nor `localhost` may be one of a page
    /// from elsewhere. It is accepted with the token, which such a page
    /// does not know, and for what is no secret when there is a token.
    ///
    /// # Errors
    ///
    /// [`Denied`].
    pub(super) fn check<B>(&self, request: &Request<B>, room: Room) -> Result<(), Denied> {
        let headers = request.headers();
        let host = match request.uri().authority() {
            Some(authority) => Some(authority.as_str()),
            None => header(headers, &HOST),
        };
        let host = host.and_then(Host::parse).ok_or(Denied::Host)?;
        let shows_token = self.token.is_some() && self.check_token(headers).is_ok();
        let is_harmless = self.token.is_some() && room == Room::Hall;
        if !host.is_ours() && !shows_token && !is_harmless {
            return Err(Denied::Host);
        }
        check_page(request, &host, room)?;
        match room {
            Room::Hall => Ok(()),
            Room::Office => self.check_token(headers),
        }
    }

    /// Whether the request shows the token, if there is one.
    fn check_token(&self, headers: &HeaderMap) -> Result<(), Denied> {
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
}

/// Whether a browser sends this on behalf of a page from elsewhere.
fn check_page<B>(request: &Request<B>, host: &Host<'_>, room: Room) -> Result<(), Denied> {
    let headers = request.headers();
    if let Some(origin) = headers.get(ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let same = origin
            .split_once("://")
            .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(host.whole));
        if !same {
            return Err(Denied::Origin);
        }
    }
    // Images and scripts have no Origin.
    let is = |name, value| header(headers, name) == Some(value);
    if !headers.contains_key(&SITE) || is(&SITE, "same-origin") || is(&SITE, "none") {
        return Ok(());
    }
    let follows_link = room == Room::Hall
        && request.method() == Method::GET
        && is(&MODE, "navigate")
        && is(&DEST, "document");
    if follows_link {
        Ok(())
    } else {
        Err(Denied::Origin)
    }
}

/// A host as a client names it: `name`, `name:port`, `[address]:port`.
pub(super) struct Host<'a> {
    whole: &'a str,
    pub(super) name: &'a str,
}

impl<'a> Host<'a> {
    /// Reads it strictly: whatever two readers could take for different hosts is
    /// none.
    pub(super) fn parse(whole: &'a str) -> Option<Self> {
        let is_name = |name: &str| {
            let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !name.is_empty() && name.bytes().all(is_known)
        };
        let (name, port) = match whole.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                address.parse::<std::net::Ipv6Addr>().ok()?;
                match port.strip_prefix(':') {
                    Some(port) => (address, Some(port).filter(|port| !port.is_empty())),
                    None => (address, port.is_empty().then_some("")),
                }
            }
            None => match whole.split_once(':') {
                Some((name, port)) => (name, Some(port).filter(|port| !port.is_empty())),
                None => (whole, Some("")),
            },
        };
        let port = port?;
        let is_port = port.bytes().all(|byte| byte.is_ascii_digit())
            && (port.is_empty() || port.parse::<u16>().is_ok());
        let is_host = is_port && (whole.starts_with('[') || is_name(name));
        is_host.then_some(Self { whole, name })
    }

    /// Whether it is an address or `localhost`: a page is never served under a
    /// bare address that is not its own.
    pub(super) fn is_ours(&self) -> bool {
        let name = self.name.strip_suffix('.').unwrap_or(self.name);
        name.parse::<std::net::IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?.to_str().ok()?;
    // Two of them could be read in two ways.
    all.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, fields: &[(&str, &str)]) -> Request<()> {
        let mut builder = Request::builder().method(method).uri("/x");
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(()).expect("a request")
    }

    fn with_token() -> Gate {
        Gate::new(Some(&AdminToken("secret".to_owned())))
    }

    const OURS: (&str, &str) = ("host", "127.0.0.1:8001");

    #[test]
    fn tokens_are_exact() {
        let gate = with_token();
        let check = |value| {
            let request = request(Method::POST, &[OURS, ("authorization", value)]);
            gate.check(&request, Room::Office)
        };
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
        let bare = request(Method::GET, &[OURS]);
        assert_eq!(gate.check(&bare, Room::Office), Err(Denied::Token));
        assert_eq!(gate.check(&bare, Room::Hall), Ok(()));
        assert_eq!(Gate::new(None).check(&bare, Room::Office), Ok(()));
    }

    #[test]
    fn a_host_is_read_in_one_way_only() {
        for ours in [
            "localhost",
            "LOCALHOST.:8001",
            "127.0.0.1:8001",
            "[::1]:8001",
            "[::1]",
        ] {
            assert!(
                Host::parse(ours).is_some_and(|host| host.is_ours()),
                "{ours}"
            );
        }
        for foreign in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.example:80",
        ] {
            let host = Host::parse(foreign).expect(foreign);
            assert!(!host.is_ours(), "{foreign}");
        }
        for none in [
            "",
            ":8001",
            "evil@127.0.0.1",
            "evil:pass@127.0.0.1:8001",
            "127.0.0.1:8001.evil.example",
            "127.0.0.1:",
            "127.0.0.1:80:80",
            "127.0.0.1:99999",
            "127.0.0.1:+80",
            "127.0.0.1 evil",
            "127.0.0.1/evil",
            "[::1]evil",
            "[::1",
            "[evil]",
            "::1",
        ] {
            assert!(Host::parse(none).is_none(), "{none}");
        }
    }

    #[test]
    fn a_foreign_name_is_for_those_who_know_the_token() {
        let foreign = ("host", "wapod.internal:8001");
        let shown = ("authorization", "Bearer secret");
        let asks =
            |gate: &Gate, fields: &[_], room| gate.check(&request(Method::POST, fields), room);
        let gate = with_token();
        assert_eq!(asks(&gate, &[foreign, shown], Room::Office), Ok(()));
        assert_eq!(asks(&gate, &[foreign], Room::Hall), Ok(()));
        let wrong = ("authorization", "Bearer other");
        for fields in [&[foreign][..], &[foreign, wrong]] {
            assert_eq!(asks(&gate, fields, Room::Office), Err(Denied::Host));
        }
        let open = Gate::new(None);
        for room in [Room::Hall, Room::Office] {
            assert_eq!(asks(&open, &[foreign, shown], room), Err(Denied::Host));
        }
    }

    #[test]
    fn pages_of_other_origins_are_refused_whatever_they_send() {
        let gate = Gate::new(None);
        let check = |fields: &[_], room| {
            let mut all = vec![OURS];
            all.extend_from_slice(fields);
            gate.check(&request(Method::GET, &all), room)
        };
        let no = Err(Denied::Origin);
        for room in [Room::Hall, Room::Office] {
            assert_eq!(check(&[("origin", "http://127.0.0.1:8001")], room), Ok(()));
            assert_eq!(check(&[("origin", "http://127.0.0.1:3000")], room), no);
            assert_eq!(check(&[("origin", "null")], room), no);
            assert_eq!(check(&[("sec-fetch-site", "same-origin")], room), Ok(()));
            assert_eq!(check(&[("sec-fetch-site", "none")], room), Ok(()));
            for site in ["cross-site", "same-site", "unheard-of"] {
                assert_eq!(check(&[("sec-fetch-site", site)], room), no, "{site}");
            }
        }
        let link = |dest| {
            [
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", dest),
            ]
        };
        assert_eq!(check(&link("document"), Room::Hall), Ok(()), "a link");
        assert_eq!(check(&link("iframe"), Room::Hall), no);
        assert_eq!(check(&link("document"), Room::Office), no);
    }
}
