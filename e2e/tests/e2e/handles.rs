//! Which handle supports what, and how many there may be.

use e2e::probe::SCRATCH;
use e2e::{Errno, Probe, ports};
use tokio::net::TcpListener;

/// Calls that may wait: number, whether slow.
const WAITING: [(u32, bool); 8] = [
    (102, true),
    (103, false),
    (104, false),
    (105, false),
    (106, false),
    (211, true),
    (212, false),
    (301, false),
];

async fn attempt(probe: &Probe, call: u32, slow: bool, handle: u32) -> Result<(), Errno> {
    let waker = probe.new_waker();
    let slots = [waker, handle, SCRATCH, 0];
    let result = match slow {
        true => probe.slow_only(call, slots).await,
        false => probe.fast(call, slots).await,
    };
    probe.count_waker(waker, result);
    result.map(drop)
}

/// A handle supports these calls and no others.
async fn supports(probe: &Probe, handle: u32, supported: &[u32], what: &str) {
    for (call, slow) in WAITING {
        if supported.contains(&call) {
            continue;
        }
        let result = attempt(probe, call, slow, handle).await;
        assert_eq!(result, Err(Errno::Unsupported), "{call} on {what}");
    }
    if what != "a timer" {
        let reset = probe.reset_timer(handle, 1).await;
        assert_eq!(reset, Err(Errno::InvalidParameter), "{what} is no timer");
    }
    for call in [202, 204] {
        let sent = probe.fast(call, [handle, SCRATCH, 0, 0]).await;
        assert_eq!(sent, Err(Errno::Unsupported), "{call} on {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_supports_what_its_kind_does() {
    let port = ports::free();
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = server.local_addr().unwrap();
    let probe = Probe::with(|app| {
        app.listen_ports = ports::only(port);
        app.egress = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let timer = probe.create_timer(-1).await.unwrap();
    supports(&probe, timer, &[103], "a timer").await;
    let channel = probe.create_input_channel(4).await.unwrap();
    supports(&probe, channel, &[102], "a channel").await;
    let listener = probe.tcp_listen(&format!("127.0.0.1:{port}"), None).await;
    supports(&probe, listener.unwrap(), &[211, 212], "a listener").await;
    let connecting = probe
        .tcp_connect("127.0.0.1", peer.port().into())
        .await
        .unwrap();
    supports(&probe, connecting, &[106], "a connector").await;
    let stream = probe.poll_res(connecting).await.unwrap();
    supports(&probe, stream, &[103, 104, 105, 301], "a stream").await;
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_that_were_never_given_out_are_not_found() {
    let probe = Probe::start().await;
    let timer = probe.create_timer(1).await.unwrap();
    probe.close(timer).await.unwrap();
    for handle in [timer, 8191, 8192, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        for (call, slow) in WAITING {
            let result = attempt(&probe, call, slow, handle).await;
            assert_eq!(result, Err(Errno::NotFound), "{call} on {handle}");
        }
        for call in [202, 203, 204] {
            let result = probe.fast(call, [handle, SCRATCH, 0, 0]).await;
            assert_eq!(result, Err(Errno::NotFound), "{call} on {handle}");
        }
        assert_eq!(probe.close(handle).await, Err(Errno::NotFound));
    }
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lowest_free_handle_is_given_out() {
    let probe = Probe::start().await;
    let mut timers = Vec::new();
    for _ in 0..4 {
        timers.push(probe.create_timer(-1).await.unwrap());
    }
    // 0 is the probe's channel, and each query takes a handle for its answer.
    probe.close(timers[2]).await.unwrap();
    probe.close(timers[1]).await.unwrap();
    let mut again = [
        probe.create_timer(-1).await.unwrap(),
        probe.create_timer(-1).await.unwrap(),
    ];
    again.sort_unstable();
    assert!(
        again[0] <= timers[1] && again[1] <= timers[2],
        "{again:?} {timers:?}"
    );
}
