//! An echo under many server names, on the TLS port that apps share.
//!
//! Arguments: a prefix and a number. The names are `prefix-0.bench.test` and so on;
//! certificate and key, which are good for all of them, are in the environment. It
//! answers queries when it serves them all.

use futures_util::{AsyncReadExt, AsyncWriteExt};
use wapo::net::{Identity, SniTlsListener, TcpStream};

/// Bytes of the first read of a connection; idle ones cost the guest no more.
const FIRST_BYTES: usize = 256;
/// Bytes of the others.
const BUFFER_BYTES: usize = 64 * 1024;

#[wapo::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    wapo::log::init();
    let mut arguments = std::env::args().skip(1);
    let prefix = arguments.next().ok_or("no prefix")?;
    let count: u32 = arguments.next().ok_or("no number")?.parse()?;
    let identity = Identity::from_pem(std::env::var("TLS_CERT")?, std::env::var("TLS_KEY")?);
    for number in 0..count {
        let name = format!("{prefix}-{number}.bench.test");
        let mut listener = SniTlsListener::bind(&name, identity.clone())?;
        wapo::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                wapo::spawn(echo(stream));
            }
        });
    }
    wapo::query::serve(|query| async move { Ok::<_, String>(query.payload) }).await;
    Ok(())
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; FIRST_BYTES];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return stream.close().await;
        }
        stream.write_all(&buffer[..count]).await?;
        stream.flush().await?;
        buffer.resize(BUFFER_BYTES, 0);
    }
}
