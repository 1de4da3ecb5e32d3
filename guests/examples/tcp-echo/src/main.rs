//! Sends back whatever it gets. The address to listen on is the first argument.

use std::time::Duration;

use futures_util::{AsyncReadExt, AsyncWriteExt};
use wapo::net::{TcpListener, TcpStream};

/// Rest after a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

#[wapo::main]
async fn main() -> wapo::Result<()> {
    wapo::log::init();
    let addr = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:1999".to_owned());
    let listener = TcpListener::bind(&addr).await?;
    log::info!("listening on {addr}");
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
        wapo::spawn(async move {
            if let Err(error) = echo(stream).await {
                log::info!("{peer}: {error}");
            }
        });
    }
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return stream.close().await;
        }
        stream.write_all(&buffer[..count]).await?;
    }
}
