//! What a deployment says about an app, besides its code.
//!
//! The same settings come from the command line and from a project's Cargo.toml
//! (`[package.metadata.wapo]`, the same names) or package.json (`"wapo"`); the command line wins. Turned
//! into a [`Plan`], which has the manifest and what the operator allows.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::{Value, json};
use wapo_rpc::message::{AppSettings, StringPair};
use wapo_rpc::{AppManifest, HostName};
use wapod::limits::QUERY_BYTES_MAX_DEFAULT;
use wapod::mistakes::{self, count, value};
use wapod::{ByteSize, EgressDefault, EgressRule, PortRanges, QuotaList};

/// Settings, as far as they were given.
#[derive(Args, serde::Deserialize, Clone, Debug, Default)]
#[command(next_help_heading = "App")]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Set an environment variable of the app. It sees only these and its secrets.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_env)]
    #[serde(deserialize_with = "variables")]
    pub(crate) env: Vec<(String, String)>,

    /// Add an argument for the app.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    #[serde(alias = "args")]
    pub(crate) arg: Vec<String>,

    /// Run the app only while a request or query needs it.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) on_demand: Option<bool>,

    /// Let the app have many instances.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) resizable: Option<bool>,

    /// Instances to start; more than one make the app resizable.
    #[arg(long, value_name = "N", value_parser = count)]
    #[serde(deserialize_with = "counted")]
    pub(crate) instances: Option<u32>,

    /// Give each request or query an instance of its own.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) fresh: Option<bool>,

    /// Let web pages of other origins use the app through the gateway, which also
    /// answers their preflights.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) cors: Option<bool>,

    /// Let the worker terminate TLS for the app's names at the shared TLS port, with
    /// a certificate that proves by the worker's hardware which app serves.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) attested: Option<bool>,

    /// Memory that an instance may have, such as 64M or 1g.
    #[arg(short, long, value_name = "SIZE")]
    #[serde(deserialize_with = "parsed")]
    pub(crate) memory: Option<ByteSize>,

    /// End an instance when it has used this much gas.
    #[arg(long, value_name = "GAS", value_parser = value::<u64>)]
    #[serde(deserialize_with = "parsed")]
    pub(crate) gas: Option<u64>,

    /// Share of the processor, compared with other apps.
    #[arg(long, value_name = "N", value_parser = count)]
    #[serde(deserialize_with = "counted")]
    pub(crate) weight: Option<u32>,

    /// Let the app connect to an address that is not public: a name, *.name, an
    /// address, a network such as 10.0.0.0/8, or *, each with an optional :port.
    #[arg(long, value_name = "RULE")]
    #[serde(deserialize_with = "rules")]
    pub(crate) allow_egress: Vec<EgressRule>,

    /// Do not let the app connect to this, even if another rule allows it; written in
    /// the same way.
    #[arg(long, value_name = "RULE")]
    #[serde(deserialize_with = "rules")]
    pub(crate) deny_egress: Vec<EgressRule>,

    /// What the app may connect to where no rule applies: public or none.
    #[arg(long, value_name = "WHAT")]
    #[serde(deserialize_with = "parsed")]
    pub(crate) egress_default: Option<EgressDefault>,

    /// Ports for the app to listen on, which are closed to apps that were not granted
    /// them, such as 3000..3100,4000, both included.
    #[arg(long, value_name = "A..B,...")]
    #[serde(deserialize_with = "parsed")]
    pub(crate) listen_ports: Option<PortRanges>,

    /// Set a quota of the app, such as connections-in=100, egress-per-second=10M or
    /// cpu=0.5; `wapo quota` lists them and changes them while the app runs.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_quota)]
    #[serde(deserialize_with = "quotas")]
    pub(crate) quota: Vec<(String, String)>,

    /// Start the app again also when it has ended without an error.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) restart_always: Option<bool>,

    /// First part of the app's host name. Without this it follows from the label.
    #[arg(long, value_name = "NAME")]
    #[serde(deserialize_with = "parsed")]
    pub(crate) name: Option<HostName>,

    /// Label of the app, for people. Without this, the name of the project.
    #[arg(long, value_name = "LABEL")]
    pub(crate) label: Option<String>,

    /// Size of a query, path included, that the app takes at most.
    #[arg(long, value_name = "SIZE")]
    #[serde(deserialize_with = "parsed")]
    pub(crate) query_max: Option<ByteSize>,
}

/// An app as it is to be deployed.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) manifest: AppManifest,
    /// Host name label that was asked for.
    pub(crate) name: Option<HostName>,
    pub(crate) settings: AppSettings,
    pub(crate) reuse_instances: bool,
}

