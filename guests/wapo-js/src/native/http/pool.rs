//! Connections that are kept for the next request to the same server.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::client::conn::http1::{self, SendRequest};
use rquickjs::JsLifetime;
use wapo::http::{Body, Uri};

use crate::engine::Failure;

/// Connections that are kept to one server.
const KEPT_PER_SERVER_MAX: usize = 8;
/// Connections that are kept in all.
const KEPT_MAX: usize = 64;
/// How long one is kept. Servers close idle connections after a minute or so.
const KEPT_TIME: Duration = Duration::from_secs(20);
/// Bytes of an answer's head, and of what is read ahead.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// A server: what connections are kept by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Key {
    is_tls: bool,
    host: String,
    port: u16,
}

impl Key {
    /// # Errors
    ///
    /// The URL names no server.
    pub(super) fn of(uri: &Uri) -> Result<Self, Failure> {
        let is_tls = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default();
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        if host.is_empty() {
            return Err(Failure::type_error(format!("{uri} names no server")));
        }
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self { is_tls, host, port })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A connection; dropping it closes it.
pub(super) struct Connection {
    key: Key,
    pub(super) sender: SendRequest<Body>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or must not be.
    pub(super) async fn open(key: &Key) -> Result<Self, Failure> {
        let failed = |error: &dyn fmt::Display| {
            let error = error.to_string();
            // The host says it itself where it knows the address.
            Failure::type_error(match error.starts_with("cannot connect to ") {
                true => error,
                false => format!("cannot connect to {key}: {error}"),
            })
        };
        let stream = match key.is_tls {
            true => wapo::net::connect_tls(&key.host, key.port).await,
            false => wapo::net::connect(&key.host, key.port).await,
        };
        let stream = stream.map_err(|error| failed(&error))?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(READ_BUFFER_BYTES);
        let (sender, connection) = builder
            .handshake(stream)
            .await
            .map_err(|error| failed(&error))?;
        wapo::spawn(async move {
            if let Err(error) = connection.await {
                log::debug!(target: "js::httpc", "a connection ended: {error}");
            }
        });
        Ok(Self {
            key: key.clone(),
            sender,
        })
    }
}

/// The kept connections of an engine. Clones are the same pool.
#[derive(Clone, Default, JsLifetime)]
pub(super) struct Pool(Rc<RefCell<BTreeMap<Key, Vec<Kept>>>>);

struct Kept {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// The newest connection to a server that is ready for a request.
    pub(super) fn take(&self, key: &Key) -> Option<Connection> {
        let mut all = self.0.borrow_mut();
        let kept = all.get_mut(key)?;
        while let Some(candidate) = kept.pop() {
            if candidate.since.elapsed() < KEPT_TIME && candidate.connection.sender.is_ready() {
                return Some(candidate.connection);
            }
        }
        all.remove(key);
        None
    }

    /// Keeps a connection as soon as its exchange is over.
    pub(super) fn keep(&self, mut connection: Connection) {
        let pool = Rc::downgrade(&self.0);
        wapo::spawn(async move {
            // Fails when the server wants no further request.
            let ready = wapo::time::timeout(KEPT_TIME, connection.sender.ready()).await;
            if let (Ok(Ok(())), Some(pool)) = (ready, pool.upgrade()) {
                Self(pool).put(connection);
            }
            wapo::time::sleep(KEPT_TIME).await;
            if let Some(pool) = pool.upgrade() {
                Self(pool).drop_old();
            }
        });
    }

    fn put(&self, connection: Connection) {
        self.drop_old();
        let mut all = self.0.borrow_mut();
        if all.values().map(Vec::len).sum::<usize>() >= KEPT_MAX {
            return;
        }
        let kept = all.entry(connection.key.clone()).or_default();
        if kept.len() < KEPT_PER_SERVER_MAX {
            kept.push(Kept {
                connection,
                since: Instant::now(),
            });
        }
    }

    fn drop_old(&self) {
        self.0.borrow_mut().retain(|_, kept| {
            kept.retain(|kept| kept.since.elapsed() < KEPT_TIME);
            !kept.is_empty()
        });
    }
}
