//! Reading a PROXY header from a connection, and not a byte more.
//!
//! For every listener that takes such headers: the embedder's own, and those of
//! guests that ask for it. The caller decides which peers may send one, and also
//! bounds how many connections wait for theirs.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::net::proxy_header::{HEADER_BYTES_MAX, parse};

/// Time for a PROXY header, from the moment the connection is there.
///
/// Proxies send it at once, before anything else; a lost packet is sent again
/// within a second or three.
pub const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a peer is one of these proxies.
pub fn is_trusted(trusted: &[IpNet], peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    trusted.iter().any(|net| net.contains(&peer))
}

/// Reads the header that a proxy has to send first, and answers with the client's
/// address; the proxy's own where it speaks for itself. What follows the header is
/// still to be read from the stream.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] with a
/// [`HeaderError`](crate::net::proxy_header::HeaderError) for anything else than a
/// header, `UnexpectedEof` when the connection ends in it, `TimedOut` after
/// [`PROXY_HEADER_TIMEOUT`]. The connection is of no use then: whose bytes they are
/// is not known.
///
/// # Cancel safety
///
/// Not cancel safe: a part of the header is lost with the future.
pub async fn read(stream: &TcpStream, peer: SocketAddr) -> io::Result<SocketAddr> {
    let reading = timeout(PROXY_HEADER_TIMEOUT, read_header(stream));
    let client = reading.await.map_err(|_| io::ErrorKind::TimedOut)??;
    Ok(client.unwrap_or(peer))
}

async fn read_header(stream: &TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut bytes = [0; HEADER_BYTES_MAX];
    let mut read = 0;
    loop {
        // Looked at first, so that what follows the header stays where it is.
        let more = stream.peek(&mut bytes[read..]).await?;
        if more == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let header = parse(&bytes[..read + more]).map_err(invalid)?;
        let end = header.map_or(read + more, |header| header.bytes);
        while read < end {
            stream.readable().await?;
            match stream.try_read(&mut bytes[read..end]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(header) = header {
            return Ok(header.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn both_ends() -> (TcpStream, TcpStream, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let client = TcpStream::connect(address).await.expect("connected");
        let (server, peer) = listener.accept().await.expect("accepted");
        (client, server, peer)
    }

    #[tokio::test]
    async fn a_header_is_read_in_pieces_and_nothing_behind_it() {
        let (mut client, mut server, peer) = both_ends().await;
        client.set_nodelay(true).expect("a setting");
        let sending = async {
            for byte in b"PROXY TCP4 192.0.2.7 10.0.0.1 5 443\r\n" {
                client.write_all(&[*byte]).await.expect("sent");
                tokio::task::yield_now().await;
            }
            client.write_all(b"hello").await.expect("sent");
            client.shutdown().await.expect("ended");
        };
        let (read, ()) = tokio::join!(read(&server, peer), sending);
        let expected = "192.0.2.7:5".parse().expect("an address");
        assert_eq!(read.expect("a header"), expected);
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.expect("the rest");
        assert_eq!(rest, b"hello");
    }

    #[tokio::test]
    async fn a_proxy_that_speaks_for_itself_is_the_client() {
        let (mut client, server, peer) = both_ends().await;
        client.write_all(b"PROXY UNKNOWN\r\n").await.expect("sent");
        assert_eq!(read(&server, peer).await.expect("a header"), peer);
    }

    #[tokio::test]
    async fn what_is_no_header_or_ends_in_it_is_an_error() {
        for (bytes, kind) in [
            (
                b"GET / HTTP/1.1\r\n\r\n".as_slice(),
                io::ErrorKind::InvalidData,
            ),
            (b"PROXY TCP4 1", io::ErrorKind::UnexpectedEof),
            (b"", io::ErrorKind::UnexpectedEof),
        ] {
            let (mut client, server, peer) = both_ends().await;
            client.write_all(bytes).await.expect("sent");
            drop(client);
            let error = read(&server, peer).await.expect_err("no header");
            assert_eq!(error.kind(), kind, "{bytes:?}");
        }
    }
}
