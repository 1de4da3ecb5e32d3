//! Calls to the worker that only its operator may make.
//!
//! Turns arguments into what the worker understands, and its answers into
//! messages. Who may call was settled before (`auth`).

use std::sync::Arc;

use hyper::Response;
use wapo_rpc::message::{
    Address, Addresses, AppInfo, AppListArgs, AppListResponse, AppSettings, AppUsage, Blob,
    Boolean, DeployArgs, DeployResponse, Empty, InstanceInfo, Number, ResizeArgs, SecretRemoveArgs,
    SecretSetArgs, SetBenchAppArgs, SignEndpointsArgs, WorkerInfo,
};
use wapo_rpc::{AppAddress, AppManifest, HostName, Method, OperationMethod, statement};

use super::admin::AdminSurface;
use super::body::Body;
use super::call::{Call, Refusal};
use super::user::{encrypted_query, query};
use crate::blobs::{BlobError, BlobName};
use crate::config::PortRange;
use crate::error::AppError;
use crate::store::{Restart, Settings};
use crate::worker::{App, Deployment, Instance, Name};

/// An answer, or an answer that says what was wrong.
type Answer = Result<Response<Body>, Refusal>;

/// Makes a call.
pub(super) async fn run(surface: &AdminSurface, call: &Call) -> Answer {
    let Method::Operation(method) = call.method else {
        return Err(call.refuse("method Not Found"));
    };
    use OperationMethod as M;
    match method {
        M::Info => Ok(call.answer(&info(surface))),
        M::BlobPut | M::BlobRemove | M::BlobExists => blob(surface, call, method).await,
        M::AppDeploy
        | M::AppRemove
        | M::AppRemoveAll
        | M::AppStart
        | M::AppStop
        | M::AppResize
        | M::SecretSet
        | M::SecretRemove => app(surface, call, method).await,
        M::AppList => Ok(call.answer(&list(surface, &call.arguments().await?))),
        M::AppQuery => query(&surface.worker, call).await,
        M::AppEncryptedQuery => encrypted_query(&surface.worker, call).await,
        M::WorkerInit
        | M::SignRegisterInfo
        | M::SignEndpoints
        | M::SignWorkerDescription
        | M::AppMetrics
        | M::SetBenchApp => worker(surface, call, method).await,
        M::WorkerExit => {
            surface.exit();
            Ok(call.answer(&Empty {}))
        }
    }
}

/// An error of the worker as an answer.
fn refuse(call: &Call) -> impl Fn(AppError) -> Refusal {
    move |error| call.refuse(&error.to_string())
}

/// What the worker says about itself and signs.
async fn worker(surface: &AdminSurface, call: &Call, method: OperationMethod) -> Answer {
    let worker = &surface.worker;
    let fail = refuse(call);
    match method {
        OperationMethod::WorkerInit => {
            let answer = worker.init(call.arguments().await?).await;
            Ok(call.answer(&answer.map_err(fail)?))
        }
        OperationMethod::SignRegisterInfo => {
            let answer = worker.register_info(&call.arguments().await?);
            Ok(call.answer(&answer.map_err(fail)?))
        }
        OperationMethod::SignEndpoints => {
            let args: SignEndpointsArgs = call.arguments().await?;
            let answer = worker.sign_endpoints(args.endpoints);
            Ok(call.answer(&answer.map_err(fail)?))
        }
        OperationMethod::SignWorkerDescription => {
            let answer = worker.sign_description(call.arguments().await?);
            Ok(call.answer(&answer.map_err(fail)?))
        }
        OperationMethod::AppMetrics => {
            let args: Addresses = call.arguments().await?;
            let addresses: Result<Vec<_>, _> = args
                .addresses
                .iter()
                .map(|one| address(call, one))
                .collect();
            let answer = worker.metrics(&addresses?, args.cursor).await;
            Ok(call.answer(&answer.map_err(fail)?))
        }
        _ => {
            let args: SetBenchAppArgs = call.arguments().await?;
            let app = bench_address(&args.app_address).map_err(|text| call.refuse(&text))?;
            worker.set_bench(app, args.instances).await.map_err(fail)?;
            Ok(call.answer(&Empty {}))
        }
    }
}