impl Settings {
    /// Reads what a project says, at a place that errors name.
    ///
    /// # Errors
    ///
    /// An unknown name or a bad value.
    pub(crate) fn of_project(metadata: &Value, place: &str) -> Result<Self> {
        if metadata.is_null() {
            return Ok(Self::default());
        }
        let read = serde_json::from_value(metadata.clone());
        read.map_err(|error: serde_json::Error| {
            let mistake = mistake(metadata).unwrap_or_else(|| error.to_string());
            anyhow!("{place}: {mistake}")
        })
    }

    /// These settings, and for what they do not say, others.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        let mut env: BTreeMap<String, String> = other.env.into_iter().collect();
        env.extend(self.env);
        let list = |own: Vec<_>, others| if own.is_empty() { others } else { own };
        Self {
            env: env.into_iter().collect(),
            arg: list(self.arg, other.arg),
            on_demand: self.on_demand.or(other.on_demand),
            resizable: self.resizable.or(other.resizable),
            instances: self.instances.or(other.instances),
            fresh: self.fresh.or(other.fresh),
            cors: self.cors.or(other.cors),
            attested: self.attested.or(other.attested),
            memory: self.memory.or(other.memory),
            gas: self.gas.or(other.gas),
            weight: self.weight.or(other.weight),
            allow_egress: match self.allow_egress {
                own if own.is_empty() => other.allow_egress,
                own => own,
            },
            deny_egress: match self.deny_egress {
                own if own.is_empty() => other.deny_egress,
                own => own,
            },
            egress_default: self.egress_default.or(other.egress_default),
            listen_ports: self.listen_ports.or(other.listen_ports),
            quota: {
                let mut quotas: BTreeMap<_, _> = other.quota.into_iter().collect();
                quotas.extend(self.quota);
                quotas.into_iter().collect()
            },
            restart_always: self.restart_always.or(other.restart_always),
            name: self.name.or(other.name),
            label: self.label.or(other.label),
            query_max: self.query_max.or(other.query_max),
        }
    }

    /// The plan for code with a hash, of a project with a name.
    ///
    /// # Errors
    ///
    /// What every worker would refuse.
    pub(crate) fn plan(self, code_hash: String, project: &str) -> Result<Plan> {
        let query_max = match self.query_max {
            None => QUERY_BYTES_MAX_DEFAULT,
            Some(size) => u32::try_from(size.0)
                .ok()
                .with_context(|| format!("--query-max {size} is more than 4 GiB"))?,
        };
        let instances = self.instances.unwrap_or(1);
        if instances > 1 && self.on_demand == Some(true) {
            bail!(
                "an app on demand has as many instances as requests need: leave out --on-demand or --instances {instances}"
            );
        }
        if instances > 1 && self.resizable == Some(false) {
            bail!(
                "an app that is not resizable has one instance: leave out --resizable=false or --instances {instances}"
            );
        }
        let manifest = AppManifest {
            version: AppManifest::VERSION,
            code_hash,
            args: self.arg,
            env_vars: self.env,
            on_demand: self.on_demand.unwrap_or(false),
            resizable: self.resizable.unwrap_or(false) || instances > 1,
            max_query_size: query_max,
            label: self.label.unwrap_or_else(|| project.to_owned()),
            required_blobs: Vec::new(),
        };
        manifest.check()?;
        let ports = self.listen_ports.map(|ports| ports.to_string());
        let rules = self.allow_egress.iter().map(ToString::to_string);
        let denied = self.deny_egress.iter().map(ToString::to_string);
        Ok(Plan {
            manifest,
            name: self.name,
            reuse_instances: !self.fresh.unwrap_or(false),
            settings: AppSettings {
                restart_always: self.restart_always.unwrap_or(false),
                memory_max: self.memory.map_or(0, |size| size.0),
                gas_max: self.gas.unwrap_or(0),
                weight: self.weight.unwrap_or(0),
                egress: rules.collect(),
                egress_deny: denied.collect(),
                egress_only_allowed: self.egress_default == Some(EgressDefault::Nothing),
                listen_ports: ports.unwrap_or_default(),
                instances,
                cors: self.cors.unwrap_or(false),
                attested: self.attested.unwrap_or(false),
                quotas: self
                    .quota
                    .into_iter()
                    .map(|(key, value)| StringPair { key, value })
                    .collect(),
                ..AppSettings::default()
            },
        })
    }
}

