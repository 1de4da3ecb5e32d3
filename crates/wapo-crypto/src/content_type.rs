//! What a signature is about.
//!
//! Everything a worker signs starts with a marker byte and the number of a
//! content type. A guest can have arbitrary bytes signed, but only as
//! [`ContentType::AppData`] behind its own address, so it can never obtain a
//! signature that passes for a statement of the worker itself.

/// First byte of every signed message.
const MARKER: u8 = 0xff;

/// Purpose of a signed message. Numbers are public and never change; new ones
/// start at 120.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ContentType {
    /// Body of an answer on the user port.
    RpcResponse = 1,
    /// Where the worker can be reached.
    EndpointInfo = 2,
    /// What apps have used.
    Metrics = 100,
    /// Data that an app had signed: its address, then its bytes.
    AppData = 101,
    /// Registration of a worker, inside quotes only.
    WorkerAttestation = 102,
    /// How the worker describes itself.
    WorkerDescription = 103,
    /// A new session of the worker.
    SessionUpdate = 104,
    /// What the worker says of itself; inside quotes only.
    WorkerEvidence = 120,
    /// What the worker says of one app and of the app's key.
    AppEvidence = 121,
    /// One report of a chain of usage.
    UsageReport = 122,
    /// That something is new; spare.
    Freshness = 123,
    /// The worker's key on its way to another enclave.
    KeyHandover = 124,
}

impl ContentType {
    /// The bytes that are signed for `message`.
    pub fn wrap(self, message: &[u8]) -> Vec<u8> {
        let mut wrapped = Vec::with_capacity(2 + message.len());
        wrapped.extend([MARKER, self as u8]);
        wrapped.extend(message);
        wrapped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_data_is_marked_as_such() {
        assert_eq!(ContentType::AppData.wrap(b"x"), [0xff, 0x65, b'x']);
        assert_eq!(ContentType::RpcResponse.wrap(b""), [0xff, 0x01]);
    }
}
