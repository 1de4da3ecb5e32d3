//! A server on loopback that notes requests and answers as it was told.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What to answer.
#[derive(Clone)]
pub(crate) struct Answer {
    status: u16,
    body: Bytes,
    header: Option<(&'static str, &'static str)>,
    reads_nothing: bool,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            body: body.into(),
            header: None,
            reads_nothing: false,
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    /// Neither reads the request's body nor answers.
    pub(crate) fn reads_nothing(mut self) -> Self {
        self.reads_nothing = true;
        self
    }
}

/// What was asked.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("text"))
    }
}

struct State {
    answer: Answer,
    seen: Vec<Seen>,
}

/// The server. Ends when dropped.
pub(crate) struct Stub {
    url: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Stub {
    pub(crate) async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(Mutex::new(State {
            answer,
            seen: Vec::new(),
        }));
        let task = tokio::spawn(serve(listener, Arc::clone(&state)));
        Self { url, state, task }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Changes the answer to what comes.
    pub(crate) fn answer(&self, answer: Answer) {
        lock(&self.state).answer = answer;
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        lock(&self.state).seen.clone()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        let service = service_fn(move |request| handle(request, Arc::clone(&state)));
        connections.spawn(async move {
            // A client that leaves is no concern of the test.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn handle(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let answer = lock(&state).answer.clone();
    if answer.reads_nothing {
        std::future::pending::<()>().await;
    }
    let body = body.collect().await.map(|body| body.to_bytes());
    let line = format!("{} {}", head.method, head.uri);
    lock(&state).seen.push(Seen {
        line,
        headers: head.headers,
        body: body.unwrap_or_default(),
    });
    let mut response = Response::builder().status(answer.status);
    if let Some((name, value)) = answer.header {
        response = response.header(name, value);
    }
    Ok(response
        .body(Full::new(answer.body))
        .expect("a valid answer"))
}
