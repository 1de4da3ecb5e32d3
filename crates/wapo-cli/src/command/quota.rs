//! `wapo quota`: what an app may have of everything that is counted, and what it has.
//!
//! The worker names the quotas and reads the values, so that this command knows
//! those of later workers, too.

use std::num::NonZeroU32;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use wapo_rpc::message::{Address, AppSettingsResponse, AppSettingsSetArgs, Quota, StringPair};
use wapod::ByteSize;

use crate::apps;
use crate::human;
use crate::table::{Align, Table};
use crate::terminal::Terminal;
use crate::worker::{self, Common};

/// Command line of `wapo quota`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Name, label, or the beginning of the address of the app.
    app: String,

    /// Change a quota, at once and without a restart, such as connections-in=100,
    /// egress-per-second=10M or cpu=0.5. `default` stands for what the worker gives
    /// every app, `unlimited` for no limit.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,

    /// Change the share of the CPU when apps compete: 3 gets three slices in a row.
    #[arg(long, value_name = "N")]
    weight: Option<NonZeroU32>,

    #[command(flatten)]
    common: Common,
}

/// Shows the quotas of an app, after a change if one is asked for.
///
/// # Errors
///
/// There is no such app or quota, or a value is none.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    let changes = changes(&options.set)?;
    worker::run(&options.common, terminal, async |session| {
        let app = apps::find(&session.client, &options.app).await?;
        let address = app.address.0.to_vec();
        let answer = match changes.is_empty() && options.weight.is_none() {
            true => session.client.app_settings_get(Address { address }).await?,
            false => {
                let args = AppSettingsSetArgs {
                    address,
                    quotas: changes,
                    weight: options.weight.map_or(0, NonZeroU32::get),
                    egress: None,
                };
                session.client.app_settings_set(args).await?
            }
        };
        let weight = answer.settings.as_ref().map_or(1, |all| all.weight.max(1));
        let report = json!({
            "address": format!("0x{}", app.address),
            "name": app.info.name,
            "quotas": answer.quotas,
            "weight": weight,
        });
        if session.print_json(&report)? {
            return Ok(ExitCode::SUCCESS);
        }
        let weight = options.weight.map(|weight| format!("weight {weight}"));
        let set: Vec<_> = options.set.iter().cloned().chain(weight).collect();
        if !set.is_empty() {
            let text = format!("{} of {}", set.join(", "), app.shown());
            terminal.note("Set", &text);
        }
        terminal.table(&table(&answer));
        Ok(ExitCode::SUCCESS)
    })
}

/// Takes names and values apart; what they mean is the worker's to say.
fn changes(texts: &[String]) -> Result<Vec<StringPair>> {
    let mut pairs = Vec::new();
    for text in texts.iter().flat_map(|text| text.split(',')) {
        let Some((key, value)) = text.split_once('=') else {
            bail!("`{text}` is not a quota: write NAME=VALUE such as connections-in=100");
        };
        pairs.push(StringPair {
            key: key.trim().to_owned(),
            value: value.trim().to_owned(),
        });
    }
    Ok(pairs)
}

fn table(answer: &AppSettingsResponse) -> Table {
    let mut table = Table::new(&[
        ("QUOTA", Align::Left),
        ("USED", Align::Right),
        ("LIMIT", Align::Right),
        ("OF", Align::Left),
        ("REACHED", Align::Right),
        ("AT IT", Align::Left),
    ]);
    for quota in &answer.quotas {
        let of = match (quota.is_own, quota.is_limited) {
            (true, _) => "app",
            (false, true) => "worker",
            (false, false) => "",
        };
        let limit = match quota.is_limited {
            true => quota.limit.clone(),
            false => "-".to_owned(),
        };
        let reached = match quota.refused {
            0 => String::new(),
            times => human::count(times),
        };
        table.row([
            quota.name.clone().into(),
            used(quota).into(),
            limit.into(),
            of.to_owned().into(),
            reached.into(),
            quota.at_limit.clone().into(),
        ]);
    }
    table
}

/// How much there is, in the form of the limit.
fn used(quota: &Quota) -> String {
    match quota.unit.as_str() {
        "bytes" => ByteSize(quota.used).to_string(),
        // Nobody counts them without a limit.
        "bytes/s" | "gas/s" | "millicores" if !quota.is_limited => "-".to_owned(),
        "bytes/s" => format!("{}/s", ByteSize(quota.used)),
        "millicores" => format!("{:.2}", quota.used as f64 / 1000.0),
        _ => human::count(quota.used),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_names_and_values() {
        let texts = ["cpu=0.5,timers = 7".to_owned(), "memory=default".to_owned()];
        let changes = changes(&texts).expect("three");
        let shown: Vec<_> = changes
            .iter()
            .map(|pair| (pair.key.as_str(), pair.value.as_str()))
            .collect();
        assert_eq!(
            shown,
            [("cpu", "0.5"), ("timers", "7"), ("memory", "default")]
        );
        assert!(super::changes(&["cpu".to_owned()]).is_err());
    }

    #[test]
    fn use_is_shown_in_the_form_of_the_limit() {
        let shown = |unit: &str, used, is_limited| {
            super::used(&Quota {
                unit: unit.to_owned(),
                used,
                is_limited,
                ..Quota::default()
            })
        };
        assert_eq!(shown("millicores", 475, true), "0.47");
        assert_eq!(shown("bytes/s", 2048, true), "2 KiB/s");
        assert_eq!(shown("bytes/s", 0, false), "-");
        assert_eq!(shown("count", 1234, false), "1,234");
    }
}
