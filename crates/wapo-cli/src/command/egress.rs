//! `wapo egress`: where an app may connect to, shown and changed while it runs.
//!
//! The rules that the app has are asked for, changed here and set as a whole; what is a
//! rule is the worker's to say.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use wapo_rpc::message::{Address, AppEgressRules, AppSettings, AppSettingsSetArgs};
use wapod::EgressDefault;

use crate::apps;
use crate::table::{Align, Table};
use crate::terminal::Terminal;
use crate::worker::{self, Common};

/// Command line of `wapo egress`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Name, label, or the beginning of the address of the app.
    app: String,

    /// Let the app connect to this from now on: a name, *.name, address, network or *,
    /// with an optional :port.
    #[arg(long, value_name = "RULE")]
    allow: Vec<String>,

    /// Let it not connect to this any more, even if another rule allows it.
    #[arg(long, value_name = "RULE")]
    deny: Vec<String>,

    /// Remove a rule, written as it is shown.
    #[arg(long, value_name = "RULE")]
    remove: Vec<String>,

    /// What it may connect to where no rule applies: public or none.
    #[arg(long, value_name = "WHAT")]
    default: Option<EgressDefault>,

    #[command(flatten)]
    common: Common,
}

impl Options {
    fn changes(&self) -> bool {
        let rules = [&self.allow, &self.deny, &self.remove];
        self.default.is_some() || rules.iter().any(|rules| !rules.is_empty())
    }
}

/// Shows the rules of an app, after a change if one is asked for.
///
/// # Errors
///
/// There is no such app, or a rule is none.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    worker::run(&options.common, terminal, async |session| {
        let app = apps::find(&session.client, &options.app).await?;
        let address = app.address.0.to_vec();
        let asked = Address {
            address: address.clone(),
        };
        let mut answer = session.client.app_settings_get(asked).await?;
        if options.changes() {
            let before = answer.settings.unwrap_or_default();
            let args = AppSettingsSetArgs {
                address,
                quotas: Vec::new(),
                weight: 0,
                egress: Some(changed(before, options)?),
            };
            answer = session.client.app_settings_set(args).await?;
            let text = format!("rules of {}, which goes on as it was", app.shown());
            terminal.note("Set", &text);
        }
        let settings = answer.settings.unwrap_or_default();
        let report = json!({
            "address": format!("0x{}", app.address),
            "name": app.info.name,
            "allow": settings.egress,
            "deny": settings.egress_deny,
            "default": default_of(settings.egress_only_allowed).to_string(),
        });
        if !session.print_json(&report)? {
            terminal.table(&table(&settings));
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The rules of an app after a change.
fn changed(before: AppSettings, options: &Options) -> Result<AppEgressRules> {
    let (mut allow, mut deny) = (before.egress, before.egress_deny);
    for rule in &options.remove {
        let count = allow.len() + deny.len();
        allow.retain(|one| one != rule);
        deny.retain(|one| one != rule);
        if allow.len() + deny.len() == count {
            bail!(
                "the app has no rule `{rule}` of its own; without options this command shows all"
            );
        }
    }
    for (rules, more) in [(&mut allow, &options.allow), (&mut deny, &options.deny)] {
        for rule in more {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    Ok(AppEgressRules {
        allow,
        deny,
        only_allowed: match options.default {
            Some(default) => default == EgressDefault::Nothing,
            None => before.egress_only_allowed,
        },
    })
}

fn default_of(only_allowed: bool) -> EgressDefault {
    match only_allowed {
        true => EgressDefault::Nothing,
        false => EgressDefault::Public,
    }
}

fn table(settings: &AppSettings) -> Table {
    let mut table = Table::new(&[("RULE", Align::Left), ("WHAT", Align::Left)]);
    let rules = [("deny", &settings.egress_deny), ("allow", &settings.egress)];
    for (what, rules) in rules {
        for rule in rules {
            table.row([rule.clone().into(), what.to_owned().into()]);
        }
    }
    let default = default_of(settings.egress_only_allowed).to_string();
    table.row(["everything else".to_owned().into(), default.into()]);
    table
}
