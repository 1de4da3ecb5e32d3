//! Quotas of all apps together: one app that takes what it can get leaves others
//! enough.

use std::time::{Duration, Instant};

use e2e::probe::{SCRATCH, Script};
use e2e::{Daemon, Errno, Probe, within};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::{Neighbour, hog_time, probe_on, quotas, spin};

#[tokio::test(flavor = "multi_thread")]
async fn one_app_leaves_half_of_what_all_may_have() {
    let daemon = Daemon::with(|config| config.worker_quotas = quotas("timers=100")).await;
    let forever = Script::new().fast_times(1000, 201, [u32::MAX, 0, 0, 0]);
    let mut probes = Vec::new();
    for most in [50, 25, 12] {
        let probe = Probe::on(&daemon, |app| app.label = most.to_string()).await;
        let (last, made) = probe.run(&forever).await.counted();
        assert_eq!((last, made), (Err(Errno::Limited), most));
        probe.app().expect_log("all apps together").await;
        probes.push(probe);
    }
    probes[0].app().stop().await;
    let (_, made) = probes[2].run(&forever).await.counted();
    assert!(made > 12, "what one gives back is for others: {made}");
    Neighbour::on(&daemon).await.answers().await;
}

/// Timers without end, which are handles.
fn timers(count: u32) -> Script {
    Script::new().fast_times(count, 201, [u32::MAX, 0, 0, 0])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_handles_that_all_have_used_up_without_work() {
    let daemon = Daemon::with(|config| config.worker_quotas = quotas("handles=40")).await;
    let victim = Probe::on(&daemon, |app| app.label = "victim".to_owned()).await;
    let (made, count) = victim.run(&timers(12)).await.counted();
    assert!(made.is_ok() && count == 12, "{made:?}, {count}");
    let greedy = Probe::on(&daemon, |app| app.label = "greedy".to_owned()).await;
    let (last, _) = greedy.run(&timers(1000)).await.counted();
    assert_eq!(last, Err(Errno::Limited));

    let app = victim.app().clone();
    let asking = tokio::spawn(async move { victim.run(&Script::new()).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = app.usage().gas;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(app.usage().gas, before, "it computes for nothing");
    assert!(!asking.is_finished());
    greedy.app().stop().await;
    within("the answer", asking).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_for_which_no_handle_is_left_is_not_kept() {
    let daemon = Daemon::with(|config| config.worker_quotas = quotas("handles=40")).await;
    let (probe, port) = probe_on(&daemon, "").await;
    let address = format!("127.0.0.1:{port}");
    let mut listen = parity_scale_codec::Encode::encode(&address);
    listen.push(0);
    let length = u32::try_from(listen.len()).unwrap();
    let script = timers(1000).write(SCRATCH, &listen);
    let script = script.fast(210, [SCRATCH, length, 0, 0]);
    let mut output = probe.run(&script).await;
    assert_eq!(output.result(), Err(Errno::Limited));
    assert_eq!(output.result(), Err(Errno::Limited));
    let bound = std::net::TcpListener::bind(&address);
    assert!(bound.is_ok(), "nothing listens: {bound:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_sends_without_end_leaves_others_bytes_to_send() {
    let limits = quotas("egress-per-second=64K");
    let daemon = Daemon::with(|config| config.worker_quotas = limits).await;
    let (probe, port) = probe_on(&daemon, "").await;
    let address = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen(&address, None).await.unwrap();
    let mut client = TcpStream::connect(&address).await.unwrap();
    let stream = probe.tcp_accept_no_addr(listener).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(1..) = client.read(&mut buffer).await {}
    });
    let begun = Instant::now();
    // It was deployed while the other one sends already.
    let greedy = async {
        while begun.elapsed() < Duration::from_secs(3) {
            let flood = Script::new().fast_times(1000, 104, [u32::MAX, stream, SCRATCH, 1000]);
            probe.run(&flood).await;
        }
    };
    let neighbour = async {
        let neighbour = Neighbour::on(&daemon).await;
        neighbour.answers_for(Duration::from_secs(2)).await;
    };
    tokio::join!(greedy, neighbour);
    let time = begun.elapsed();
    let sent = probe.app().usage().network_egress_bytes as f64;
    // What is saved up is half a second's worth.
    let most = 65_536.0 * (time.as_secs_f64() + 0.5) + 16_384.0;
    assert!(sent <= most, "{sent} bytes in {time:?}");
    assert!(sent >= 65_536.0, "what others leave is its own: {sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_that_loop_get_no_more_of_a_core_than_all_may_have_and_others_answer() {
    let daemon = Daemon::with(|config| config.worker_quotas = quotas("cpu=0.3")).await;
    let neighbour = Neighbour::on(&daemon).await;
    for label in ["one", "other"] {
        let probe = Probe::on(&daemon, |app| app.label = label.to_owned()).await;
        spin(probe).await.abort();
    }
    let (before, begun) = (hog_time(), Instant::now());
    neighbour.answers_for(Duration::from_secs(3)).await;
    let (used, time) = (hog_time() - before, begun.elapsed());
    let most = time.mul_f64(0.3) + Duration::from_millis(300);
    assert!(used <= most, "{used:?} in {time:?}");
    assert!(used > Duration::from_millis(20), "they go on: {used:?}");
}
