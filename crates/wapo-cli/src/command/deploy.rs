//! `wapo deploy`: brings an app to a worker and waits until it runs there.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;
use wapo_rpc::ClientError;
use wapo_rpc::client::Upload;
use wapo_rpc::log::LogLine;
use wapo_rpc::message::{AppSettingsSetArgs, DeployArgs, Empty, WorkerInfo};
use wapod::{ByteSize, Module};

use crate::apps::{self, FoundApp};
use crate::progress::Progress;
use crate::project::BuildOptions;
use crate::settings::{Plan, Settings};
use crate::settle::{self, Outcome, Refused};
use crate::source::{Built, SERVES_NOTHING, Source};
use crate::terminal::Terminal;
use crate::worker::{self, Common, Session};
use crate::{endpoints, human};

/// Command line of `wapo deploy`.
#[derive(Args, Debug)]
#[command(after_help = "\
Settings can also stand in the project's Cargo.toml, with the same names, or in
package.json as \"wapo\":

  [package.metadata.wapo]
  memory = \"64M\"
  env = { GREETING = \"hello\" }

What the command line says comes first.

Standard output has a line for each URL of the app. The exit code is 0 when it
runs or still starts, or 1 when it does not; its last log lines are on standard
error then.")]
pub(crate) struct Options {
    /// Folder of a project, a wasm file, or a program in JavaScript or TypeScript.
    #[arg(default_value = ".")]
    app: PathBuf,

    /// Arguments for the app, after those of --arg.
    #[arg(last = true)]
    args: Vec<String>,

    #[command(flatten)]
    settings: Settings,

    /// Leave an older version running. Without this, the app of the same label
    /// is replaced.
    #[arg(long)]
    keep: bool,

    /// Compile quickly and without optimisation.
    #[arg(long)]
    debug: bool,

    /// Program to deploy, when the project has several.
    #[arg(long, value_name = "NAME")]
    bin: Option<String>,

    #[command(flatten)]
    common: Common,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    address: String,
    name: String,
    label: String,
    state: String,
    /// Whether anything was deployed.
    changed: bool,
    /// The app whose place it took.
    replaced: Option<String>,
    urls: Vec<String>,
}

/// Builds and deploys.
///
/// # Errors
///
/// It does not build, the worker refuses it, or it does not run.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    // Before a build of minutes, whether there is a worker to take it.
    let info = worker::run(&options.common, terminal, async |session| {
        Ok(session.client.info(Empty {}).await?)
    })?;
    let (plan, built) = prepare(options, &info, terminal)?;
    // Another connection: the worker may have closed the first one meanwhile.
    worker::run(&options.common, terminal, async |session| {
        deploy(session, options.keep, &info, plan, built).await
    })
}

/// Builds the module and puts the settings together. Blocks.
fn prepare(options: &Options, info: &WorkerInfo, terminal: &Terminal) -> Result<(Plan, Built)> {
    if !options.app.exists()
        && let Some(advice) = options.app.to_str().and_then(human::stray_value)
    {
        bail!("there is no app `{}` here; {advice}", options.app.display());
    }
    let build = BuildOptions {
        is_debug: options.debug,
        bin: options.bin.clone(),
    };
    let source = Source::find(&options.app, build)?;
    let of_project = source.settings()?;
    let engine = Some(info.javascript_engine.as_str()).filter(|hash| !hash.is_empty());
    let built = source.build(terminal, engine)?;
    let mut settings = options.settings.clone();
    settings.arg.extend(options.args.clone());
    let mut settings = settings.or(of_project);
    settings.arg = built.arguments(&settings.arg);
    let mut plan = settings.plan(built.code_hash.clone(), &source.name())?;
    let required = built.blobs.iter().map(|blob| (blob.hash(), String::new()));
    plan.manifest.required_blobs = required.collect();
    plan.manifest.check()?;
    Ok((plan, built))
}

