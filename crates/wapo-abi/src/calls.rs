//! The table of host calls: the only place where a call is written down.
//!
//! Guest stubs (`wapo::sys`), host traits and dispatch (`wapo_host::calls`),
//! gas, trace names and `docs/abi.md` are expansions of
//! [`for_each_host_call!`](crate::for_each_host_call).
//!
//! # Adding a call
//!
//! 1. Add a row here with the number after the highest one. Never change a row that
//!    was released.
//! 2. Implement it in `wapo-host/src/calls/<family>.rs` (the compiler asks).
//! 3. Run `cargo xtask codegen`; it renews `docs/abi.md` and `tests/abi.snap`.
//! 4. Add a method of the probe (`e2e/src/probe`) that makes it, its number in
//!    `probe/noise.rs`, and a test (`cargo xtask tidy` asks).
//!
//! ARCHITECTURE.md ("Where to add") also names the SDK and the documents.
//!
//! # Reading a row
//!
//! ```text
//! fast 213 tcp_connect(host: str max HOST_BYTES_MAX, port: u16) -> handle, gas 1000, errors [..];
//!  │    │              │     │   │                                  │           └ + len * m / d: and
//!  │    │              │     │   └ cap, see below                   │             so much for the
//!  │    │              │     └ kind, see below                      │             bytes of the slice
//!  │    └ id           └ name                                       └ what the import returns
//!  └ mode: fast, fast_encoded, slow, wait ([`Mode`])
//! ```
//!
//! Argument kinds are identifiers so that macros can match them again:
//! `handle`, `waker`, `task`, `level`, `channel`, `bool`, `u16`, `i32` take one
//! slot; `u64`, `str`, `bytes`, `bytes_mut` take two. Rows in mode
//! `fast_encoded` name SCALE types instead. Results of fast rows are `unit`,
//! `handle`, `task` or `size`; those of slow rows are SCALE types.
//!
//! Each slice has a cap, a constant of [`crate::caps`]: `max N` refuses a longer
//! one with `INVALID_PARAMETER`, `max N else ERRNO` with another error, `cut N`
//! takes the part in front. The input of a `fast_encoded` row has its cap behind
//! the parentheses.
//!
//! `errors` names what a call itself answers. Any call that makes the host keep
//! bytes, an answer among them, may answer `RESOURCE_LIMITED` besides.

use crate::caps::Cap;

/// How a call travels and whether it may take time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Arguments in slots, answer in the returned value.
    Fast,
    /// Arguments as one SCALE tuple, answer in the returned value.
    FastEncoded,
    /// Arguments in slots, answer fetched with `get_return`.
    Slow,
    /// As `Slow`; the host may suspend the instance (never a thread) on disk or enclave.
    Wait,
}

impl Mode {
    /// Whether the call enters through [`crate::IMPORT_FAST`].
    pub const fn is_fast(self) -> bool {
        matches!(self, Self::Fast | Self::FastEncoded)
    }

    /// Whether the arguments are one SCALE tuple.
    pub const fn encodes_input(self) -> bool {
        matches!(self, Self::FastEncoded)
    }
}

/// Fixed price of a call, on top of the fuel the guest burns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gas {
    /// Charged for every call.
    pub base: u64,
    /// Numerator of the price per byte of the slice argument.
    pub per_bytes: u64,
    /// Denominator of the price per byte of the slice argument.
    pub bytes: u64,
}

impl Gas {
    /// Price of a call with a slice argument of `len` bytes.
    pub const fn of(self, len: u32) -> u64 {
        self.base + len as u64 * self.per_bytes / self.bytes
    }
}

/// One row of the table, as data.
#[derive(Clone, Copy, Debug)]
pub struct CallInfo {
    /// The number guests call by.
    pub id: u32,
    /// The name, in traces and documents.
    pub name: &'static str,
    /// Group of related calls; one host file each.
    pub family: &'static str,
    /// How it travels.
    pub mode: Mode,
    /// The arguments.
    pub args: &'static [Arg],
    /// Bound of the SCALE input of a row in mode [`Mode::FastEncoded`].
    pub input_cap: Option<Cap>,
    /// Kind or type of the answer.
    pub result: &'static str,
    /// Price.
    pub gas: Gas,
    /// Errors it may answer with, besides those of decoding its arguments.
    pub errors: &'static [crate::Errno],
    /// Lines of the row's documentation.
    pub doc: &'static [&'static str],
}

