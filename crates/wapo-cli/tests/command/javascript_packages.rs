//! Programs that import packages of npm, bundled by esbuild, and modules of Node: as
//! people run them. The packages are those that `cargo xtask packages` fetches.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::packages::{copy_files, repository, with_packages};
use crate::support::running::Running;
use crate::support::{ANY_PORT, TIMEOUT, expectation, get, output, text, write};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::ChildStderr;

async fn run(folder: &Path, program: &[&str]) -> (Running, String) {
    Running::serving(folder, ANY_PORT, program).await
}

/// What the program has logged, line by line.
struct Log(Lines<BufReader<ChildStderr>>);

impl Log {
    fn of(running: &mut Running) -> Self {
        let stderr = running.child.stderr.take().expect("piped");
        Self(BufReader::new(stderr).lines())
    }

    /// Waits for a line with this part.
    async fn line(&mut self, part: &str) {
        let found = async {
            while let Some(line) = self.0.next_line().await.expect("text") {
                if line.contains(part) {
                    return;
                }
            }
            panic!("the log has ended without {part}");
        };
        let found = tokio::time::timeout(TIMEOUT, found).await;
        assert!(found.is_ok(), "no {part} in the log");
    }
}

/// The body of what a path gives.
async fn body(address: &str, path: &str) -> String {
    let answer = get(address, path).await;
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    body.to_owned()
}

async fn refusal(folder: &Path, program: &str) -> String {
    let output = output(folder, &["run", program]).await;
    assert_eq!(output.status.code(), Some(1), "{program}");
    text(&output.stderr)
}

