//! Bounds of quotes, evidence and attested certificates.

use std::time::Duration;

/// How long a quote is waited for.
///
/// Hardware takes some tens of milliseconds, the host's quoting service up to some
/// seconds after its start. Behind a host that does not answer, nobody waits longer.
pub const QUOTE_TIMEOUT: Duration = Duration::from_secs(30);

/// Quotes that the worker itself may wait for: its evidence, and what its operator asks
/// for. They have places of their own, so that nobody else can keep evidence from being
/// renewed.
pub const OWN_QUOTES_WAITING_MAX: usize = 8;

/// Quotes that guests may wait for, all together; each app for one at a time.
///
/// At some tens of milliseconds each, the last of them waits for about a second.
pub const GUEST_QUOTES_WAITING_MAX: usize = 32;

/// Quotes that guests get a second, all together; those that have to wait do, in turn.
///
/// With those of strangers this is half of what hardware makes, so that the worker's own
/// are never far behind.
pub const GUEST_QUOTES_PER_SECOND: f64 = 10.0;

/// Quotes that guests get at once after a pause, all together.
pub const GUEST_QUOTES_BURST: f64 = 40.0;

/// Quotes that one app gets a second. Its instances share them.
///
/// A verifier who wants to know more often asks an app for evidence without a nonce,
/// or for one with a nonce that binds a key, and then for signatures with that.
pub const APP_QUOTES_PER_SECOND: f64 = 2.0;

/// Quotes that one app gets at once after a pause.
pub const APP_QUOTES_BURST: f64 = 10.0;

/// Evidence that one app may wait for.
///
/// The last of it waits for some seconds; each is a task of the daemon.
pub const APP_EVIDENCE_WAITING_MAX: usize = 16;

/// Names of a certificate that a guest asks for, for a port of its own.
///
/// Each costs bytes in every handshake, up to 253.
pub const GUEST_CERTIFICATE_NAMES_MAX: usize = 16;

/// Quotes with a nonce of a stranger that are waited for.
pub const STRANGER_QUOTES_WAITING_MAX: usize = 8;

/// Quotes with a nonce that strangers get a second, all together.
///
/// Each occupies the hardware, of which the worker's own quotes and those of guests
/// need some as well. Requests without a nonce get the cached evidence, as often as
/// wanted.
pub const STRANGER_QUOTES_PER_SECOND: f64 = 5.0;

/// Quotes with a nonce that strangers get at once after a pause.
pub const STRANGER_QUOTES_BURST: f64 = 20.0;

/// How long evidence counts.
///
/// A verifier takes it for that long; a nonce is the way to something newer. Long
/// enough that a source that is away for some hours stops nobody.
pub const EVIDENCE_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// When evidence is made again, well before it expires.
pub const EVIDENCE_RENEWAL: Duration = Duration::from_secs(4 * 60 * 60);

/// Pause after hardware has made no quote for evidence.
///
/// Requests meanwhile get the same error, so that many requests do not keep a broken
/// machine busy.
pub const QUOTE_RETRY_PAUSE: Duration = Duration::from_secs(5);

/// How often evidence and attested certificates are looked at.
pub const ATTESTED_LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// When collateral is made or fetched again.
///
/// It counts for about a month, and what was revoked meanwhile should be known soon.
pub const COLLATERAL_RENEWAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Apps whose key was changed, also of apps that are gone.
///
/// 40 bytes each in one record that is written at a change.
pub const KEY_VERSIONS_MAX: usize = 10_000;

/// How long a nonce for a request of the worker's key counts.
///
/// Until then the other worker has made its quote and, where it has none yet, fetched
/// collateral for it.
pub const HANDOVER_NONCE_LIFE: Duration = Duration::from_secs(120);

/// How long a request for another worker's key counts.
///
/// By the clocks of two machines, which may differ by some minutes; what makes it new is
/// the nonce.
pub const HANDOVER_REQUEST_LIFE: Duration = Duration::from_secs(10 * 60);

/// Pause after collateral could not be fetched.
pub const COLLATERAL_RETRY_PAUSE: Duration = Duration::from_secs(10 * 60);

/// How long the four answers of a caching service are waited for.
///
/// It may have to ask the vendor first.
pub const COLLATERAL_TIMEOUT: Duration = Duration::from_secs(60);
