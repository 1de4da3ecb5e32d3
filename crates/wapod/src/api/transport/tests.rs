//! Tests of the transport.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::api::budget::{Bounds, Budget};
use crate::api::liveness::LivenessWatch;
use crate::limits::HEAD_FREE_BYTES;

const TIMEOUT: Duration = Duration::from_secs(30);

async fn pair(write_timeout: Duration) -> (Transport, Arc<ClientLiveness>, TcpStream) {
    pair_with(ClientLiveness::default(), write_timeout).await
}

async fn pair_with(
    liveness: ClientLiveness,
    write_timeout: Duration,
) -> (Transport, Arc<ClientLiveness>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listener");
    let address = listener.local_addr().expect("address");
    let client = TcpStream::connect(address).await.expect("client");
    let (stream, _) = listener.accept().await.expect("accepted");
    let liveness = Arc::new(liveness);
    let activity = Arc::<Activity>::default();
    let transport = Transport::new(
        Socket::Tcp(stream),
        Arc::clone(&liveness),
        activity,
        write_timeout,
    );
    (transport, liveness, client)
}

/// Looks, as hyper makes the socket look, until `done`.
async fn until(transport: &mut Transport, watch: &LivenessWatch, done: impl Fn() -> bool) {
    let looking = async {
        while !done() {
            watch.probe();
            transport.flush().await.expect("flush");
            sleep(Duration::from_millis(5)).await;
        }
    };
    let seen = tokio::time::timeout(TIMEOUT, looking).await;
    seen.expect("noticed");
}

#[tokio::test]
async fn the_first_bytes_are_kept_for_the_server() {
    for (sent, expected) in [
        (b"PUT / HTTP/1.1\r\n\r\n".as_slice(), Some(false)),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0", Some(true)),
        (b"PRI * HTTP", None),
    ] {
        let (mut transport, _, mut client) = pair(TIMEOUT).await;
        // Byte by byte, as a slow client does.
        let sending = tokio::spawn(async move {
            for byte in sent {
                client.write_all(&[*byte]).await.expect("sent");
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(transport.speaks_http2(TIMEOUT).await, expected);
        sending.await.expect("sent");
        if expected.is_some() {
            let mut all = Vec::new();
            transport.read_to_end(&mut all).await.expect("the rest");
            assert_eq!(all, sent);
        }
    }
}

#[tokio::test]
async fn a_head_has_to_come_to_its_end_and_nothing_else_has() {
    let moment = Duration::from_millis(50);
    let (mut transport, liveness, mut client) = pair(TIMEOUT).await;
    client.write_all(b"GET /").await.expect("sent");
    assert_eq!(transport.speaks_http2(moment).await, Some(false));
    let mut buffer = [0; 5];
    transport
        .read_exact(&mut buffer)
        .await
        .expect("the beginning");
    let kind = transport.read_u8().await.expect_err("too slow").kind();
    assert_eq!(kind, io::ErrorKind::TimedOut);
    // The body of a request, and silence between two of them.
    liveness.begin_request();
    for is_over in [false, true] {
        if is_over {
            liveness.end_request();
        }
        let silence = tokio::time::timeout(4 * moment, transport.read_u8()).await;
        assert!(silence.is_err(), "{silence:?}");
    }
}

#[tokio::test]
async fn a_head_for_which_there_is_no_room_is_refused_with_the_reason() {
    let budget: Arc<Budget> = Budget::new(Bounds {
        total: 1000,
        each: 1000,
        for_small: 0,
    });
    // So much of a head comes, and not its end.
    let begin = async |bytes: usize| {
        let liveness = ClientLiveness::new(budget.share(None), budget.share(None));
        let (mut transport, liveness, mut client) = pair_with(liveness, TIMEOUT).await;
        client.write_all(&vec![b'x'; bytes]).await.expect("sent");
        assert_eq!(transport.speaks_http2(TIMEOUT).await, Some(false));
        let reading = async {
            let mut left = vec![0; bytes];
            transport.read_exact(&mut left).await?;
            transport.read_u8().await
        };
        let read = tokio::time::timeout(Duration::from_millis(100), reading).await;
        (
            read.ok().map(|read| read.map(drop)),
            liveness,
            transport,
            client,
        )
    };
    let (read, first, _wire, _client) = begin(HEAD_FREE_BYTES + 600).await;
    assert!(read.is_none(), "it is waited for");
    assert_eq!(budget.reading().used, 600);
    let (read, ..) = begin(HEAD_FREE_BYTES).await;
    assert!(read.is_none(), "most heads are not counted");
    let (read, _, transport, mut client) = begin(HEAD_FREE_BYTES + 401).await;
    let error = read.expect("no wait").expect_err("no room");
    assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
    drop(transport);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    assert!(answer.ends_with("try again later\n"), "{answer}");
    first.begin_request();
    assert_eq!(budget.reading().used, 0, "it came to its end");
}

#[tokio::test]
async fn a_client_that_left_is_told_from_one_that_listens() {
    let (mut transport, liveness, mut client) = pair(TIMEOUT).await;
    let watch = LivenessWatch::new(&liveness);
    watch.probe();
    transport.flush().await.expect("flush");
    assert!(!watch.is_half_closed() && !watch.is_gone());

    client.shutdown().await.expect("half closed");
    until(&mut transport, &watch, || watch.is_half_closed()).await;
    assert!(!watch.is_gone());
    let mut heard = vec![0; PROBE.len()];
    client.read_exact(&mut heard).await.expect("the probe");
    assert_eq!(heard, PROBE);
    drop(client);
    until(&mut transport, &watch, || watch.is_gone()).await;
}

#[tokio::test]
async fn nothing_is_sent_when_nobody_asks_any_more() {
    let (mut transport, liveness, mut client) = pair(TIMEOUT).await;
    client.shutdown().await.expect("half closed");
    let watch = LivenessWatch::new(&liveness);
    watch.probe();
    drop(watch);
    transport.flush().await.expect("flush");
    transport.write_all(b"answer").await.expect("written");
    drop(transport);
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.expect("the end");
    assert_eq!(heard, b"answer");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up() {
    let (mut transport, _, mut client) = pair(Duration::from_millis(100)).await;
    let endless = vec![0; 1 << 20];
    let writing = async {
        loop {
            transport.write_all(&endless).await?;
        }
    };
    let failed: io::Result<()> = tokio::time::timeout(TIMEOUT, writing)
        .await
        .expect("no end");
    let kind = failed.expect_err("given up").kind();
    assert_eq!(kind, io::ErrorKind::TimedOut);
    let mut some = [0; 16];
    client.read_exact(&mut some).await.expect("was sent");
}

#[tokio::test]
async fn a_reset_is_no_end() {
    let (transport, liveness, mut client) = pair(TIMEOUT).await;
    liveness.reset();
    drop(transport);
    let error = client.read(&mut [0; 1]).await.expect_err("no end");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}