async fn deploy(
    session: &Session<'_>,
    keep: bool,
    info: &WorkerInfo,
    plan: Plan,
    built: Built,
) -> Result<ExitCode> {
    let terminal = session.terminal;
    let label = human::printable(&plan.manifest.label);
    let address = plan.manifest.address();
    let apps = apps::list(&session.client).await?;
    if let Some(app) = apps.iter().find(|app| app.address == address) {
        return unchanged(session, info, &plan, app).await;
    }
    let replaced = match keep {
        true => None,
        false => predecessor(&apps, &plan).cloned(),
    };
    for blob in built.blobs {
        upload(session, &label, blob).await?;
    }
    if let Some(module) = built
        .module
        .filter(|module| module.hash() != info.javascript_engine)
    {
        upload(session, &label, module).await?;
    }
    let app = bring(session, &label, &plan, replaced.as_ref()).await?;
    let verb = match app.info.state.as_str() {
        "finished" => "Finished",
        "starting" => "Starting",
        _ => "Running",
    };
    let place = replaced
        .as_ref()
        .map(|old| format!(", in place of {}", human::short(&old.address)));
    terminal.note(
        verb,
        &format!("{label}, app {address}{}", place.unwrap_or_default()),
    );
    if replaced.is_some() {
        terminal.hint(
            "boot data and derived secrets belong to one version: this one begins without those of the old one",
        );
    }
    if app.info.state == "finished" && Built::is_program(&plan.manifest.args) {
        terminal.hint(SERVES_NOTHING);
    }
    if app.info.state == "idle" {
        terminal.hint("on demand: it starts with its first request");
    }
    if app.info.state == "starting" {
        terminal.hint(&format!(
            "its first poll has not returned yet; `wapo list` shows when it has, `wapo logs {}` what it says",
            app.shown()
        ));
    }
    show(session, info, &app, Some(replaced.as_ref()))
}

/// Has the worker run the app, and waits until it does.
async fn bring(
    session: &Session<'_>,
    label: &str,
    plan: &Plan,
    replaced: Option<&FoundApp>,
) -> Result<Box<FoundApp>> {
    let (terminal, client) = (session.terminal, &session.client);
    let address = plan.manifest.address();
    terminal.note("Deploying", &format!("{label} to {}", client.base_url()));
    let deployed = match settle::deploy(client, address, arguments(plan, replaced)).await {
        Ok(deployed) => deployed,
        Err(Refused { error, lines }) => {
            show_lines(terminal, label, &lines);
            if !matches!(error, ClientError::Refused { .. }) {
                return Err(error.into());
            }
            let error = human::first_line(&error.to_string());
            let old = replaced.map(|app| format!("\n{} goes on as it was", app.shown()));
            bail!(
                "{label} was not deployed: {error}{}",
                old.unwrap_or_default()
            );
        }
    };
    match settle::watch(client, address).await? {
        Outcome::Well(app) => Ok(app),
        Outcome::Crashed(reason, lines) => {
            show_lines(terminal, label, &lines);
            let name = match deployed.name.as_str() {
                "" => human::short(&address),
                name => human::printable(name),
            };
            bail!(
                "{label} does not run: {reason}\n\
                 it stays deployed; look at it with `wapo logs {name}`, remove it with `wapo rm {name}`, \
                 also to deploy it with other settings"
            );
        }
    }
}

/// This very app is there. Its quotas and its weight are all that may be changed.
async fn unchanged(
    session: &Session<'_>,
    info: &WorkerInfo,
    plan: &Plan,
    app: &FoundApp,
) -> Result<ExitCode> {
    let (name, state) = (app.shown(), app.info.state.as_str());
    let differences = plan.differences(&app.info);
    if !differences.is_empty() {
        let silent = app.why_silent();
        let silent = silent.map_or_else(String::new, |why| format!("{why}\n"));
        bail!(
            "{silent}{name} is deployed already, but with other settings ({}), which an app keeps\n\
             to change them: `wapo rm {name}`, then deploy again; its secrets and usage go with it",
            differences.join(", ")
        );
    }
    let quotas = plan.other_quotas(&app.info);
    let weight = plan.other_weight(&app.info);
    if quotas.is_empty() && weight.is_none() {
        let text = format!("{name} is deployed already, app {}", app.address);
        session.terminal.note("Unchanged", &text);
    } else {
        let text = quotas
            .iter()
            .map(|quota| format!("{}={}", quota.key, quota.value))
            .chain(weight.map(|weight| format!("weight {weight}")));
        let text = text.collect::<Vec<_>>().join(", ");
        let address = app.address.0.to_vec();
        let args = AppSettingsSetArgs {
            address,
            quotas,
            weight: weight.unwrap_or(0),
            egress: None,
        };
        session.client.app_settings_set(args).await?;
        let text = format!("{text} of {name}, which goes on as it was");
        session.terminal.note("Set", &text);
    }
    let is_crashing = state == "waiting" || (state == "starting" && app.restarts() > 0);
    if let Some(reason) = app.why_silent().filter(|_| is_crashing) {
        let lines = settle::last_lines(&session.client, app.address).await;
        show_lines(session.terminal, &human::printable(app.label()), &lines);
        bail!("{reason}");
    }
    match state {
        "stopped" | "failed" | "finished" => session
            .terminal
            .hint(&format!("it is {state}; start it with `wapo start {name}`")),
        _ => {}
    }
    show(session, info, app, None)
}