impl Plan {
    /// Settings that an app has otherwise, in words. The number of instances is
    /// left out, and so are its quotas and its weight: they are changed while the app
    /// runs.
    pub(crate) fn differences(&self, app: &wapo_rpc::message::AppInfo) -> Vec<&'static str> {
        let theirs = app.settings.clone().unwrap_or_default();
        let ours = &self.settings;
        let mut differences = Vec::new();
        let mut compare = |is_equal: bool, option| {
            if !is_equal {
                differences.push(option);
            }
        };
        compare(self.reuse_instances == app.reuse_instances, "--fresh");
        compare(
            theirs.restart_always == ours.restart_always,
            "--restart-always",
        );
        compare(theirs.cors == ours.cors, "--cors");
        compare(theirs.attested == ours.attested, "--attested");
        compare(theirs.memory_max == ours.memory_max, "--memory");
        compare(theirs.gas_max == ours.gas_max, "--gas");
        compare(theirs.egress == ours.egress, "--allow-egress");
        compare(theirs.egress_deny == ours.egress_deny, "--deny-egress");
        compare(
            theirs.egress_only_allowed == ours.egress_only_allowed,
            "--egress-default",
        );
        compare(theirs.listen_ports == ours.listen_ports, "--listen-ports");
        let name = self.name.as_ref();
        compare(name.is_none_or(|name| name.as_str() == app.name), "--name");
        differences
    }

    /// The weight that an app is to have and has not. It can be changed while it
    /// runs; one that was set since stays.
    pub(crate) fn other_weight(&self, app: &wapo_rpc::message::AppInfo) -> Option<u32> {
        let theirs = app.settings.as_ref().map_or(1, |all| all.weight.max(1));
        Some(self.settings.weight).filter(|ours| *ours > 0 && *ours != theirs)
    }

    /// Quotas that an app has otherwise. They can be changed while it runs; others
    /// that were set since stay.
    pub(crate) fn other_quotas(&self, app: &wapo_rpc::message::AppInfo) -> Vec<StringPair> {
        let theirs = app.settings.clone().unwrap_or_default().quotas;
        let ours = self.settings.quotas.iter();
        let others = ours.filter(|quota| !has_quota(&theirs, quota));
        others.cloned().collect()
    }
}

/// Whether an app has a quota of its own, or none if that is what is wanted.
fn has_quota(theirs: &[StringPair], wanted: &StringPair) -> bool {
    let list = |quota: &StringPair| {
        let mut list = QuotaList::default();
        list.set(&quota.key, &quota.value).map(|()| list)
    };
    let is_it = |quota: &&StringPair| quota.key == wanted.key;
    let theirs = theirs.iter().find(is_it).map(list);
    list(wanted) == theirs.unwrap_or_else(|| Ok(QuotaList::default()))
}

/// Reads `NAME=VALUE` of a quota.
fn parse_quota(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not of the form NAME=VALUE"))?;
    QuotaList::default().set(name, value)?;
    Ok((name.to_owned(), value.to_owned()))
}

fn quotas<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<(String, String)>, D::Error> {
    let quotas = BTreeMap::<String, Value>::deserialize(input)?;
    let read = |(name, value): (String, Value)| {
        let value = text(value).map_err(D::Error::custom)?;
        QuotaList::default()
            .set(&name, &value)
            .map_err(D::Error::custom)?;
        Ok((name, value))
    };
    quotas.into_iter().map(read).collect()
}

/// The first setting of a project that cannot be read, and why.
fn mistake(metadata: &Value) -> Option<String> {
    let command = Settings::augment_args(clap::Command::new("deploy"));
    let names: Vec<&str> = command
        .get_arguments()
        .filter_map(|argument| argument.get_long())
        .chain(["args"])
        .collect();
    metadata.as_object()?.iter().find_map(|(name, value)| {
        if !names.contains(&name.as_str()) {
            return Some(match mistakes::similar(name, names.iter().copied()) {
                Some(known) => format!("unknown setting `{name}`; did you mean `{known}`?"),
                None => format!(
                    "unknown setting `{name}`: they are the long options of `wapo deploy --help`"
                ),
            });
        }
        let alone = json!({ name: value });
        let error = serde_json::from_value::<Settings>(alone).err()?;
        Some(format!("`{name}`: {error}"))
    })
}

/// Reads `NAME=VALUE`.
pub(crate) fn parse_env(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not of the form NAME=VALUE")),
    }
}

fn variables<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<(String, String)>, D::Error> {
    let variables = BTreeMap::<String, String>::deserialize(input)?;
    Ok(variables.into_iter().collect())
}

/// Reads a text or a number as the command line does.
fn parsed<'de, D: Deserializer<'de>, T>(input: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: std::fmt::Display>,
{
    value(&text(input)?).map(Some).map_err(D::Error::custom)
}

fn counted<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u32>, D::Error> {
    count(&text(input)?).map(Some).map_err(D::Error::custom)
}

fn text<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    match Value::deserialize(input)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(D::Error::custom(format!(
            "{other} is no text and no number"
        ))),
    }
}

