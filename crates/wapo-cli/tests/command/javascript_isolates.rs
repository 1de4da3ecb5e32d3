//! Isolates and nested WebAssembly, as their program and its clients see them. What
//! an isolate gives back, has and may not do is a service of `javascript_cases`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::running::Running;
use crate::support::{ANY_PORT, TIMEOUT, get, text};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Serves a program with more arguments of `wapo run`.
async fn serve(folder: &Path, program: &str, arguments: &[&str]) -> (Running, String) {
    Running::serving(folder, ANY_PORT, &[&[program], arguments].concat()).await
}

/// Serves the text of a program.
async fn serve_text(text: &str, arguments: &[&str]) -> (Running, String, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("app.js"), text).expect("file");
    let (running, address) = serve(folder.path(), "app.js", arguments).await;
    (running, address, folder)
}

fn body(answer: &str) -> &str {
    answer.rsplit_once("\r\n\r\n").map_or("", |(_, body)| body)
}

async fn post(address: &str, path: &str, content: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let length = content.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{content}"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(text(&answer))
    };
    let answer = tokio::time::timeout(TIMEOUT, exchange).await;
    answer.expect("an answer in time").expect("an answer")
}

#[tokio::test]
async fn requests_and_timers_have_their_turns_while_an_isolate_computes() {
    let program = "
        let state = 'idle', ticks = 0;
        setInterval(() => ticks++, 5);
        async function spin() {
            state = 'computing';
            const { error } = await Wapo.run('for (;;);', { timeLimit: 3000, gasLimit: null });
            state = 'over';
            return new Response(error + ' after ' + (ticks > 10 ? 'many ticks' : ticks + ' ticks'));
        }
        export default { fetch: ({ url }) => (url.endsWith('/spin') ? spin() : new Response(state)) };";
    let (_running, address, _folder) = serve_text(program, &[]).await;
    let spinning = tokio::spawn({
        let address = address.clone();
        async move { get(&address, "/spin").await }
    });
    // Answers come all the time, most of them while the isolate is in its loop.
    let mut seen = 0;
    let deadline = Instant::now() + TIMEOUT;
    while !spinning.is_finished() {
        let answer = get(&address, "/").await;
        if body(&answer) == "computing" {
            seen += 1;
        }
        assert!(Instant::now() < deadline, "it never ends");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let answer = spinning.await.expect("it was asked");
    assert_eq!(
        body(&answer),
        "the time limit of 3s is over after many ticks"
    );
    assert!(seen > 3, "{seen} answers while it computed");
}

#[tokio::test]
async fn an_isolate_connects_to_nothing_that_it_was_not_given() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let program = format!(
        "
        const code = `module.exports = async () => (await fetch('http://127.0.0.1:{port}/')).text()`;
        const socket = `module.exports = () => new Promise((done) => {{
            const ws = new WebSocket('ws://127.0.0.1:{port}/');
            ws.onerror = () => done('refused'); ws.onopen = () => done('open'); }})`;
        const old = `module.exports = () => new Promise((done) => {{
            try {{ Wapo.httpRequest({{ url: 'http://127.0.0.1:{port}/' }}, (kind) => done(kind)); }} catch (e) {{ done('refused'); }} }})`;
        export default {{ async fetch({{ url }}) {{
            if (url.endsWith('/refused')) {{
                const all = [];
                for (const network of [undefined, false, [], ['127.0.0.1:1'], ['localhost']])
                    for (const text of [code, socket, old])
                        all.push(await Wapo.run(text, {{ network }}));
                return Response.json(all.map(({{ value, error }}) => value ?? (/may not connect to 127.0.0.1:{port}/.test(error) ? 'refused' : error)));
            }}
            const one = await Wapo.run(code, {{ network: ['127.0.0.1:{port}'] }}), any = await Wapo.run(code, {{ network: true }});
            return Response.json([one.value ?? one.error, any.value ?? any.error]);
        }} }};"
    );
    let rule = format!("127.0.0.1:{port}");
    let (_running, address, _folder) = serve_text(&program, &["--allow-egress", &rule]).await;

    let answer = get(&address, "/refused").await;
    let refused = serde_json::json!(vec!["refused"; 15]).to_string();
    assert_eq!(body(&answer), refused);
    let nobody = tokio::time::timeout(Duration::from_millis(200), listener.accept()).await;
    assert!(nobody.is_err(), "a connection was made");

    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let answer = get(&address, "/").await;
    assert_eq!(body(&answer), r#"["hello","hello"]"#);
}

#[tokio::test]
async fn the_memory_of_a_thousand_isolates_comes_back() {
    // Each takes more than two megabytes, half of them end in the middle of it, and the
    // instance has 64.
    let program = "
        let all = 'they run';
        (async () => {
            const failed = {};
            let good = 0;
            for (let i = 0; i < 1000; i++) {
                const code = i % 2 === 0 ? 'scriptOutput = new Uint8Array(2_000_000).length'
                    : 'const all = []; setInterval(() => {}, 1000); fetch.leak = all; for (;;) all.push([all, () => all, Promise.resolve(all)])';
                const { value, error } = await Wapo.run(code, { memoryLimit: 3 << 20 });
                if (value === 2_000_000 || /out of memory/.test(error)) good++;
                else failed[error] = i;
            }
            all = { good, failed };
        })();
        export default { fetch: () => Response.json(all) };";
    let (_running, address, _folder) = serve_text(program, &["--memory", "64M"]).await;
    // They take 13 s on a quiet machine, and several times that beside other tests.
    let deadline = Instant::now() + 3 * TIMEOUT;
    let answer = loop {
        let answer = get(&address, "/").await;
        if body(&answer) != r#""they run""# || Instant::now() > deadline {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(body(&answer), r#"{"good":1000,"failed":{}}"#);
}

#[tokio::test]
async fn isolates_leave_memory_for_large_blocks() {
    // Each of them takes all that it can get; the program then wants large blocks.
    let program = "
        const codes = ['const all = []; for (;;) all.push({})', 'for (let k = 0; k < 100_000; k++) setTimeout(() => {}, 1e9)',
            'const all = []; for (;;) all.push(new CompressionStream(\"gzip\"))', 'const all = new Map(); for (let k = 0;; k++) all.set(k, `${k}`)'];
        const largest = () => { for (let size = 60; size > 0; size--) try { return new Uint8Array(size << 20).length >> 20; } catch {} };
        async function all() {
            const before = largest(), failed = [];
            for (const code of codes) {
                const { error } = await Wapo.run(code, { gasLimit: null });
                const after = largest();
                if (error === null || after < before / 2) failed.push(`${code}: ${error}, ${after} of ${before} MiB`);
            }
            return Response.json(failed);
        }
        export default { fetch: ({ url }) => (url.endsWith('/all') ? all() : new Response('')) };";
    let (_running, address, _folder) = serve_text(program, &["--memory", "64M"]).await;
    let answer = get(&address, "/all").await;
    assert_eq!(body(&answer), "[]");
}

#[tokio::test]
async fn who_waits_for_an_isolate_hears_of_what_does_not_fit() {
    // Some of them do not fit in the isolate, some not in the program beside it.
    let program = "
        const code = \"console.log('made'); scriptOutput = Array(COUNT).fill('ab')\";
        export default { async fetch({ url }) {
            const count = Number(url.split('/').pop());
            const { error, value } = await Wapo.run(code.replace('COUNT', count));
            const isFull = error !== null && /no memory|out of memory/.test(error);
            return new Response(isFull ? 'no memory' : error ?? `${value.length} values`);
        } };";
    let (_running, address, _folder) = serve_text(program, &["--memory", "128M"]).await;
    let mut refused = 0;
    for count in [400_000, 500_000, 550_000, 600_000, 2_000_000] {
        let answer = get(&address, &format!("/{count}")).await;
        match body(&answer) {
            "no memory" => refused += 1,
            other => assert_eq!(other, format!("{count} values")),
        }
    }
    assert!(refused > 0, "all of them fit");
    let answer = get(&address, "/5").await;
    assert_eq!(body(&answer), "5 values");
}

#[tokio::test]
async fn a_piece_that_does_not_fit_is_a_failure_of_who_reads() {
    let program = "
        let asked = 0;
        export default { async fetch(request) {
            asked++;
            if (request.method === 'GET') return new Response(`asked ${asked}`);
            const all = [];
            try { for await (const piece of request.body) all.push(piece); } catch (e) { all.length = 0; return new Response(e.name); }
            return new Response('all of it');
        } };";
    let (_running, address, _folder) = serve_text(program, &["--memory", "64M"]).await;
    let exchange = async {
        let mut stream = TcpStream::connect(&address).await.expect("connected");
        let head = format!(
            "POST / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            100 << 20
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        let (mut reading, mut writing) = stream.into_split();
        let sending = tokio::spawn(async move {
            let piece = vec![b'x'; 1 << 20];
            // Until the other side has enough.
            while writing.write_all(&piece).await.is_ok() {}
        });
        let mut answer = Vec::new();
        while !body(&text(&answer)).ends_with("Error") {
            if !matches!(reading.read_buf(&mut answer).await, Ok(1..)) {
                break;
            }
        }
        sending.abort();
        text(&answer)
    };
    let answer = tokio::time::timeout(TIMEOUT, exchange).await;
    let answer = answer.expect("an answer in time");
    assert!(body(&answer).ends_with("Error"), "{answer}");
    let answer = get(&address, "/").await;
    assert_eq!(body(&answer), "asked 2");
}

/// A module with a function `spin` that never returns, one `grow` for its memory, and that
/// memory, which has no maximum.
const MODULE: &str = "new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.fromHex(\
    '0061736d01000000' + '01090260000060017f017f' + '0303020001' + '0503010001' +\
    '07180304' + '7370696e0000' + '0467726f770001' + '066d656d6f72790200' +\
    '0a1002' + '0700' + '03400c000b0b' + '0600' + '200040000b'))).exports";

#[tokio::test]
async fn nested_code_without_end_costs_its_own_request() {
    let program = format!(
        "
        const {{ spin }} = {MODULE};
        export default {{ fetch({{ url }}) {{
            if (url.endsWith('/spin')) try {{ spin(); }} catch {{}} finally {{ return new Response('caught'); }}
            return new Response('well');
        }} }};"
    );
    let arguments = ["--env", "WAPO_JS_REQUEST_CPU_MS=500"];
    let (_running, address, _folder) = serve_text(&program, &arguments).await;
    for _ in 0..2 {
        let answer = get(&address, "/spin").await;
        // A client that has ended its side is asked with a 100 whether it is still
        // there.
        assert!(answer.contains("HTTP/1.1 500"), "{answer}");
        let answer = get(&address, "/").await;
        assert_eq!(body(&answer), "well");
    }
}

#[tokio::test]
async fn nested_memory_without_end_does_not_end_the_instance() {
    let program = format!(
        "
        let asked = 0;
        export default {{ fetch({{ url }}) {{
            asked++;
            if (!url.endsWith('/bomb')) return new Response('asked ' + asked);
            const {{ grow, memory }} = {MODULE};
            let pages = 0;
            for (let more = 1024; more >= 1; more /= 2) while (grow(more) >= 0) pages += more;
            let thrown;
            try {{ memory.grow(1024); }} catch (e) {{ thrown = e.name; }}
            const all = [];
            try {{ for (;;) all.push(new WebAssembly.Memory({{ initial: 64 }})); }} catch (e) {{ thrown += e.name; }}
            return Response.json([pages > 100, pages < 1024, thrown, memory.buffer.byteLength === (pages + 1) * 65536]);
        }} }};"
    );
    let (_running, address, _folder) = serve_text(&program, &["--memory", "64M"]).await;
    let answer = get(&address, "/bomb").await;
    assert_eq!(body(&answer), r#"[true,true,"RangeErrorRangeError",true]"#);
    // It is the same instance.
    let answer = get(&address, "/").await;
    assert_eq!(body(&answer), "asked 2");
}

#[tokio::test]
async fn what_a_script_exports_is_called_and_the_program_ends() {
    let folder = tempfile::tempdir().expect("folder");
    for (name, script) in [
        (
            "sync.js",
            "module.exports = () => { console.log('called with', scriptArgs); };",
        ),
        (
            "async.js",
            "module.exports = async () => { await new Promise((go) => setTimeout(go, 5)); console.log('called with', scriptArgs); };",
        ),
    ] {
        std::fs::write(folder.path().join(name), script).expect("file");
        let output = crate::support::output(folder.path(), &["run", name, "--", "a"]).await;
        let log = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{log}");
        assert!(log.contains("called with [ 'a' ]"), "{log}");
    }
    let throws = "module.exports = async () => { throw new Error('from the entry'); };";
    std::fs::write(folder.path().join("throws.js"), throws).expect("file");
    let output = crate::support::output(folder.path(), &["run", "throws.js"]).await;
    let log = text(&output.stderr);
    assert!(
        !output.status.success() && log.contains("from the entry"),
        "{log}"
    );
}

#[tokio::test]
async fn the_example_runs_scripts_of_strangers() {
    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../guests/wapo-js/examples");
    let (_running, address) = serve(&examples, "isolate-eval", &[]).await;
    let answer = post(
        &address,
        "/?arg=6&arg=7",
        "module.exports = () => scriptArgs[0] * scriptArgs[1]",
    )
    .await;
    assert_eq!(body(&answer), r#"{"value":42,"logs":[]}"#);
    let answer = post(&address, "/", "console.log('here'); for (;;);").await;
    assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
    assert!(
        answer.contains("the time limit of 500ms is over") && answer.contains("here"),
        "{answer}"
    );
    let answer = post(
        &address,
        "/",
        "module.exports = () => fetch('http://127.0.0.1:1/')",
    )
    .await;
    assert!(answer.contains("may not connect"), "{answer}");
}
