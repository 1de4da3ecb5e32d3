//! Many honest clients at once: each has one keep-alive connection and makes some
//! requests, one after the other. Counts what became of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A request that takes longer has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// What the clients do.
#[derive(Clone)]
pub(super) struct Load {
    pub(super) address: SocketAddr,
    /// `host` of the requests.
    pub(super) host: String,
    pub(super) path: String,
    pub(super) connections: usize,
    /// Requests of each connection.
    pub(super) requests: usize,
}

/// What became of the requests.
#[derive(Default)]
pub(super) struct Outcome {
    /// How many got which status, or failed in which way.
    pub(super) counts: BTreeMap<String, usize>,
    /// Of the answers with status 200.
    pub(super) latencies_us: Vec<f64>,
}

impl Outcome {
    pub(super) fn good(&self) -> usize {
        self.counts.get("200").copied().unwrap_or_default()
    }

    /// Requests that did not get status 200.
    pub(super) fn failed(&self) -> usize {
        self.counts.values().sum::<usize>() - self.good()
    }

    /// In words.
    pub(super) fn text(&self) -> String {
        let each = self.counts.iter();
        let texts: Vec<String> = each
            .map(|(what, count)| format!("{count} × {what}"))
            .collect();
        texts.join(", ")
    }
}

/// Clients at work on a thread of their own.
pub(super) struct Running {
    thread: std::thread::JoinHandle<Result<Outcome>>,
}

impl Running {
    /// Waits for all of them.
    ///
    /// # Errors
    ///
    /// The client's own runtime failed; a failed request is an outcome.
    pub(super) fn finish(self) -> Result<Outcome> {
        let outcome = self.thread.join();
        outcome.map_err(|_| anyhow::anyhow!("the clients' thread panicked"))?
    }
}

/// Starts the clients of a load.
pub(super) fn start(load: Load) -> Running {
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(runtime.block_on(all(load)))
    });
    Running { thread }
}

async fn all(load: Load) -> Outcome {
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    let load = Arc::new(load);
    let mut clients = JoinSet::new();
    for _ in 0..load.connections {
        clients.spawn(client(Arc::clone(&load), Arc::clone(&outcome)));
    }
    clients.join_all().await;
    let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut outcome)
}

async fn client(load: Arc<Load>, outcome: Arc<Mutex<Outcome>>) {
    let mut connection = None;
    for _ in 0..load.requests {
        let begun = Instant::now();
        let asking = request(&load, &mut connection);
        let what = match tokio::time::timeout(REQUEST_TIMEOUT, asking).await {
            Ok(Ok(status)) => status.as_str().to_owned(),
            Ok(Err(error)) => {
                connection = None;
                error.to_string()
            }
            Err(_) => {
                connection = None;
                "no answer in time".to_owned()
            }
        };
        let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
        if what == "200" {
            let us = begun.elapsed().as_secs_f64() * 1e6;
            outcome.latencies_us.push(us);
        }
        *outcome.counts.entry(what).or_default() += 1;
    }
}

type Connection = SendRequest<Empty<Bytes>>;

/// Makes a request over the connection, or over a new one if the server has
/// closed it between two requests, as it may.
async fn request(load: &Load, connection: &mut Option<Connection>) -> Result<StatusCode> {
    let usable = match connection {
        Some(open) => open.ready().await.is_ok(),
        None => false,
    };
    if !usable {
        let stream = TcpStream::connect(load.address).await?;
        stream.set_nodelay(true)?;
        let (sender, driving) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driving);
        *connection = Some(sender);
    }
    let Some(open) = connection else {
        anyhow::bail!("no connection");
    };
    let request = Request::get(&load.path)
        .header("host", &load.host)
        .body(Empty::new())?;
    let response = open.send_request(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(status)
}
