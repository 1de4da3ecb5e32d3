//! What authors of programs in JavaScript work with: `wapo test` and `wapo repl`, and
//! how the log shows values.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use crate::support::place::Place;
use crate::support::{TIMEOUT, output, text, wapo, write};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Runs `wapo test` in a folder with one file of tests; gives its code and output.
async fn test(content: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), "a.test.js", content);
    run(folder.path(), &[&["test"], arguments].concat()).await
}

async fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = output(folder, arguments).await;
    let said = text(&output.stdout);
    (output.status.code(), said + &text(&output.stderr))
}

/// What the head of a file of tests is.
const HEAD: &str =
    "import { test, describe, it, before } from 'node:test'; import assert from 'node:assert';\n";

fn own_tests(name: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("guests/wapo-js/tests/tools").join(name);
    path.canonicalize()
        .expect(name)
        .to_str()
        .expect("a text")
        .to_owned()
}

#[tokio::test]
async fn assertions_are_those_of_node() {
    let folder = tempfile::tempdir().expect("folder");
    let (code, said) = run(folder.path(), &["test", &own_tests("assert.test.js")]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("failed"), "{said}");
}

#[tokio::test]
async fn tests_have_hooks_subtests_and_mocks() {
    let folder = tempfile::tempdir().expect("folder");
    let (code, said) = run(folder.path(), &["test", &own_tests("runner.test.js")]).await;
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "▸ a suite",
        "    ✔ one",
        "2 skipped",
        "1 to do",
        "(to do, some day",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test]
async fn a_failure_is_shown_with_its_place_and_what_differs() {
    let tests = "describe('sums', () => {
  it('is right', () => assert.equal(1 + 1, 2));
  it('is wrong', async () => {
    await null;
    assert.deepStrictEqual({ sum: 1, list: ['a long text of its own', 'another text that is as long as it gets'] }, { sum: 2, list: ['a long text of its own', 'another text that is as long as it gets'] });
  });
  it('throws', () => { null.x; });
  it.skip('later');
});
";
    let (code, said) = test(&format!("{HEAD}{tests}"), &[]).await;
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "a.test.js\n  ▸ sums\n    ✔ is right (",
        "    ✖ is wrong (",
        "    - later (skipped)",
        "✖ a.test.js › sums › is wrong\n  a.test.js:6:",
        ">    6 |     assert.deepStrictEqual(",
        "       |            ^",
        "+   sum: 1",
        "-   sum: 2",
        "✖ a.test.js › sums › throws\n  a.test.js:8:",
        "TypeError: ",
        "2 failed, 1 passed, 1 skipped in 1 file",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(
        !said.contains("\u{1b}["),
        "no colours without a terminal: {said}"
    );
    assert!(
        !said.contains("wapo:boot"),
        "no frames of the platform: {said}"
    );
}

#[tokio::test]
async fn what_never_ends_fails_its_test_and_not_the_run() {
    let tests = "
test('a loop', () => { for (;;); });
test('a loop later', async () => { await null; for (;;); });
test('promises', async () => { const f = () => { Promise.resolve().then(f); }; f(); await new Promise(() => {}); });
test('nothing comes', () => new Promise(() => {}));
test('within a limit of its own', { timeout: 100 }, (t) => new Promise((_, reject) => t.signal.addEventListener('abort', () => reject(new Error('aborted')))));
test('where the engine does not look', () => { [].reverse.call({ length: 2 ** 53 - 1 }); });
test('a subtest', async (t) => { await t.test('inner', () => { for (;;); }); });
test('another', () => {});
";
    let (code, said) = test(&format!("{HEAD}{tests}"), &["--timeout", "1"]).await;
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "✖ a loop (",
        "✖ a loop later (",
        "✖ promises (",
        "✖ nothing comes (",
        "✖ within a limit of its own (",
        "✖ where the engine does not look (",
        "    ✖ inner (",
        "✔ another (",
        "it has computed for 1000 ms without coming to an end",
        "it was not over after 1000 ms",
        "it was not over after 100 ms",
        "where the engine cannot stop it",
        "8 failed, 1 passed in 1 file",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test]
