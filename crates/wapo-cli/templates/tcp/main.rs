//! Listens on a port of its own and sends back what it gets.
//!
//! The address is the first argument: `wapo run -- 127.0.0.1:4000`.

use futures_util::{AsyncReadExt, AsyncWriteExt};
use wapo::net::{TcpListener, TcpStream};

#[wapo::main]
async fn main() -> wapo::Result<()> {
    wapo::log::init();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await?;
    loop {
        let (stream, peer) = listener.accept().await?;
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
