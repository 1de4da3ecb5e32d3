//! Finding an app by what people call it.
//!
//! A word is, in this order: a host name label, a whole address (hex or base32),
//! a label, the beginning of an address. A word that fits several apps is an
//! error that lists them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use wapo_rpc::message::{AppInfo, AppListArgs, InstanceInfo};
use wapo_rpc::{AppAddress, Client};

use crate::human;

/// An app of a worker.
#[derive(Clone, Debug)]
pub(crate) struct FoundApp {
    pub(crate) address: AppAddress,
    pub(crate) info: AppInfo,
}

impl FoundApp {
    fn new(info: AppInfo) -> Result<Self> {
        let address = AppAddress::from_bytes(&info.address);
        let address = address.context("the worker lists an app without an address")?;
        Ok(Self { address, info })
    }

    /// What people call it.
    pub(crate) fn label(&self) -> &str {
        let manifest = self.info.manifest.as_ref();
        manifest.map_or("", |manifest| manifest.label.as_str())
    }

    /// What a person may type for it, the shortest that is not ambiguous.
    pub(crate) fn shown(&self) -> String {
        match self.info.name.as_str() {
            "" => human::short(&self.address),
            name => human::printable(name),
        }
    }

    /// Starts, restarts and crashes: instances that were started again.
    pub(crate) fn restarts(&self) -> u64 {
        self.info.instance_list.iter().map(|one| one.restarts).sum()
    }

    /// Why it answers nothing at the moment, and what to do; `None` when it runs.
    pub(crate) fn why_silent(&self) -> Option<String> {
        let name = self.shown();
        let reason = match self.info.reason.as_str() {
            "" => String::new(),
            reason => format!(" ({})", human::first_line(reason)),
        };
        let logs = format!("`wapo logs {name}` says more");
        Some(match self.info.state.as_str() {
            state if state == "waiting" || (state == "starting" && self.restarts() > 0) => {
                // The last crash is no restart yet.
                let crashes = self.restarts() + u64::from(state == "waiting");
                let times = match crashes {
                    1 => "once".to_owned(),
                    times => format!("{times} times"),
                };
                let starts = self.info.instance_list.iter().map(|one| one.next_start_ms);
                let next = match starts.filter(|ms| *ms > 0).min() {
                    Some(ms) => format!("; its next start is in {}", human::millis(ms)),
                    None => String::new(),
                };
                format!("{name} has crashed {times}{reason}{next}; {logs}")
            }
            "failed" => format!("{name} has failed{reason}; {logs}"),
            "finished" => format!("{name} has finished; `wapo start {name}` starts it again"),
            "stopped" => format!("{name} is stopped; `wapo start {name}` starts it"),
            _ => return None,
        })
    }

    /// Addresses that its instances listen on, each once, and whether the worker
    /// ends TLS there.
    pub(crate) fn listening(&self) -> BTreeMap<&str, bool> {
        let instances = self.info.instance_list.iter();
        let addresses = instances.flat_map(|one| {
            let of_one = one.listening.iter();
            of_one.map(|text| (text.as_str(), one.listening_tls.contains(text)))
        });
        addresses.collect()
    }

    /// Addresses on which its instances take datagrams, each once.
    pub(crate) fn listening_udp(&self) -> BTreeSet<&str> {
        let instances = self.info.instance_list.iter();
        instances
            .flat_map(|one| one.listening_udp.iter().map(String::as_str))
            .collect()
    }

    /// Server names that its instances serve on the TLS port, each once.
    pub(crate) fn server_names(&self) -> BTreeSet<&str> {
        let instances = self.info.instance_list.iter();
        instances
            .flat_map(|one| one.server_names.iter().map(String::as_str))
            .collect()
    }

    /// Whether the gateway is of no use: the app speaks on ports of its own, under
    /// server names, or takes queries, and no HTTP requests.
    pub(crate) fn is_off_the_gateway(&self) -> bool {
        let instances = &self.info.instance_list;
        let takes_http = instances.iter().any(|one| one.takes_http);
        let does_other_things = |one: &InstanceInfo| {
            one.takes_queries
                || !one.listening.is_empty()
                || !one.listening_udp.is_empty()
                || !one.server_names.is_empty()
        };
        !takes_http && instances.iter().any(does_other_things)
    }
}

/// All apps of a worker.
///
/// # Errors
///
/// Those of the connection.
pub(crate) async fn list(client: &Client) -> Result<Vec<FoundApp>> {
    let answer = client.app_list(AppListArgs::default()).await?;
    answer.apps.into_iter().map(FoundApp::new).collect()
}

/// The app that a person means.
///
/// # Errors
///
/// None or several, and those of the connection.
pub(crate) async fn find(client: &Client, word: &str) -> Result<FoundApp> {
    choose(list(client).await?, word)
}

/// The app with an address, if there is one.
///
/// # Errors
///
/// Those of the connection.
pub(crate) async fn by_address(client: &Client, address: AppAddress) -> Result<Option<FoundApp>> {
    let apps = list(client).await?;
    Ok(apps.into_iter().find(|app| app.address == address))
}

/// An app that is looked at again and again. The worker tells of all apps once, and then
/// of those that have changed.
pub(crate) struct Watched<'a> {
    client: &'a Client,
    address: AppAddress,
    since: String,
    app: Option<FoundApp>,
}

impl<'a> Watched<'a> {
    pub(crate) fn new(client: &'a Client, address: AppAddress) -> Self {
        Self {
            client,
            address,
            since: String::new(),
            app: None,
        }
    }

