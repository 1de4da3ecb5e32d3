//! Answers for web pages of other origins, where the operator asked for them.
//!
//! No I/O. Apps of Wapo 0.x got these headers from the gateway; an app with the
//! setting `cors` gets them here: each origin may ask with any header and the six
//! methods of `METHODS`, and read, credentials included. What an app says itself is
//! left as it is. Called by `gateway`.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};

use crate::api::body::Body;

/// Methods that pages may use.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";

/// Seconds for which a browser may remember that a request is allowed.
const PREFLIGHT_SECS: u32 = 3600;

/// What a page wants to know before it asks.
pub(super) struct Asking {
    origin: HeaderValue,
    /// The question whether a request may be made, and with which headers.
    preflight: Option<HeaderValue>,
}

impl Asking {
    /// Reads a request; `None` when no page of another origin sends it.
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Option<Self> {
        let origin = headers.get(header::ORIGIN)?.clone();
        let is_preflight = method == Method::OPTIONS
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let wanted = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        let wanted = wanted.cloned().unwrap_or(HeaderValue::from_static(""));
        Some(Self {
            origin,
            preflight: is_preflight.then_some(wanted),
        })
    }

    /// The answer to a preflight; `None` when it is none.
    pub(super) fn preflight(&self) -> Option<Response<Body>> {
        let wanted = self.preflight.as_ref()?;
        let mut response = Response::new(Body::Nothing);
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        let methods = HeaderValue::from_static(METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        if !wanted.is_empty() {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        let seconds = HeaderValue::from(PREFLIGHT_SECS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, seconds);
        self.allow(headers);
        let vary = "access-control-request-method, access-control-request-headers";
        headers.append(header::VARY, HeaderValue::from_static(vary));
        Some(response)
    }

    /// Lets the page read an answer, unless the app has said who may.
    pub(super) fn allow(&self, headers: &mut HeaderMap) {
        const ORIGIN: HeaderName = header::ACCESS_CONTROL_ALLOW_ORIGIN;
        if headers.contains_key(ORIGIN) {
            return;
        }
        headers.insert(ORIGIN, self.origin.clone());
        let yes = HeaderValue::from_static("true");
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}
