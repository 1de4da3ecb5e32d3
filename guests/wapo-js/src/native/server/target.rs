//! The URL of a request that came over a connection of the program's own.

use hyper::header::HOST;
use hyper::http::uri::Authority;
use hyper::{Method, Request, Version};

/// Where a request of HTTP/1.0 without a host goes.
const NO_HOST: &str = "localhost";

/// The whole URL; `None` for a request that names no place, or more than one.
pub(super) fn url<B>(request: &Request<B>, is_tls: bool) -> Option<String> {
    let scheme = if is_tls { "https" } else { "http" };
    let uri = request.uri();
    // Only a proxy is asked for a tunnel, and nothing here is one.
    if request.method() == Method::CONNECT {
        return None;
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return None;
    }
    let host = match (uri.authority(), host) {
        // Of a client that takes this for a proxy; its target counts (RFC 9112, 3.2.2).
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => host.to_str().ok()?,
        (None, None) if request.version() == Version::HTTP_10 => NO_HOST,
        (None, None) => return None,
    };
    let authority: Authority = host.parse().ok()?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return None;
    }
    let path = match uri.path_and_query().map(|path| path.as_str()) {
        None | Some("*" | "") => "/",
        Some(path) => path,
    };
    Some(format!("{scheme}://{authority}{path}"))
}
