//! Proxies on loopback that do what a test tells them to, and connect everything to one
//! place.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What a proxy does when it is asked for a connection.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Connects to this place, whatever was asked for.
    Connect(SocketAddr),
    /// Sends these bytes in place of an answer and closes.
    Say(Vec<u8>),
    /// Accepts, and says nothing.
    Silence,
}

/// A proxy for SOCKS5 and HTTP CONNECT; it is gone when dropped.
pub struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: AbortHandle,
}

impl Proxy {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// When no port is to be had.
    pub async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let list = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (behaviour, list) = (behaviour.clone(), Arc::clone(&list));
                tokio::spawn(async move {
                    // What breaks here, breaks for the guest, who is looked at.
                    let _ = serve(stream, behaviour, &list).await;
                });
            }
        });
        Self {
            address,
            asked,
            task: task.abort_handle(),
        }
    }

    /// Its URL.
    ///
    /// # Panics
    ///
    /// When it would be none.
    pub fn url(&self, scheme: &str) -> Arc<wapod::Proxy> {
        let url = format!("{scheme}://{}", self.address);
        Arc::new(url.parse().expect("a proxy"))
    }

    /// What it was asked for since the last look.
    ///
    /// # Panics
    ///
    /// When the proxy has.
    pub fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("not poisoned"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    behaviour: Behaviour,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let first = stream.read_u8().await?;
    let (target, yes): (_, &[u8]) = match first {
        5 => (socks5(&mut stream).await?, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
        _ => (
            http(&mut stream).await?,
            b"HTTP/1.1 200 Connected\r\nVia: 1.1 test\r\n\r\n",
        ),
    };
    asked.lock().expect("not poisoned").push(target);
    match behaviour {
        Behaviour::Connect(place) => {
            let mut other = TcpStream::connect(place).await?;
            stream.write_all(yes).await?;
            copy_bidirectional(&mut stream, &mut other).await?;
        }
        Behaviour::Say(bytes) => stream.write_all(&bytes).await?,
        Behaviour::Silence => std::future::pending().await,
    }
    Ok(())
}

/// What is asked for, as `host:port`.
async fn socks5(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut methods = vec![0; stream.read_u8().await?.into()];
    stream.read_exact(&mut methods).await?;
    stream.write_all(&[5, 0]).await?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    assert_eq!(head[..3], [5, 1, 0], "CONNECT of SOCKS5");
    let host = match head[3] {
        1 => {
            let mut v4 = [0; 4];
            stream.read_exact(&mut v4).await?;
            IpAddr::from(v4).to_string()
        }
        4 => {
            let mut v6 = [0; 16];
            stream.read_exact(&mut v6).await?;
            format!("[{}]", IpAddr::from(v6))
        }
        _ => {
            let mut name = vec![0; stream.read_u8().await?.into()];
            stream.read_exact(&mut name).await?;
            String::from_utf8_lossy(&name).into_owned()
        }
    };
    let port = stream.read_u16().await?;
    Ok(format!("{host}:{port}"))
}

async fn http(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    // The first letter was read before.
    let target = head
        .strip_prefix("ONNECT ")
        .and_then(|rest| rest.split(' ').next());
    Ok(target.expect("a request").to_owned())
}