async fn errors_that_nobody_catches_fail_the_test_that_runs() {
    let tests = "
test('a timer throws', () => new Promise(() => { setTimeout(() => { throw new Error('from a timer'); }, 1); }));
test('a promise is rejected', async () => { Promise.reject(new Error('from a promise')); await new Promise((resolve) => setTimeout(resolve, 50)); });
test('a promise is left', () => { Promise.reject(new Error('loose')); });
test('odd values', () => { throw null; });
test('odder values', () => { throw new Proxy({}, { get() { throw 1; } }); });
test('deep', () => { const f = () => f() + 1; f(); });
test('memory', () => { const all = []; for (;;) all.push(new Uint8Array(1 << 20).fill(1)); });
test('another', () => {});
";
    let (code, said) = test(&format!("{HEAD}{tests}"), &["--timeout", "5"]).await;
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "from a timer",
        "from a promise",
        "✖ a promise is left",
        "loose",
        "✖ odd values",
        "✖ odder values",
        "RangeError",
        "✖ memory",
        "✔ another",
        "7 failed, 1 passed",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test]
async fn files_that_cannot_be_run_are_failures() {
    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), "syntax.test.js", "let a = ;");
    write(
        folder.path(),
        "throws.test.js",
        &format!("{HEAD}test('never', () => {{}});\nnull.x;"),
    );
    write(
        folder.path(),
        "suite.test.js",
        &format!(
            "{HEAD}describe('async', async () => {{}}); describe('broken', () => {{ before(() => {{ throw new Error('hook'); }}); it('x', () => {{}}); }});"
        ),
    );
    write(folder.path(), "none.test.js", "export {};");
    write(
        folder.path(),
        "good.test.ts",
        &format!("{HEAD}const one: number = 1; test('good', () => assert.equal(one, 1));"),
    );
    let (code, said) = run(folder.path(), &["test"]).await;
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "syntax.test.js:1:9",
        "✖ throws.test.js\n  throws.test.js:3:",
        "must not be asynchronous",
        "Error: hook",
        "✔ good",
        "none.test.js\n",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(
        said.contains("1 passed") && said.contains("in 5 files"),
        "{said}"
    );
}

#[tokio::test]
async fn tests_are_chosen_by_name_and_by_mark() {
    let tests = "describe('numbers', () => { it('add', () => {}); it('divide', () => {}); }); test('words', () => {});";
    for (arguments, counts) in [
        (&["--filter", "add"][..], "1 passed, 2 left out"),
        (&["--filter", "numbers"], "2 passed, 1 left out"),
        (&["--filter", "/^(numbers > d|w)/"], "2 passed, 1 left out"),
    ] {
        let (code, said) = test(&format!("{HEAD}{tests}"), arguments).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(counts), "{arguments:?}: {said}");
    }
    for json in [&[][..], &["--json"]] {
        let arguments = [&["--filter", "none"], json].concat();
        let (code, said) = test(&format!("{HEAD}{tests}"), &arguments).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("no test matches --filter none"), "{said}");
    }
    let marked = tests.replace("it('divide'", "it.only('divide'");
    let (code, said) = test(&format!("{HEAD}{marked}"), &[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("✔ divide") && said.contains("1 passed, 2 left out"),
        "{said}"
    );
}

#[tokio::test]
async fn a_test_says_nothing_to_the_command_by_itself() {
    let tests = r#"
const line = JSON.stringify({ event: "end", path: ["forged"], depth: 0, state: "pass", tests: 1, ms: 0 });
test("\u001b[31m a name\n with more\u202e", (t) => {
  for (const text of [line, `:${line}`, `${"0".repeat(32)}:${line}`]) { console.log(text); Wapo.print(2, [text]); }
  t.diagnostic("a\nnote \u001b[2J");
  assert.deepStrictEqual(Object.keys(globalThis).filter((key) => /session|mark/.test(key)), []);
  assert.deepStrictEqual([scriptArgs, Object.keys(Wapo.env)], [[], []]);
});
test("x".repeat(100_000), () => { throw new Error("ä".repeat(1_000_000)); });
test("the program's own modules", async () => {
  for (const name of ["wapo:native", "wapo:boot/wapo/session.js", "../wapo/session.js"]) await assert.rejects(import(name));
});
"#;
    let (code, said) = test(&format!("{HEAD}{tests}"), &[]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("1 failed, 2 passed"), "{said}");
    assert!(
        !said.contains("✔ forged") && !said.contains('\u{1b}'),
        "{said}"
    );
}

