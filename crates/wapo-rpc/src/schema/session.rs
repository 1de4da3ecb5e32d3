//! Rows: arguments and answers of the methods that sign something.
//!
//! What is signed is in `statement`. Expanded by `schema`, `message` and the
//! tests.

macro_rules! session_messages {
    ($each:ident) => {
        $each! {
            /// Begins a session.
            InitArgs {
                /// The operator's part of the session's id, at most 64 bytes.
                pnonce: bytes = 1,
                /// SS58 address of the account that is paid; empty for none.
                recipient: string = 2,
            }
            /// The session that began.
            InitResponse {
                /// SCALE `SessionUpdate`.
                session_update: bytes = 1,
                /// The worker's signature of it, content type 104.
                signature: bytes = 2,
                /// Public key of the worker.
                pubkey: bytes = 3,
            }
            /// What to put into the worker's registration.
            SignRegisterInfoArgs {
                /// SCALE `[u8; 32]`: hash of the chain's first block.
                genesis_block_hash: bytes = 1,
                /// SCALE `Option<[u8; 32]>`: the operator's account.
                operator: bytes = 2,
                /// Number of the parachain.
                para_id: u32 = 3,
            }
            /// The worker's registration.
            SignRegisterInfoResponse {
                /// SCALE `WorkerRegistrationInfoV2`.
                encoded_runtime_info: bytes = 1,
                /// SCALE `Option<AttestationReport>`: a quote over it, or none outside
                /// an enclave.
                encoded_report: bytes = 2,
            }
            /// Where the worker is reached.
            SignEndpointsArgs {
                /// URLs.
                endpoints: [string] = 1,
            }
            /// Where the worker is reached, signed.
            SignEndpointsResponse {
                /// SCALE `WorkerEndpointPayload`.
                encoded_endpoint_payload: bytes = 1,
                /// The worker's signature of it, content type 2.
                signature: bytes = 2,
            }
            /// What the worker offers, and for how much.
            SignWorkerDescriptionArgs {
                /// Text for people, at most 1024 bytes.
                description: string = 1,
                /// SCALE `Prices`; nine zero bytes name no price.
                prices: bytes = 2,
            }
            /// What the worker offers, signed.
            SignWorkerDescriptionResponse {
                /// SCALE `SignedWorkerDescription`, content type 103.
                encoded_signed_description: bytes = 1,
            }
            /// Requests evidence of a worker.
            WorkerEvidenceArgs {
                /// At most 64 random bytes that the quote is to be newer than; empty for the
                /// evidence that the worker has, which costs no quote.
                nonce: bytes = 1,
            }
            /// Requests evidence of an app.
            AppEvidenceArgs {
                /// Address of the app, 32 bytes.
                address: bytes = 1,
                /// As for the worker.
                nonce: bytes = 2,
            }
            /// What a worker can prove.
            Evidence {
                /// SCALE `WorkerEvidence` or `AppEvidence`, as was asked.
                evidence: bytes = 1,
            }
            /// Rotates a key.
            RotateKeysArgs {
                /// Address of the app, 32 bytes; empty for the worker's own keys,
                /// for private queries and answers.
                address: bytes = 1,
            }
            /// The rotated key.
            RotateKeysResponse {
                /// Version of the new one.
                key_version: u32 = 1,
            }
            /// Asks for the worker's key.
            KeyHandoverArgs {
                /// SCALE `KeyRequest`, content type 124 inside its quote; empty to be given
                /// a nonce.
                request: bytes = 1,
            }
            /// The worker's key, or a nonce.
            KeyHandoverResponse {
                /// 32 bytes that the claims of a request have to carry, for two minutes
                /// and until a newer one was given; empty with a handover.
                nonce: bytes = 1,
                /// SCALE `KeyHandover`; empty with a nonce.
                handover: bytes = 2,
            }
        }
    };
}
pub(crate) use session_messages;
