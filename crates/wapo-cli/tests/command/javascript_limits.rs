//! What a program in JavaScript may use up: a request that takes too much costs itself,
//! at the most its instance, and never what others have. The engine is that which
//! `cargo xtask guests` built.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::place::Place;
use crate::support::running::Running;
use crate::support::{ANY_PORT, TIMEOUT, get, write};

#[tokio::test]
async fn a_request_that_the_engine_cannot_stop_costs_one_instance_and_not_the_session() {
    let folder = tempfile::tempdir().expect("folder");
    // One step of the engine that takes minutes.
    let program = "let asked = 0;
        export default {
            fetch: (request) => {
                asked += 1;
                if (request.url.endsWith('/endless')) return new Response(new Array(2 ** 32 - 1).join());
                return new Response('asked ' + asked);
            },
        };";
    write(folder.path(), "app.js", program);
    let limit = ["app.js", "--env", "WAPO_JS_REQUEST_CPU_MS=100"];
    let (running, address) = Running::serving(folder.path(), ANY_PORT, &limit).await;
    assert!(get(&address, "/one").await.contains("asked 1"));
    let answer = get(&address, "/endless").await;
    assert!(answer.contains("HTTP/1.1 503 "), "{answer}");
    assert!(get(&address, "/first").await.contains("asked 1"));
    running.interrupt().await;
    assert_eq!(running.ended().await, Some(0));
}

#[tokio::test]
async fn a_request_without_memory_costs_itself_and_not_the_instance() {
    let folder = tempfile::tempdir().expect("folder");
    let program = "let asked = 0;
        const hungry = {
            codecs() { for (const all = [];;) all.push(new CompressionStream('gzip')); },
            text() { throw new Error('x'.repeat(30 * 2 ** 20)); },
            url() { new URL('data:' + 'x'.repeat(60 * 2 ** 20)); },
            objects() { for (const all = [];;) all.push({ all }); },
            async bomb() {
                const zeros = new Uint8Array(1024 * 1024);
                const source = new ReadableStream({ pull: (to) => to.enqueue(zeros) });
                const there = new CompressionStream('gzip'), back = new DecompressionStream('gzip');
                await new Response(source.pipeThrough(there).pipeThrough(back)).text();
            },
        };
        export default {
            async fetch(request) {
                asked += 1;
                await hungry[new URL(request.url).pathname.slice(1)]?.();
                return new Response('asked ' + asked);
            },
        };";
    write(folder.path(), "app.js", program);
    let (running, address) =
        Running::serving(folder.path(), ANY_PORT, &["app.js", "--memory", "64m"]).await;
    for (before, path) in ["codecs", "text", "url", "objects", "bomb"]
        .iter()
        .enumerate()
    {
        let answer = get(&address, &format!("/{path}")).await;
        assert!(answer.contains("HTTP/1.1 500 "), "{path}: {answer}");
        let answer = get(&address, "/").await;
        let asked = format!("asked {}", 2 * (before + 1));
        assert!(
            answer.contains(&asked),
            "the same instance after {path}: {answer}"
        );
    }
    running.interrupt().await;
    assert_eq!(running.ended().await, Some(0));
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_place_with_it() {
    let place = Place::new().await;
    let program = "const waiting = [];
        export default {
            fetch(request) {
                if (!request.url.endsWith('/wait')) return new Response('waiting ' + waiting.length);
                return new Promise((resolve) => waiting.push(resolve));
            },
        };";
    write(place.folder.path(), "app.js", program);
    // Two that wait, and one that asks how many do.
    let quota = ["deploy", "app.js", "--quota", "requests=3"];
    let deployed = place.json(&quota).await;
    let gateway = place.worker.user_address().to_string();
    let url = deployed["urls"][1].as_str().expect("a URL");
    let path = &url[url.find("/app/").expect("a path")..];
    let request = format!("GET {path}wait HTTP/1.1\r\nhost: {gateway}\r\n\r\n");
    for round in 1..=3 {
        let all = format!("waiting {}", 2 * round);
        let mut clients: Vec<TcpStream> = Vec::new();
        let deadline = Instant::now() + TIMEOUT;
        // Until the program has both in hand. One that is answered was refused, as the
        // places of the clients before are not free yet.
        while !get(&gateway, path).await.contains(&all) {
            assert!(Instant::now() < deadline, "no {all}");
            clients.retain(|client| client.try_read(&mut [0]).is_err());
            while clients.len() < 2 {
                let client = TcpStream::connect(&gateway).await;
                let mut client = client.expect("a connection");
                let sent = client.write_all(request.as_bytes()).await;
                sent.expect("sent");
                clients.push(client);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // They leave.
    }
}

#[tokio::test]
async fn a_request_that_computes_for_too_long_is_told_with_the_limit() {
    let folder = tempfile::tempdir().expect("folder");
    write(
        folder.path(),
        "app.js",
        "export default { async fetch() { for (;;); } };",
    );
    let limit = ["--env", "WAPO_JS_REQUEST_CPU_MS=300", "app.js"];
    let (running, address) = Running::serving(folder.path(), ANY_PORT, &limit).await;
    let answer = get(&address, "/").await;
    assert!(answer.contains("HTTP/1.1 500"), "{answer}");
    running
        .said("300 ms of processor time are used up (WAPO_JS_REQUEST_CPU_MS)")
        .await;
}