/// Prints where an app is. `deployed` is what it replaced, if it is new.
fn show(
    session: &Session<'_>,
    info: &WorkerInfo,
    app: &FoundApp,
    deployed: Option<Option<&FoundApp>>,
) -> Result<ExitCode> {
    let urls = endpoints::of(app, info, session.client.base_url());
    let report = Report {
        address: format!("0x{}", app.address),
        name: app.info.name.clone(),
        label: app.label().to_owned(),
        state: app.info.state.clone(),
        changed: deployed.is_some(),
        replaced: deployed.flatten().map(|old| format!("0x{}", old.address)),
        urls,
    };
    if !session.print_json(&report)? {
        report
            .urls
            .iter()
            .for_each(|url| session.terminal.result(url));
    }
    Ok(ExitCode::SUCCESS)
}

/// The app whose place a new one takes: of the same label, preferably the one
/// that has the host name.
fn predecessor<'a>(apps: &'a [FoundApp], plan: &Plan) -> Option<&'a FoundApp> {
    let same_label = apps.iter().filter(|app| app.label() == plan.manifest.label);
    same_label.max_by_key(|app| {
        let has_name = match &plan.name {
            Some(name) => app.info.name == name.as_str(),
            None => !app.info.name.is_empty(),
        };
        (has_name, app.info.sn)
    })
}

fn arguments(plan: &Plan, replaced: Option<&FoundApp>) -> DeployArgs {
    // A name that was chosen once stays with the app.
    let inherited = replaced.map(|app| app.info.name.clone());
    let name = plan.name.as_ref().map(ToString::to_string).or(inherited);
    DeployArgs {
        manifest: Some(plan.manifest.clone().into()),
        reuse_instances: plan.reuse_instances,
        name: name.unwrap_or_default(),
        settings: Some(plan.settings.clone()),
        settle_ms: 0,
        replaces: replaced.map_or_else(Vec::new, |app| app.address.0.to_vec()),
    }
}

/// Uploads the module, unless the worker has it.
async fn upload(session: &Session<'_>, label: &str, module: Module) -> Result<()> {
    let hash = module.hash();
    if session.client.has_blob(&hash).await? {
        return Ok(());
    }
    let wasm = module.wasm().to_vec();
    let size = wasm.len() as u64;
    let mut progress = Progress::new(session.terminal, size);
    let stored = session
        .client
        .upload_blob(&hash, Upload::bytes(wasm), move |bytes| progress.set(bytes))
        .await?;
    if stored != hash {
        bail!("the worker stored {stored} instead of {hash}; is it broken?");
    }
    session
        .terminal
        .note("Uploaded", &format!("{label} ({})", ByteSize(size)));
    Ok(())
}

fn show_lines(terminal: &Terminal, label: &str, lines: &[LogLine]) {
    if !lines.is_empty() {
        terminal.note("Log", &format!("of {label}, the last lines"));
    }
    lines.iter().for_each(|line| terminal.aside(line));
}

#[cfg(test)]
mod tests {
    use super::*;
    use wapo_rpc::AppAddress;
    use wapo_rpc::message::{AppInfo, Manifest};

    fn app(sn: u64, name: &str, label: &str) -> FoundApp {
        let manifest = Manifest {
            label: label.to_owned(),
            ..Manifest::default()
        };
        FoundApp {
            address: AppAddress([u8::try_from(sn).expect("small"); 32]),
            info: AppInfo {
                sn,
                name: name.to_owned(),
                manifest: Some(manifest),
                ..AppInfo::default()
            },
        }
    }

    fn plan(name: Option<&str>) -> Plan {
        let settings = Settings {
            name: name.map(|name| name.parse().expect("a name")),
            ..Settings::default()
        };
        let hash = format!("sha256:{}", "00".repeat(32));
        settings.plan(hash, "shop").expect("a plan")
    }

    #[test]
    fn an_app_replaces_the_one_of_its_label_that_has_the_name() {
        let apps = [
            app(1, "other", "other"),
            app(2, "shop", "shop"),
            app(3, "", "shop"),
            app(4, "shop-4", "shop"),
        ];
        let found = |name| predecessor(&apps, &plan(name)).map(|app| app.info.sn);
        assert_eq!(found(None), Some(4));
        assert_eq!(found(Some("shop")), Some(2));
        assert_eq!(found(Some("elsewhere")), Some(4));
        assert!(predecessor(&apps[..1], &plan(None)).is_none());
    }

    #[test]
    fn a_name_that_was_chosen_once_stays() {
        let old = app(7, "my-own", "shop");
        let args = arguments(&plan(None), Some(&old));
        assert_eq!((args.name.as_str(), args.replaces), ("my-own", vec![7; 32]));
        assert_eq!(arguments(&plan(Some("new")), Some(&old)).name, "new");
        assert_eq!(arguments(&plan(None), None).name, "");
    }
}
