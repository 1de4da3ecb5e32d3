//! What an app may set for the origin under which it is reached.
//!
//! No I/O. Apps below `/app/` share one origin, and host names of apps share a
//! domain: some headers of an answer reach beyond the app that sent it. They are
//! left out, or lose the part that does. Called by `head` for each answer.

use std::sync::Arc;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::Authority;

/// Where an app is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::api) enum Place {
    /// Below `/app/`, where all apps have one origin, and a cookie of one app would
    /// be readable by every other.
    Shared {
        /// The operator said that cookies pass all the same.
        passes_cookies: bool,
    },
    /// Under a host name that leads to this app only.
    Own,
}

impl Place {
    /// Whether cookies pass, in both directions.
    pub(in crate::api) fn passes_cookies(self) -> bool {
        match self {
            Self::Shared { passes_cookies } => passes_cookies,
            Self::Own => true,
        }
    }
}

/// The place of one request, and the names that are there.
#[derive(Clone, Debug)]
pub(in crate::api) struct OriginGuard {
    pub(in crate::api) place: Place,
    /// The host that was asked for.
    pub(in crate::api) host: Authority,
    /// The domain below which apps have their names.
    pub(in crate::api) base_domain: Arc<str>,
}

/// Headers that a browser keeps for a whole origin or more.
const OF_THE_ORIGIN: &[&str] = &[
    // Lets a script answer the requests of other apps.
    "service-worker-allowed",
    "clear-site-data",
    "strict-transport-security",
    "public-key-pins",
    "public-key-pins-report-only",
    "expect-ct",
    // Reports about other apps, sent to wherever one app likes.
    "nel",
    "report-to",
    "reporting-endpoints",
    "origin-agent-cluster",
    "accept-ch",
    "critical-ch",
    "set-login",
    "use-as-dictionary",
];

/// Headers that move the traffic of a host to another place: the worker's port is
/// not an app's to move.
const OF_THE_HOST: &[&str] = &["alt-svc"];

impl OriginGuard {
    /// Leaves out what reaches beyond the app.
    pub(in crate::api) fn clean(&self, headers: &mut HeaderMap) {
        let is_noted = |name: &HeaderName| {
            name == header::SET_COOKIE
                || OF_THE_HOST.contains(&name.as_str())
                || OF_THE_ORIGIN.contains(&name.as_str())
        };
        // One walk is all that most answers need.
        if !headers.keys().any(is_noted) {
            return;
        }
        let is_shared = matches!(self.place, Place::Shared { .. });
        let reaches_beyond = |name: &&HeaderName| {
            let name = name.as_str();
            OF_THE_HOST.contains(&name) || (is_shared && OF_THE_ORIGIN.contains(&name))
        };
        // There are more names than fields: looking for each name costs more.
        while let Some(name) = headers.keys().find(reaches_beyond).cloned() {
            headers.remove(name);
        }
        self.clean_site_data(headers);
        match self.place.passes_cookies() {
            true => self.clean_cookies(headers),
            false => drop(headers.remove(header::SET_COOKIE)),
        }
    }

    /// Clearing cookies clears those of the whole domain, siblings included.
    fn clean_site_data(&self, headers: &mut HeaderMap) {
        const CLEAR: HeaderName = HeaderName::from_static("clear-site-data");
        let reaches_far = |value: &HeaderValue| {
            let value = value.as_bytes().to_ascii_lowercase();
            let value = String::from_utf8_lossy(&value);
            value.contains("cookies") || value.contains('*') || value.contains("clienthints")
        };
        if headers.get_all(CLEAR).iter().any(reaches_far) {
            headers.remove(CLEAR);
        }
    }

    /// Takes the domain off cookies that would reach other apps, so that they are
    /// for this host alone.
    fn clean_cookies(&self, headers: &mut HeaderMap) {
        let has_domain = |value: &HeaderValue| domains(value.as_bytes()).next().is_some();
        if !headers.get_all(header::SET_COOKIE).iter().any(has_domain) {
            return;
        }
        let cookies = headers.get_all(header::SET_COOKIE).iter();
        let cookies: Vec<HeaderValue> = cookies.map(|value| self.clean_cookie(value)).collect();
        headers.remove(header::SET_COOKIE);
        for cookie in cookies {
            headers.append(header::SET_COOKIE, cookie);
        }
    }

    fn clean_cookie(&self, value: &HeaderValue) -> HeaderValue {
        if domains(value.as_bytes()).all(|domain| self.is_of_this_host_only(domain)) {
            return value.clone();
        }
        let parts = value.as_bytes().split(|byte| *byte == b';');
        let kept: Vec<&[u8]> = parts
            .enumerate()
            .filter(|(index, part)| *index == 0 || domain_of(part).is_none())
            .map(|(_, part)| part)
            .collect();
        // Pieces of a valid value make a valid one.
        HeaderValue::from_bytes(&kept.join(&b';')).unwrap_or_else(|_| value.clone())
    }