/// What happens to apps.
async fn app(surface: &AdminSurface, call: &Call, method: OperationMethod) -> Answer {
    let worker = &surface.worker;
    let fail = refuse(call);
    match method {
        OperationMethod::AppDeploy => {
            let deployment = deployment(call.arguments().await?).map_err(&fail)?;
            let (app, _) = worker.deploy(deployment).await.map_err(fail)?;
            return Ok(call.answer(&DeployResponse {
                address: app.address.0.to_vec(),
                session: app.session.to_vec(),
                name: app.name(),
            }));
        }
        OperationMethod::AppResize => {
            let args: ResizeArgs = call.arguments().await?;
            let count = u32::try_from(args.instances).unwrap_or(u32::MAX);
            let address = address(call, &args.address)?;
            let value = worker.resize(address, count).await.map_err(fail)?;
            return Ok(call.answer(&Number {
                value: u64::from(value),
            }));
        }
        OperationMethod::SecretRemove => {
            let args: SecretRemoveArgs = call.arguments().await?;
            let address = address(call, &args.address)?;
            let removed = worker.remove_secret(address, args.name).await;
            let value = removed.map_err(fail)?;
            return Ok(call.answer(&Boolean { value }));
        }
        OperationMethod::SecretSet => {
            let args: SecretSetArgs = call.arguments().await?;
            let address = address(call, &args.address)?;
            worker.set_secret(address, args.name, args.value).await
        }
        OperationMethod::AppRemoveAll => worker.remove_all().await,
        _ => {
            let args: Address = call.arguments().await?;
            let address = address(call, &args.address)?;
            match method {
                OperationMethod::AppRemove => worker.remove(address).await,
                OperationMethod::AppStart => worker.start_app(address).await,
                _ => worker.stop_app(address).await,
            }
        }
    }
    .map_err(fail)?;
    Ok(call.answer(&Empty {}))
}

async fn blob(surface: &AdminSurface, call: &Call, method: OperationMethod) -> Answer {
    let args: Blob = call.arguments().await?;
    let blobs = surface.worker.blobs.clone();
    match method {
        OperationMethod::BlobPut => {
            let put = move || blobs.put(args.hash.parse()?, &args.body);
            let put: Result<_, BlobError> = on_disk(call, put).await?;
            let fail = |error| format!("failed to put object\n\nCaused by:\n    {error}");
            let name = put.map_err(|error| call.refuse(&fail(error)))?;
            Ok(call.answer(&Blob {
                hash: name.to_string(),
                body: Vec::new(),
            }))
        }
        OperationMethod::BlobExists => {
            let name = args.hash.parse::<BlobName>();
            let look = move || name.is_ok_and(|name| blobs.exists(&name));
            let value = on_disk(call, look).await?;
            Ok(call.answer(&Boolean { value }))
        }
        _ => {
            let remove = move || blobs.remove(&args.hash.parse()?);
            let removed: Result<_, BlobError> = on_disk(call, remove).await?;
            let fail = |error| format!("failed to remove object: {error}");
            removed.map_err(|error| call.refuse(&fail(error)))?;
            Ok(call.answer(&Empty {}))
        }
    }
}

/// Does something that blocks on a thread that may.
async fn on_disk<T: Send + 'static>(
    call: &Call,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| call.refuse("the daemon is stopping"))
}

fn address(call: &Call, bytes: &[u8]) -> Result<AppAddress, Refusal> {
    AppAddress::from_bytes(bytes).map_err(|error| call.refuse(&error.to_string()))
}

/// An optional address as SCALE has it; nothing at all is none, too.
fn bench_address(bytes: &[u8]) -> Result<Option<AppAddress>, String> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let decoded: Result<Option<[u8; 32]>, _> = statement::decode(bytes);
    let read = decoded.map_err(|error| format!("`app_address` cannot be read: {error}"))?;
    Ok(read.map(AppAddress))
}

/// Checks what a deployment asks for.
fn deployment(args: DeployArgs) -> Result<Deployment, AppError> {
    let refused = |text: String| AppError::Refused(format!("failed to deploy app: {text}"));
    let manifest = args
        .manifest
        .ok_or_else(|| AppError::Refused("No manifest".to_owned()))?;
    let manifest = AppManifest::try_from(manifest).map_err(|error| refused(error.to_string()))?;
    let replaces = match args.replaces.as_slice() {
        [] => None,
        bytes => Some(AppAddress::from_bytes(bytes).map_err(|error| refused(error.to_string()))?),
    };
    let asked = args.settings.unwrap_or_default();
    Ok(Deployment {
        name: match args.name.as_str() {
            "" => HostName::from_label(&manifest.label)
                .map_or(Name::None, |name| Name::IfFree(name.to_string())),
            name => Name::Exactly(name.to_owned()),
        },
        instances: asked.instances,
        settings: settings(asked).map_err(refused)?,
        manifest,
        reuse_instances: args.reuse_instances,
        replaces,
        waits: true,
    })
}

