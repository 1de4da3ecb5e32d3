//! Which version of HTTP a client speaks, by its first bytes. Called by `transport`.

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
pub(super) const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether a client speaks HTTP/2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Preface {
    /// They are HTTP/2's.
    Yes,
    /// They are not.
    No,
    /// There are too few of them.
    Maybe,
}

/// What the first bytes of a client tell.
pub(super) fn preface(first: &[u8]) -> Preface {
    if first.starts_with(HTTP2_PREFACE) {
        Preface::Yes
    } else if HTTP2_PREFACE.starts_with(first) {
        Preface::Maybe
    } else {
        Preface::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_version() {
        assert_eq!(preface(HTTP2_PREFACE), Preface::Yes);
        assert_eq!(preface(b"PRI * HT"), Preface::Maybe);
        assert_eq!(preface(b"P"), Preface::Maybe);
        assert_eq!(preface(b""), Preface::Maybe);
        assert_eq!(preface(b"PUT / HTTP/1.1"), Preface::No);
        assert_eq!(preface(b"GET /"), Preface::No);
    }
}
