//! Calls to the worker that only its operator may make.
//!
//! Turns arguments into what the worker understands, and its answers into
//! messages. Who may call was settled before (`auth`).

mod list;
mod operator;
mod settings;
mod trust;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Response, StatusCode};
use wapo_rpc::message::{
    Address, Addresses, AppEvidenceArgs, AppListArgs, AppListResponse, AppMetricsResponse,
    AppSettingsResponse, AppSettingsSetArgs, AppVisitArgs, AppVisitResponse, Blob, Boolean, Budget,
    DeployArgs, DeployResponse, DomainAddArgs, DomainRemoveArgs, Empty, Evidence, InitArgs,
    InitResponse, KeyHandoverArgs, KeyHandoverResponse, Number, ResizeArgs, RotateKeysArgs,
    RotateKeysResponse, SecretRemoveArgs, SecretSetArgs, SetBenchAppArgs, SignEndpointsArgs,
    SignEndpointsResponse, SignRegisterInfoArgs, SignRegisterInfoResponse,
    SignWorkerDescriptionArgs, SignWorkerDescriptionResponse, UsageExportArgs, UsageExportResponse,
    WorkerEvidenceArgs, WorkerInfo,
};
use wapo_rpc::{AppAddress, AppManifest, HostName, Method, OperationMethod, statement};
use zeroize::Zeroizing;

use super::all_budgets::Row;
use super::body::Body;
use super::call::{Call, Refusal};
use super::error::call_error;
use super::gateway::visit;
use super::quotas;
use super::user::{encrypted_query, query};
use crate::blobs::{BlobError, BlobName};
use crate::error::AppError;
use crate::limits::SETTLE_MAX;
use crate::worker::{App, Deployment, EgressTexts, Name, PemIdentity, SettingsChange};
use operator::Fault;
pub(super) use operator::Operator;
use operator::address_or_none;
use settings::{app_settings, asked_settings};

/// Makes a call. One that changes something runs to its end, also when the client that
/// made it has gone: what is in the store and what is in memory stay the same.
pub(super) async fn run(operator: Operator, call: Call) -> Response<Body> {
    let Method::Operation(method) = call.method else {
        return *call.refuse("method Not Found");
    };
    let encoding = call.encoding;
    let making = async move {
        let made = dispatch(&operator, method, &call).await;
        made.unwrap_or_else(|refusal| *refusal)
    };
    if method.is_read_only() || asks_an_app(method) {
        return making.await;
    }
    let made = tokio::spawn(making).await;
    made.unwrap_or_else(|_| {
        let text = AppError::Interrupted.to_string();
        call_error(encoding, StatusCode::BAD_REQUEST, &text)
    })
}

/// Whether a call changes nothing of the worker: a question whose requester has
/// left need not be asked.
fn asks_an_app(method: OperationMethod) -> bool {
    use OperationMethod as M;
    matches!(method, M::AppQuery | M::AppEncryptedQuery | M::AppVisit)
}