/// One argument of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arg {
    /// Its name, in documents.
    pub name: &'static str,
    /// Its kind, or its SCALE type.
    pub kind: &'static str,
    /// Bound of a slice.
    pub cap: Option<Cap>,
}

impl CallInfo {
    /// Slots that the arguments take.
    pub fn slots(&self) -> usize {
        if self.mode.encodes_input() {
            return 2;
        }
        self.args.iter().map(|arg| slots_of(arg.kind)).sum()
    }
}

/// Slots that an argument of this kind takes.
pub fn slots_of(kind: &str) -> usize {
    match kind {
        "u64" | "str" | "bytes" | "bytes_mut" => 2,
        _ => 1,
    }
}

/// Calls a macro with every row of the table.
///
/// The callback receives `[extra tokens] family { rows } family { rows } ...`.
#[macro_export]
macro_rules! for_each_host_call {
    ($callback:path $(, $extra:tt)*) => {
        $callback! {
            [$($extra)*]

            task {
                /// Frees a handle. Waits on it are cancelled, sockets are closed. The stream
                /// of an HTTP exchange ends as after `poll_shutdown`, unless it was aborted.
                fast 101 close(handle: handle) -> unit, gas 200, errors [NOT_FOUND];

                /// Takes the next message of an input channel.
                slow 102 poll(waker: waker, handle: handle) -> (Vec<u8>), gas 200,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, PENDING, END_OF_FILE];

                /// Reads from a stream into guest memory; 0 bytes is the end of the stream.
                /// An HTTP client that leaves in the middle is an `IO_ERROR`, never an end.
                /// On a timer: answers 0 once it has fired and leaves the buffer alone.
                fast 103 poll_read(waker: waker, handle: handle, buffer: bytes_mut cut TRANSFER_BYTES_MAX) -> size, gas 200,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, PENDING, IO_ERROR];

                /// Writes to a stream; fewer bytes than offered may be taken.
                fast 104 poll_write(waker: waker, handle: handle, data: bytes cut TRANSFER_BYTES_MAX) -> size, gas 200,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, PENDING, IO_ERROR];

                /// Ends the writing side of a stream. A TLS stream is closed as a whole.
                fast 105 poll_shutdown(waker: waker, handle: handle) -> unit, gas 200,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, PENDING, IO_ERROR];

                /// Asks a connection attempt for its outcome: a stream, as a new handle.
                /// The attempt keeps its own handle until that is closed.
                fast 106 poll_res(waker: waker, handle: handle) -> handle, gas 200,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, PENDING, IO_ERROR, RESOURCE_LIMITED];

                /// Puts a task of the guest into the queue of ready tasks.
                fast 109 mark_task_ready(task: task) -> unit, gas 200, errors [];

                /// Takes the oldest ready task.
                fast 110 next_ready_task() -> task, gas 200, errors [NOT_FOUND];

                /// Switches the log of this instance's host calls on or off.
                fast 111 enable_ocall_trace(enable: bool) -> unit, gas 100, errors [];

                /// Takes all queued wake codes, oldest first.
                slow 112 awake_wakers() -> (Vec<WakeCode>), gas 500, errors [];

                /// Fills a buffer with random bytes fit for keys.
                fast 113 getrandom(buffer: bytes_mut max RANDOM_BYTES_MAX) -> unit, gas 0 + len * 10 / 1,
                    errors [INVALID_PARAMETER];

                /// Writes queued events (8 bytes each: kind, number) and answers how many bytes.
                /// Replaces `awake_wakers` and `next_ready_task`. A full buffer means: call again.
                fast 300 next_events(buffer: bytes_mut cut EVENTS_BYTES_MAX) -> size, gas 200, errors [];

                /// Sends what a stream has buffered.
                fast 301 poll_flush(waker: waker, handle: handle) -> unit, gas 200,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, PENDING, IO_ERROR];
            }

            timer {
                /// Makes a timer that fires after so many milliseconds; a negative number never fires.
                fast 201 create_timer(timeout_ms: i32) -> handle, gas 500, errors [RESOURCE_LIMITED];

                /// Sets a timer anew, whether it has fired or not.
                fast 203 reset_timer(handle: handle, timeout_ms: i32) -> unit, gas 300,
                    errors [NOT_FOUND, INVALID_PARAMETER];
            }

            channel {
                /// Answers a query, or an HTTP request with its encoded response head.
                fast 202 oneshot_send(handle: handle, data: bytes max REPLY_BYTES_MAX) -> unit, gas 1000 + len * 1 / 128,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, INVALID_PARAMETER, IO_ERROR];

                /// Makes the requester fail with a text.
                fast 204 oneshot_send_error(handle: handle, text: str cut ERROR_TEXT_BYTES_MAX) -> unit, gas 1000 + len * 1 / 128,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, IO_ERROR];

                /// Opens an input channel; once per kind and instance.
                slow 240 create_input_channel(channel: channel) -> (i32), gas 1000,
                    errors [INVALID_PARAMETER, ALREADY_EXISTS, RESOURCE_LIMITED];
            }

            http {
                /// Takes the trailers of a request: names and values. `CONDITION_ERROR` before
                /// the request's body was read to its end, `END_OF_FILE` when it has none (left).
                slow 302 http_trailers(stream: handle) -> (Vec<(String, String)>), gas 200,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, CONDITION_ERROR, END_OF_FILE];

                /// Ends the response's body, as `poll_shutdown` does, with trailers: a SCALE
                /// `Vec<(String, String)>` of names and values, at most 16 KiB. `IO_ERROR` when
                /// the body has ended already or the client is gone.
                fast 303 http_finish(stream: handle, trailers: bytes max TRAILERS_BYTES_MAX) -> unit, gas 200 + len * 1 / 128,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, INVALID_PARAMETER, IO_ERROR];

                /// Breaks the exchange off: the client sees a failure, never a complete answer.
                /// A response whose body has ended already is left as it is. Reads and writes
                /// fail from then on; the handle is still to be closed.
                fast 304 http_abort(stream: handle) -> unit, gas 200,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION];

                /// The client of an exchange as `ip:port`, where the worker knows it. The port
                /// is 0 when a proxy in between hides it.
                slow 305 http_peer(stream: handle) -> (Option<String>), gas 200,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION];

                /// Waits until the response has no reader any more: the client has
                /// left, or the exchange is over. Closing the handle ends the wait
                /// without an answer.
                fast 321 http_unread(waker: waker, stream: handle) -> unit, gas 200,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, PENDING];

                /// Takes the next request of the input channel for HTTP into the buffer and answers
                /// its length: SCALE of method and URL (`String`), header fields
                /// (`Vec<(String, String)>`), the handle of the exchange (`i32`), and whether there is
                /// a body to be read from that (`bool`). When the length is more than the buffer has,
                /// nothing was taken or written: call again with a buffer of that length.
                fast 328 http_next(waker: waker, channel: handle, buffer: bytes_mut cut TRANSFER_BYTES_MAX) -> size, gas 1000,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, PENDING];

                /// Answers a request that `http_next` gave. `answer` is SCALE of the status (`u16`) and
                /// the header fields (`Vec<(String, String)>`, at most 256), and then bytes of the body as they are.
                /// `rest` says what remains: 0, nothing, and the handle is closed; 1, to read the
                /// request's body, and to close the handle; 2, to write the rest of the body with
                /// `poll_write`. The answer is how many bytes of the body were taken. Where memory or
                /// a rate of the app leaves no room for all of them, the handle stays and the others
                /// are to be written, whatever `rest` says.
                fast 329 http_respond(exchange: handle, rest: i32, answer: bytes max REPLY_BYTES_MAX) -> size, gas 1000 + len * 1 / 128,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, INVALID_PARAMETER, RESOURCE_LIMITED, IO_ERROR];
            }

            net {
                /// Listens on a literal `ip:port`; with a configuration, accepted streams speak TLS.
                fast_encoded 210 tcp_listen(addr: (String), tls: (Option<TlsServerConfig>)) max ENCODED_BYTES_MAX -> handle, gas 1000,
                    errors [INVALID_PARAMETER, FORBIDDEN, IO_ERROR, RESOURCE_LIMITED];

                /// Accepts a connection: its stream and the peer as `ip:port`. Waits also while
                /// the guest may not hold another one.
                slow 211 tcp_accept(waker: waker, handle: handle) -> ((i32, String)), gas 1000,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, PENDING, IO_ERROR, END_OF_FILE, RESOURCE_LIMITED];

                /// Accepts a connection without asking for the peer. Waits as 211 does.
                fast 212 tcp_accept_no_addr(waker: waker, handle: handle) -> handle, gas 1000,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, PENDING, IO_ERROR, END_OF_FILE, RESOURCE_LIMITED];

                /// Starts a TCP connection; ask `poll_res` for the stream.
                fast 213 tcp_connect(host: str max HOST_BYTES_MAX, port: u16) -> handle, gas 1000,
                    errors [INVALID_PARAMETER, FORBIDDEN, RESOURCE_LIMITED];

                /// Starts a TLS connection; ask `poll_res` for the stream.
                fast_encoded 214 tcp_connect_tls(host: (String), port: (u16), config: (TlsClientConfig)) max ENCODED_BYTES_MAX -> handle, gas 1000,
                    errors [INVALID_PARAMETER, FORBIDDEN, RESOURCE_LIMITED];

                /// Serves one name on the worker's shared TLS port. A success costs 10000 more.
                fast_encoded 215 tls_listen_sni(name: (String), config: (TlsServerConfig)) max ENCODED_BYTES_MAX -> handle, gas 1000,
                    errors [INVALID_PARAMETER, FORBIDDEN, RESOURCE_LIMITED];

                /// Serves one name on the worker's shared TLS port, with a choice of protocols
                /// (ALPN). Without an identity the guest speaks TLS by itself, from the
                /// ClientHello on; where the worker verifies certificates, that is FORBIDDEN for
                /// names that the operator has not given to the app. The newest listener of a
                /// name counts. A success costs 10000 more.
                fast_encoded 307 sni_listen(name: (String), config: (SniConfig)) max ENCODED_BYTES_MAX -> handle, gas 1000,
                    errors [INVALID_PARAMETER, FORBIDDEN, RESOURCE_LIMITED];

                /// What was agreed on for a stream: the server name that its client has asked
                /// for, and the protocol that was chosen (ALPN). Nothing is known before the
                /// handshake is over.
                slow 308 stream_tls(handle: handle) -> ((Option<String>, Option<Vec<u8>>)), gas 200,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION];

                /// Why a call on the network failed last: a call on this handle, or any with
                /// -1. A kind, as in `NetFailure`, and a text for people.
                slow 306 net_failure(handle: handle) -> ((u8, String)), gas 200,
                    errors [NOT_FOUND];
            }

            udp {
                /// Opens a UDP socket on a literal `ip:port`. A port of the app's
                /// range is shared by the app's instances: a datagram goes to the one
                /// that takes it first. Port 0, unless it is in the range, is for a
                /// client: the socket receives only from addresses that it has sent
                /// to.
                fast 309 udp_bind(addr: str max ADDRESS_BYTES_MAX) -> handle, gas 1000,
                    errors [INVALID_PARAMETER, FORBIDDEN, IO_ERROR, RESOURCE_LIMITED];

                /// Connects a UDP socket to `host:port`: what is sent without an address goes
                /// there, and only what comes from there is received. Waits for the name to be
                /// resolved; to be called again with the same target then. Another target
                /// begins anew. Not for a port that instances share: what this socket takes
                /// from the common queue and is not from its peer is lost for the others.
                fast 310 udp_connect(waker: waker, handle: handle, target: str max TARGET_BYTES_MAX) -> unit, gas 1000,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, INVALID_PARAMETER, PENDING, FORBIDDEN, IO_ERROR, RESOURCE_LIMITED];

                /// Sends datagrams, each a header and its payload (`wapo_abi::datagram`), and
                /// answers how many went, at most 32 in one call. An error is that of the first
                /// datagram; one further back ends the call before it. Each address is checked
                /// against the app's egress policy: `FORBIDDEN`.
                fast 311 udp_send(waker: waker, handle: handle, datagrams: bytes max UDP_BATCH_BYTES_MAX) -> size, gas 200 + len * 1 / 128,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, INVALID_PARAMETER, PENDING, FORBIDDEN, IO_ERROR];

                /// Receives datagrams in the same form and answers how many bytes they take, at
                /// most 32 of them. A first one that is longer than the room behind its header
                /// is cut; more follow only where there is room for the longest.
                fast 312 udp_recv(waker: waker, handle: handle, buffer: bytes_mut cut UDP_BATCH_BYTES_MAX) -> size, gas 200,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, INVALID_PARAMETER, PENDING, IO_ERROR];

                /// The `ip:port` that a listener or a UDP socket is bound to.
                slow 313 local_addr(handle: handle) -> (String), gas 200,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION];
            }

            listen {
                /// As 210, with options. A PROXY header is read from proxies that the
                /// operator trusts and from no other peer; `FORBIDDEN` where there
                /// are none.
                fast_encoded 315 tcp_listen_with(addr: (String), tls: (Option<TlsServerConfig>), options: (ListenOptions)) max ENCODED_BYTES_MAX -> handle, gas 1000,
                    errors [INVALID_PARAMETER, FORBIDDEN, IO_ERROR, RESOURCE_LIMITED];

                /// Sets an option of a TCP stream, with TLS by the host or without. 1: whether small
                /// writes are sent at once, 0 or 1. 2: seconds of silence after which the kernel
                /// asks the peer whether it is there, up to 32767, 0 for never.
                fast 316 stream_option(handle: handle, option: u16, value: i32) -> unit, gas 200,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, INVALID_PARAMETER, IO_ERROR];
            }

            connect {
                /// As 214, with protocols to offer, a certificate of the guest's and trust roots
                /// of its own.
                fast_encoded 317 tcp_connect_tls_with(host: (String), port: (u16), options: (TlsClientOptions)) max ENCODED_BYTES_MAX -> handle, gas 1000,
                    errors [INVALID_PARAMETER, FORBIDDEN, RESOURCE_LIMITED];

                /// Speaks TLS from now on, as 317 does, on a plain stream that the guest has
                /// connected (STARTTLS). The handle stays. After an error the stream is as it was.
                fast_encoded 322 stream_start_tls(stream: (i32), name: (String), options: (TlsClientOptions)) max ENCODED_BYTES_MAX -> unit, gas 1000,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, INVALID_PARAMETER, RESOURCE_LIMITED];

                /// The two addresses of a TCP stream as `ip:port`: its own, and that of its
                /// peer. `CONDITION_ERROR` while it agrees on TLS, `IO_ERROR` when it is broken.
                slow 323 stream_addrs(handle: handle) -> ((String, String)), gas 200,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, CONDITION_ERROR, IO_ERROR];
            }

            guard {
                /// Bytes of the stack that the guest's code may still use in the present poll; a
                /// call that needs more traps. Never more than there are, and some KiB less;
                /// that of the host's own calls is not part of it. Free, to be asked often.
                fast 318 stack_left() -> size, gas 0, errors [];

                /// An alarm that the guest sets for itself: when one poll, the present one
                /// included, computes for more milliseconds than this, the host ends the
                /// instance. 0 switches it off. What a poll waits or is held up is not counted.
                fast 319 limit_poll(limit_ms: i32) -> unit, gas 100, errors [INVALID_PARAMETER];

                /// Writes the nanoseconds for which the instance has computed, as eight bytes,
                /// the lowest first. They are counted from its first call of 319 or 320 on.
                fast 320 cpu_time(buffer: bytes_mut cut CPU_TIME_BYTES) -> unit, gas 1, errors [INVALID_PARAMETER];
            }

            worker {
                /// Writes a line to the app's log.
                fast 220 log(level: level, text: str cut LOG_TEXT_BYTES_MAX) -> unit, gas 0 + len * 1 / 1, errors [];

                /// The address of the app: the hash of its manifest.
                slow 242 app_address() -> ([u8; 32]), gas 100, errors [];

                /// Hands output to the embedder, which shows it to the program's user.
                fast 243 emit_program_output(data: bytes cut OUTPUT_BYTES_MAX) -> unit, gas 0 + len * 1 / 128,
                    errors [];

                /// Signs data with the worker's key, in the name of this app.
                slow 250 sign(data: bytes max SIGN_BYTES_MAX) -> (Vec<u8>), gas 1000 + len * 1 / 1,
                    errors [INVALID_PARAMETER];

                /// The worker's public key.
                slow 251 worker_pubkey() -> ([u8; 32]), gas 100, errors [];

                /// A hardware quote over data of this app; none outside an enclave.
                wait 252 sgx_quote(data: bytes max SIGN_BYTES_MAX) -> (Option<Vec<u8>>), gas 1000 + len * 1 / 1,
                    errors [INVALID_PARAMETER];

                /// Adds to what the app offers its worker.
                fast 253 tip(amount: u64) -> unit, gas 100, errors [];

                /// Gas the app has used in this deployment, and a token of the reading.
                slow 254 app_gas_consumed() -> ((u64, MetricsToken)), gas 1000, errors [];

                /// A secret that only this app on this worker can derive, per path.
                slow 255 derive_secret(path: bytes max SECRET_PATH_BYTES_MAX) -> ([u8; 64]), gas 1000 + len * 1 / 1,
                    errors [INVALID_PARAMETER];
            }

            attest {
                /// Begins to make evidence that this app runs on this worker (a SCALE
                /// `AppEvidence`, see attestation.md); `take_evidence` gives it. With a nonce,
                /// which the evidence then has, the hardware makes a quote for it: that costs
                /// 1000000 more, and each app gets a few in a second. Without one it is some
                /// hours old at most. `UNSUPPORTED_OPERATION` where the worker can prove
                /// nothing, `RESOURCE_LIMITED` while the app waits for too many.
                fast 324 make_evidence(nonce: bytes max EVIDENCE_NONCE_BYTES_MAX) -> handle, gas 1000,
                    errors [INVALID_PARAMETER, UNSUPPORTED_OPERATION, RESOURCE_LIMITED];

                /// Takes evidence when it is made, once; `END_OF_FILE` after that. `IO_ERROR`
                /// when the hardware has made no quote.
                slow 325 take_evidence(waker: waker, handle: handle) -> (Vec<u8>), gas 200,
                    errors [NOT_FOUND, UNSUPPORTED_OPERATION, PENDING, END_OF_FILE, IO_ERROR, RESOURCE_LIMITED];

                /// As 315, with TLS by the host and a certificate that the worker makes and
                /// keeps new: it has the app's key, which stays with the host, the app's
                /// evidence, and these host names and addresses, at most 16, or none. A
                /// handshake waits for the first. `UNSUPPORTED_OPERATION` where the worker can
                /// prove nothing.
                fast_encoded 326 tcp_listen_attested(addr: (String), names: (Vec<String>), options: (ListenOptions)) max ENCODED_BYTES_MAX -> handle, gas 1000,
                    errors [INVALID_PARAMETER, UNSUPPORTED_OPERATION, FORBIDDEN, IO_ERROR, RESOURCE_LIMITED];

                /// As 307, with such a certificate for the name and TLS by the host. Nobody
                /// signs it who is trusted: where the worker verifies certificates, that is
                /// FORBIDDEN for names that the operator has not given to the app. A success
                /// costs 10000 more.
                fast_encoded 327 sni_listen_attested(name: (String), protocols: (Vec<Vec<u8>>)) max ENCODED_BYTES_MAX -> handle, gas 1000,
                    errors [INVALID_PARAMETER, UNSUPPORTED_OPERATION, FORBIDDEN, RESOURCE_LIMITED];
            }

            storage {
                /// Reads a blob by `algorithm:hex`. Its size divided by 128 is charged as well.
                wait 244 blob_get(hash: str max BLOB_NAME_BYTES_MAX else IO_ERROR) -> (Vec<u8>), gas 100,
                    errors [NOT_FOUND, IO_ERROR, RESOURCE_LIMITED];

                /// Reads the app's sealed record. A record costs 1012.
                wait 260 read_boot_data() -> (Option<Vec<u8>>), gas 0, errors [IO_ERROR];

                /// Replaces the app's sealed record.
                wait 261 write_boot_data(data: bytes max BOOT_DATA_BYTES_MAX) -> (()), gas 1012,
                    errors [INVALID_PARAMETER, IO_ERROR];
            }

            lock {
                /// Takes a named lock of the app.
                fast 262 app_try_lock(name: str max LOCK_NAME_BYTES_MAX else CONDITION_ERROR) -> unit, gas 0, errors [CONDITION_ERROR];

                /// Gives a named lock back.
                fast 263 app_unlock(name: str max LOCK_NAME_BYTES_MAX else CONDITION_ERROR) -> unit, gas 0, errors [CONDITION_ERROR];
            }
        }
    };
}

