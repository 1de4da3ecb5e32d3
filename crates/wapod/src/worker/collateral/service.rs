//! Fetches collateral from a caching service (PCCS), or from the vendor's own.
//!
//! What is asked for, and how answers are put together, is in `wapo-verify`, which the
//! command uses as well. HTTPS is checked against public authorities and the operator's
//! roots; plain HTTP will do, since nothing is believed that a verifier does not check.
//! Answers are bounded, and all waits have an end. Called by the parent module.

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;
use wapo_rpc::limits::COLLATERAL_BYTES_MAX;
use wapo_verify::collateral::{Answer, Plan};

use crate::limits::COLLATERAL_TIMEOUT;
use crate::web_client::{Connector, Schemes, connector};

/// Where to ask.
pub(super) struct Service {
    url: String,
    http: Client<Connector, Empty<Bytes>>,
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
        let connector = connector(extra_roots, Schemes::HttpToo, COLLATERAL_TIMEOUT);
        let connector = connector.map_err(|error| format!("pccs: {error}"))?;
        Ok(Self {
            url: url.to_owned(),
            http: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// The collateral of a platform, as JSON.
    ///
    /// # Errors
    ///
    /// A text of one line.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn fetch(&self, plan: &Plan) -> Result<String, String> {
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
