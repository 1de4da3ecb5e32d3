//! The daemon itself as operators run it: the program `wapod` in a process of its
//! own, with a data folder, told what to do through its admin port.
//!
//! Used by the rows of `hold`, which stop it with a signal and look at its memory
//! from outside. Rows that only need a server use `child`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;
use wapo_rpc::client::Upload;
use wapo_rpc::message::{AppListArgs, AppSettings, DeployArgs, Manifest, Quota};
use wapo_rpc::{AppAddress, Client};
use wapod::Module;

use crate::folder::Folder;
use crate::machine;

/// Time for the daemon to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for the daemon to end. A daemon that takes longer does not end.
const END_TIMEOUT: Duration = Duration::from_secs(60);
/// Time between two looks at a process.
const PAUSE: Duration = Duration::from_millis(5);

/// A running daemon. Killed when dropped.
pub(crate) struct Worker {
    process: Child,
    /// Where apps answer.
    pub(crate) user: SocketAddr,
    client: Client,
    runtime: Runtime,
    _folder: Folder,
}

/// What is deployed.
#[derive(Clone)]
pub(crate) struct Deploy<'a> {
    pub(crate) label: &'a str,
    pub(crate) wasm: &'a [u8],
    pub(crate) args: &'a [&'a str],
    pub(crate) settings: AppSettings,
    /// The app that it takes the place of.
    pub(crate) replaces: Option<AppAddress>,
}

impl<'a> Deploy<'a> {
    /// A program with no arguments and the settings of the worker.
    pub(crate) fn new(label: &'a str, wasm: &'a [u8]) -> Self {
        Self {
            label,
            wasm,
            args: &[],
            settings: AppSettings::default(),
            replaces: None,
        }
    }
}