#[tokio::test]
async fn events_are_told_as_json() {
    let tests = "test('good', () => {}); test('bad', () => assert.fail('why')); test('hangs', () => { [].reverse.call({ length: 2 ** 53 - 1 }); });";
    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), "a.test.js", &format!("{HEAD}{tests}"));
    let output = output(folder.path(), &["test", "--json", "--timeout", "1"]).await;
    assert_eq!(output.status.code(), Some(1));
    let events: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let ends: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "end")
        .collect();
    let states: Vec<_> = ends
        .iter()
        .map(|end| (&end["path"][0], &end["state"]))
        .collect();
    assert_eq!(
        format!("{states:?}"),
        r#"[(String("good"), String("pass")), (String("bad"), String("fail")), (String("hangs"), String("fail"))]"#
    );
    assert!(
        ends[1]["error"]
            .as_str()
            .is_some_and(|error| error.contains("why"))
    );
    assert!(
        events.iter().all(|event| event["file"] == "a.test.js"),
        "{events:?}"
    );
}

#[tokio::test]
async fn new_projects_have_tests_that_pass() {
    let folder = tempfile::tempdir().expect("folder");
    for template in ["js", "ts"] {
        let name = format!("made-{template}");
        let (code, said) = run(folder.path(), &["new", &name, "--template", template]).await;
        assert_eq!(code, Some(0), "{said}");
        let (code, said) = run(folder.path(), &["test", &name]).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("2 passed"), "{said}");
    }
    let empty = tempfile::tempdir().expect("folder");
    let (code, said) = run(empty.path(), &["test"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("NAME.test.js"), "{said}");
}

/// What `wapo repl` does with a pipe.
async fn piped(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = wapo(folder, &[&["repl"], arguments].concat());
    let mut child = command.stdin(Stdio::piped()).spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).await.expect("written");
    drop(stdin);
    let output = tokio::time::timeout(TIMEOUT, child.wait_with_output()).await;
    output.expect("in time").expect("it ran")
}

#[tokio::test]
async fn the_prompt_evaluates_what_a_pipe_brings() {
    let folder = tempfile::tempdir().expect("folder");
    let input = "1 + 1
_ * 21
const add = (a, b) => {
  return a + b;
}
add(1, 2)
await Promise.resolve([1, { a: 'b' }])
{ a: 1 }
let text = `one
two`
text
console.log('said', new Map([[1, 2]]))
const late = await new Promise((resolve) => setTimeout(resolve, 10, 'late'))
late
typeof Wapo.hash
(await import('node:assert')).default.ok(true)
";
    let output = piped(folder.path(), &[], input).await;
    let said = text(&output.stdout);
    let expected = "2\n42\nundefined\n3\n[ 1, { a: 'b' } ]\n{ a: 1 }\nundefined\n'one\\ntwo'\n\
        said Map(1) { 1 => 2 }\nundefined\nundefined\n'late'\n'function'\nundefined\n";
    assert_eq!(said, expected, "{}", text(&output.stderr));
    assert!(output.status.success());
}