#[tokio::test]
async fn packages_that_services_are_made_of_work() {
    let folder = with_packages("tests");
    let cases = repository("guests/wapo-js/tests/cases");
    let name = "34-npm-web";
    let program = format!("{name}.js");
    std::fs::copy(cases.join(&program), folder.path().join(&program)).expect("a copy");
    let expected = std::fs::read_to_string(cases.join(format!("{name}.expect.json")));
    let expected: Value = serde_json::from_str(&expected.expect("a file")).expect("JSON");
    let (running, address) = run(folder.path(), &[&program]).await;
    let wrong = expectation::drive(&address, &expected, &[]).await;
    running.interrupt().await;
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn packages_that_require_modules_of_node_work() {
    let folder = with_packages("tests");
    let program = repository("guests/wapo-js/tests/packages/node.js");
    std::fs::copy(program, folder.path().join("app.js")).expect("a copy");
    let (_running, address) = run(folder.path(), &["app.js"]).await;
    let answer: Value = serde_json::from_str(&body(&address, "/").await).expect("JSON");
    let expected = json!({
        "iconv": ["9e6c759d6f75e86bfd", "é "],
        "csv": [{ "name": "a,b", "n": "1" }, { "name": "c", "n": "2" }],
        "mime": ["application/json", "text/html; charset=utf-8"],
        "circle": "{\"a\":2,\"b\":1,\"me\":\"[Circular: 0]\"}",
        "env": ["production", "undefined"],
    });
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn the_router_of_the_examples_routes_and_tells_places_of_its_files() {
    let folder = with_packages("router");
    copy_files(&repository("guests/wapo-js/examples/router"), folder.path());
    let (mut running, address) = run(folder.path(), &["."]).await;
    let mut log = Log::of(&mut running);
    let asked = |method: &str, path: &str, body: Option<&str>, expect: Value| {
        json!({
            "request": {
                "method": method,
                "path": path,
                "body": body,
                "headers": { "content-type": "application/json", "x-request-id": "r1" },
            },
            "expect": expect,
        })
    };
    let steps = json!({ "steps": [
        asked("GET", "/notes", None, json!({ "json": [] })),
        asked("POST", "/notes", Some("{\"text\":\"hi\"}"), json!({ "status": 201, "json": { "id": 1, "text": "hi" }, "headers": { "x-request-id": "r1" } })),
        asked("GET", "/notes/1", None, json!({ "json": { "id": 1, "text": "hi" } })),
        asked("GET", "/notes/x", None, json!({ "status": 404 })),
        asked("POST", "/notes", Some("{}"), json!({ "status": 400, "text": "a note has a text" })),
    ] });
    let wrong = expectation::drive(&address, &steps, &[]).await;
    assert_eq!(wrong, Vec::<String>::new());
    log.line("r1: added 1").await;

    let stack = body(&address, "/broken").await;
    assert!(stack.contains("notes.ts:31:15"), "{stack}");
    assert!(stack.contains("app.ts:37:"), "{stack}");
    assert!(stack.contains("node_modules/hono/dist/"), "{stack}");
    assert!(!stack.contains("bundle:"), "{stack}");
    log.line("notes.ts:31:15").await;
}

#[tokio::test]
async fn a_bundle_starts_again_soon_after_a_change_of_any_of_its_files() {
    let folder = with_packages("tests");
    write(
        folder.path(),
        "app.ts",
        "import { Hono } from 'hono';\nimport { said } from './said';\n\
         enum Word { Hello = 'hello' }\nconst app = new Hono();\n\
         app.get('/', (c) => c.text(`${Word.Hello} ${said}`));\nexport default app;\n",
    );
    write(
        folder.path(),
        "said.ts",
        "export const said: string = 'one';",
    );
    let (_running, address) = run(folder.path(), &["app.ts", "--watch"]).await;
    assert_eq!(body(&address, "/").await, "hello one");
    let saved = Instant::now();
    write(
        folder.path(),
        "said.ts",
        "export const said: string = 'two';",
    );
    while get(&address, "/").await.split("\r\n\r\n").nth(1) != Some("hello two") {
        assert!(saved.elapsed() < TIMEOUT, "the change is not there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!(
        "a saved change of a bundle answered after {:?}",
        saved.elapsed()
    );
}

#[tokio::test]
async fn errors_of_a_bundle_tell_their_source_in_every_way_they_are_told() {
    let folder = with_packages("tests");
    let program = "import { nanoid } from 'nanoid';\n\n\
        interface Far { a: string }\n\
        const fail = (far: Far): never => { throw new RangeError(far.a); };\n\
        addEventListener('error', (event) => console.log(`event ${event.filename}:${event.lineno}`));\n\
        export default {\n  async fetch(request: Request) {\n    const what = new URL(request.url).pathname;\n    \
        if (what === '/timer') setTimeout(() => fail({ a: 'late' }), 1);\n    \
        if (what === '/handler') fail({ a: nanoid() });\n    \
        if (what === '/captured') { const o: { stack?: string } = {}; Error.captureStackTrace(o); return new Response(o.stack); }\n    \
        try { await null; fail({ a: 'x' }); } catch (error) {\n      \
        return new Response((error as Error).stack + '|' + Object.keys(error as Error).length);\n    }\n  },\n};\n";
    write(folder.path(), "src/main.ts", program);
    write(
        folder.path(),
        "package.json",
        r#"{ "type": "module", "main": "src/main.ts" }"#,
    );
    let (mut running, address) = run(folder.path(), &["."]).await;
    let mut log = Log::of(&mut running);
    let stack = body(&address, "/").await;
    assert!(stack.contains("src/main.ts:4:58"), "{stack}");
    assert!(stack.contains("src/main.ts:12:23"), "{stack}");
    assert!(stack.ends_with("|0"), "{stack}");
    assert!(
        body(&address, "/captured")
            .await
            .contains("src/main.ts:11:")
    );
    assert!(get(&address, "/handler").await.starts_with("HTTP/1.1 500"));
    log.line("src/main.ts:4:58").await;
    assert!(get(&address, "/timer").await.starts_with("HTTP/1.1 200"));
    log.line("event src/main.ts:4").await;
}

#[tokio::test]
async fn a_failed_test_of_a_bundle_shows_its_line() {
    let folder = with_packages("tests");
    let tests = "import assert from 'node:assert';\nimport { test } from 'node:test';\nimport { nanoid } from 'nanoid';\n\
        test('ids', () => {\n  assert.strictEqual(nanoid(), 1);\n});\n";
    write(folder.path(), "ids.test.js", tests);
    let output = output(folder.path(), &["test", "ids.test.js"]).await;
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "ids.test.js:5:",
        ">    5 |   assert.strictEqual(nanoid(), 1);",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test]
async fn what_cannot_be_bundled_is_said_with_what_to_do() {
    let folder = with_packages("tests");
    for (name, content, parts) in [
        (
            "absent.js",
            "import 'hono';\nimport 'left-pad/x';\n",
            &["absent.js:2:", "left-pad", "npm install left-pad"][..],
        ),
        (
            "files.js",
            "import 'hono';\nimport fs from 'node:fs';\n",
            &["files.js", "no module node:fs of Node", "path"],
        ),
        (
            "deep.js",
            "import './deep/index.js';\nimport 'hono';\n",
            &["deep/index.js:1:", "no module child_process of Node"],
        ),
        (
            "alone.js",
            "import 'node:vm';\n",
            &["alone.js", "no module node:vm of Node"],
        ),
        (
            "wrong.js",
            "import 'hono';\nimport { nothing } from './other.js';\n",
            &["other.js"],
        ),
    ] {
        write(folder.path(), name, content);
        write(folder.path(), "deep/index.js", "require('child_process');");
        let refused = refusal(folder.path(), name).await;
        for part in parts {
            assert!(refused.contains(part), "{name}: {part}: {refused}");
        }
        assert!(!refused.contains("bundle for node"), "{name}: {refused}");
    }
}

#[tokio::test]
async fn modules_of_node_need_no_bundle_and_classic_scripts_require_them() {
    let folder = tempfile::tempdir().expect("folder");
    write(
        folder.path(),
        "module.mjs",
        "import path from 'path';\nimport { format } from 'node:util';\n\
         export default { fetch: () => new Response(format('%s %s', path.join('a', 'b'), Buffer.from('c').toString('hex'))) };",
    );
    write(
        folder.path(),
        "classic.js",
        "const { EventEmitter } = require('events'); const path = require('node:path');\n\
         let said = ''; new EventEmitter().on('x', (v) => { said = v; }).emit('x', path.basename('/p/q.js'));\n\
         try { require('fs'); } catch (error) { said += ' ' + error.code; }\n\
         addEventListener('fetch', (event) => event.respondWith(new Response(`${said} ${process.argv.slice(2)} ${typeof global.Buffer}`)));",
    );
    for (program, expected) in [
        (&["module.mjs"][..], "a/b 63"),
        (
            &["classic.js", "--", "one", "two"],
            "q.js MODULE_NOT_FOUND one,two function",
        ),
    ] {
        let (_running, address) = run(folder.path(), program).await;
        assert_eq!(body(&address, "/").await, expected);
    }
}

#[tokio::test]
async fn a_map_that_is_none_leaves_stacks_as_they_are() {
    let folder = tempfile::tempdir().expect("folder");
    // Stands for esbuild, and writes what no map may be: numbers without end, places
    // beyond everything, a line for each of a million semicolons.
    for (map, expected) in [
        (
            r#"{"sources":["a.js"],"mappings":"gggggggggggggggg"}"#,
            "bundle:app.js:1:",
        ),
        (r#"{"sources":[],"mappings":"AAAA"}"#, "bundle:app.js:1:"),
        (r#"{"sources":["a.js"],"mappings":"AADD"}"#, "bundle"),
        (r#"{"sources":["own.js"],"mappings":"AAAA"}"#, "own.js:1:1"),
    ] {
        let bundler = format!(
            "#!/bin/sh\nfor argument; do case $argument in --outdir=*) out=${{argument#--outdir=}};; esac; done\n\
             echo 'export default {{ fetch: () => new Response(new Error().stack) }}' > $out/bundle.js\n\
             echo '{map}' > $out/bundle.js.map\n"
        );
        write(folder.path(), "node_modules/.bin/esbuild", &bundler);
        let file = folder.path().join("node_modules/.bin/esbuild");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(file, mode).expect("mode");
        write(folder.path(), "app.js", "import 'some-package';");
        let (running, address) = run(folder.path(), &["app.js"]).await;
        let stack = body(&address, "/").await;
        running.interrupt().await;
        assert!(stack.contains(expected), "{map}: {stack}");
    }
}
