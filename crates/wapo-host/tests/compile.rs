//! Compiling: what is refused before it, and what it may take.

#[path = "support/bombs.rs"]
mod bombs;
mod support;

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use bombs::large_program;
use wapo_host::{
    CacheKind, ChildCompiler, Compiler, Engine, EngineConfig, LoadError, ModuleCacheConfig, Program,
};

/// Tests that count this process's children take turns, where they share one.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Time that a refusal may take in a build without optimisation, on a machine
/// that does something else: far from what compiling would take. The bench
/// holds the number that is promised.
const AT_ONCE: Duration = Duration::from_secs(5);

fn child(change: impl FnOnce(&mut ChildCompiler)) -> Compiler {
    let command = vec![env!("CARGO_BIN_EXE_wapo-compile").into()];
    let mut compiler = Compiler::command(command);
    if let Compiler::Child(child) = &mut compiler {
        change(child);
    }
    compiler
}

fn engine_with(compiler: Compiler, dir: &Path) -> Engine {
    Engine::new(EngineConfig {
        instances_max: 4,
        compile_threads: 1,
        compiler,
        module_cache: Some(ModuleCacheConfig {
            dir: dir.to_owned(),
            key: [7; 32],
            kind: CacheKind::Own,
        }),
        ..EngineConfig::default()
    })
    .expect("engine")
}

/// Processes of the compiler that this process has started and that still live.
fn compilers() -> Vec<u32> {
    let of_this_process = format!("/proc/{0}/task", std::process::id());
    let threads = std::fs::read_dir(of_this_process).expect("threads");
    let children = |thread: std::io::Result<std::fs::DirEntry>| {
        let path = thread.ok()?.path().join("children");
        std::fs::read_to_string(path).ok()
    };
    let listed: Vec<String> = threads.filter_map(children).collect();
    let pids = listed.iter().flat_map(|line| line.split_whitespace());
    pids.filter_map(|pid| pid.parse().ok()).collect()
}

/// Descriptors of this process that pass to every child.
fn inherited_descriptors() -> Vec<String> {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let entries = std::fs::read_dir("/proc/self/fdinfo").expect("descriptors");
    let passes = |entry: std::fs::DirEntry| {
        let info = std::fs::read_to_string(entry.path()).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        let flags = u32::from_str_radix(flags.trim(), 8).ok()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        (flags & CLOSE_ON_EXEC == 0).then_some(name)
    };
    entries.flatten().filter_map(passes).collect()
}

