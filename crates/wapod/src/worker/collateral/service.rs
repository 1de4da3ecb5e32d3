//! Fetches collateral from a caching service (PCCS), or from the vendor's own.
//!
//! What is asked for, and how answers are put together, is in `wapo-verify`, which the
//! command uses as well. HTTPS is checked against public authorities and the operator's
//! roots; plain HTTP will do, since nothing is believed that a verifier does not check.
//! Answers are bounded, and all waits have an end. Called by the parent module.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;
use wapo_rpc::limits::COLLATERAL_BYTES_MAX;
use wapo_verify::collateral::{Answer, Plan};

use crate::limits::COLLATERAL_TIMEOUT;

/// Where to ask.
pub(super) struct Service {
    url: String,
    http: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Service {
    /// # Errors
    ///
    /// A text of one line, for what is no URL, or when a root cannot be used.
    pub(super) fn new(url: &str, extra_roots: &[CertificateDer<'static>]) -> Result<Self, String> {
        let uri = url.parse::<Uri>().ok();
        let is_http = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
        if !uri.is_some_and(|uri| is_http(&uri) && uri.host().is_some()) {
            return Err(format!(
                "pccs: `{url}` is no URL of a service: write one such as https://pccs.example.com:8081"
            ));
        }
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for root in extra_roots {
            let added = roots.add(root.clone());
            added.map_err(|error| format!("pccs: a trust root cannot be used: {error}"))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("pccs: TLS cannot be set up: {error}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self {
            url: url.to_owned(),
            http: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// The collateral of a quote, as JSON.
    ///
    /// # Errors
    ///
    /// A text of one line.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn fetch(&self, quote: &[u8]) -> Result<String, String> {
        let plan = Plan::of(quote).map_err(|error| error.to_string())?;
        let asked = async {
            let mut answers: [Answer; 4] = Default::default();
            for (answer, request) in answers.iter_mut().zip(plan.requests(&self.url)) {
                *answer = self.ask(&request.url, request.chain_headers).await?;
            }
            Ok::<_, String>(answers)
        };
        let answers = timeout(COLLATERAL_TIMEOUT, asked).await;
        let answers = answers.map_err(|_| {
            let time = COLLATERAL_TIMEOUT.as_secs();
            format!("{} has not answered within {time} seconds", self.url)
        })??;
        plan.assemble(answers).map_err(|error| error.to_string())
    }

    async fn ask(&self, url: &str, chain_headers: &[&str]) -> Result<Answer, String> {
        let failed = |why: &dyn std::fmt::Display| format!("{url}: {why}");
        let request = Request::get(url).body(Empty::new());
        let request = request.map_err(|error| failed(&error))?;
        let response = self.http.request(request).await;
        let (head, body) = response.map_err(|error| failed(&error))?.into_parts();
        if head.status != StatusCode::OK {
            return Err(failed(&head.status));
        }
        let body = Limited::new(body, COLLATERAL_BYTES_MAX).collect().await;
        let body = body.map_err(|error| failed(&error))?.to_bytes().to_vec();
        let chain = chain_headers
            .iter()
            .find_map(|name| head.headers.get(*name));
        Ok(Answer {
            chain: chain.and_then(|chain| Some(chain.to_str().ok()?.to_owned())),
            body,
        })
    }
}
