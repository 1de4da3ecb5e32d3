//! A daemon with a data folder of its own, as an operator runs it, that is told
//! what to do through its admin port.
//!
//! Commands:
//!
//! * `warm` deploys the guest `gateway` for all requests, `fresh` with an instance
//!   for each; both answer with the URL of the app.
//! * `https` starts the daemon anew, with TLS at the gateway.
//! * `query` answers with the URL for queries and the address of the app.
//! * `deploy <count>` deploys and removes the guest that often, each time under
//!   another label; answers with the microseconds until the first answer.
//! * `usage <apps>` deploys so many apps on demand, and answers with the microseconds of
//!   a report of their usage.
//! * `fill <apps>` deploys so many apps on demand, and answers with the URL of one of
//!   them; so does `filled` later.
//! * `restart <apps>` deploys so many apps on demand, stops, and answers with the
//!   microseconds that the next daemon takes until it is ready.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _};
use wapo_rpc::client::Upload;
use wapo_rpc::message::{DeployArgs, Manifest, UsageExportArgs};
use wapo_rpc::statement::{self, ExportedReport};
use wapo_rpc::{AppAddress, Client};
use wapod::{Config, Module, Running, TlsFiles};

use crate::client;
use crate::folder::Folder;
use crate::guests;

/// The guest of all these rows.
const GUEST: &str = "gateway";
/// Slots: requests with an instance of their own take one each.
const INSTANCES_MAX: u32 = 256;
/// Deployments that are in progress when a daemon is filled.
const DEPLOYED_AT_A_TIME: usize = 64;
/// Connections of the row with the most, and those of `wrk`.
const CONNECTIONS_MAX: u32 = 10_100;
/// Time between two looks at whether a daemon is ready.
const READY_PAUSE: Duration = Duration::from_millis(1);

pub(super) fn run() -> Result<()> {
    let runtime = wapod::runtime_builder().build()?;
    runtime.block_on(async {
        let folder = Folder::make()?;
        let guest = guests::path(GUEST);
        let mut daemon = Daemon::start(&folder, None, &guest).await?;
        let mut commands = super::commands();
        while let Some(command) = commands.next_line().await? {
            let words: Vec<&str> = command.split_whitespace().collect();
            let answer = match words.as_slice() {
                ["restart", apps] => {
                    daemon.fill(apps.parse()?).await?;
                    let filled = daemon.filled;
                    daemon.running.shutdown().await;
                    let begun = Instant::now();
                    daemon = Daemon::start(&folder, None, &guest).await?;
                    daemon.is_ready().await?;
                    daemon.filled = filled;
                    Ok(vec![begun.elapsed().as_micros().to_string()])
                }
                ["fill", apps] => {
                    daemon.fill(apps.parse()?).await?;
                    daemon.filled_url()
                }
                ["filled"] => daemon.filled_url(),
                ["https"] => {
                    daemon.running.shutdown().await;
                    daemon = Daemon::start(&folder, Some(certificate(&folder)?), &guest).await?;
                    Ok(vec![daemon.running.user_url()])
                }
                words => daemon.obey(words).await,
            };
            super::answer(answer);
        }
        daemon.running.shutdown().await;
        Ok(())
    })
}

/// A certificate that nobody has to trust, in a file.
fn certificate(folder: &Folder) -> Result<TlsFiles> {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
    let path = folder.path().join("tls.pem");
    let pem = format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem());
    std::fs::write(&path, pem)?;
    Ok(TlsFiles {
        certificate: path,
        key: None,
    })
}

/// A daemon with a data folder and an admin port.
pub(crate) fn config(folder: &Folder) -> Config {
    Config {
        data_dir: Some(folder.path().to_owned()),
        admin_address: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        instances_max: INSTANCES_MAX,
        connections_max: CONNECTIONS_MAX,
        // Nothing is reported but when it is measured.
        usage_interval: Duration::from_secs(3600),
        ..Config::default()
    }
}

/// A daemon, and the code of the apps that it is given.
pub(crate) struct Daemon {
    running: Running,
    client: Client,
    code_hash: String,
    filled: Filled,
}

/// The apps on demand that a daemon was filled with.
#[derive(Clone, Copy, Default)]
struct Filled {
    apps: usize,
    /// One of those in the middle.
    one: Option<AppAddress>,
}

impl Daemon {
    /// Starts a daemon that has the code of a guest.
    pub(super) async fn start(
        folder: &Folder,
        user_tls: Option<TlsFiles>,
        code: &Path,
    ) -> Result<Self> {
        let config = Config {
            user_tls,
            ..config(folder)
        };
        Self::start_with(config, code).await
    }

    /// Starts a daemon with an admin port that has the code of a guest.
    pub(crate) async fn start_with(config: Config, code: &Path) -> Result<Self> {
        let running = wapod::Server::start(config).await?;
        let admin = running.admin_address().context("no admin port")?;
        let client = Client::new(&format!("http://{admin}"), None)?;
        let module = Module::read(code)?;
        let wasm = Upload::bytes(module.wasm().to_vec());
        let code_hash = client.upload_blob(&module.hash(), wasm, |_| {}).await?;
        Ok(Self {
            running,
            client,
            code_hash,
            filled: Filled::default(),
        })
    }

