//! Which listeners take headers of the PROXY protocol: a setting of the daemon.
//!
//! Whose headers count is another one, `trusted-proxies`; what a header looks like
//! is known to `wapo_host::net::proxy_header`.

use std::fmt;
use std::str::FromStr;

/// Listeners on which trusted proxies begin each connection with a PROXY header.
/// Written as `none`, or as some of `user`, `tls` and `apps` with commas between.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ProxyProtocol {
    /// The user port.
    pub user: bool,
    /// The port that apps share for TLS.
    pub tls: bool,
    /// Ports of apps, where the app asks for it.
    pub apps: bool,
}

impl FromStr for ProxyProtocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut listeners = Self::default();
        if text == "none" {
            return Ok(listeners);
        }
        for word in text.split(',').map(str::trim) {
            match word {
                "user" => listeners.user = true,
                "tls" => listeners.tls = true,
                "apps" => listeners.apps = true,
                _ => {
                    return Err(format!(
                        "`{word}` takes no PROXY headers: write user, tls, apps, with commas between several, or none"
                    ));
                }
            }
        }
        Ok(listeners)
    }
}

impl fmt::Display for ProxyProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [(self.user, "user"), (self.tls, "tls"), (self.apps, "apps")];
        let names: Vec<_> = all.iter().filter(|one| one.0).map(|one| one.1).collect();
        match names.is_empty() {
            true => f.write_str("none"),
            false => f.write_str(&names.join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_that_take_headers_of_proxies_are_a_list() {
        for text in ["user", "apps", "user,apps", "user,tls,apps", "tls", "none"] {
            let parsed: ProxyProtocol = text.parse().expect(text);
            assert_eq!(parsed.to_string(), text);
        }
        let both = "apps, user".parse::<ProxyProtocol>();
        assert!(both.is_ok_and(|both| both.user && both.apps));
        for text in ["", "user,", "admin", "User", "user;apps", "none,user"] {
            assert!(text.parse::<ProxyProtocol>().is_err(), "{text}");
        }
    }
}