/// Reads the gas column: `1000` or `1000 + len * 1 / 128`.
#[macro_export]
#[doc(hidden)]
macro_rules! __gas {
    ($base:literal) => {
        $crate::Gas {
            base: $base,
            per_bytes: 0,
            bytes: 1,
        }
    };
    ($base:literal + len * $mul:literal / $div:literal) => {
        $crate::Gas {
            base: $base,
            per_bytes: $mul,
            bytes: $div,
        }
    };
}

macro_rules! mode {
    (fast) => {
        Mode::Fast
    };
    (fast_encoded) => {
        Mode::FastEncoded
    };
    (slow) => {
        Mode::Slow
    };
    (wait) => {
        Mode::Wait
    };
}

/// Reads the cap of an argument: `max N`, `max N else ERRNO`, `cut N`, or nothing.
#[macro_export]
#[doc(hidden)]
macro_rules! __cap {
    () => {
        None
    };
    (max $cap:ident) => {
        $crate::__cap!(max $cap else INVALID_PARAMETER)
    };
    (max $cap:ident else $errno:ident) => {
        Some($crate::caps::Cap {
            bytes: $crate::caps::$cap,
            excess: $crate::caps::Excess::Refused($crate::Errno::$errno),
        })
    };
    (cut $cap:ident) => {
        Some($crate::caps::Cap {
            bytes: $crate::caps::$cap,
            excess: $crate::caps::Excess::Cut,
        })
    };
}

