//! The calls of UDP, and how datagrams lie side by side.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::{Errno, Fast, Probe, SCRATCH, Script, TRANSFER_BYTES_MAX};

/// Bytes in front of each payload.
const HEADER: usize = 28;

/// One datagram: where it goes to or comes from, and its payload.
pub type Datagram = (Option<SocketAddr>, Vec<u8>);

/// Datagrams as they lie in a slice.
///
/// # Panics
///
/// When one is longer than 4 GiB.
pub fn datagrams(all: &[Datagram]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (peer, payload) in all {
        let mut header = [0; HEADER];
        let len = u32::try_from(payload.len()).expect("short");
        header[..4].copy_from_slice(&len.to_le_bytes());
        if let Some(peer) = peer {
            header[6..8].copy_from_slice(&peer.port().to_le_bytes());
        }
        match peer {
            None => {}
            Some(SocketAddr::V4(peer)) => {
                header[4] = 4;
                header[8..12].copy_from_slice(&peer.ip().octets());
            }
            Some(SocketAddr::V6(peer)) => {
                header[4] = 6;
                header[8..24].copy_from_slice(&peer.ip().octets());
                header[24..].copy_from_slice(&peer.scope_id().to_le_bytes());
            }
        }
        bytes.extend(header);
        bytes.extend(payload);
    }
    bytes
}

/// Takes a slice of datagrams apart.
fn parse(mut bytes: &[u8]) -> Vec<Datagram> {
    let mut all = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() {
        let number = |at: usize| {
            let four = header[at..at + 4].try_into().expect("four bytes");
            u32::from_le_bytes(four)
        };
        let port = u16::from_le_bytes([header[6], header[7]]);
        let address: [u8; 16] = header[8..24].try_into().expect("sixteen bytes");
        let peer = match header[4] {
            0 => None,
            4 => {
                let ip: [u8; 4] = address[..4].try_into().expect("four bytes");
                Some((IpAddr::from(Ipv4Addr::from(ip)), port).into())
            }
            6 => {
                let ip = Ipv6Addr::from(address);
                Some(SocketAddrV6::new(ip, port, 0, number(24)).into())
            }
            kind => panic!("an address of kind {kind}"),
        };
        let (payload, rest) = rest.split_at(number(0) as usize);
        all.push((peer, payload.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "{} bytes are no header", bytes.len());
    all
}

impl Probe {
    /// 309
    pub async fn udp_bind(&self, address: &str) -> Fast {
        self.fast_with(309, &[], address.as_bytes()).await
    }

    /// 310, until it is done.
    pub async fn udp_connect(&self, handle: u32, target: &str) -> Fast {
        loop {
            let waker = self.new_waker();
            let before = [waker, handle];
            let result = self.fast_with(310, &before, target.as_bytes()).await;
            self.count_waker(waker, result);
            if result != Err(Errno::Pending) {
                return result;
            }
            self.until_woken(waker).await;
        }
    }

    /// 311 with these bytes, until it is done.
    pub async fn udp_send(&self, handle: u32, bytes: &[u8]) -> Fast {
        loop {
            let waker = self.new_waker();
            let result = self.fast_with(311, &[waker, handle], bytes).await;
            self.count_waker(waker, result);
            if result != Err(Errno::Pending) {
                return result;
            }
            self.until_woken(waker).await;
        }
    }

    /// 312 into so many bytes, until it is done.
    ///
    /// # Errors
    ///
    /// As the call.
    pub async fn udp_recv(&self, handle: u32, room: u32) -> Result<Vec<Datagram>, Errno> {
        let filled = self.wait(312, [handle, SCRATCH, room]).await?;
        let mut bytes = Vec::new();
        while bytes.len() < filled as usize {
            let at = u32::try_from(bytes.len()).expect("fits into memory");
            let len = (filled - at).min(TRANSFER_BYTES_MAX);
            bytes.extend(self.read(SCRATCH + at, len).await);
        }
        Ok(parse(&bytes))
    }

    /// 313
    ///
    /// # Errors
    ///
    /// As the call.
    pub async fn local_addr(&self, handle: u32) -> Result<SocketAddr, Errno> {
        let answer = self.slow(313, [handle, 0, 0, 0]).await?;
        let text: String = parity_scale_codec::DecodeAll::decode_all(&mut answer.as_slice())
            .expect("an address in a text");
        Ok(text.parse().expect("an address and a port"))
    }

    /// Sends one datagram.
    pub async fn send_to(&self, handle: u32, to: SocketAddr, payload: &[u8]) -> Fast {
        let bytes = datagrams(&[(Some(to), payload.to_vec())]);
        self.udp_send(handle, &bytes).await
    }

    /// Whether no datagram for it is there at the moment; one that is there is taken.
    pub async fn hears_nothing(&self, handle: u32) -> bool {
        let script = Script::new().fast(312, [u32::MAX, handle, SCRATCH, 100_000]);
        self.run(&script).await.result() == Err(Errno::Pending)
    }
}