async fn until(what: &str, reached: impl Fn() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits while a module is being loaded, which must take longer.
async fn until_of(
    load: &mut (impl Future<Output = Result<Program, LoadError>> + Unpin),
    what: &str,
    reached: impl Fn() -> bool,
) {
    tokio::select! {
        outcome = load => panic!("it ended before {what}: {outcome:?}"),
        () = until(what, reached) => {}
    }
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

/// Takes far longer to compile than any test: every function is harmless.
fn takes_long() -> Vec<u8> {
    large_program(30_000, 300, "wapo_poll")
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_are_refused_before_they_are_compiled() {
    let dir = tempfile::tempdir().expect("folder");
    // Nothing may be started, not even the compiler.
    let engine = engine_with(Compiler::command(vec!["/nowhere".into()]), dir.path());
    for (kind, wasm) in bombs::all() {
        let begun = Instant::now();
        let error = engine.load(&wasm).await.expect_err(kind);
        assert!(begun.elapsed() < AT_ONCE, "{kind}: {:?}", begun.elapsed());
        assert!(matches!(error, LoadError::TooCostly(_)), "{kind}: {error}");
    }
    assert_eq!(files(dir.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_program_passes_the_check_and_can_be_cancelled() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let dir = tempfile::tempdir().expect("folder");
    let engine = engine_with(child(|_| {}), dir.path());
    let wasm = takes_long();
    assert!(wasm.len() > 10_000_000);
    {
        let mut load = Box::pin(engine.load(&wasm));
        until_of(&mut load, "a compiler", || !compilers().is_empty()).await;
        assert_eq!(engine.compiler_load().compiling, 1);
        let [compiler] = compilers()[..] else {
            panic!("one compiler");
        };
        let has_least_priority = || {
            let stat = std::fs::read_to_string(format!("/proc/{compiler}/stat"));
            let stat = stat.expect("it works");
            // The fields after the name, which is in parentheses.
            let fields = stat.rsplit(')').next().expect("fields");
            fields.split_whitespace().nth(16) == Some("19")
        };
        until_of(&mut load, "the lowest priority", has_least_priority).await;
        let environment = std::fs::read(format!("/proc/{compiler}/environ"));
        assert_eq!(environment.expect("environment"), b"");
        // What the launcher of this process has left open for all that come
        // after is no business of the host; what the host has opened stays here.
        let inherited = inherited_descriptors();
        let descriptors = std::fs::read_dir(format!("/proc/{compiler}/fd"));
        let descriptors = descriptors.expect("descriptors").flatten();
        for name in descriptors.map(|entry| entry.file_name()) {
            let name = name.to_string_lossy().into_owned();
            let is_pipe = ["0", "1", "2"].contains(&name.as_str());
            assert!(is_pipe || inherited.contains(&name), "{name}");
        }
    }
    // The future is dropped: nobody waits any more.
    until("the end", || compilers().is_empty()).await;
    until("a free place", || engine.compiler_load().compiling == 0).await;
    assert_eq!(files(dir.path()), 0, "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_meets_a_limit_of_the_compiler_says_which() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let dir = tempfile::tempdir().expect("folder");
    let engine = engine_with(child(|child| child.memory_max_bytes = 48 << 20), dir.path());
    let wasm = takes_long();
    let error = engine.load(&wasm).await.expect_err("too little memory");
    assert_eq!(error, LoadError::CompileMemory(48));
    assert!(error.to_string().contains("more than 48 MiB"), "{error}");

    let engine = engine_with(
        child(|child| child.time_max = Duration::from_secs(1)),
        dir.path(),
    );
    let error = engine.load(&wasm).await.expect_err("too little time");
    assert_eq!(error, LoadError::CompileTime(1));
    assert!(error.to_string().contains("more than 1 s"), "{error}");
    assert_eq!(files(dir.path()), 0, "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_and_dropping_an_engine_end_its_compilers() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let dir = tempfile::tempdir().expect("folder");
    for drops in [false, true] {
        let engine = engine_with(child(|_| {}), dir.path());
        let wasm = takes_long();
        let other = engine.clone();
        let loading = tokio::spawn(async move { other.load(&wasm).await });
        until("a compiler", || !compilers().is_empty()).await;
        if drops {
            loading.abort();
            drop(engine);
            drop(loading.await);
        } else {
            engine.stop_compiling();
            let refused = loading.await.expect("task").expect_err("stopped");
            assert_eq!(refused, LoadError::Stopping);
            assert_eq!(
                engine
                    .load(&support::module(
                        r#"(func (export "wapo_poll") (result i32) (i32.const 1))"#,
                    ))
                    .await
                    .err(),
                Some(LoadError::Stopping)
            );
        }
        until("the end", || compilers().is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_child_has_compiled_runs_and_is_found_again() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let dir = tempfile::tempdir().expect("folder");
    let body = r#"(func (export "wapo_poll") (result i32) (memory.fill (i32.const 0) (i32.const 1)
            (i32.mul (i32.const 2) (i32.const 9))) (i32.const 1))"#;
    let wasm = support::module(body);
    for _ in 0..2 {
        let engine = engine_with(child(|_| {}), dir.path());
        let reason = support::run(&engine, body).await;
        assert_eq!(reason, wapo_host::ExitReason::Finished);
        assert_eq!(files(dir.path()), 1);
    }
    // Found without a compiler.
    let engine = engine_with(Compiler::command(vec!["/nowhere".into()]), dir.path());
    engine.load(&wasm).await.expect("loads");
    // A compiler that cannot be started, or is no compiler, is an error.
    for command in ["/nowhere", "/bin/cat", "/bin/false"] {
        let other = tempfile::tempdir().expect("folder");
        let engine = engine_with(Compiler::command(vec![command.into()]), other.path());
        assert_eq!(engine.load(&wasm).await.err(), Some(LoadError::Compiler));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_from_the_folder_is_written_again_when_an_app_needs_it() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let dir = tempfile::tempdir().expect("folder");
    let wasm = support::module(r#"(func (export "wapo_poll") (result i32) (i32.const 1))"#);
    let engine = engine_with(child(|_| {}), dir.path());
    engine.load(&wasm).await.expect("loads");
    engine.keep_only(&HashSet::new());
    assert_eq!(files(dir.path()), 0);
    engine.load(&wasm).await.expect("is in memory");
    assert_eq!(files(dir.path()), 1);
    let nobody = Compiler::command(vec!["/nonexistent".into()]);
    let after_a_restart = engine_with(nobody, dir.path());
    after_a_restart.load(&wasm).await.expect("is genuine");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_code_is_found_by_the_child_and_its_reason_is_told() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let dir = tempfile::tempdir().expect("folder");
    let engine = engine_with(child(|_| {}), dir.path());
    let mut wasm = support::module(
        r#"(func (export "wapo_poll") (result i32) (i32.const 1)) (func (drop (i32.const 77)))"#,
    );
    let drop_at = wasm
        .windows(3)
        .rposition(|bytes| bytes == [0xcd, 0x00, 0x1a]);
    // `drop` becomes `f64.sqrt`.
    wasm[drop_at.expect("code") + 2] = 0x9f;
    let error = engine.load(&wasm).await.expect_err("invalid");
    assert!(
        matches!(&error, LoadError::Invalid(text) if text.contains("type mismatch")),
        "{error}"
    );
    assert_eq!(files(dir.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_message_of_the_child_is_cut_and_keeps_nobody_waiting() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let dir = tempfile::tempdir().expect("folder");
    let name = "n".repeat(100_000);
    let wasm = support::module(&format!(
        r#"(func (export "wapo_poll") (result i32) (i32.const 1))
            (export "{name}" (memory 0)) (export "{name}" (memory 0))"#
    ));
    // Another program's message is longer than a pipe holds, and is not cut by it.
    let script = "printf '%0200000d' 0 >&2; exit 3";
    let other = Compiler::command(vec!["/bin/sh".into(), "-c".into(), script.into()]);
    for (compiler, text) in [(child(|_| {}), "duplicate export name"), (other, "0000")] {
        let engine = engine_with(compiler, dir.path());
        let loaded = tokio::time::timeout(Duration::from_secs(30), engine.load(&wasm)).await;
        let error = loaded.expect("in time").expect_err("invalid");
        let LoadError::Invalid(told) = error else {
            panic!("{error}");
        };
        assert!(told.contains(text) && told.len() <= 4096, "{told}");
    }
    assert_eq!(files(dir.path()), 0);
}
