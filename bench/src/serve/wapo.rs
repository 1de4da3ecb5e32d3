//! A Wapo server that runs guests as it is told.
//!
//! Commands:
//!
//! * `listen <guest> [argument]...` starts an app that listens on a port of its
//!   own and answers with the address. A free one is its first argument.
//! * `apps <count> <guest> [argument]...` starts that many apps and answers
//!   with the path of each on the gateway.
//! * `gateway` answers with the address of the gateway.
//! * `tls` answers with the address of the TLS port that apps share.
//! * `names <prefix> <count> <file>` starts the guest `names` with certificate and key
//!   of the file, and is answered when it serves them all.
//! * `guest-memory` answers with the bytes of the linear memories of the last of
//!   those.
//! * `stop` stops the apps of the last `apps`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use wapod::system::Capacity;
use wapod::{
    Allocation, AppAddress, AppConfig, AppHandle, Config, DescriptorLimits, Module, Phase, Running,
    Status, TlsSettings,
};

use crate::guests;

/// Enough for the row with the most instances and a few beside it.
const INSTANCES_MAX: u32 = 10_100;
/// The guest that fills a gibibyte gets it, and a little more to live in.
const MEMORY_MAX_BYTES: u64 = (1 << 30) + (64 << 20);
/// Files of the server that guests do not get.
const FILES_OF_OTHERS: u64 = 8_000;
/// Connections that one instance may have, as many as it may have handles.
const CONNECTIONS_MAX: u64 = 8_192;
/// Where the clients of the rows are.
const LOOPBACK: &str = "127.0.0.0/8";
/// Time for a guest to listen.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs it with linear memories of one of the two kinds.
pub(super) fn run(allocation: Allocation) -> Result<()> {
    let runtime = wapod::runtime_builder().build()?;
    runtime.block_on(async {
        let running = wapod::Server::start(Config {
            memory_max_bytes: MEMORY_MAX_BYTES,
            instances_max: INSTANCES_MAX,
            allocation,
            // One instance holds thousands of connections.
            guest_descriptors: Some(DescriptorLimits {
                total: Capacity::take().open_files.saturating_sub(FILES_OF_OTHERS),
                per_instance: CONNECTIONS_MAX,
            }),
            tls: Some(TlsSettings {
                address: ([127, 0, 0, 1], 0).into(),
                verifies_certificates: false,
                certificate: None,
            }),
            ..Config::default()
        })
        .await?;
        let mut guests = Guests {
            running,
            group: Vec::new(),
            started: 0,
            named: None,
        };
        let mut commands = super::commands();
        while let Some(command) = commands.next_line().await? {
            super::answer(guests.obey(&command).await);
        }
        Ok(())
    })
}

/// Where an instance listens, for connections or datagrams.
fn listens_on(status: &Status) -> Option<SocketAddr> {
    let tcp = status.listening.first().map(|one| one.address);
    tcp.or_else(|| status.listening_udp.first().copied())
}

/// The server and the apps that may be stopped again.
struct Guests {
    running: Running,
    group: Vec<AppAddress>,
    started: u32,
    named: Option<AppHandle>,
}

impl Guests {
    async fn obey(&mut self, command: &str) -> Result<Vec<String>> {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["gateway"] => Ok(vec![self.running.user_address().to_string()]),
            ["listen", guest, rest @ ..] => Ok(vec![self.listen(guest, rest).await?.to_string()]),
            ["apps", count, guest, rest @ ..] => self.apps(count.parse()?, guest, rest).await,
            ["tls"] => {
                let address = self.running.tls_address().context("no TLS port")?;
                Ok(vec![address.to_string()])
            }
            ["names", prefix, count, file] => {
                self.names(prefix, count, file).await?;
                Ok(Vec::new())
            }
            ["guest-memory"] => {
                let app = self.named.as_ref().context("there is none")?;
                Ok(vec![app.usage().memory_bytes.to_string()])
            }
            ["stop"] => {
                for address in std::mem::take(&mut self.group) {
                    self.running.stop_app(address).await?;
                }
                Ok(Vec::new())
            }
            _ => bail!("unknown command"),
        }
    }

    fn app(&mut self, module: &Module, arguments: &[&str]) -> AppConfig {
        // Apps with the same label and arguments would be the same app.
        self.started += 1;
        AppConfig {
            label: self.started.to_string(),
            args: arguments.iter().map(|word| (*word).to_owned()).collect(),
            listen_ports: "1024..65535".parse().ok(),
            // Answers to datagrams go where they came from.
            egress: LOOPBACK.parse().into_iter().collect(),
            ..AppConfig::new(module.clone())
        }
    }

    async fn listen(&mut self, guest: &str, rest: &[&str]) -> Result<SocketAddr> {
        // Free now, and soon taken by the guest.
        let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let address = free.to_string();
        let arguments = [&[address.as_str()], rest].concat();
        let module = Module::read(&guests::path(guest))?;
        let app = self.app(&module, &arguments);
        let app = self.running.start_app(app).await?;
        let mut status = app.status();
        let waiting = status.wait_for(|status| {
            listens_on(status).is_some() || matches!(status.phase, Phase::Ended(_))
        });
        let status = tokio::time::timeout(LISTEN_TIMEOUT, waiting).await??;
        listens_on(&status).with_context(|| format!("{guest} does not listen: {:?}", status.phase))
    }

    async fn names(&mut self, prefix: &str, count: &str, file: &str) -> Result<()> {
        let pem = std::fs::read_to_string(file)?;
        let module = Module::read(&guests::path("names"))?;
        let mut app = self.app(&module, &[prefix, count]);
        // Each text is looked through for its own part.
        app.env = ["TLS_CERT", "TLS_KEY"]
            .map(|name| (name.to_owned(), pem.clone()))
            .into();
        let app = self.running.start_app(app).await?;
        let count: usize = count.parse()?;
        let mut status = app.status();
        let waiting = status.wait_for(|status| {
            status.names.len() == count || matches!(status.phase, Phase::Ended(_))
        });
        let status = tokio::time::timeout(LISTEN_TIMEOUT, waiting).await??;
        if status.names.len() != count {
            bail!("it serves {} names: {:?}", status.names.len(), status.phase);
        }
        drop(status);
        self.named = Some(app);
        Ok(())
    }

    async fn apps(&mut self, count: u32, guest: &str, rest: &[&str]) -> Result<Vec<String>> {
        let module = Module::read(&guests::path(guest))?;
        self.group.clear();
        let mut paths = Vec::new();
        for _ in 0..count {
            let app = self.app(&module, rest);
            let app = self.running.start_app(app).await?;
            self.group.push(app.address());
            paths.push(format!("/app/{}/", app.address()));
        }
        Ok(paths)
    }
}