impl Worker {
    /// Starts the program `wapod` that was built beside this one.
    ///
    /// # Errors
    ///
    /// It is not built, or does not start.
    pub(crate) fn start(options: &[&str]) -> Result<Self> {
        let folder = Folder::make()?;
        let [user, admin] = free_addresses()?;
        let program = std::env::current_exe()?.with_file_name("wapod");
        let process = Command::new(&program)
            .args(["--user-port", &user.port().to_string()])
            .args(["--admin-port", &admin.port().to_string()])
            .arg("--data-dir")
            .arg(folder.path())
            .args(options)
            .env("RUST_LOG", "error")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}; build it first", program.display()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let worker = Self {
            process,
            user,
            client: Client::new(&format!("http://{admin}"), None)?,
            runtime,
            _folder: folder,
        };
        let begun = Instant::now();
        while worker.runtime.block_on(worker.client.health()).is_err() {
            if begun.elapsed() > START_TIMEOUT {
                bail!("the daemon does not start");
            }
            pause(PAUSE);
        }
        Ok(worker)
    }

    /// Deploys an app; its address.
    ///
    /// # Errors
    ///
    /// The daemon refuses it.
    pub(crate) fn deploy(&self, what: Deploy<'_>) -> Result<AppAddress> {
        let module = Module::new(what.wasm.to_vec());
        let args = DeployArgs {
            manifest: Some(Manifest {
                version: 1,
                code_hash: module.hash(),
                args: what.args.iter().map(|arg| (*arg).to_owned()).collect(),
                resizable: true,
                max_query_size: 16 << 20,
                label: what.label.to_owned(),
                ..Manifest::default()
            }),
            reuse_instances: true,
            settings: Some(what.settings),
            replaces: what
                .replaces
                .map_or_else(Vec::new, |address| address.0.to_vec()),
            ..DeployArgs::default()
        };
        self.runtime.block_on(async {
            let code = Upload::bytes(what.wasm.to_vec());
            self.client
                .upload_blob(&module.hash(), code, |_| {})
                .await?;
            let deployed = self.client.app_deploy(args).await?;
            Ok(AppAddress::from_bytes(&deployed.address)?)
        })
    }

    /// Makes a blob known to the worker.
    ///
    /// # Errors
    ///
    /// The daemon refuses it.
    pub(crate) fn put_blob(&self, content: Vec<u8>) -> Result<String> {
        let hash = Module::new(content.clone()).hash();
        let blob = Upload::bytes(content);
        let putting = self.client.upload_blob(&hash, blob, |_| {});
        Ok(self.runtime.block_on(putting)?)
    }

    /// Gives an app so many instances.
    ///
    /// # Errors
    ///
    /// The daemon refuses it.
    pub(crate) fn resize(&self, app: AppAddress, instances: u64) -> Result<()> {
        let args = wapo_rpc::message::ResizeArgs {
            address: app.0.to_vec(),
            instances,
        };
        self.runtime.block_on(self.client.app_resize(args))?;
        Ok(())
    }

    /// Stops an app; how long that took.
    ///
    /// # Errors
    ///
    /// The daemon refuses it.
    pub(crate) fn stop(&self, app: AppAddress) -> Result<Duration> {
        let begun = Instant::now();
        self.runtime.block_on(self.client.app_stop(app.into()))?;
        Ok(begun.elapsed())
    }

    /// Starts a stopped app.
    ///
    /// # Errors
    ///
    /// The daemon refuses it.
    pub(crate) fn start_app(&self, app: AppAddress) -> Result<()> {
        self.runtime.block_on(self.client.app_start(app.into()))?;
        Ok(())
    }

    /// The path of an app at the user port.
    pub(crate) fn path(app: AppAddress) -> String {
        format!("/app/{app}/")
    }

    /// Resident memory of the process, in bytes.
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        self.status_bytes("VmRSS")
    }

    /// The most that the process has had in memory since
    /// [`forget_peak`](Self::forget_peak), in bytes.
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub(crate) fn peak_bytes(&self) -> Result<u64> {
        self.status_bytes("VmHWM")
    }

    /// Begins the peak anew with what is in memory at the moment.
    ///
    /// # Errors
    ///
    /// The process is gone, or the system does not allow it.
    pub(crate) fn forget_peak(&self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.process.id());
        // proc(5): 5 resets the peak resident set size, and nothing else.
        std::fs::write(&path, "5").with_context(|| format!("cannot write to {path}"))
    }

    /// A size that the system tells of the process.
    fn status_bytes(&self, name: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.process.id());
        let field = machine::field(&path, name).with_context(|| format!("no {name} in {path}"))?;
        let kibibytes: u64 = field.trim_end_matches("kB").trim().parse()?;
        Ok(kibibytes * 1024)
    }

    /// Requests that the instances of an app have at the moment.
    ///
    /// # Errors
    ///
    /// The daemon does not answer, or the app is not there.
    pub(crate) fn requests(&self, app: AppAddress) -> Result<u64> {
        let listing = self.client.app_list(AppListArgs::default());
        let apps = self.runtime.block_on(listing)?.apps;
        let app = apps.iter().find(|one| one.address == app.0);
        let app = app.context("the app is not there")?;
        Ok(app.instance_list.iter().map(|one| one.requests).sum())
    }

    /// A quota of an app at a glance.
    ///
    /// # Errors
    ///
    /// The daemon does not answer, or knows no such app or quota.
    pub(crate) fn quota(&self, app: AppAddress, name: &str) -> Result<Quota> {
        let settings = self.client.app_settings_get(app.into());
        let mut quotas = self.runtime.block_on(settings)?.quotas.into_iter();
        let quota = quotas.find(|quota| quota.name == name);
        quota.context("there is no such quota")
    }

    /// Removes an app.
    ///
    /// # Errors
    ///
    /// The daemon refuses it.
    pub(crate) fn remove(&self, app: AppAddress) -> Result<()> {
        self.runtime.block_on(self.client.app_remove(app.into()))?;
        Ok(())
    }

    /// Asks the process to end as an operator does (SIGTERM).
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub(crate) fn terminate(&self) -> Result<()> {
        let number = i32::try_from(self.process.id())?;
        let pid = Pid::from_raw(number).context("the process has no number")?;
        kill_process(pid, Signal::TERM)?;
        Ok(())
    }

    /// Waits until the process has ended after [`terminate`](Self::terminate).
    ///
    /// # Errors
    ///
    /// It does not end within a minute.
    pub(crate) fn ended(mut self) -> Result<Duration> {
        let begun = Instant::now();
        while self.process.try_wait()?.is_none() {
            if begun.elapsed() > END_TIMEOUT {
                bail!("the daemon does not end");
            }
            pause(PAUSE);
        }
        Ok(begun.elapsed())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits; the threads of this process serve nobody.
pub(crate) fn pause(time: Duration) {
    #[allow(
        clippy::disallowed_methods,
        reason = "a client with threads of its own, in a process without instances"
    )]
    std::thread::sleep(time);
}

/// Different addresses on loopback whose ports are free, and soon taken by a server.
///
/// # Errors
///
/// No port is free.
pub(crate) fn free_addresses<const COUNT: usize>() -> Result<[SocketAddr; COUNT]> {
    // All are held until the last one is found: a port that is given back may be next.
    let mut held = Vec::with_capacity(COUNT);
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); COUNT];
    for address in &mut addresses {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        held.push(listener);
    }
    Ok(addresses)
}