    /// Whether a cookie of a domain stays with the app that is reached here.
    fn is_of_this_host_only(&self, domain: &[u8]) -> bool {
        let Ok(domain) = std::str::from_utf8(domain) else {
            return false;
        };
        let domain = domain.trim();
        let domain = domain.strip_prefix('.').unwrap_or(domain);
        let host = self.host.host();
        let host = host.strip_suffix('.').unwrap_or(host);
        let base = &*self.base_domain;
        let rest = base.len().checked_sub(domain.len());
        let is_above = rest.is_some_and(|start| {
            let is_end = |tail: &str| tail.eq_ignore_ascii_case(domain);
            let is_label = start == 0 || base.as_bytes()[start - 1] == b'.';
            !base.is_empty() && is_label && base.get(start..).is_some_and(is_end)
        });
        // A browser takes an empty one for none.
        domain.is_empty() || (domain.eq_ignore_ascii_case(host) && !is_above)
    }
}

/// The domains that a cookie names; the last one counts in browsers.
fn domains(cookie: &[u8]) -> impl Iterator<Item = &[u8]> {
    let attributes = cookie.split(|byte| *byte == b';').skip(1);
    attributes.filter_map(domain_of)
}

/// The value of a `Domain` attribute.
fn domain_of(attribute: &[u8]) -> Option<&[u8]> {
    let mut parts = attribute.splitn(2, |byte| *byte == b'=');
    let name = parts.next()?.trim_ascii();
    let value = parts.next().unwrap_or_default();
    name.eq_ignore_ascii_case(b"domain").then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(place: Place, host: &str, fields: &[(&'static str, &str)]) -> Vec<String> {
        let guard = OriginGuard {
            place,
            host: host.parse().expect("a host"),
            base_domain: "apps.example.com".into(),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a value"));
        }
        guard.clean(&mut headers);
        let fields = headers.iter();
        fields
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
            .collect()
    }

    fn cookie(host: &str, cookie: &str) -> String {
        cleaned(Place::Own, host, &[("set-cookie", cookie)]).concat()
    }

    #[test]
    fn cookies_stay_with_their_app() {
        let host = "notes.apps.example.com:8002";
        for kept in [
            "a=b",
            "a=b; Path=/; Secure",
            "a=Domain=x; Path=/",
            "a=b; domain=notes.apps.example.com",
            "a=b; Domain = .Notes.Apps.Example.Com; HttpOnly",
            "a=b; Domain=",
        ] {
            assert_eq!(cookie(host, kept), format!("set-cookie: {kept}"));
        }
        for (sent, expected) in [
            ("a=b; Domain=apps.example.com", "a=b"),
            ("a=b; domain=.APPS.example.com; Path=/", "a=b; Path=/"),
            (
                "a=b; Path=/; DOMAIN=example.com; Secure",
                "a=b; Path=/; Secure",
            ),
            ("a=b;Domain=com", "a=b"),
            ("a=b; Domain=other.apps.example.com", "a=b"),
            (
                "a=b; Domain=notes.apps.example.com; Domain=apps.example.com",
                "a=b",
            ),
        ] {
            assert_eq!(
                cookie(host, sent),
                format!("set-cookie: {expected}"),
                "{sent}"
            );
        }
        // The root app is reached where all others are below.
        for host in ["apps.example.com", "example.com", "com"] {
            let sent = format!("a=b; Domain={host}");
            assert_eq!(cookie(host, &sent), "set-cookie: a=b", "{host}");
        }
        let elsewhere = "a=b; Domain=shop.test";
        assert_eq!(
            cookie("shop.test", elsewhere),
            format!("set-cookie: {elsewhere}")
        );
    }

    #[test]
    fn below_a_shared_origin_nothing_is_set_for_siblings() {
        let mut fields: Vec<(&'static str, &str)> = vec![("x-kept", "1"), ("set-cookie", "a=b")];
        fields.extend(OF_THE_ORIGIN.iter().map(|name| (*name, "x")));
        fields.extend(OF_THE_HOST.iter().map(|name| (*name, "x")));
        let strict = Place::Shared {
            passes_cookies: false,
        };
        assert_eq!(cleaned(strict, "h", &fields), ["x-kept: 1"]);
        let lax = Place::Shared {
            passes_cookies: true,
        };
        assert_eq!(cleaned(lax, "h", &fields), ["x-kept: 1", "set-cookie: a=b"]);
        let own = cleaned(Place::Own, "h", &fields);
        assert_eq!(own.len(), 2 + OF_THE_ORIGIN.len(), "all but alt-svc");
    }

    #[test]
    fn data_of_siblings_is_not_cleared() {
        for (value, is_kept) in [
            (r#""cache", "storage""#, true),
            (r#""Cookies""#, false),
            (r#""cache", "*""#, false),
        ] {
            let kept = cleaned(Place::Own, "h", &[("clear-site-data", value)]);
            assert_eq!(kept.len(), usize::from(is_kept), "{value}");
        }
    }
}
