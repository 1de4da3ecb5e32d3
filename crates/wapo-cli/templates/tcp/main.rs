//! Listens on a port of its own and sends back what it gets.
//!
//! The address is the first argument: `wapo run -- 127.0.0.1:4000`.

use std::time::Duration;

use futures_util::{AsyncReadExt, AsyncWriteExt};
use wapo::net::{TcpListener, TcpStream};

/// Rest after a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

#[wapo::main]
async fn main() -> wapo::Result<()> {
    wapo::log::init();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await?;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of sockets, most likely. Connections that end make room.
                log::warn!("cannot accept: {error}");
                wapo::time::sleep(PAUSE).await;
                continue;
            }
        };
        log::info!("{peer} is here");
        // A task for each connection.
        wapo::spawn(async move {
            match echo(stream).await {
                Ok(bytes) => log::info!("{peer} sent {bytes} bytes"),
                Err(error) => log::warn!("{peer}: {error}"),
            }
        });
    }
}

async fn echo(mut stream: TcpStream) -> std::io::Result<usize> {
    let mut buffer = vec![0; 16 * 1024];
    let mut bytes = 0;
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            stream.close().await?;
            return Ok(bytes);
        }
        stream.write_all(&buffer[..count]).await?;
        bytes += count;
    }
}
