//! Which app a request is for, by its host name or its path.
//!
//! No I/O. On a host name of its own an app has the whole path; below `/app/` it
//! has what follows its address. What that means for cookies and the like is in
//! `origin_guard`.

use std::borrow::Cow;
use std::sync::Arc;

use hyper::Uri;
use hyper::http::uri::Authority;
use wapo_rpc::AppAddress;

use super::origin_guard::Place;
use crate::api::client::Client;
use crate::api::error::ApiError;
use crate::error::WorkerError;
use crate::worker::{App, Worker};

/// Where a request goes.
pub(in crate::api) struct Target {
    pub(super) app: Arc<App>,
    /// Where the guest's path begins in path and query of the request.
    pub(super) path_start: usize,
    pub(super) place: Place,
}

impl Target {
    /// The serial number of the app that is to answer.
    pub(in crate::api) fn serial(&self) -> u64 {
        self.app.serial
    }

    /// Reads `<address>/<path…>`, the part behind `/app/`.
    pub(in crate::api) fn in_path(
        worker: &Worker,
        rest: &str,
        uri: &Uri,
    ) -> Result<Self, ApiError> {
        let (text, has_slash) = match rest.split_once('/') {
            Some((text, _)) => (text, true),
            None => (rest, false),
        };
        let address: AppAddress = text.parse()?;
        if !has_slash {
            let query = uri.query().map(|query| format!("?{query}"));
            let query = query.unwrap_or_default();
            return Err(ApiError::Moved(format!("/app/{text}/{query}")));
        }
        let app = worker.app(&address).ok_or(WorkerError::AppNotFound)?;
        let passes_cookies = app.settings.pass_cookies;
        Ok(Self {
            app,
            path_start: "/app/".len() + text.len(),
            place: Place::Shared { passes_cookies },
        })
    }

    /// Takes the whole path. The app has the origin to itself.
    pub(in crate::api) fn whole(app: Arc<App>) -> Self {
        Self {
            app,
            path_start: 0,
            place: Place::Own,
        }
    }

    /// The guest's path and query, as received; an empty path is `/` (RFC 9110,
    /// section 4.2.3). There is none in `CONNECT host:port` and `OPTIONS *`, which
    /// are not for apps.
    pub(super) fn path_and_query<'a>(&self, uri: &'a Uri) -> Result<Cow<'a, str>, ApiError> {
        let whole = uri.path_and_query().map_or("", |both| both.as_str());
        match whole.get(self.path_start..) {
            Some(text) if text.starts_with('/') => Ok(text.into()),
            Some(query) if query.starts_with('?') => Ok(format!("/{query}").into()),
            _ => Err(ApiError::BadRequest("the request has no path")),
        }
    }
}

/// The label of a host below the base domain; `None` for other hosts, the base
/// domain itself among them.
pub(in crate::api) fn label<'a>(host: &'a Authority, base_domain: &str) -> Option<&'a str> {
    let host = host.host();
    // A name may end in a dot, which means the same.
    let host = host.strip_suffix('.').unwrap_or(host);
    let end = host.len().checked_sub(base_domain.len())?;
    let domain = host.get(end..)?;
    if base_domain.is_empty() || !domain.eq_ignore_ascii_case(base_domain) {
        return None;
    }
    host[..end].strip_suffix('.')
}

/// Whether the app that is to answer is the one that the client has seen evidence of: a
/// connection outlives the app that it was made with.
///
/// # Errors
///
/// [`ApiError::Misdirected`], after which the client makes a new one, and sees new evidence.
pub(in crate::api) fn check_attested(
    serial: u64,
    host: &Authority,
    client: &Client,
) -> Result<(), ApiError> {
    let attested = client.named().and_then(|named| named.attested);
    match attested.is_none_or(|attested| attested == serial) {
        true => Ok(()),
        false => Err(ApiError::Misdirected(host.host().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_what_stands_before_the_base_domain() {
        for (host, base, expected) in [
            ("notes.localhost", "localhost", Some("notes")),
            ("notes.localhost:8002", "localhost", Some("notes")),
            ("Notes.LOCALHOST.:80", "localhost", Some("Notes")),
            ("a.b.localhost", "localhost", Some("a.b")),
            ("x.apps.example.com", "apps.example.com", Some("x")),
            (".localhost", "localhost", Some("")),
            ("localhost:8002", "localhost", None),
            ("noteslocalhost", "localhost", None),
            ("localhost.evil.example", "localhost", None),
            ("127.0.0.1:8002", "localhost", None),
            ("[::1]:8002", "localhost", None),
            ("notes.localhost", "", None),
        ] {
            let host = Authority::try_from(host).expect("authority");
            assert_eq!(label(&host, base), expected, "{host} {base}");
        }
    }
}
