//! Programs in JavaScript and TypeScript, as people run and deploy them. The engine
//! is that which `cargo xtask guests` built.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::place::Place;
use crate::support::running::Running;
use crate::support::{ANY_PORT, answer_at, get, output, text, write};
use serde_json::Value;

/// Answers with its text and the path that it was asked for.
const HELLO: &str = "export default { fetch: (request) => new Response('hello ' + new URL(request.url).pathname) };\n";

/// Runs a program on any port; gives its address.
async fn run(folder: &Path, program: &[&str]) -> (Running, String) {
    Running::serving(folder, ANY_PORT, program).await
}

/// Asks until the answer has `part`.
async fn answer_with(address: &str, part: &str) -> String {
    answer_at(address, "/x", part).await
}

/// What `wapo run` says of a program that cannot be run.
async fn refusal(folder: &Path, program: &str) -> String {
    let output = output(folder, &["run", program]).await;
    assert_eq!(output.status.code(), Some(1), "{program}");
    text(&output.stderr)
}

#[tokio::test]
async fn new_projects_of_both_languages_answer() {
    let folder = tempfile::tempdir().expect("folder");
    for template in ["js", "ts"] {
        let name = format!("hello-{template}");
        let made = output(folder.path(), &["new", &name, "--template", template]).await;
        assert!(made.status.success(), "{}", text(&made.stderr));
        let (running, address) = run(folder.path(), &[&name]).await;
        let answer = get(&address, "/you").await;
        assert!(answer.contains("Hello! You asked for /you"), "{answer}");
        let answer = get(&address, "/json").await;
        assert!(
            answer.contains(r#"{"method":"GET","pathname":"/json"}"#),
            "{answer}"
        );
        running.interrupt().await;
        assert_eq!(running.ended().await, Some(0));
    }
}

#[tokio::test]
async fn a_script_of_the_old_kind_and_a_module_run() {
    let folder = tempfile::tempdir().expect("folder");
    let script = "var x = 010; addEventListener('fetch', (event) => \
        event.respondWith(new Response(`classic ${x} ${scriptArgs}`)));";
    write(folder.path(), "classic.js", script);
    write(folder.path(), "module.mjs", HELLO);
    for (program, expected) in [
        (&["classic.js", "--", "a", "b"][..], "classic 8 a,b"),
        (&["module.mjs"], "hello /x"),
    ] {
        let (_running, address) = run(folder.path(), program).await;
        answer_with(&address, expected).await;
    }
}

#[tokio::test]
async fn a_program_of_several_files_runs() {
    let folder = tempfile::tempdir().expect("folder");
    let package = r##"{ "main": "src/main.ts", "imports": { "#words": "./lib/words.js" } }"##;
    write(folder.path(), "app/package.json", package);
    let main = r##"
        import { greet, type Greeting } from "./greet.js";
        import words from "#words";
        import data from "../data.json" with { type: "json" };
        import note from "../note.txt" with { type: "text" };
        const late = await import("../lib/late.mjs");
        const greeting: Greeting = greet(words[0] as string);
        export default { fetch: () => new Response([greeting, data.n, note, late.value].join("|")) };
    "##;
    write(folder.path(), "app/src/main.ts", main);
    let greet = "export type Greeting = string;\nexport function greet(a: string): Greeting { return a + '!'; }\n";
    write(folder.path(), "app/src/greet.ts", greet);
    write(folder.path(), "app/lib/words.js", "export default ['hi'];");
    write(
        folder.path(),
        "app/lib/late.mjs",
        "export const value = 'late';",
    );
    write(folder.path(), "app/data.json", r#"{ "n": 7 }"#);
    write(folder.path(), "app/note.txt", "a note");
    let (_running, address) = run(folder.path(), &["app"]).await;
    answer_with(&address, "hi!|7|a note|late").await;
}

#[tokio::test]
async fn a_change_is_there_soon_after_it_is_saved() {
    let folder = tempfile::tempdir().expect("folder");
    write(
        folder.path(),
        "app.js",
        &format!("import './more.js';\n{HELLO}"),
    );
    write(folder.path(), "more.js", "");
    let (_running, address) = run(folder.path(), &["app.js", "--watch"]).await;
    answer_with(&address, "hello /x").await;

    let saved = Instant::now();
    write(
        folder.path(),
        "more.js",
        "globalThis.Response = class extends Response { constructor() { super('changed'); } };",
    );
    answer_with(&address, "changed").await;
    println!("a saved change answered after {:?}", saved.elapsed());

    // What is wrong is told, and the program goes on when it is right again.
    write(folder.path(), "more.js", "}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    write(folder.path(), "more.js", "//");
    answer_with(&address, "hello /x").await;
}

#[tokio::test]
async fn what_is_wrong_with_a_program_is_said_with_its_place() {
    let folder = tempfile::tempdir().expect("folder");
    for (name, content, parts) in [
        ("syntax.js", "let a = ;\n", &["syntax.js:1:9"][..]),
        ("enum.ts", "\n  enum E { A }\n", &["enum.ts:2:3", "an enum"]),
        (
            "missing.js",
            "import './nothing.js'",
            &["no", "nothing.js", "imported by"],
        ),
        (
            "bare.js",
            "import './other'",
            &["names have their extension", "other.js"],
        ),
        (
            "package.js",
            "import 'left-pad'",
            &["left-pad", "npm install left-pad esbuild"],
        ),
        (
            "url.js",
            "import 'https://example.com/x.js'",
            &["https://example.com/x.js"],
        ),
        (
            "hash.js",
            "import '#x'",
            &["#x", "package.json", "patterns"],
        ),
        (
            "data.js",
            "import d from './d.json'",
            &["data.js:1:15", "with { type: \"json\" }"],
        ),
        (
            "page.js",
            "\nexport * from './page.html'",
            &["page.js:2:15", "with { type: \"text\" }"],
        ),
        (
            "types.ts",
            "import { a, type U,\n  T } from './t.ts'; import type { T as V } from './t.ts'; a;",
            &["types.ts:2:3", "T is a type", "import type { T }"],
        ),
        (
            "common.js",
            "import c from './c.cjs'",
            &["common.js", "c.cjs", "CommonJS"],
        ),
    ] {
        write(folder.path(), name, content);
        write(folder.path(), "other.js", "");
        write(folder.path(), "d.json", "{}");
        write(folder.path(), "page.html", "<p>");
        write(folder.path(), "c.cjs", "module.exports = 1;");
        let types = "export const a = 1; export interface T {}\nexport type U = T; type W = 1; export { type W };";
        write(folder.path(), "t.ts", types);
        let refused = refusal(folder.path(), name).await;
        for part in parts {
            assert!(refused.contains(part), "{name}: {refused}");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_folder_is_said() {
    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), "no-main/package.json", "{}");
    let refused = refusal(folder.path(), "no-main").await;
    assert!(refused.contains("\"main\""), "{refused}");
    let wrong = r#"{ "main": "app.js", "wapo": { "memroy": "64M" } }"#;
    write(folder.path(), "typo/package.json", wrong);
    write(folder.path(), "typo/app.js", HELLO);
    let refused = refusal(folder.path(), "typo").await;
    assert!(
        refused.contains("\"wapo\" in package.json: unknown setting `memroy`"),
        "{refused}"
    );
    assert!(!refused.contains("Cargo.toml"), "{refused}");
    write(folder.path(), "empty/x.txt", "");
    let refused = refusal(folder.path(), "empty").await;
    assert!(
        refused.contains("package.json") && refused.contains("--template js"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_program_that_serves_nothing_is_told_so() {
    let folder = tempfile::tempdir().expect("folder");
    write(
        folder.path(),
        "app.js",
        "export function fetch() { return new Response('x'); }",
    );
    let ran = output(folder.path(), &["run", "--address", ANY_PORT, "app.js"]).await;
    let said = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(0), "{said}");
    assert!(
        said.contains("it listens to nothing") && said.contains("export default { fetch"),
        "{said}"
    );
    write(folder.path(), "old.js", "scriptOutput = 'done'");
    let ran = output(folder.path(), &["run", "--address", ANY_PORT, "old.js"]).await;
    let said = text(&ran.stderr);
    assert!(!said.contains("it listens to nothing"), "{said}");
}

#[tokio::test]
async fn an_error_of_a_program_is_told_in_words_of_javascript() {
    let folder = tempfile::tempdir().expect("folder");
    for (content, words) in [
        (
            "throw new Error('at start'); export {}",
            "Uncaught Error: at start",
        ),
        (
            "await Promise.reject(new Event('error')); export {}",
            "Uncaught Event {",
        ),
        (
            "import { connect } from 'wapo:sockets'; await connect('127.0.0.1:1').opened;",
            "ERROR Uncaught SocketError: ",
        ),
        (
            "Wapo.print('a', 'b'); export {}",
            "Uncaught TypeError: Wapo.print: expected a level and a list",
        ),
        (
            "await fetch('http://nothing.invalid:80/'); export {}",
            "TypeError: cannot connect to ",
        ),
    ] {
        write(folder.path(), "app.js", content);
        let ran = output(folder.path(), &["run", "--address", ANY_PORT, "app.js"]).await;
        let said = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{content}: {said}");
        assert!(said.contains(words), "{content}: {said}");
        for not in ["main returned", "[object ", "wapo:boot/", "wapo deploy"] {
            assert!(!said.contains(not), "{not}: {content}: {said}");
        }
        assert!(said.matches("cannot connect to ").count() < 2, "{said}");
    }
}

#[tokio::test]
async fn settings_of_a_project_hold_when_it_is_run() {
    let folder = tempfile::tempdir().expect("folder");
    let package = r#"{ "main": "app.js", "type": "module",
        "wapo": { "env": { "A": "of the project", "B": "of the project" }, "args": ["one"] } }"#;
    write(folder.path(), "shop/package.json", package);
    write(
        folder.path(),
        "shop/app.js",
        "export default { fetch: (_, env) => new Response([env.A, env.B, scriptArgs].join()) };",
    );
    let (_running, address) = run(folder.path(), &["shop", "--env", "B=own"]).await;
    let answer = get(&address, "/").await;
    assert!(answer.ends_with("of the project,own,one"), "{answer}");
}

/// A router as packages have them: `query` adds a route.
const ROUTER: &str = "class Router {
    routes = [];
    constructor() { for (const method of ['get', 'post', 'query']) this[method] = (path, f) => { this.routes.push(path); return this; }; }
    fetch = () => new Response(String(this.routes.length));
}
const app = new Router().get('/', () => {});
export default app;
";

/// A program of one class.
const QUERIED: &str = "class Program { query({ path }) { return 'you asked ' + path; } fetch() { return new Response('x'); } }
export default new Program();
";

#[tokio::test(flavor = "multi_thread")]
async fn a_router_answers_no_queries_and_a_class_with_a_method_does() {
    let place = Place::new().await;
    write(place.folder.path(), "router.js", ROUTER);
    write(place.folder.path(), "queried.js", QUERIED);
    place.good(&["deploy", "router.js"]).await;
    place.good(&["deploy", "queried.js"]).await;
    let refused = place.bad(&["query", "router", "/x"]).await;
    assert!(
        refused.contains("router runs, and answers no queries"),
        "{refused}"
    );
    let answer = place.good(&["query", "queried", "/x"]).await;
    assert_eq!(answer, "you asked /x");
    // Queries are what the next version lacks.
    let path = place.write(
        "queried.js",
        b"export default { fetch: () => new Response('y') };",
    );
    let refused = place.bad(&["deploy", &path]).await;
    assert!(
        refused.contains("because the new one answers no queries, and the old one does"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_fails_points_to_the_log() {
    let place = Place::new().await;
    let program = "export default { query() { throw new Error('why'); } };";
    write(place.folder.path(), "app.js", program);
    place.good(&["deploy", "app.js"]).await;
    let refused = place.bad(&["query", "app", "/x"]).await;
    assert!(
        refused.contains("internal error; `wapo logs app` says more"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_crashes_is_a_failure_each_time_it_is_deployed() {
    let place = Place::new().await;
    write(
        place.folder.path(),
        "crash.js",
        "throw new Error('at start'); export {}",
    );
    let first = place.bad(&["deploy", "crash.js"]).await;
    assert!(first.contains("deploy it with other settings"), "{first}");
    let again = place.bad(&["deploy", "crash.js"]).await;
    for part in ["Unchanged", "crash has crashed", "at start"] {
        assert!(again.contains(part), "{part}: {again}");
    }
    let other = place
        .bad(&["deploy", "crash.js", "--listen-ports", "3000"])
        .await;
    for part in ["crash has crashed", "--listen-ports", "`wapo rm crash`"] {
        assert!(other.contains(part), "{part}: {other}");
    }
}

#[tokio::test]
async fn a_program_serves_from_its_first_listener_to_its_last() {
    let folder = tempfile::tempdir().expect("folder");
    let removes = "addEventListener('fetch', function only(event) {\
        event.respondWith(new Response('only'));\
        removeEventListener('fetch', only); });";
    let once = "addEventListener('fetch', (event) => event.respondWith(new Response('only')), { once: true });";
    let late = format!("setTimeout(() => {{ {once} }}, 300);");
    for script in [removes, once, &late] {
        write(folder.path(), "app.js", script);
        let (running, address) = run(folder.path(), &["app.js"]).await;
        answer_with(&address, "only").await;
        assert_eq!(running.ended().await, Some(0), "{script}");
    }
}

/// The engine as the compiler made it, without the image.
fn plain_engine() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("guests/target/wapo-js/wasm32-wasip1/release/wapo-js.wasm")
}

#[tokio::test]
async fn an_engine_without_an_image_runs_as_well() {
    let folder = tempfile::tempdir().expect("folder");
    let engine = plain_engine();
    let code = "addEventListener('fetch', (event) => event.respondWith(new Response('plain ' + (Math.random() < 1))));";
    let engine = engine.to_str().expect("a text");
    let (_running, address) = run(folder.path(), &[engine, "--", "-c", code]).await;
    answer_with(&address, "plain true").await;
}

/// What two instances of one program must not share, and what they know of the time.
const DRAWN: &str = "const drawn = [Math.random(), Math.random(), crypto.randomUUID(), \
    crypto.getRandomValues(new Uint8Array(16)).join('-')]; \
    const clock = [Date.now(), performance.timeOrigin, new Date().getTime()]; \
    addEventListener('fetch', (event) => event.respondWith(Response.json({ drawn, clock })));";

fn now_ms() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_secs_f64() * 1000.0
}

/// Starts the program twice; what it has drawn differs, and its clocks are right.
async fn draws_its_own(folder: &Path, program: &[&str]) {
    /// Rounding of the two clocks, in milliseconds.
    const SLACK_MS: f64 = 5.0;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let before = now_ms();
        let (_running, address) = run(folder, program).await;
        let answer = answer_with(&address, "drawn").await;
        let after = now_ms();
        let body = answer.lines().find(|line| line.contains("drawn"));
        let said: Value = serde_json::from_str(body.expect("a body")).expect("JSON");
        let list = |name: &str| said[name].as_array().expect("a list").clone();
        for time in list("clock") {
            let time = time.as_f64().expect("a number");
            let is_now = time >= before - SLACK_MS && time <= after + SLACK_MS;
            assert!(is_now, "{time} is not between {before} and {after}");
        }
        seen.extend(list("drawn").iter().map(Value::to_string));
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((count, seen.len()), (8, 8), "{seen:?}");
}

#[tokio::test]
async fn instances_of_one_image_draw_other_numbers() {
    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), "app.js", DRAWN);
    draws_its_own(folder.path(), &["app.js"]).await;
}

#[tokio::test]
async fn instances_without_an_image_draw_other_numbers() {
    let folder = tempfile::tempdir().expect("folder");
    let engine = plain_engine();
    let engine = engine.to_str().expect("a text");
    draws_its_own(folder.path(), &[engine, "--", "-c", DRAWN]).await;
}

#[tokio::test]
async fn the_engine_is_of_this_release() {
    let folder = tempfile::tempdir().expect("folder");
    let program = "export default { fetch: (request) => \
        new Response(`${Wapo.version} ${navigator.userAgent}`) };";
    write(folder.path(), "app.js", program);
    let version = env!("CARGO_PKG_VERSION");
    let (_running, address) = run(folder.path(), &["app.js"]).await;
    answer_with(&address, &format!("{version} WapoJS/{version}")).await;
}

#[tokio::test]
async fn the_command_tells_its_engine_and_writes_it() {
    let folder = tempfile::tempdir().expect("folder");
    let told = output(folder.path(), &["engine", "--output", "engine.wasm"]).await;
    assert!(told.status.success(), "{}", text(&told.stderr));
    let hash = wapod::javascript::engine_hash().expect("cargo xtask guests builds the engine");
    assert_eq!(text(&told.stdout).trim_end(), hash);
    let written = std::fs::read(folder.path().join("engine.wasm")).expect("a file");
    assert_eq!(wapod::Module::new(written).hash(), hash);
}

#[tokio::test]
async fn a_machine_that_cannot_build_an_engine_is_told_what_it_lacks() {
    let folder = tempfile::tempdir().expect("folder");
    let mut command = crate::support::wapo(folder.path(), &["engine", "--build"]);
    command.env("PATH", "/nowhere");
    command.env("XDG_CACHE_HOME", folder.path());
    let refused = crate::support::ended(command).await;
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    for part in [
        "clang-22",
        "llvm-ar-22",
        "npm",
        "apt-get install clang-22 llvm-22 wasi-libc nodejs npm",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    // Nothing half-built stays.
    assert!(!folder.path().join("wapo").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployed_program_is_pinned_to_its_engine_and_replaced_when_it_changes() {
    let place = Place::new().await;
    let engine = wapod::javascript::engine_hash().expect("cargo xtask guests builds the engine");
    let info = place.json(&["info"]).await;
    assert_eq!(info["javascript_engine"], Value::from(engine.clone()));
    write(place.folder.path(), "app.js", HELLO);
    let first = place.json(&["deploy", "app.js"]).await;
    assert_eq!(first["state"], "running");
    let gateway = place.worker.user_address().to_string();
    let url = first["urls"][1].as_str().expect("a URL");
    let path = url[url.find("/app/").expect("a path")..].to_owned();
    let answer = get(&gateway, &format!("{path}you")).await;
    assert!(
        answer.contains("hello /you") || answer.contains("hello /app/"),
        "{answer}"
    );

    let again = place.json(&["deploy", "app.js"]).await;
    assert_eq!(again["changed"], false);
    write(
        place.folder.path(),
        "app.js",
        &HELLO.replace("hello", "changed"),
    );
    let second = place.json(&["deploy", "app.js"]).await;
    assert_eq!(second["replaced"], first["address"]);
    write(place.folder.path(), "app.js", HELLO);
    let third = place.run(&["deploy", "app.js"]).await;
    let said = text(&third.stderr);
    assert!(third.status.success(), "{said}");
    assert!(
        said.contains("boot data and derived secrets belong to one version"),
        "{said}"
    );
    let apps = place.json(&["list"]).await;
    assert!(apps.to_string().contains(&engine), "{apps}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_stand_in_package_json() {
    let place = Place::new().await;
    let package =
        r#"{ "name": "shop", "main": "app.js", "wapo": { "memory": "64M", "env": { "A": "b" } } }"#;
    write(place.folder.path(), "shop/package.json", package);
    write(
        place.folder.path(),
        "shop/app.js",
        &format!("{HELLO}export const x = 1;"),
    );
    let report = place.json(&["deploy", "shop"]).await;
    assert_eq!(
        (&report["label"], &report["state"]),
        (&"shop".into(), &"running".into())
    );
}
