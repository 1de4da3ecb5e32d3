//! What timers, channels, tasks and the calls around them do for a guest.

use e2e::probe::{Event, MEMORY_BYTES, SCRATCH, Script};
use e2e::{Errno, Probe, client, within};
use parity_scale_codec::{Decode as _, Encode as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_fires_and_can_be_set_again() {
    let probe = Probe::start().await;
    let timer = probe.create_timer(10).await.unwrap();
    assert_eq!(probe.poll_timer(timer).await, Ok(0));
    assert_eq!(probe.poll_timer(timer).await, Ok(0), "it stays fired");
    assert_eq!(probe.reset_timer(timer, 10).await, Ok(0));
    assert_eq!(probe.poll_timer(timer).await, Ok(0));
    assert_eq!(probe.close(timer).await, Ok(0));
    assert_eq!(probe.reset_timer(timer, 10).await, Err(Errno::NotFound));
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_leaves_the_buffer_alone() {
    let probe = Probe::start().await;
    let timer = probe.create_timer(0).await.unwrap();
    probe.poll_timer(timer).await.unwrap();
    let script = Script::new()
        .fill(SCRATCH, 7, 8)
        .fast(103, [u32::MAX, timer, SCRATCH, 8])
        .read(SCRATCH, 8);
    let mut output = probe.run(&script).await;
    assert_eq!(output.result(), Ok(0));
    assert_eq!(output.bytes(8), [7; 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_negative_timer_never_fires() {
    let probe = Probe::start().await;
    let never = probe.create_timer(-1).await.unwrap();
    let lowest = probe.create_timer(i32::MIN).await.unwrap();
    let later = probe.create_timer(50).await.unwrap();
    for timer in [never, lowest] {
        let (_, result) = probe.try_wait(103, [timer, 1, 0]).await;
        assert_eq!(result, Err(Errno::Pending));
    }
    probe.poll_timer(later).await.unwrap();
    for timer in [never, lowest] {
        let (_, result) = probe.try_wait(103, [timer, 1, 0]).await;
        assert_eq!(result, Err(Errno::Pending));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_that_never_fires_can_be_set_to_fire() {
    let probe = Probe::start().await;
    let timer = probe.create_timer(-1).await.unwrap();
    let (waker, result) = probe.try_wait(103, [timer, 1, 0]).await;
    assert_eq!(result, Err(Errno::Pending));
    probe.reset_timer(timer, 10).await.unwrap();
    // A guest that waits already is told.
    probe.until_woken(waker).await;
    assert_eq!(probe.poll_timer(timer).await, Ok(0));
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_channel_is_opened_once() {
    let probe = Probe::start().await;
    let queries = probe.create_input_channel(3).await;
    assert_eq!(queries, Err(Errno::AlreadyExists), "the probe has it open");
    for unknown in [0, 1, 2, 5, u32::MAX] {
        let refused = probe.create_input_channel(unknown).await;
        assert_eq!(refused, Err(Errno::InvalidParameter), "{unknown}");
    }
    let http = probe.create_input_channel(4).await.unwrap();
    assert!(probe.app().status().takes_http);
    probe.close(http).await.unwrap();
    assert!(!probe.app().status().takes_http);
    let again = probe.create_input_channel(4).await;
    assert_eq!(again, Err(Errno::AlreadyExists), "even after closing it");
}

/// Head of a request as it lies in the message, then the two handles.
type HttpMessage = ((String, String, Vec<(String, String)>), i32, i32);

/// Takes the next request: its head and the handles of answer and body.
async fn next_request(probe: &Probe, channel: u32) -> (HttpMessage, u32, u32) {
    let message = probe.poll(channel).await.unwrap();
    let decoded = HttpMessage::decode(&mut message.as_slice()).unwrap();
    let handles = (decoded.1.cast_unsigned(), decoded.2.cast_unsigned());
    (decoded, handles.0, handles.1)
}

fn response_head(status: u16) -> Vec<u8> {
    (status, vec![("x-probe".to_owned(), "yes".to_owned())]).encode()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_request_is_answered_by_hand() {
    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let app = probe.app().clone();
    let asking = tokio::spawn(async move { app.post("/a/b?c=d", "question").await });
    let (message, reply, body) = next_request(&probe, channel).await;
    let (method, url, headers) = message.0;
    assert_eq!(method, "POST");
    assert!(
        url.starts_with("http://") && url.ends_with("/a/b?c=d"),
        "{url}"
    );
    assert!(
        headers.iter().any(|(name, _)| name == "host"),
        "{headers:?}"
    );

    assert_eq!(probe.read_exact(body, 8).await, b"question");
    assert_eq!(probe.poll_read(body, 10).await, Ok(Vec::new()), "the end");
    assert_eq!(probe.oneshot_send(reply, &response_head(201)).await, Ok(0));
    let twice = probe.oneshot_send(reply, &response_head(200)).await;
    assert_eq!(twice, Err(Errno::Io), "answered already");
    probe.write_all(body, b"answer").await;
    assert_eq!(probe.poll_flush(body).await, Ok(0));
    assert_eq!(probe.poll_shutdown(body).await, Ok(0));
    let answer = within("the answer", asking).await.unwrap();
    answer.expect_status(201);
    assert_eq!(answer.text(), "answer");
    assert_eq!(answer.header("x-probe"), Some("yes"));
    probe.close(body).await.unwrap();
    probe.close(reply).await.unwrap();
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_request_that_fails_tells_the_client() {
    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    for fails_by_text in [true, false] {
        let url = probe.app().url("/");
        let asking = tokio::spawn(async move { client::get(&url).await });
        let (_, reply, body) = next_request(&probe, channel).await;
        if fails_by_text {
            let bad = probe.oneshot_send_error(reply, b"\xff").await;
            assert_eq!(bad, Err(Errno::InvalidEncoding), "no text");
            assert_eq!(probe.oneshot_send_error(reply, b"no").await, Ok(0));
        }
        probe.close(reply).await.unwrap();
        probe.close(body).await.unwrap();
        let answer = within("the answer", asking).await.unwrap();
        answer.expect_status(502);
    }
}

/// Answers one web request with these bytes as the encoded head.
async fn answered_with(probe: &Probe, channel: u32, head: &[u8]) -> Result<u16, String> {
    let url = probe.app().url("/");
    let asking =
        tokio::spawn(async move { client::try_send(hyper::Method::GET, &url, Vec::new()).await });
    let (_, reply, body) = next_request(probe, channel).await;
    assert_eq!(probe.oneshot_send(reply, head).await, Ok(0));
    probe.wait(104, [body, SCRATCH, 10]).await.ok();
    probe.close(body).await.unwrap();
    probe.close(reply).await.unwrap();
    let answer = within("the answer", asking).await.unwrap();
    answer.map(|answer| answer.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_none_is_a_bad_gateway() {
    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let with = |status: u16, headers: Vec<(String, String)>| (status, headers).encode();
    for head in [
        Vec::new(),
        vec![0xff; 40],
        with(0, Vec::new()),
        with(99, Vec::new()),
        with(1000, Vec::new()),
        with(u16::MAX, Vec::new()),
        with(200, vec![header("", "x")]),
        with(200, vec![header("a b", "x")]),
        with(200, vec![header("a", "x\r\nb: y")]),
        with(200, vec![header("a", "\0")]),
    ] {
        let status = answered_with(&probe, channel, &head).await;
        assert_eq!(status, Ok(502), "{head:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strange_heads_harm_nobody() {
    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let header = |name: String, value: &str| (name, value.to_owned());
    let many = (0..4_000).map(|number| header(format!("x-{number}"), "y"));
    let length = |value| vec![header("content-length".to_owned(), value)];
    for headers in [
        many.collect(),
        length("5"),
        length("500"),
        length("-1"),
        length("5, 6"),
        [length("5"), length("6")].concat(),
        vec![header("transfer-encoding".to_owned(), "chunked")],
        vec![header("connection".to_owned(), "upgrade")],
    ] {
        for status in [200_u16, 101, 204, 304] {
            // Whatever comes, it comes, and the next one is not disturbed.
            let head = (status, headers.clone()).encode();
            let _answer = answered_with(&probe, channel, &head).await;
        }
    }
    let fine = answered_with(&probe, channel, &response_head(200)).await;
    assert_eq!(fine, Ok(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nobody_reads_is_an_error() {
    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let gateway = probe.app().gateway();
    let mut client = TcpStream::connect(gateway).await.unwrap();
    let path = probe.app().url("/");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {gateway}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let (_, reply, body) = next_request(&probe, channel).await;
    assert_eq!(probe.oneshot_send(reply, &response_head(200)).await, Ok(0));
    assert!(probe.wait(104, [body, SCRATCH, 10_000]).await.is_ok());
    within("the head", client.read_exact(&mut [0; 12]))
        .await
        .unwrap();
    client.set_zero_linger().unwrap();
    drop(client);
    while probe.wait(104, [body, SCRATCH, 10_000]).await.is_ok() {}
    let gone = probe.wait(104, [body, SCRATCH, 10_000]).await;
    assert_eq!(gone, Err(Errno::Io));
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_become_ready_in_order_and_once() {
    let probe = Probe::start().await;
    let mark = |script: Script, task| script.fast(109, [task, 0, 0, 0]);
    let script = [5, 6, 5, 7, 6].into_iter().fold(Script::new(), mark);
    probe.run(&script).await;
    let tasks = |events: &[Event]| -> Vec<Event> {
        let is_marked = |event: &&Event| matches!(event, Event::Task(task) if *task > 0);
        events.iter().filter(is_marked).copied().collect()
    };
    let events = probe.events_until(|seen| tasks(seen).len() >= 3).await;
    assert_eq!(tasks(&events), [5, 6, 7].map(Event::Task));
    assert_eq!(tasks(&probe.events().await), [], "each of them once");
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_tasks_are_taken_one_by_one() {
    let probe = Probe::start().await;
    let script = [8, 9]
        .into_iter()
        .fold(Script::new(), |script, task| {
            script.fast(109, [task, 0, 0, 0])
        })
        .fast(110, [0; 4])
        .fast(110, [0; 4])
        .fast(110, [0; 4]);
    let mut output = probe.run(&script).await;
    let results: Vec<_> = (0..5).map(|_| output.result()).collect();
    assert_eq!(results, [Ok(0), Ok(0), Ok(8), Ok(9), Err(Errno::NotFound)]);
    assert_eq!(probe.next_ready_task().await, Err(Errno::NotFound));
    assert_eq!(probe.mark_task_ready(3).await, Ok(0));
    assert_eq!(probe.awake_wakers().await, Ok(Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_fill_the_buffer_and_the_rest_comes_later() {
    let probe = Probe::start().await;
    let mark = |script: Script, task| script.fast(109, [task, 0, 0, 0]);
    let script = [1, 2, 3].into_iter().fold(Script::new(), mark);
    // 20 bytes hold two events of 8.
    let script = script
        .fast(300, [SCRATCH, 20, 0, 0])
        .fast(300, [SCRATCH + 100, 20, 0, 0])
        .fast(300, [SCRATCH, 0, 0, 0])
        .read(SCRATCH, 16)
        .read(SCRATCH + 100, 8);
    let mut output = probe.run(&script).await;
    let written: Vec<_> = (0..6).map(|_| output.result()).collect();
    assert_eq!(written[3..], [Ok(16), Ok(8), Ok(0)]);
    let tasks: Vec<u32> = (0..6).map(|_| output.number()).collect();
    assert_eq!(tasks, [0, 1, 0, 2, 0, 3], "kind 0 is a task");
    assert_eq!(probe.next_events(800).await, Ok(Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_are_random_and_not_too_many() {
    const MAX: u32 = MEMORY_BYTES - SCRATCH;
    let probe = Probe::start().await;
    let (first, second) = (probe.getrandom(32).await, probe.getrandom(32).await);
    assert_ne!(first.unwrap(), second.unwrap());
    assert_eq!(probe.getrandom(0).await, Ok(Vec::new()));
    assert_eq!(probe.fast(113, [SCRATCH, MAX, 0, 0]).await, Ok(0));
    let refused = probe.fast(113, [SCRATCH - 1, MAX + 1, 0, 0]).await;
    assert_eq!(refused, Err(Errno::InvalidParameter));
}

#[tokio::test(flavor = "multi_thread")]
async fn host_calls_are_traced_on_request() {
    let probe = Probe::start().await;
    for neither in [2, u32::MAX] {
        let refused = probe.enable_ocall_trace(neither).await;
        assert_eq!(refused, Err(Errno::InvalidEncoding));
    }
    assert_eq!(probe.enable_ocall_trace(1).await, Ok(0));
    probe.create_timer(12_345).await.unwrap();
    probe.app().expect_log("create_timer[12345, 0, 0, 0]").await;
    assert_eq!(probe.enable_ocall_trace(0).await, Ok(0));
    probe.create_timer(54_321).await.unwrap();
    let lines = probe.app().log_lines();
    assert!(lines.iter().all(|line| !line.text.contains("54321")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_fetched_once_and_whole() {
    let probe = Probe::start().await;
    let fetch = |at, len| {
        Script::new()
            .slow(242, [0; 4])
            .fast(0, [at, len, 0, 0])
            .fast(0, [SCRATCH, 32, 0, 0])
    };
    for (at, len) in [
        (SCRATCH, 31),
        (SCRATCH, 33),
        (MEMORY_BYTES - 31, 32),
        (SCRATCH, 0),
    ] {
        let mut output = probe.run(&fetch(at, len)).await;
        assert_eq!(output.result(), Ok(32));
        assert_eq!(output.result(), Err(Errno::InvalidParameter), "{at} {len}");
        assert_eq!(output.result(), Err(Errno::NotFound), "the bytes are lost");
    }
    let mut output = probe.run(&fetch(SCRATCH, 32)).await;
    let results: Vec<_> = (0..3).map(|_| output.result()).collect();
    assert_eq!(results, [Ok(32), Ok(32), Err(Errno::NotFound)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_slow_call_leaves_the_last_answer() {
    let probe = Probe::start().await;
    let script = Script::new()
        .slow(242, [0; 4])
        .slow(240, [99, 0, 0, 0])
        .fast(0, [SCRATCH, 32, 0, 0]);
    let mut output = probe.run(&script).await;
    assert_eq!(output.result(), Ok(32));
    assert_eq!(output.result(), Err(Errno::InvalidParameter));
    assert_eq!(output.result(), Ok(32));
}