/// Expands the rows of the schema: each method calls the function of its row. A
/// question to an app takes the whole call, because its answer may be large.
macro_rules! dispatch {
    (
        $service:ident
        $(
            $(#[doc = $doc:literal])*
            $name:ident: $function:ident($argument:ident) -> $answer:ident, $verb:ident, $size:ident;
        )*
    ) => {
        async fn dispatch(
            operator: &Operator,
            method: OperationMethod,
            call: &Call,
        ) -> Result<Response<Body>, Refusal> {
            match method {
                // Boxed, or every call would have room for the largest.
                $(
                    OperationMethod::$name => Box::pin(async {
                        dispatch!(@$size operator, call, $function, $argument, $answer)
                    }).await,
                )*
            }
        }
    };
    (@query $operator:ident, $call:ident, $function:ident, $argument:ident, $answer:ident) => {
        $operator.$function($call).await
    };
    (@$size:ident $operator:ident, $call:ident, $function:ident, $argument:ident, $answer:ident) => {{
        let arguments: $argument = $call.arguments().await?;
        let answer: Result<$answer, Fault> = $operator.$function(arguments).await;
        match answer {
            Ok(answer) => Ok($call.answer(&answer).await),
            Err(Fault(text)) => Err($call.refuse(&text)),
        }
    }};
}
wapo_rpc::for_each_operation_method!(dispatch);

/// One function for each row of the schema, of the same name.
impl Operator {
    async fn info(&self, _: Empty) -> Result<WorkerInfo, Fault> {
        let (worker, budgets) = (Arc::clone(&self.worker), Arc::clone(&self.budgets));
        let rows = on_disk(move || budgets.rows(&worker)).await?;
        Ok(WorkerInfo {
            user_address: self.user_address.to_string(),
            user_tls: self.user_scheme == "https",
            tls_address: self
                .tls_address
                .map_or_else(String::new, |at| at.to_string()),
            base_domain: self.base_domain.clone(),
            budgets: rows.iter().map(budget).collect(),
            ..self.worker.operator_info()
        })
    }

    async fn worker_init(&self, args: InitArgs) -> Result<InitResponse, Fault> {
        Ok(self.worker.init(args).await?)
    }

    async fn sign_register_info(
        &self,
        args: SignRegisterInfoArgs,
    ) -> Result<SignRegisterInfoResponse, Fault> {
        Ok(self.worker.register_info(&args).await?)
    }

    async fn sign_endpoints(
        &self,
        args: SignEndpointsArgs,
    ) -> Result<SignEndpointsResponse, Fault> {
        Ok(self.worker.sign_endpoints(args.endpoints)?)
    }

    async fn sign_worker_description(
        &self,
        args: SignWorkerDescriptionArgs,
    ) -> Result<SignWorkerDescriptionResponse, Fault> {
        Ok(self.worker.sign_description(args)?)
    }

    async fn worker_exit(&self, _: Empty) -> Result<Empty, Fault> {
        self.exit.notify_one();
        Ok(Empty {})
    }

    async fn blob_put(&self, args: Blob) -> Result<Blob, Fault> {
        let blobs = self.worker.blobs.clone();
        let put = move || blobs.put(args.hash.parse()?, &args.body);
        let put: Result<_, BlobError> = on_disk(put).await?;
        let failed = |error| format!("failed to put object\n\nCaused by:\n    {error}");
        let name = put.map_err(|error| Fault(failed(error)))?;
        Ok(Blob {
            hash: name.to_string(),
            body: Vec::new(),
        })
    }

    async fn blob_remove(&self, args: Blob) -> Result<Empty, Fault> {
        let blobs = self.worker.blobs.clone();
        let remove = move || blobs.remove(&args.hash.parse()?);
        let removed: Result<_, BlobError> = on_disk(remove).await?;
        let failed = |error| Fault(format!("failed to remove object: {error}"));
        removed.map_err(failed)?;
        Ok(Empty {})
    }

    async fn blob_exists(&self, args: Blob) -> Result<Boolean, Fault> {
        let blobs = self.worker.blobs.clone();
        let name = args.hash.parse::<BlobName>();
        let look = move || name.is_ok_and(|name| blobs.exists(&name));
        let value = on_disk(look).await?;
        Ok(Boolean { value })
    }

    async fn app_deploy(&self, args: DeployArgs) -> Result<DeployResponse, Fault> {
        let (app, _) = self.worker.deploy(deployment(args)?).await?;
        Ok(DeployResponse {
            address: app.address.0.to_vec(),
            session: app.session.to_vec(),
            name: app.name(),
        })
    }

    async fn app_remove(&self, args: Address) -> Result<Empty, Fault> {
        let address = AppAddress::from_bytes(&args.address)?;
        self.worker.remove(address).await?;
        Ok(Empty {})
    }

    async fn app_start(&self, args: Address) -> Result<Empty, Fault> {
        let address = AppAddress::from_bytes(&args.address)?;
        self.worker.start_app(address).await?;
        Ok(Empty {})
    }

    async fn app_stop(&self, args: Address) -> Result<Empty, Fault> {
        let address = AppAddress::from_bytes(&args.address)?;
        self.worker.stop_app(address).await?;
        Ok(Empty {})
    }

    async fn app_resize(&self, args: ResizeArgs) -> Result<Number, Fault> {
        let count = u32::try_from(args.instances).unwrap_or(u32::MAX);
        let address = AppAddress::from_bytes(&args.address)?;
        let value = u64::from(self.worker.resize(address, count).await?);
        Ok(Number { value })
    }

    async fn app_settings_get(&self, args: Address) -> Result<AppSettingsResponse, Fault> {
        let address = AppAddress::from_bytes(&args.address)?;
        let app = self.worker.app(&address);
        let app = app.ok_or(AppError::NotFound(address))?;
        Ok(settings_answer(&app))
    }

    async fn app_settings_set(
        &self,
        args: AppSettingsSetArgs,
    ) -> Result<AppSettingsResponse, Fault> {
        let address = AppAddress::from_bytes(&args.address)?;
        let change = SettingsChange {
            quotas: quotas::changes(&args.quotas).map_err(AppError::BadQuota)?,
            weight: NonZeroU32::new(args.weight),
            egress: args.egress.map(|rules| EgressTexts {
                allow: rules.allow,
                deny: rules.deny,
                only_allowed: rules.only_allowed,
            }),
        };
        let app = self.worker.change_settings(address, change).await?;
        Ok(settings_answer(&app))
    }

    async fn app_metrics(&self, args: Addresses) -> Result<AppMetricsResponse, Fault> {
        let addresses: Result<Vec<_>, _> = args
            .addresses
            .iter()
            .map(|one| AppAddress::from_bytes(one))
            .collect();
        Ok(self.worker.metrics(&addresses?, args.cursor).await?)
    }

    async fn usage_export(&self, args: UsageExportArgs) -> Result<UsageExportResponse, Fault> {
        let app = address_or_none(&args.address)?;
        let exported = self
            .worker
            .export_usage(args.from_seq, app, args.max, args.settle);
        Ok(exported.await?)
    }

    async fn app_list(&self, args: AppListArgs) -> Result<AppListResponse, Fault> {
        // Many apps take a while. One list at a time has a thread; a client that leaves
        // while it waits for that is forgotten.
        let worker = Arc::clone(&self.worker);
        let turn = worker.turn_to_look().await;
        on_disk(move || list::list(&worker, turn, &args)).await?
    }

    async fn app_remove_all(&self, _: Empty) -> Result<Empty, Fault> {
        self.worker.remove_all().await?;
        Ok(Empty {})
    }

    async fn app_query(&self, call: &Call) -> Result<Response<Body>, Refusal> {
        query(&self.worker, call).await
    }

    async fn app_encrypted_query(&self, call: &Call) -> Result<Response<Body>, Refusal> {
        encrypted_query(&self.worker, call).await
    }

    async fn app_visit(&self, args: AppVisitArgs) -> Result<AppVisitResponse, Fault> {
        let address = AppAddress::from_bytes(&args.address)?;
        let app = self.worker.app(&address);
        let app = app.ok_or(AppError::NotFound(address))?;
        visit::visit(self, &app, &args.path).await.map_err(Fault)
    }

    async fn set_bench_app(&self, args: SetBenchAppArgs) -> Result<Empty, Fault> {
        let app = bench_address(&args.app_address).map_err(Fault)?;
        self.worker.set_bench(app, args.instances).await?;
        Ok(Empty {})
    }

    async fn secret_set(&self, args: SecretSetArgs) -> Result<Empty, Fault> {
        let address = AppAddress::from_bytes(&args.address)?;
        self.worker
            .set_secret(address, args.name, Zeroizing::new(args.value))
            .await?;
        Ok(Empty {})
    }

    async fn secret_remove(&self, args: SecretRemoveArgs) -> Result<Boolean, Fault> {
        let address = AppAddress::from_bytes(&args.address)?;
        let value = self.worker.remove_secret(address, args.name).await?;
        Ok(Boolean { value })
    }
}

/// Domains of apps.
impl Operator {
    async fn domain_add(&self, args: DomainAddArgs) -> Result<Empty, Fault> {
        let address = AppAddress::from_bytes(&args.address)?;
        let DomainAddArgs {
            domain,
            certificate,
            key,
            ..
        } = args;
        let has_certificate = !(certificate.is_empty() && key.is_empty());
        let pem = has_certificate.then_some(PemIdentity {
            certificate,
            key: Zeroizing::new(key),
        });
        self.worker.add_domain(address, &domain, pem).await?;
        Ok(Empty {})
    }

    async fn domain_remove(&self, args: DomainRemoveArgs) -> Result<Boolean, Fault> {
        let address = AppAddress::from_bytes(&args.address)?;
        let value = self.worker.remove_domain(address, &args.domain).await?;
        Ok(Boolean { value })
    }
}

/// Does something that blocks on a thread that may.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| AppError::Interrupted.into())
}

