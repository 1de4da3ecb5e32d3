//! Failures of the network, with a code that programs can compare.

use std::io;

use crate::engine::Failure;

/// What a program sees of an error. The codes are documented in
/// `docs/javascript.md`.
pub(super) fn failed(error: &io::Error) -> Failure {
    use io::ErrorKind as K;
    let code = match error.kind() {
        K::ConnectionRefused => "refused",
        K::ConnectionReset => "reset",
        K::ConnectionAborted | K::BrokenPipe | K::UnexpectedEof | K::NotConnected => "closed",
        K::TimedOut => "timed-out",
        K::NotFound => "no-such-name",
        K::HostUnreachable | K::NetworkUnreachable => "unreachable",
        K::PermissionDenied => "denied",
        K::AddrInUse => "in-use",
        K::AddrNotAvailable => "not-available",
        K::InvalidData => "tls",
        K::InvalidInput => "invalid",
        K::QuotaExceeded => "limit",
        K::Unsupported => "unsupported",
        _ => "failed",
    };
    Failure::net(code, error)
}

/// Of a socket that the program has closed.
pub(super) fn closed() -> Failure {
    Failure::net("closed", "the socket is closed")
}