    /// Makes a blob known to the worker; its hash.
    pub(super) async fn put_blob(&self, content: Vec<u8>) -> Result<String> {
        let hash = Module::new(content.clone()).hash();
        let blob = Upload::bytes(content);
        Ok(self.client.upload_blob(&hash, blob, |_| {}).await?)
    }

    /// Ends the daemon.
    pub(crate) async fn shutdown(self) {
        self.running.shutdown().await;
    }

    async fn is_ready(&self) -> Result<()> {
        while !self.client.health().await?.ready {
            tokio::time::sleep(READY_PAUSE).await;
        }
        Ok(())
    }

    async fn obey(&mut self, words: &[&str]) -> Result<Vec<String>> {
        match words {
            ["warm"] => Ok(vec![self.deploy("warm", Kind::Warm).await?.0]),
            ["fresh"] => Ok(vec![self.deploy("fresh", Kind::Fresh).await?.0]),
            ["query"] => {
                let (_, address) = self.deploy("query", Kind::Warm).await?;
                let url = format!("http://{}/prpc/User.Query", self.running.user_address());
                Ok(vec![url, address.to_string()])
            }
            ["deploy", count] => self.deploys(count.parse()?).await,
            ["usage", apps] => self.report_usage(apps.parse()?).await,
            _ => bail!("unknown command"),
        }
    }

    /// Deploys the guest; its URL and its address.
    async fn deploy(&self, label: &str, kind: Kind) -> Result<(String, AppAddress)> {
        self.deploy_with(label, kind, &[]).await
    }

    /// Deploys the guest with arguments; its URL and its address.
    pub(super) async fn deploy_with(
        &self,
        label: &str,
        kind: Kind,
        args: &[&str],
    ) -> Result<(String, AppAddress)> {
        let manifest = Manifest {
            version: 1,
            code_hash: self.code_hash.clone(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            on_demand: kind == Kind::OnDemand,
            max_query_size: 1 << 20,
            label: label.to_owned(),
            ..Manifest::default()
        };
        let args = DeployArgs {
            manifest: Some(manifest),
            reuse_instances: kind != Kind::Fresh,
            ..DeployArgs::default()
        };
        let deployed = self.client.app_deploy(args).await?;
        let address = AppAddress::from_bytes(&deployed.address)?;
        Ok((self.running.app_url(address), address))
    }

    /// Deploys and removes the guest so often; microseconds until each first answer.
    pub(crate) async fn deploys(&self, count: usize) -> Result<Vec<String>> {
        let mut times = Vec::with_capacity(count);
        for number in 0..count {
            let begun = Instant::now();
            let (url, address) = self.deploy(&format!("deploy-{number}"), Kind::Warm).await?;
            let body = tokio::task::spawn_blocking(move || client::get_once(&url)).await??;
            times.push(begun.elapsed().as_micros().to_string());
            anyhow::ensure!(body == b"Hello, World!", "another answer");
            self.client.app_remove(address.into()).await?;
        }
        Ok(times)
    }

    async fn report_usage(&mut self, apps: usize) -> Result<Vec<String>> {
        self.fill(apps).await?;
        let asked = |from_seq, settle| UsageExportArgs {
            from_seq,
            settle,
            ..UsageExportArgs::default()
        };
        let begun = Instant::now();
        let answer = self.client.usage_export(asked(u64::MAX, true)).await?;
        let time = begun.elapsed();
        let last = self.client.usage_export(asked(answer.last_seq, false));
        let last = last.await?.reports.pop().context("no report")?;
        let last: ExportedReport = statement::decode(&last)?;
        anyhow::ensure!(last.report.count as usize == apps, "it is about fewer apps");
        Ok(vec![time.as_micros().to_string()])
    }

    async fn fill(&mut self, apps: usize) -> Result<()> {
        let before = self.filled.apps;
        let deploying = futures_util::stream::iter(before..before + apps).map(|number| {
            let label = format!("app-{number}");
            let daemon = &*self;
            async move { daemon.deploy(&label, Kind::OnDemand).await }
        });
        let mut deploying = deploying.buffer_unordered(DEPLOYED_AT_A_TIME);
        let mut filled = self.filled;
        while let Some((_, address)) = deploying.try_next().await? {
            filled.apps += 1;
            if filled.apps <= before + apps.div_ceil(2) {
                filled.one = Some(address);
            }
        }
        drop(deploying);
        self.filled = filled;
        Ok(())
    }

    fn filled_url(&self) -> Result<Vec<String>> {
        let address = self.filled.one.context("there is none")?;
        Ok(vec![self.running.app_url(address)])
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One instance for all requests.
    Warm,
    /// An instance for each request.
    Fresh,
    /// An instance while requests arrive.
    OnDemand,
}