    /// The app as it is now, if it is there. Times are those of its last change.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub(crate) async fn look(&mut self) -> Result<Option<&FoundApp>> {
        let args = AppListArgs {
            since: self.since.clone(),
            ..AppListArgs::default()
        };
        let answer = self.client.app_list(args).await?;
        // An older worker tells of all apps each time, and has no revision.
        if !answer.is_delta || answer.removed.iter().any(|gone| *gone == self.address.0) {
            self.app = None;
        }
        let mut apps = answer.apps.into_iter();
        if let Some(info) = apps.find(|app| app.address == self.address.0) {
            self.app = Some(FoundApp::new(info)?);
        }
        self.since = answer.revision;
        Ok(self.app.as_ref())
    }
}

/// The one of these apps that a person means.
///
/// # Errors
///
/// None or several.
pub(crate) fn choose(apps: Vec<FoundApp>, word: &str) -> Result<FoundApp> {
    let lower = word.to_ascii_lowercase();
    let digits = lower.strip_prefix("0x").unwrap_or(&lower);
    let whole = digits
        .parse()
        .ok()
        .or_else(|| AppAddress::from_base32(word));
    let fits: [&dyn Fn(&FoundApp) -> bool; 4] = [
        &|app| !app.info.name.is_empty() && app.info.name == lower,
        &|app| Some(app.address) == whole,
        &|app| !word.is_empty() && app.label() == word,
        &|app| !digits.is_empty() && app.address.to_string().starts_with(digits),
    ];
    for fits in fits {
        let found: Vec<&FoundApp> = apps.iter().filter(|app| fits(app)).collect();
        match found.as_slice() {
            [] => {}
            [app] => return Ok((*app).clone()),
            several => bail!(ambiguous(word, several)),
        }
    }
    if apps.is_empty() {
        bail!("there is no app `{word}`: nothing is deployed on this worker");
    }
    bail!("there is no app `{word}` on this worker; `wapo list` shows what there is");
}

fn ambiguous(word: &str, apps: &[&FoundApp]) -> String {
    let mut text = format!("`{word}` may be any of these; use more of the address:");
    for app in apps {
        let label = human::printable(app.label());
        text.push_str(&format!("\n  {}  {label}", app.address));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use wapo_rpc::message::Manifest;

    fn app(first_byte: u8, name: &str, label: &str) -> FoundApp {
        let mut address = [0x11; 32];
        address[0] = first_byte;
        let info = AppInfo {
            address: address.to_vec(),
            name: name.to_owned(),
            manifest: Some(Manifest {
                label: label.to_owned(),
                ..Manifest::default()
            }),
            ..AppInfo::default()
        };
        FoundApp::new(info).expect("an app")
    }

    fn apps() -> Vec<FoundApp> {
        vec![
            app(0xa1, "shop", "Shop"),
            app(0xa2, "shop-2", "Shop"),
            app(0xb1, "", "a1"),
        ]
    }

    #[test]
    fn names_come_before_labels_and_labels_before_addresses() {
        let address = |word: &str| choose(apps(), word).expect(word).address.0[0];
        assert_eq!(address("shop"), 0xa1);
        assert_eq!(address("SHOP-2"), 0xa2);
        // A label, although it begins an address as well.
        assert_eq!(address("a1"), 0xb1);
        assert_eq!(address("a11"), 0xa1);
        assert_eq!(address("0xA2"), 0xa2);
        assert_eq!(address("b"), 0xb1);
        let whole = apps()[1].address;
        assert_eq!(address(&whole.to_string()), 0xa2);
        assert_eq!(address(&whole.to_base32()), 0xa2);
    }

    #[test]
    fn an_app_that_answers_nothing_has_a_reason() {
        let mut app = app(1, "payments", "Payments");
        let mut silent = |state: &str, reason: &str, restarts, next_start_ms| {
            app.info.state = state.to_owned();
            app.info.reason = reason.to_owned();
            app.info.instance_list = vec![InstanceInfo {
                restarts,
                next_start_ms,
                ..InstanceInfo::default()
            }];
            app.why_silent()
        };
        assert_eq!(
            silent("waiting", "exited with code 7", 6, 12_000).as_deref(),
            Some(
                "payments has crashed 7 times (exited with code 7); its next start is in 12s; `wapo logs payments` says more"
            )
        );
        assert_eq!(
            silent("starting", "", 1, 0).as_deref(),
            Some("payments has crashed once; `wapo logs payments` says more")
        );
        let failed = silent("failed", "gas limit of 5000 reached", 0, 0).expect("a reason");
        assert!(
            failed.contains("has failed (gas limit of 5000 reached)"),
            "{failed}"
        );
        for state in ["stopped", "finished"] {
            let text = silent(state, "", 0, 0).expect(state);
            assert!(text.contains("`wapo start payments`"), "{text}");
        }
        for state in ["running", "starting", "idle"] {
            assert_eq!(silent(state, "", 0, 0), None, "{state}");
        }
    }

    #[test]
    fn what_is_not_clear_is_said() {
        let several = choose(apps(), "a").expect_err("two").to_string();
        assert!(several.contains("may be any of these") && several.matches("Shop").count() == 2);
        let same_label = vec![app(1, "", "x"), app(2, "", "x")];
        assert!(choose(same_label, "x").is_err());
        for word in ["", "c", "0x", "zzz"] {
            let none = choose(apps(), word).expect_err(word).to_string();
            assert!(none.contains("wapo list"), "{none}");
        }
        let empty = choose(vec![], "x").expect_err("none").to_string();
        assert!(empty.contains("nothing is deployed"), "{empty}");
    }
}
