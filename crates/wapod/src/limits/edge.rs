//! Bounds of the shared TLS port, and of names.

use std::time::Duration;

/// Connections of the shared TLS port that no guest has yet: being read, agreeing on
/// keys, waiting for an app.
///
/// Each costs a file descriptor and up to 60 KiB while its client sends the largest
/// ClientHello. For a further one, a connection leaves for whose client the daemon
/// waits; while it waits for none, newcomers wait in the kernel's queue.
pub const TLS_CONNECTIONS_MAX: u32 = 1024;

/// Connections of the shared TLS port that wait for one app, not for their clients.
///
/// An eighth of all, so that apps that take none, or are slow to start, leave places
/// for those of others. Of a port with fewer places it is an eighth of those.
pub const WAITING_OF_APP_MAX: usize = 128;

/// Connections that wait until an app has started, of those.
///
/// What they wait for happens rarely, and takes some tenths of a second. Of a port with
/// fewer places it is a sixteenth of those.
pub const PARKED_OF_APP_MAX: usize = 64;

/// Connections of one name whose handshake is done and that wait for a guest.
///
/// A guest that is busy for a moment takes them all at once afterwards.
pub const READY_OF_NAME_MAX: usize = 64;

/// Time for a client to send its ClientHello.
///
/// Clients send it with the first packet. Without an end, silent connections would
/// stay for ever.
pub const CLIENT_HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for client and server to agree on keys, once the ClientHello is there.
///
/// Two round trips, over the worst of networks.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for which a connection is meant for the least busy instance alone.
///
/// An instance that does not take it by then is busy or stuck, and others may be idle.
pub const SNI_TAKE_TIMEOUT: Duration = Duration::from_millis(100);

/// Time for a guest to take a connection after that.
///
/// As long as other servers let clients wait for an answer to their first bytes at
/// least; the client is told of an end, and may come again.
pub const ACCEPT_WAIT: Duration = Duration::from_secs(10);

/// Time for connections of the TLS port to come to a guest, once the daemon ends.
///
/// A client that was accepted has begun to speak, and needs two round trips at most;
/// one that stays silent is not waited for.
pub const TLS_LEAVING_WAIT: Duration = Duration::from_secs(3);

/// Listeners of one instance for the same name.
///
/// Two while it replaces its certificate. Each is looked at when a connection comes.
pub const LISTENERS_OF_NAME_MAX: usize = 8;

/// Time between two times at which names are written down that apps have got or lost by
/// asking.
///
/// A record may have as many of them as an app can have, a quarter of a megabyte; a guest
/// that asks for names and gives them back all the time makes the daemon write no more
/// than that so often. A daemon that is killed may forget what came after the last time.
pub const CLAIMS_PAUSE: Duration = Duration::from_secs(5);

/// Configurations of TLS that are kept of one app for names that it leaves to the gateway.
///
/// One for each certificate. For more, each handshake makes its own, as for the first
/// connection of any.
pub const CONFIGS_KEPT_MAX: usize = 8;

/// Names that one app can have by serving them. Those that the operator gives do
/// not count.
///
/// Each costs some KiB. Without a bound a guest could take every name of a machine's
/// customers before they come.
pub const CLAIMS_OF_APP_MAX: usize = 1024;
