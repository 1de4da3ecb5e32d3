//! Bounds of TLS that the daemon's own ports end.

use std::time::Duration;

/// Bytes of a file with a certificate or a key.
///
/// A chain of ten large certificates has 30 KiB. More is another file, named by mistake.
pub const TLS_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Certificates in a chain.
///
/// Authorities give three at most. Each is sent to every client.
pub const TLS_CHAIN_MAX: usize = 10;

/// Time between two looks at the files of a certificate.
///
/// Costs a look at two files. An operator who has renewed a certificate does not
/// notice the wait.
pub const TLS_FILES_INTERVAL: Duration = Duration::from_secs(2);

/// Time for a client to come to the end of the handshake of TLS.
///
/// Counts from the connection. Slow links need a second; without it, clients that stop
/// half-way would stay for ever.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Handshakes of a port at a time.
///
/// Each may keep up to 64 KiB of what the client has sent. For a further one, the one
/// leaves that has waited for its client the longest.
pub const HANDSHAKES_MAX: usize = 1024;

/// The same of one client: of an IPv4 address, or of a network of 64 bits in IPv6.
///
/// Without it, one client could make all others leave before they are done.
pub const HANDSHAKES_CLIENT_MAX: usize = 256;

/// Bytes that TLS keeps of what is to be sent to one client, until the socket takes them.
///
/// Two records: the socket has its own buffer behind it. The library would keep twice as
/// much for each client that takes nothing.
pub const TLS_UNSENT_BYTES_MAX: usize = 32 * 1024;

/// Domains of an app.
///
/// Each is in the app's record, which is written whole, and in the table of names.
pub const DOMAINS_OF_APP_MAX: usize = 64;

/// Bytes of a domain's certificate with its chain and key.
///
/// The longest chain of large certificates has half of it. It is in the app's record.
pub const DOMAIN_CERTIFICATE_BYTES_MAX: usize = 64 * 1024;

/// Names for which certificates are got by ACME.
///
/// Each is an order at the authority every two months, and two files.
pub const ACME_NAMES_MAX: usize = 1000;

/// Time between two looks at which names want certificates.
///
/// Changes of domains are told at once; this is for names of apps, and for clocks that jump.
pub const ACME_LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Pause after a failure with an authority, doubled each time.
///
/// Authorities allow five failures an hour for a name.
pub const ACME_RETRY_MIN: Duration = Duration::from_secs(12 * 60);

/// The longest of these pauses.
pub const ACME_RETRY_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// The longest pause that an authority may ask for.
pub const ACME_RETRY_AFTER_MAX: Duration = Duration::from_secs(48 * 60 * 60);

/// Time for one answer of an authority's server.
pub const ACME_CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for an authority to look at a name, and again to issue a certificate.
pub const ACME_ORDER_TIMEOUT: Duration = Duration::from_secs(120);

/// Bytes of one answer of an authority's server.
///
/// A chain has some KiB.
pub const ACME_ANSWER_BYTES_MAX: usize = 1024 * 1024;
