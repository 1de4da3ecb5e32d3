//! Rows: messages that several methods share, and questions to an app.
//!
//! Expanded by `schema`, `message` and the tests.

macro_rules! common_messages {
    ($each:ident) => {
        $each! {
            /// Nothing: no bytes in protobuf, `null` in JSON.
            Empty {}
            /// Body of an answer that reports a failure, in protobuf mode.
            ErrorMessage {
                /// What was wrong, for a person.
                message: string = 1,
            }
            /// Yes or no.
            Boolean {
                /// The answer.
                value: bool = 1,
            }
            /// A number.
            Number {
                /// The answer.
                value: u64 = 1,
            }
            /// Two strings: name and value, or hash and source.
            StringPair {
                /// Name, or hash.
                key: string = 1,
                /// Value, or where the blob can be had.
                value: string = 2,
            }
            /// Names an app.
            Address {
                /// Address of the app, 32 bytes.
                address: bytes = 1,
            }
            /// Names apps.
            Addresses {
                /// Addresses of 32 bytes each; none means every app.
                addresses: [bytes] = 1,
                /// Where to go on, when no address is given: the `next_cursor` of the
                /// page before; 0 for the beginning.
                cursor: u64 = 100,
            }
            /// Content of a blob, its hash, or both.
            Blob {
                /// `sha256:<hex>` or `sha512:<hex>`; without digits, or empty, when it
                /// is to be computed.
                hash: string = 1,
                /// The content.
                body: bytes = 2,
            }
        }
    };
}
pub(crate) use common_messages;

macro_rules! query_messages {
    ($each:ident) => {
        $each! {
            /// A question to an app.
            QueryArgs {
                /// Address of the app, 32 bytes.
                address: bytes = 1,
                /// What is asked; opaque to the worker.
                path: string = 2,
                /// Argument bytes; opaque to the worker.
                payload: bytes = 3,
                /// SCALE `Option<QuerySignature>`; empty when the query is not signed.
                encoded_signature: bytes = 4,
            }
            /// A question that only the worker can read.
            EncryptedQueryArgs {
                /// The sender's sr25519 public key, for this query's shared key.
                pubkey: bytes = 1,
                /// Initialisation vector (12 bytes), and a protobuf `QueryArgs` sealed
                /// with AES-256-GCM.
                encrypted_payload: bytes = 2,
            }
            /// A question that only the worker can read, once. How it is sealed is in
            /// `docs/answers.md`.
            PrivateQueryArgs {
                /// Version of the worker's key that it is for, as in its evidence.
                key_version: u32 = 1,
                /// When it was sent, in seconds since 1970.
                time: u64 = 2,
                /// The sender's part of the key exchange, 32 bytes.
                encapsulated: bytes = 3,
                /// A protobuf `QueryArgs`, sealed.
                ciphertext: bytes = 4,
            }
            /// The answer to it, which only the sender can read.
            PrivateQueryResponse {
                /// 32 random bytes.
                nonce: bytes = 1,
                /// A SCALE `PrivateAnswer`, sealed.
                ciphertext: bytes = 2,
            }
            /// An app's answer to a question.
            QueryResponse {
                /// What the app answered.
                output: bytes = 1,
            }
            /// A look at an app.
            AppVisitArgs {
                /// Address of the app, 32 bytes.
                address: bytes = 1,
                /// Path and query, such as `/list?page=2`; empty for `/`.
                path: string = 2,
            }
            /// What a visitor gets, or the beginning of it.
            AppVisitResponse {
                /// Status of HTTP.
                status: u32 = 1,
                /// Header fields in the order of the answer.
                headers: [StringPair] = 2,
                /// The first 64 KiB of the body, or what came of it within two seconds.
                body: bytes = 3,
                /// Whether there is more, or there was an error in the middle of it.
                is_cut: bool = 4,
            }
            /// Which app measures the worker.
            SetBenchAppArgs {
                /// SCALE `Option<[u8; 32]>`: the app's address, or none.
                app_address: bytes = 1,
                /// Instances that it is to have.
                instances: u64 = 2,
            }
        }
    };
}
pub(crate) use query_messages;
