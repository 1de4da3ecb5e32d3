//! The operator of a daemon, at the admin port: typed calls through the client
//! that all programs use, and requests written by hand where a test wants what no
//! client sends.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use wapo_rpc::AppAddress;
use wapo_rpc::client::{Client, ClientError, TrustedCertificates};
use wapo_rpc::message::{
    Address, AppInfo, AppListArgs, AppSettings, Blob, DeployArgs, DeployResponse, Manifest,
    QueryArgs,
};
use wapod::{AppConfig, Config};

use crate::{Answer, Daemon, TIMEOUT, within};

/// An operator and the daemon that obeys.
pub struct Operator {
    daemon: Daemon,
    client: Client,
    base: String,
    token: Option<String>,
}

impl Deref for Operator {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Operator {
    /// Starts a daemon that forgets everything.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts a daemon with a data folder.
    pub async fn in_folder(path: &Path) -> Self {
        Self::with(|config| config.data_dir = Some(path.to_owned())).await
    }

    /// Starts a daemon after `change` has seen its configuration.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let (mut token, mut trusted) = (None, None);
        let daemon = Daemon::with(|config| {
            config.admin_address = Some(([127, 0, 0, 1], 0).into());
            change(config);
            token = config.admin_token.as_ref().map(|token| token.0.clone());
            trusted = config.admin_tls.as_ref().map(|files| {
                let pem = std::fs::read(&files.certificate).expect("a certificate");
                TrustedCertificates::from_pem(&pem).expect("a certificate")
            });
        })
        .await;
        let base = daemon.running().admin_url().expect("an admin port");
        let base = base.trim_end_matches('/').to_owned();
        let client = Client::with_trust(&base, token.as_deref(), trusted.as_ref());
        let operator = Self {
            client: client.expect("a URL"),
            daemon,
            base,
            token,
        };
        operator.ready().await;
        operator
    }

    async fn ready(&self) {
        let ready = async {
            while !self.health().await.is_ok_and(|health| health.ready) {
                tokio::task::yield_now().await;
            }
        };
        within("the daemon to be ready", ready).await;
    }

    /// The daemon.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Where the gateway listens.
    pub fn gateway(&self) -> SocketAddr {
        self.daemon.running().user_address()
    }

    /// URL of a path of the user port.
    pub fn user_url(&self, path: &str) -> String {
        let base = self.daemon.running().user_url();
        format!("{base}{}", path.trim_start_matches('/'))
    }

    /// URL of a path of an app on the gateway.
    pub fn app_url(&self, app: AppAddress, path: &str) -> String {
        format!("{}{path}", self.daemon.running().app_url(app))
    }

    /// Shuts the daemon down, as a signal would.
    pub async fn shutdown(self) {
        self.daemon.shutdown().await;
    }

