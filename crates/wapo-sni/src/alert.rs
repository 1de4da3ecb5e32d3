//! Alerts: how a client is told why its connection ends.
//!
//! Those only that are sent before TLS has begun on the connection; later
//! alerts are those of the TLS library. Made by `reader`, sent by the owner of the
//! connection.

/// A fatal alert (RFC 8446, section 6.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Alert(u8);

impl Alert {
    /// A message or record that does not belong here.
    pub const UNEXPECTED_MESSAGE: Self = Self(10);
    /// A record longer than records are.
    pub const RECORD_OVERFLOW: Self = Self(22);
    /// A field that can be read and must not be like this.
    pub const ILLEGAL_PARAMETER: Self = Self(47);
    /// A length that fits nothing.
    pub const DECODE_ERROR: Self = Self(50);
    /// No version in common.
    pub const PROTOCOL_VERSION: Self = Self(70);
    /// Nothing that the client did: there is no room for it, or nobody to serve it.
    pub const INTERNAL_ERROR: Self = Self(80);
    /// A client of TLS 1.3 names no server where a name is needed.
    pub const MISSING_EXTENSION: Self = Self(109);
    /// Nobody here has this name.
    pub const UNRECOGNIZED_NAME: Self = Self(112);
    /// No protocol within TLS in common (RFC 7301).
    pub const NO_APPLICATION_PROTOCOL: Self = Self(120);

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The record to send. The connection can be closed behind it.
    pub const fn record(self) -> [u8; 7] {
        const ALERT: u8 = 21;
        const FATAL: u8 = 2;
        [ALERT, 3, 3, 0, 2, FATAL, self.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_one_record_of_two_bytes() {
        let record = Alert::UNRECOGNIZED_NAME.record();
        assert_eq!(record, [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x70]);
        assert_eq!(Alert::UNRECOGNIZED_NAME.number(), 112);
    }
}