fn rules<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<EgressRule>, D::Error> {
    let rules = Vec::<String>::deserialize(input)?;
    let rules = rules.iter().map(|rule| rule.parse());
    rules.collect::<Result<_, _>>().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash() -> String {
        format!("sha256:{}", "00".repeat(32))
    }

    fn project() -> Settings {
        let metadata = json!({
            "env": { "B": "2", "A": "1" },
            "args": ["x"],
            "on-demand": true,
            "memory": "64M",
            "allow-egress": ["10.0.0.0/8", "*.example.com:443"],
            "listen-ports": "3000..3100,4000",
            "quota": { "cpu": 0.5, "connections-in": 100 },
            "name": "shop",
            "query-max": "2K",
        });
        Settings::of_project(&metadata, "here").expect("settings")
    }

    #[test]
    fn a_project_says_how_it_is_deployed() {
        let plan = project().plan(hash(), "my-shop").expect("a plan");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(plan.manifest.env_vars, [pair("A", "1"), pair("B", "2")]);
        assert_eq!(plan.manifest.args, ["x"]);
        assert!(plan.manifest.on_demand && plan.reuse_instances);
        assert_eq!(plan.manifest.max_query_size, 2048);
        assert_eq!(plan.manifest.label, "my-shop");
        assert_eq!(plan.name.expect("a name").as_str(), "shop");
        assert_eq!(plan.settings.memory_max, 64 << 20);
        let rules = ["10.0.0.0/8", "*.example.com:443"];
        assert_eq!(plan.settings.egress, rules);
        assert_eq!(plan.settings.listen_ports, "3000..3100,4000..4000");
    }

    #[test]
    fn the_command_line_wins() {
        let own = Settings {
            env: vec![("B".into(), "3".into())],
            arg: vec!["y".into()],
            on_demand: Some(false),
            instances: Some(2),
            label: Some("other".into()),
            ..Settings::default()
        };
        let plan = own.or(project()).plan(hash(), "my-shop").expect("a plan");
        let env: Vec<_> = plan
            .manifest
            .env_vars
            .iter()
            .map(|(_, value)| value)
            .collect();
        assert_eq!(env, ["1", "3"]);
        assert_eq!(plan.manifest.args, ["y"]);
        assert!(!plan.manifest.on_demand && plan.manifest.resizable);
        assert_eq!(plan.manifest.label, "other");
        assert_eq!(plan.settings.instances, 2);
    }

    #[test]
    fn mistakes_in_a_project_are_named() {
        for (metadata, part) in [
            (
                json!({ "memroy": "64M" }),
                "unknown setting `memroy`; did you mean `memory`?",
            ),
            (
                json!({ "colour": "red" }),
                "unknown setting `colour`: they are the long options",
            ),
            (
                json!({ "memory": "lots" }),
                "`memory`: `lots` is not a size",
            ),
            (json!({ "memory": true }), "`memory`: true is no text"),
            (json!({ "gas": "many" }), "`gas`: `many` is not a number"),
            (json!({ "gas": 1.5 }), "`gas`: `1.5` is not a whole number"),
            (json!({ "instances": 0 }), "`instances`: `0` is too small"),
            (json!({ "weight": -1 }), "`weight`: `-1` is negative"),
            (json!({ "cors": "yes" }), "`cors`: invalid type: string"),
            (json!({ "listen-ports": "9..1" }), "9 is above 1"),
            (json!({ "name": "A B" }), "no name for a host"),
        ] {
            let error = Settings::of_project(&metadata, "Cargo.toml").expect_err(part);
            let error = format!("{error:#}");
            assert!(
                error.contains(part) && error.contains("Cargo.toml: "),
                "{error}"
            );
        }
    }

    #[test]
    fn settings_that_exclude_each_other_are_named() {
        let refused = |settings: Settings| {
            let refused = settings.plan(hash(), "x").expect_err("both");
            refused.to_string()
        };
        let several = Settings {
            instances: Some(2),
            ..Settings::default()
        };
        let error = refused(Settings {
            on_demand: Some(true),
            ..several.clone()
        });
        assert!(
            error.contains("leave out --on-demand or --instances 2"),
            "{error}"
        );
        let error = refused(Settings {
            resizable: Some(false),
            ..several
        });
        assert!(
            error.contains("--resizable=false or --instances 2"),
            "{error}"
        );
        let error = refused(Settings {
            on_demand: Some(true),
            resizable: Some(true),
            ..Settings::default()
        });
        assert!(error.contains("can not be resizable"), "{error}");
    }

    #[test]
    fn settings_that_differ_are_named_by_their_options() {
        let plan = project().plan(hash(), "x").expect("a plan");
        let mut app = wapo_rpc::message::AppInfo {
            name: "shop".into(),
            reuse_instances: true,
            settings: Some(plan.settings.clone()),
            ..Default::default()
        };
        assert!(plan.differences(&app).is_empty());
        app.reuse_instances = false;
        app.name = "shop-2".into();
        app.settings = None;
        let expected = [
            "--fresh",
            "--memory",
            "--allow-egress",
            "--listen-ports",
            "--name",
        ];
        assert_eq!(plan.differences(&app), expected);
    }
}