macro_rules! table {
    ([] $($family:ident { $(
        $(#[doc = $doc:literal])*
        $mode:ident $id:literal $name:ident (
            $($arg:ident : $kind:tt $($rule:ident $cap:ident $(else $refusal:ident)?)?),*
        ) $(max $input_cap:ident)? -> $result:tt,
        gas $base:literal $(+ len * $mul:literal / $div:literal)?,
        errors [$($errno:ident),*];
    )* })*) => {
        /// Every host call in the order of the table.
        pub const CALLS: &[CallInfo] = &[$($(
            CallInfo {
                id: $id,
                name: stringify!($name),
                family: stringify!($family),
                mode: mode!($mode),
                args: &[$(Arg {
                    name: stringify!($arg),
                    kind: stringify!($kind),
                    cap: $crate::__cap!($($rule $cap $(else $refusal)?)?),
                }),*],
                input_cap: $crate::__cap!($(max $input_cap)?),
                result: stringify!($result),
                gas: $crate::__gas!($base $(+ len * $mul / $div)?),
                errors: &[$($crate::Errno::$errno),*],
                doc: &[$($doc),*],
            },
        )*)*];

        /// Name of a call for traces; `unknown` when there is none.
        pub const fn name_of(id: u32) -> &'static str {
            match id {
                $crate::GET_RETURN => "get_return",
                $($($id => stringify!($name),)*)*
                _ => "unknown",
            }
        }
    };
}
for_each_host_call!(table);

#[cfg(test)]
mod tests;