#[tokio::test]
async fn errors_at_the_prompt_are_told_and_it_goes_on() {
    let folder = tempfile::tempdir().expect("folder");
    let input = "let x = 1\nlet = ;\nnull.x\nthrow 7\nawait Promise.reject(new RangeError('no'))\n\
        x\nfunction f() { f() } f()\n_error instanceof RangeError\n.none\n.help\n1 +";
    let output = piped(folder.path(), &[], input).await;
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!text(&output.stderr).contains("await import("));
    for statement in [
        "import x from 'node:path'",
        "import { join } from 'node:path'",
        "import 'x'",
    ] {
        let output = piped(folder.path(), &[], statement).await;
        let hint = text(&output.stderr);
        assert!(hint.contains("await import(\"node:path\")"), "{hint}");
    }
    for part in [
        "Uncaught SyntaxError: ",
        "Uncaught TypeError: ",
        "Uncaught 7",
        "Uncaught RangeError: no",
        "\n1\n",
        "\ntrue\n",
        ".exit",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("wapo:boot"), "{said}");
    assert!(text(&output.stderr).contains("no such command: .none"));
}

#[tokio::test]
async fn a_program_is_there_at_the_prompt() {
    let folder = tempfile::tempdir().expect("folder");
    write(
        folder.path(),
        "app.ts",
        "export const greet = (name: string): string => `hello ${name}`;\nglobalThis.app = { greet };",
    );
    let output = piped(
        folder.path(),
        &["app.ts", "-E", "A=b"],
        "app.greet('you')\n(await import('./app.ts')).greet(Wapo.env.A)\nWapo.exit(3)\n1\n",
    )
    .await;
    let said = text(&output.stdout);
    assert_eq!(said, "'hello you'\n'hello b'\n", "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(3));
    write(folder.path(), "bad.js", "null.x");
    let output = piped(folder.path(), &["bad.js"], "1\n").await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("TypeError"),
        "{}",
        text(&output.stderr)
    );
}

#[tokio::test]
async fn an_engine_that_breaks_at_the_prompt_is_replaced() {
    let folder = tempfile::tempdir().expect("folder");
    let input = "globalThis.kept = 1\nconst all = []; for (;;) all.push(new Uint8Array(1 << 20).fill(1))\ntypeof kept + typeof all\n2\n";
    let output = piped(folder.path(), &["-m", "64M"], input).await;
    let said = text(&output.stdout);
    assert!(said.ends_with("2\n"), "{said}{}", text(&output.stderr));
}