    /// Sends a request with these headers, and with the token if there is one
    /// and no other.
    ///
    /// # Panics
    ///
    /// When no answer comes.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token
            && !headers.iter().any(|(name, _)| *name == "authorization")
        {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::from(body.into())))
            .expect("a request");
        let client = HttpClient::builder(TokioExecutor::new()).build_http();
        let exchange = async {
            let response = client.request(request).await.expect("an answer");
            let (head, body) = response.into_parts();
            let fields = head.headers.iter().map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.to_string(), value)
            });
            Answer {
                status: head.status.as_u16(),
                headers: fields.collect(),
                body: body.collect().await.expect("a body").to_bytes().to_vec(),
            }
        };
        within(path, exchange).await
    }

    /// Posts to a method of `Operation` in JSON.
    pub async fn json(&self, method: &str, body: &str) -> Answer {
        let path = format!("/prpc/Operation.{method}");
        let kind = [("content-type", "application/json")];
        self.send(Method::POST, &path, &kind, body).await
    }

    /// Posts to a method of `Operation` in protobuf.
    pub async fn protobuf(&self, method: &str, body: impl Into<Vec<u8>>) -> Answer {
        let path = format!("/prpc/Operation.{method}");
        self.send(Method::POST, &path, &[], body).await
    }

    /// Stores the code of an app.
    ///
    /// # Panics
    ///
    /// When the worker refuses it.
    pub async fn put_code(&self, app: &AppConfig) {
        let blob = Blob {
            hash: app.module.hash(),
            body: app.module.wasm().to_vec(),
        };
        let stored = self.blob_put(blob).await.expect("the blob is stored");
        assert_eq!(stored.hash, app.module.hash());
    }

    /// Stores the code of an app and deploys it.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub async fn deploy(&self, app: &AppConfig) -> AppAddress {
        self.deploy_with(app, |_| {}).await
    }

    /// The same after `change` has seen what is asked for.
    ///
    /// # Panics
    ///
    /// As [`deploy`](Self::deploy).
    pub async fn deploy_with(
        &self,
        app: &AppConfig,
        change: impl FnOnce(&mut DeployArgs),
    ) -> AppAddress {
        self.put_code(app).await;
        let mut args = args(app);
        change(&mut args);
        let deployed = self.try_deploy(args).await.expect("the app runs");
        address(&deployed)
    }

    /// Stores nothing and deploys.
    ///
    /// # Errors
    ///
    /// What the worker says.
    pub async fn try_deploy(&self, args: DeployArgs) -> Result<DeployResponse, ClientError> {
        within("a deployment", self.client.app_deploy(args)).await
    }

    /// All apps.
    ///
    /// # Panics
    ///
    /// When the worker does not tell.
    pub async fn apps(&self) -> Vec<AppInfo> {
        let list = self.app_list(AppListArgs::default()).await;
        list.expect("a list").apps
    }

    /// An app, if it is there.
    pub async fn find(&self, address: AppAddress) -> Option<AppInfo> {
        let apps = self.apps().await;
        apps.into_iter().find(|app| app.address == address.0)
    }

    /// Waits until an app looks so.
    ///
    /// # Panics
    ///
    /// When it does not, with how it looks.
    pub async fn until(
        &self,
        what: &str,
        address: AppAddress,
        condition: impl Fn(&AppInfo) -> bool,
    ) -> AppInfo {
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        loop {
            let info = self.find(address).await.expect("the app is there");
            if condition(&info) {
                return info;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{what}: still {info:#?}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Asks an app.
    ///
    /// # Errors
    ///
    /// What the worker or the app says.
    pub async fn query(&self, address: AppAddress, path: &str) -> Result<String, String> {
        let args = QueryArgs {
            address: address.0.to_vec(),
            path: path.to_owned(),
            ..QueryArgs::default()
        };
        let answer = within(path, self.client.app_query(args)).await;
        let output = answer.map_err(|error| error.to_string())?.output;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// Removes an app.
    ///
    /// # Panics
    ///
    /// When it cannot be removed.
    pub async fn remove(&self, address: AppAddress) {
        let removed = within("a removal", self.app_remove(Address::from(address))).await;
        removed.expect("the app is removed");
    }
}

/// What to call `AppDeploy` with: requests share instances, the settings are
/// those that can be told over the wire.
pub fn args(app: &AppConfig) -> DeployArgs {
    let ports = app.listen_ports.as_ref().map(ToString::to_string);
    DeployArgs {
        manifest: Some(Manifest::from(app.manifest())),
        reuse_instances: true,
        settings: Some(AppSettings {
            listen_ports: ports.unwrap_or_default(),
            ..AppSettings::default()
        }),
        ..DeployArgs::default()
    }
}

/// The manifest in the arguments of a deployment, to be changed.
///
/// # Panics
///
/// When there is none.
pub fn manifest(args: &mut DeployArgs) -> &mut Manifest {
    args.manifest.as_mut().expect("a manifest")
}

/// The settings in the arguments of a deployment, to be changed.
pub fn settings(args: &mut DeployArgs) -> &mut AppSettings {
    args.settings.get_or_insert_default()
}

/// The address in an answer.
///
/// # Panics
///
/// When it is none.
pub fn address(deployed: &DeployResponse) -> AppAddress {
    AppAddress::from_bytes(&deployed.address).expect("an address")
}
