//! A client's first message: the server name that it asks for, and what it offers.
//!
//! Only the fields that decide which app serves the connection are read; the others
//! are checked for their lengths and are otherwise left to the side that terminates
//! TLS. The bytes are kept, because that side gets them next. Called by `reader`.

use crate::alert::Alert;
use crate::bytes::Bytes;
use crate::name::ServerName;
use crate::reader::HelloError;

/// Numbers of extensions.
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
/// The one kind of name that there is.
const HOST_NAME: u8 = 0;
const RANDOM_BYTES: usize = 32;
const SESSION_ID_BYTES_MAX: usize = 32;

/// A version of TLS, by its number on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version(pub u16);

impl Version {
    /// TLS 1.2.
    pub const TLS_1_2: Self = Self(0x0303);
    /// TLS 1.3.
    pub const TLS_1_3: Self = Self(0x0304);
}

/// A ClientHello (RFC 8446, section 4.1.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientHello {
    server_name: Option<ServerName>,
    /// Names of protocols, each after its length of one byte.
    protocols: Vec<u8>,
    /// The newest version of those who have no list.
    version: Version,
    /// What is offered besides, of those who have one.
    versions: Option<Vec<Version>>,
    bytes: Vec<u8>,
}

impl ClientHello {
    /// The server that the client wants; `None` when it does not say.
    pub fn server_name(&self) -> Option<&ServerName> {
        self.server_name.as_ref()
    }

    /// Protocols that the client can speak inside (ALPN), the one it prefers first.
    pub fn protocols(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.protocols.as_slice();
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first()?;
            let (name, behind) = behind.split_at_checked(usize::from(*length))?;
            rest = behind;
            Some(name)
        })
    }

    /// Whether the client can speak a version.
    pub fn offers(&self, version: Version) -> bool {
        match &self.versions {
            Some(versions) => versions.contains(&version),
            // A client without the list cannot speak newer ones, whatever it says.
            None => version <= self.version.min(Version::TLS_1_2),
        }
    }

    /// What a client is told that names no server where it has to.
    pub fn alert_without_name(&self) -> Alert {
        match self.offers(Version::TLS_1_3) {
            true => Alert::MISSING_EXTENSION,
            false => Alert::UNRECOGNIZED_NAME,
        }
    }

    /// All bytes that the reader took: the hello in its records, and what came
    /// behind it in the same piece. The side that terminates TLS begins with them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Reads a message without its header.
    pub(crate) fn read(message: &[u8], bytes: Vec<u8>) -> Result<Self, HelloError> {
        let mut message = Bytes(message);
        let version = Version(message.u16()?);
        message.take(RANDOM_BYTES)?;
        let session_id = message.after_u8()?;
        let cipher_suites = message.after_u16()?;
        let compressions = message.after_u8()?;
        if session_id.0.len() > SESSION_ID_BYTES_MAX
            || cipher_suites.is_empty()
            || !cipher_suites.0.len().is_multiple_of(2)
            || compressions.is_empty()
        {
            return Err(HelloError::Malformed);
        }
        let mut hello = Self {
            server_name: None,
            protocols: Vec::new(),
            version,
            versions: None,
            bytes,
        };
        // Clients before TLS 1.2 may end here.
        if !message.is_empty() {
            let extensions = message.after_u16()?;
            message.end()?;
            hello.extensions(extensions)?;
        }
        Ok(hello)
    }

    fn extensions(&mut self, mut extensions: Bytes<'_>) -> Result<(), HelloError> {
        let mut kinds = Vec::new();
        while !extensions.is_empty() {
            let kind = extensions.u16()?;
            let content = extensions.after_u16()?;
            kinds.push(kind);
            match kind {
                // The first of two: what is wrong with the second is said below.
                SERVER_NAME if self.server_name.is_none() => {
                    self.server_name = Some(server_name(content)?);
                }
                ALPN if self.protocols.is_empty() => self.protocols = protocols(content)?,
                SUPPORTED_VERSIONS if self.versions.is_none() => {
                    self.versions = Some(versions(content)?);
                }
                _ => {}
            }
        }
        kinds.sort_unstable();
        match kinds.windows(2).any(|pair| pair[0] == pair[1]) {
            true => Err(HelloError::Duplicate),
            false => Ok(()),
        }
    }
}

/// A list with one name. There were to be other kinds, and several names; the
/// usual libraries take neither, so no client sends them.
fn server_name(mut content: Bytes<'_>) -> Result<ServerName, HelloError> {
    let mut list = content.after_u16()?;
    content.end()?;
    let kind = list.u8()?;
    let name = list.after_u16()?;
    list.end()?;
    if kind != HOST_NAME || name.is_empty() {
        return Err(HelloError::Malformed);
    }
    ServerName::from_bytes(name.0).map_err(HelloError::Name)
}

/// A list of names of protocols, none of them empty (RFC 7301, section 3.1).
fn protocols(mut content: Bytes<'_>) -> Result<Vec<u8>, HelloError> {
    let list = content.after_u16()?;
    content.end()?;
    if list.is_empty() {
        return Err(HelloError::Malformed);
    }
    let mut names = list;
    while !names.is_empty() {
        if names.after_u8()?.is_empty() {
            return Err(HelloError::Malformed);
        }
    }
    Ok(list.0.to_vec())
}

/// A list of numbers of versions.
fn versions(mut content: Bytes<'_>) -> Result<Vec<Version>, HelloError> {
    let mut list = content.after_u8()?;
    content.end()?;
    if list.is_empty() {
        return Err(HelloError::Malformed);
    }
    let mut versions = Vec::with_capacity(list.0.len() / 2);
    while !list.is_empty() {
        versions.push(Version(list.u16()?));
    }
    Ok(versions)
}
