//! Limits of what clients send before they are known.

/// Bytes that a client may send until its ClientHello is complete, headers of
/// records included.
///
/// A client that has sent nothing else has shown nothing, so this is what any
/// stranger makes the host keep. Browsers send up to 2 KiB, with keys that resist
/// quantum computers and encrypted names; tickets of some servers add several. The
/// usual proxies keep 16 KiB as well.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;

/// Bytes of the content of one record (RFC 8446, section 5.1).
///
/// More is an error by the standard, told by the header, before the content comes.
pub const RECORD_BYTES_MAX: usize = 1 << 14;

/// Bytes of a host name without the dot at its end.
///
/// The domain name system has 255 for its own encoding, in which such a name has
/// two more.
pub const NAME_BYTES_MAX: usize = 253;

/// Bytes of one label of a host name, as the domain name system has it.
pub const LABEL_BYTES_MAX: usize = 63;
