//! The calls with options of listeners and streams.

use parity_scale_codec::Encode as _;

use super::{Fast, Probe};

/// Options of a listener, as they travel.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    /// Connections that wait in the kernel.
    pub backlog: Option<u32>,
    /// Whether small writes are sent at once.
    pub nodelay: bool,
    /// Seconds of silence.
    pub keepalive_secs: Option<u32>,
    /// Whether PROXY headers are taken.
    pub proxy_header: bool,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            backlog: None,
            nodelay: true,
            keepalive_secs: None,
            proxy_header: false,
        }
    }
}

impl Probe {
    /// 315, without TLS.
    pub async fn tcp_listen_with(&self, address: &str, options: Listen) -> Fast {
        let mut input = address.encode();
        input.extend([0, 0]);
        input.extend(options.backlog.encode());
        input.extend(options.nodelay.encode());
        input.extend(options.keepalive_secs.encode());
        input.extend(options.proxy_header.encode());
        self.fast_with(315, &[], &input).await
    }

    /// 316
    pub async fn stream_option(&self, stream: u32, option: u32, value: i32) -> Fast {
        let slots = [stream, option, value.cast_unsigned(), 0];
        self.fast(316, slots).await
    }
}