#[tokio::test]
async fn values_are_readable_in_the_log() {
    let folder = tempfile::tempdir().expect("folder");
    let program = "console.log('user', { name: 'a', tags: ['x', 'y'], nested: { deep: { deeper: { deepest: 1 } }, text: 'z'.repeat(60) } });\n\
        console.warn(new Map([['a', 1]]), null, [undefined]);\nconsole.error(new TypeError('wrong'));\nWapo.exit();";
    write(folder.path(), "app.js", program);
    let output = output(
        folder.path(),
        &["run", "app.js", "--address", "127.0.0.1:0"],
    )
    .await;
    let said = text(&output.stderr);
    let expected = " INFO user {\n        name: 'a',\n        tags: [ 'x', 'y' ],\n        nested: {\n          deep: { deeper: [Object] },\n";
    assert!(said.contains(expected), "{said}");
    assert!(
        said.contains(" WARN Map(1) { 'a' => 1 } null [ undefined ]"),
        "{said}"
    );
    assert!(
        said.contains("ERROR TypeError: wrong\n          at <eval> (<script>:3:"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_one_record_of_the_log_of_a_worker() {
    let place = Place::new().await;
    let program = "console.log({ name: 'a'.repeat(50), other: 'b'.repeat(50) }); export default { fetch: () => new Response() };";
    place.write("app.js", program.as_bytes());
    place.json(&["deploy", "app.js"]).await;
    let log = place.good(&["logs", "app"]).await;
    let lines: Vec<&str> = log.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.contains(" INFO {"))
        .expect("the value");
    assert!(lines[at + 1].starts_with("        name: 'aaa"), "{log}");
    let records = place.good(&["logs", "app", "--json"]).await;
    let record = records
        .lines()
        .find(|line| line.contains("aaaa"))
        .expect("the value");
    let record: Value = serde_json::from_str(record).expect("JSON");
    assert!(
        record["text"]
            .as_str()
            .is_some_and(|text| text.contains("bbbb")),
        "{record}"
    );
}

/// A person at a terminal, which util-linux's `script` makes.
struct Person {
    child: tokio::process::Child,
    keys: tokio::process::ChildStdin,
    screen: tokio::process::ChildStdout,
    seen: String,
}

impl Person {
    fn sit_down(folder: &Path, arguments: &str) -> Self {
        let wapo = wapo(folder, &[]);
        let program = wapo
            .as_std()
            .get_program()
            .to_str()
            .expect("a text")
            .to_owned();
        let mut command = tokio::process::Command::new("script");
        command.env_clear();
        for (name, value) in wapo.as_std().get_envs() {
            command.env(name, value.expect("a value"));
        }
        let mut child = command
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .env("XDG_STATE_HOME", folder.join("state"))
            .current_dir(folder)
            .args([
                "-q",
                "-f",
                "-e",
                "-c",
                &format!("exec {program} {arguments}"),
                "/dev/null",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("script of util-linux runs");
        Self {
            keys: child.stdin.take().expect("piped"),
            screen: child.stdout.take().expect("piped"),
            seen: String::new(),
            child,
        }
    }

    async fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).await.expect("typed");
        self.keys.flush().await.expect("typed");
    }

    /// Reads the screen until it has `part`, which is then behind it.
    async fn sees(&mut self, part: &str) {
        let looking = async {
            while !self.seen.contains(part) {
                let mut bytes = [0; 4096];
                let count = self.screen.read(&mut bytes).await.expect("a screen");
                if count == 0 {
                    return false;
                }
                self.seen.push_str(&text(&bytes[..count]));
            }
            true
        };
        let found = tokio::time::timeout(TIMEOUT, looking).await;
        assert_eq!(found, Ok(true), "no {part:?} on {:?}", self.seen);
        let end = self.seen.find(part).expect("seen") + part.len();
        self.seen.drain(..end);
    }
}

#[tokio::test]
async fn ctrl_c_ends_a_loop_and_what_was_defined_stays() {
    let folder = tempfile::tempdir().expect("folder");
    let mut person = Person::sit_down(folder.path(), "repl");
    person.sees("> ").await;
    person.types("let kept = 41\r").await;
    person.sees("undefined").await;
    for endless in [
        "console.log('be' + 'gun'); for (;;);\r",
        "console.log('be' + 'gun'); await new Promise(() => {})\r",
        "console.log('be' + 'gun'); const f = () => Promise.resolve().then(f); await f()\r",
    ] {
        person.sees("> ").await;
        person.types(endless).await;
        person.sees("begun").await;
        person.types("\u{3}").await;
        person.sees("interrupted").await;
    }
    person.sees("> ").await;
    person.types("kept + 1\r").await;
    person.sees("\n42").await;

    // Several lines, colours, the history.
    person.sees("> ").await;
    person.types("[1,\r2]\r").await;
    person.sees("[ 1, 2 ]").await;
    person.types("null.x\r").await;
    person.sees("\u{1b}[1;31mUncaught TypeError").await;
    // Its stack has "<eval> (".
    person.sees("<repl>:1:1)").await;
    person.sees("> ").await;
    person.types("\u{3}").await;
    person.sees("Ctrl-D").await;
    person.sees("> ").await;
    person.types("\u{4}").await;
    let ended = tokio::time::timeout(TIMEOUT, person.child.wait()).await;
    assert!(ended.expect("in time").expect("it ran").success());
    let history = std::fs::read_to_string(folder.path().join("state/wapo/repl-history"));
    assert!(history.expect("a history").contains("kept + 1"));
}

#[tokio::test]
async fn a_loop_where_the_engine_does_not_look_costs_the_engine() {
    let folder = tempfile::tempdir().expect("folder");
    let mut person = Person::sit_down(folder.path(), "repl");
    person.sees("> ").await;
    person
        .types("console.log('be' + 'gun'); [].reverse.call({ length: 2 ** 53 - 1 })\r")
        .await;
    person.sees("begun").await;
    person.types("\u{3}").await;
    person.sees("what was defined is gone").await;
    person.sees("> ").await;
    person.types("40 + 2\r").await;
    person.sees("\n42").await;
    person.types("\u{4}").await;
}