fn settings(asked: AppSettings) -> Result<Settings, String> {
    let listen_ports = match asked.listen_ports.as_str() {
        "" => None,
        text => {
            let PortRange(ports) = text.parse()?;
            Some((*ports.start(), *ports.end()))
        }
    };
    Ok(Settings {
        restart: match asked.restart_always {
            true => Restart::Always,
            false => Restart::OnFailure,
        },
        memory_max_bytes: Some(asked.memory_max).filter(|bytes| *bytes > 0),
        gas_max: Some(asked.gas_max).filter(|gas| *gas > 0),
        time_max_ms: None,
        weight: asked.weight,
        egress: asked.egress,
        pass_cookies: asked.pass_cookies,
        listen_ports,
        listen_on_loopback: false,
        requests_max: asked.requests_max,
        trace_calls: asked.trace_calls,
        log_to_daemon: asked.log_to_daemon,
    })
}

fn info(surface: &AdminSurface) -> WorkerInfo {
    WorkerInfo {
        user_address: surface.user_address.to_string(),
        base_domain: surface.base_domain.clone(),
        ..surface.worker.operator_info()
    }
}

/// A part of the list of apps, in the order in which they were deployed.
fn list(surface: &AdminSurface, args: &AppListArgs) -> AppListResponse {
    let count = match args.count {
        0 => usize::MAX,
        count => count as usize,
    };
    let apps = surface.worker.apps_in_order();
    let page = apps.iter().skip(args.start as usize).take(count);
    AppListResponse {
        apps: page.map(app_info).collect(),
    }
}

fn app_info(app: &Arc<App>) -> AppInfo {
    let (condition, reason) = app.condition();
    let instances = app.instances();
    AppInfo {
        sn: app.serial,
        address: app.address.0.to_vec(),
        instances: instances.len() as u64,
        last_query_elapsed: app.last_request_elapsed().as_secs(),
        reuse_instances: app.reuse_instances,
        manifest: Some(app.manifest.clone().into()),
        name: app.name(),
        state: condition.name().to_owned(),
        reason: reason.unwrap_or_default(),
        settings: Some(app_settings(&app.settings)),
        target: u64::from(app.target()),
        instance_list: instances.iter().map(|one| instance_info(one)).collect(),
        usage: Some(app_usage(app)),
        deployed_at_ms: app.deployed_at_ms,
    }
}

fn app_settings(settings: &Settings) -> AppSettings {
    let ports = settings
        .listen_ports
        .map(|(first, last)| format!("{first}..{last}"));
    AppSettings {
        restart_always: settings.restart == Restart::Always,
        memory_max: settings.memory_max_bytes.unwrap_or_default(),
        gas_max: settings.gas_max.unwrap_or_default(),
        weight: settings.weight,
        egress: settings.egress.clone(),
        pass_cookies: settings.pass_cookies,
        listen_ports: ports.unwrap_or_default(),
        instances: 0,
        requests_max: settings.requests_max,
        trace_calls: settings.trace_calls,
        log_to_daemon: settings.log_to_daemon,
    }
}

fn instance_info(instance: &Instance) -> InstanceInfo {
    let status = instance.status();
    let shown = |one: &wapo_host::ListenAddress| one.address.to_string();
    let with_tls = status.listening.iter().filter(|one| one.tls);
    InstanceInfo {
        id: instance.handle().id().0,
        phase: phase_name(&status.phase).to_owned(),
        restarts: u64::from(status.restarts),
        uptime_ms: u64::try_from(instance.uptime().as_millis()).unwrap_or(u64::MAX),
        requests: instance.requests() as u64,
        memory: instance.handle().memory_bytes(),
        listening: status.listening.iter().map(shown).collect(),
        listening_tls: with_tls.map(shown).collect(),
        takes_http: status.takes_http,
        takes_queries: status.takes_queries,
    }
}

fn phase_name(phase: &wapo_host::Phase) -> &'static str {
    match phase {
        wapo_host::Phase::Starting => "starting",
        wapo_host::Phase::Running => "running",
        wapo_host::Phase::Waiting(_) => "waiting",
        wapo_host::Phase::Ended(_) => "ended",
    }
}

fn app_usage(app: &App) -> AppUsage {
    let totals = app.ledger.totals();
    AppUsage {
        requests: totals.requests,
        gas: totals.gas,
        network_ingress: totals.network_ingress_bytes,
        network_egress: totals.network_egress_bytes,
        memory: app.ledger.live().memory_bytes,
        memory_mib_seconds: u64::try_from(totals.memory_mib_seconds()).unwrap_or(u64::MAX),
        running_time_ms: totals.running_ms(),
        starts: totals.starts,
        restarts: totals.restarts,
        storage_bytes: app.ledger.stored_bytes(),
        storage_read: totals.storage_read_bytes,
        storage_write: totals.storage_write_bytes,
        tip: totals.tip,
    }
}
