//! A UDP echo, as many datagrams at a time as there are.

use wapo::net::{Datagrams, UdpSocket};

#[wapo::main]
async fn main() -> std::io::Result<()> {
    wapo::log::init();
    let addr = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:1999".to_owned());
    let socket = UdpSocket::bind(&addr).await?;
    log::info!("listening on {addr}");
    let mut batch = Datagrams::with_room(128 * 1024);
    loop {
        socket.recv_batch(&mut batch).await?;
        socket.send_batch(&mut batch).await?;
    }
}
