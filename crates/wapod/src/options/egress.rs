//! Settings about the connections that apps make: rules, their default, proxies.

use std::fmt;
use std::str::FromStr;

use wapo_host::net::proxy::{Proxies, Proxy};
use wapod::limits::EGRESS_RULES_MAX;
use wapod::{Config, EgressDefault, EgressRule, WorkerEgress};

use super::picker::Picker;

const EGRESS: &str = "Connections of apps";

/// These settings of one source.
#[derive(clap::Args, Clone, Default, Debug)]
pub(crate) struct Egress {
    /// What every app may connect to besides public addresses, with commas between
    /// several: a name, *.name, an address, a network or *, each with an optional
    /// :port [default: none].
    #[arg(long, value_name = "RULES", help_heading = EGRESS)]
    pub(super) egress_allow: Option<RuleList>,

    /// What no app may connect to, even if another rule allows it; written in the
    /// same way [default: none].
    #[arg(long, value_name = "RULES", help_heading = EGRESS)]
    pub(super) egress_deny: Option<RuleList>,

    /// What apps may connect to where no rule applies: public or none [default:
    /// public].
    #[arg(long, value_name = "WHAT", help_heading = EGRESS)]
    pub(super) egress_default: Option<EgressDefault>,

    /// Count and log connections that would be denied, and allow them. The worker's
    /// own ports stay closed.
    #[arg(
        long,
        action = clap::ArgAction::Set,
        num_args = 0,
        default_missing_value = "true",
        help_heading = EGRESS
    )]
    pub(super) egress_audit: Option<bool>,

    /// Proxy for all connections of apps: socks5://HOST:PORT (the worker resolves
    /// names), socks5h://HOST:PORT or http://HOST:PORT (the proxy does). Also
    /// `all_proxy` of the environment [default: none].
    #[arg(long, value_name = "URL", help_heading = EGRESS)]
    pub(super) all_proxy: Option<Proxy>,

    /// Proxy for names that end with .i2p. Also `i2p_proxy` of the environment
    /// [default: as all-proxy].
    #[arg(long, value_name = "URL", help_heading = EGRESS)]
    pub(super) i2p_proxy: Option<Proxy>,

    /// Of `tcp_connect_blacklist` in a file of Wapo 0.x; added to `egress-deny`.
    #[arg(skip)]
    pub(super) blacklist: Vec<EgressRule>,
}

/// Rules with commas between them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct RuleList(pub(crate) Vec<EgressRule>);

impl FromStr for RuleList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim);
        let parts = parts.filter(|part| !part.is_empty());
        let rules = parts.map(|part| part.parse::<EgressRule>());
        let rules: Result<Vec<_>, _> = rules.collect();
        rules.map(Self).map_err(|error| error.to_string())
    }
}

impl fmt::Display for RuleList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}

/// A proxy, or that there is none.
struct Shown(Option<Proxy>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(proxy) => proxy.fmt(f),
            None => Ok(()),
        }
    }
}

/// What the environment says in variables of all programs.
#[derive(Default, Debug)]
pub(crate) struct ProxyVariables {
    /// Their names.
    pub(super) names: Vec<String>,
    /// Why one of them cannot be used.
    pub(super) errors: Vec<String>,
}

/// Decides the rules.
///
/// # Errors
///
/// A text of one line.
pub(super) fn rules(
    mut picker: Picker<'_, Egress>,
    config: &mut Config,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let none = RuleList::default;
    let RuleList(allow) = picker.pick("egress-allow", none(), |egress| egress.egress_allow.clone());
    let file = picker.file();
    let blacklist = file.map_or(&[][..], |egress| &egress.blacklist);
    let RuleList(deny) = picker.pick("egress-deny", RuleList(blacklist.to_vec()), |egress| {
        let RuleList(mut rules) = egress.egress_deny.clone()?;
        rules.extend_from_slice(blacklist);
        Some(RuleList(rules))
    });
    for (name, rules) in [("egress-allow", &allow), ("egress-deny", &deny)] {
        if rules.len() > EGRESS_RULES_MAX {
            return Err(format!(
                "{name}: {} rules are more than {EGRESS_RULES_MAX}: put addresses together to networks",
                rules.len()
            ));
        }
    }
    let public = EgressDefault::Public;
    let default = picker.pick("egress-default", public, |egress| egress.egress_default);
    let audit = picker.pick("egress-audit", false, |egress| egress.egress_audit);
    if audit {
        warnings.push(
            "egress-audit: connections that rules deny, and those to private addresses, are only counted and logged".to_owned(),
        );
    }
    config.egress = WorkerEgress {
        deny: deny.into_iter().collect(),
        allow: allow.into_iter().collect(),
        default,
        audit,
    };
    Ok(())
}

/// Decides who carries the connections. An operator who wants them to go through a
/// proxy must not find out later that they did not.
///
/// # Errors
///
/// A text of one line.
pub(super) fn proxies(
    mut picker: Picker<'_, Egress>,
    ignores_variables: bool,
    variables: &ProxyVariables,
    warnings: &mut Vec<String>,
) -> Result<Proxies, String> {
    let names = variables.names.join(" and ");
    if ignores_variables {
        if !names.is_empty() {
            warnings.push(format!(
                "{names} in the environment: ignored, apps connect directly"
            ));
        }
        return Ok(Proxies::default());
    }
    if let Some(error) = variables.errors.first() {
        return Err(format!("{error}; unset it, or use --ignore-proxy"));
    }
    let mut proxy = |name, of: fn(&Egress) -> Option<Proxy>| {
        let Shown(proxy) = picker.pick(name, Shown(None), |egress| {
            of(egress).map(|proxy| Shown(Some(proxy)))
        });
        proxy.map(std::sync::Arc::new)
    };
    let proxies = Proxies {
        all: proxy("all-proxy", |egress| egress.all_proxy.clone()),
        i2p: proxy("i2p-proxy", |egress| egress.i2p_proxy.clone()),
    };
    if proxies.all.is_none() && variables.names.iter().any(|name| is_of_https(name)) {
        return Err(format!(
            "{names} in the environment: apps open connections of all kinds, not only of HTTPS, and connecting directly may show what a proxy should hide; set all_proxy, or use --ignore-proxy"
        ));
    }
    Ok(proxies)
}

fn is_of_https(name: &str) -> bool {
    name.eq_ignore_ascii_case("https_proxy")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_stand_in_a_list_with_commas() {
        let list: RuleList = " *.example.com:443, 10.0.0.0/8 ,,127.1"
            .parse()
            .expect("rules");
        assert_eq!(
            list.to_string(),
            "*.example.com:443, 10.0.0.0/8, 127.0.0.1/32"
        );
        assert_eq!(list.to_string().parse(), Ok(list));
        assert_eq!("".parse(), Ok(RuleList::default()));
        let error = "10.0.0.0/8,a b".parse::<RuleList>().expect_err("no rule");
        assert!(error.starts_with("`a b` is not an egress rule"), "{error}");
    }
}