/// What is decided for an app, and what it uses of its quotas.
fn settings_answer(app: &App) -> AppSettingsResponse {
    AppSettingsResponse {
        settings: Some(app_settings(&app.settings_now())),
        quotas: quotas::of(app),
    }
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

fn budget(row: &Row) -> Budget {
    Budget {
        scope: row.scope.name().to_owned(),
        name: row.name.to_owned(),
        title: row.title.to_owned(),
        used: row.used,
        max: row.max.unwrap_or_default(),
        refused: row.refused.unwrap_or_default(),
    }
}

/// Checks what a deployment asks for.
fn deployment(args: DeployArgs) -> Result<Deployment, AppError> {
    let refused = |text: String| AppError::Refused(format!("failed to deploy app: {text}"));
    let manifest = args
        .manifest
        .ok_or_else(|| AppError::Refused("No manifest".to_owned()))?;
    let manifest = AppManifest::try_from(manifest).map_err(|error| refused(error.to_string()))?;
    let replaces = address_or_none(&args.replaces).map_err(|error| refused(error.to_string()))?;
    let asked = args.settings.unwrap_or_default();
    Ok(Deployment {
        quotas: quotas::changes(&asked.quotas).map_err(refused)?,
        name: match args.name.as_str() {
            "" => HostName::from_label(&manifest.label)
                .map_or(Name::None, |name| Name::IfFree(name.to_string())),
            name => Name::Exactly(name.to_owned()),
        },
        instances: asked.instances,
        settings: asked_settings(asked).map_err(refused)?,
        manifest,
        reuse_instances: args.reuse_instances,
        replaces,
        waits: true,
        settle: match args.settle_ms {
            0 => None,
            ms => Some(Duration::from_millis(u64::from(ms)).min(SETTLE_MAX)),
        },
    })
}
