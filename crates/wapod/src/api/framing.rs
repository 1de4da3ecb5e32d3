//! Which answers have a body, and what their heads say about its length.
//!
//! No I/O. The one place where this is decided, for both versions of HTTP and for
//! answers of apps and of the worker (RFC 9110, sections 6.4.1, 8.6 and 15). Called
//! by `http1` and `http2` for each answer, and by `gateway`.

use hyper::body::Body as _;
use hyper::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, Response, StatusCode};

use super::body::Body;

/// Whether an answer has no body, whatever its head says.
pub(super) fn has_no_body(method: &Method, status: StatusCode) -> bool {
    method == Method::HEAD
        || status.is_informational()
        || matches!(
            status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
        )
}

/// Makes head and body agree.
pub(super) fn settle(method: &Method, response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    // How a body is cut into pieces is up to the connection.
    head.headers.remove(TRANSFER_ENCODING);
    let is_tunnel = method == Method::CONNECT && head.status.is_success();
    match head.status {
        // The length of what is not sent is of no use, and hyper leaves it out.
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => {
            head.headers.remove(CONTENT_LENGTH);
        }
        status if status.is_informational() || is_tunnel => {
            head.headers.remove(CONTENT_LENGTH);
        }
        StatusCode::RESET_CONTENT => {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
        }
        _ => {
            let length = body.size_hint().exact().filter(|length| *length > 0);
            if let (Some(length), Body::Full(_)) = (length, &body) {
                let length = HeaderValue::from(length);
                head.headers.entry(CONTENT_LENGTH).or_insert(length);
            }
        }
    }
    let body = match has_no_body(method, head.status) {
        true => Body::Nothing,
        false => body,
    };
    Response::from_parts(head, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The length that an answer announces, and whether a body follows.
    fn settled(method: Method, status: u16) -> (Option<String>, bool) {
        let mut response = Response::new(Body::Full(Some("12345".into())));
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(5));
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        let response = settle(&method, response);
        assert!(!response.headers().contains_key(TRANSFER_ENCODING));
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.map(|value| value.to_str().expect("text").to_owned());
        (length, !response.body().is_end_stream())
    }

    #[test]
    fn each_status_has_the_framing_that_the_standard_gives_it() {
        let five = || Some("5".to_owned());
        for (method, status, length, has_body) in [
            (Method::GET, 200, five(), true),
            (Method::HEAD, 200, five(), false),
            (Method::HEAD, 404, five(), false),
            (Method::GET, 101, None, false),
            (Method::GET, 204, None, false),
            (Method::HEAD, 204, None, false),
            (Method::GET, 205, Some("0".to_owned()), false),
            (Method::GET, 304, None, false),
            (Method::CONNECT, 200, None, true),
            (Method::CONNECT, 404, five(), true),
        ] {
            let found = settled(method.clone(), status);
            assert_eq!(found, (length, has_body), "{method} {status}");
        }
    }
}
