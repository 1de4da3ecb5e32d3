//! What a file tells of itself is told at once, in words for who built it.

mod support;

use wapo_host::{Compiler, Engine, EngineConfig, LoadError, LoadFor};

/// An engine that cannot compile anything: what it refuses, it has not compiled.
fn engine() -> Engine {
    Engine::new(EngineConfig {
        instances_max: 4,
        compiler: Compiler::command(vec!["/nowhere".into()]),
        ..EngineConfig::default()
    })
    .expect("engine")
}

const POLL: &str = r#"(func (export "wapo_poll") (result i32) (i32.const 1))"#;
const MEMORY: &str = r#"(memory (export "memory") 1)"#;

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

async fn refusal(engine: &Engine, text: &str) -> LoadError {
    let loaded = engine.load(&wasm(text)).await;
    loaded.expect_err(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn usual_mistakes_get_a_hint() {
    let engine = engine();
    let import = |module: &str, name: &str, item: &str| {
        format!(r#"(module (import "{module}" "{name}" {item}) {MEMORY} {POLL})"#)
    };
    for (text, words) in [
        (import("wbg", "__wbg_now_1", "(func)"), "wasm-bindgen"),
        (
            import("__wbindgen_placeholder__", "__wbindgen_throw", "(func)"),
            "wasm32-wasip1",
        ),
        (import("env", "now", "(func (result i32))"), "env::now"),
        (
            import("env", "emscripten_resize_heap", "(func)"),
            "wasi-sdk",
        ),
        (import("env", "memory", "(memory 1)"), "--import-memory"),
        (
            import("wasi", "thread-spawn", "(func (param i32) (result i32))"),
            "threads",
        ),
        (
            import("wasi:cli/environment@0.2.0", "get-environment", "(func)"),
            "wasm32-wasip2",
        ),
        (import("gojs", "runtime.wasmExit", "(func)"), "GOOS=wasip1"),
        (
            import("wasi_snapshot_preview1", "sock_open", "(func)"),
            "another version of WASI",
        ),
        (
            import("wasi_snapshot_preview1", "fd_write", "(func)"),
            "(i32, i32, i32, i32) -> (i32)",
        ),
        (
            format!(r#"(module {MEMORY} (func (export "_start")))"#),
            "WASI command",
        ),
        (format!("(module {MEMORY})"), "#[wapo::main]"),
        (format!("(module {POLL})"), "memory"),
    ] {
        let error = refusal(&engine, &text).await.to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
    let long = "x".repeat(5_000) + "\\1b[31m";
    let error = refusal(&engine, &import("env", &long, "(func)")).await;
    let error = error.to_string();
    assert!(error.len() < 1_000 && !error.contains('\u{1b}'), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_off_are_named_in_plain_words() {
    let engine = engine();
    for (text, words) in [
        (
            format!("(module {MEMORY} {POLL} (tag))"),
            "panic = \"abort\"",
        ),
        (
            format!("(module {MEMORY} {POLL} (func (throw_ref (ref.null exn))))"),
            "exceptions",
        ),
        (
            format!(r#"(module (memory (export "memory") 1 1 shared) {POLL})"#),
            "threads",
        ),
        (
            format!("(module {MEMORY} {POLL} (func (drop (i32.atomic.load (i32.const 0)))))"),
            "threads",
        ),
        (
            format!(r#"(module (memory (export "memory") i64 1) {POLL})"#),
            "memory64",
        ),
        (
            format!("(module {MEMORY} (memory 1) {POLL})"),
            "multi-memory",
        ),
        (format!("(module {MEMORY} {POLL} (type (struct)))"), "GC"),
        (
            format!(
                "(module {MEMORY} {POLL} (func (param v128) (result v128)
                    (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))"
            ),
            "relaxed SIMD",
        ),
    ] {
        let error = refusal(&engine, &text).await;
        assert!(matches!(error, LoadError::Feature(_)), "{text}: {error}");
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_are_compared_with_the_limits_in_the_units_of_people() {
    let engine = engine();
    let memory = format!(r#"(module (memory (export "memory") 2064) {POLL})"#);
    let error = refusal(&engine, &memory).await.to_string();
    for words in ["129 MiB", "128 MiB", "-m"] {
        assert!(error.contains(words), "{words}: {error}");
    }
    let table = format!("(module {MEMORY} {POLL} (table 100001 funcref))");
    let error = refusal(&engine, &table).await.to_string();
    assert!(
        error.contains("100001") && error.contains("100000"),
        "{error}"
    );
    let tables = format!("(module {MEMORY} {POLL} {})", "(table 1 funcref)".repeat(5));
    let error = refusal(&engine, &tables).await.to_string();
    assert!(error.contains("5 tables; 4 are allowed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_that_do_not_fit_are_told_as_such() {
    let engine = engine();
    let data = r#"(data (i32.const 65530) "0123456789")"#;
    let error = refusal(&engine, &format!("(module {MEMORY} {POLL} {data})")).await;
    let error = error.to_string();
    assert!(
        error.contains("data segment 0") && error.contains("65536 bytes"),
        "{error}"
    );
    let sum = r#"(data (i32.const 0) "x")
        (data (offset (i32.add (i32.const 65000) (i32.const 537))) "")"#;
    let error = refusal(&engine, &format!("(module {MEMORY} {POLL} {sum})")).await;
    assert!(error.to_string().contains("data segment 1"), "{error}");
    let elements = "(table 1 funcref) (elem (i32.const 1) func 0)";
    let error = refusal(&engine, &format!("(module {MEMORY} {POLL} {elements})")).await;
    assert!(error.to_string().contains("element segment 0"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_must_fit_into_the_memory_of_its_app() {
    let engine = support::engine();
    let wasm = wasm(&format!(r#"(module (memory (export "memory") 32) {POLL})"#));
    let load = async |memory_max_bytes| {
        let wanted = LoadFor {
            app: [1; 32],
            memory_max_bytes,
        };
        engine.load_for(wanted, wasm.clone()).await
    };
    let error = load(1 << 20).await.expect_err("too large").to_string();
    assert!(
        error.contains("2 MiB") && error.contains("1 MiB"),
        "{error}"
    );
    load(2 << 20).await.expect("fits");
    assert!(
        load(1 << 20).await.is_err(),
        "also when it is compiled already"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn external_references_are_null_and_otherwise_work() {
    let body = r#"(table $t 10 externref)
        (func $is_null (param externref) (result i32) (ref.is_null (local.get 0)))
        (func (export "wapo_poll") (result i32)
            (call $is_null (table.get $t (i32.const 3))))"#;
    let reason = support::run(&support::engine(), body).await;
    assert_eq!(reason, wapo_host::ExitReason::Finished);
}

/// The fuzz target `precheck` starts from the same files.
#[test]
fn no_file_makes_the_check_panic() {
    let engine = engine();
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/precheck");
    let mut count = 0;
    for seed in std::fs::read_dir(seeds).expect("seeds") {
        let text = std::fs::read(seed.expect("entry").path()).expect("file");
        let wasm = wat::parse_bytes(&text).expect("text");
        count += 1;
        for end in 0..wasm.len() {
            let _ = engine.check(&wasm[..end]);
        }
        let mut changed = wasm.to_vec();
        for place in 8..wasm.len() {
            for byte in [0, 1, 0x6f, 0x7f, 0x80, 0xff, wasm[place] ^ 0x40] {
                changed[place] = byte;
                let _ = engine.check(&changed);
            }
            changed[place] = wasm[place];
        }
    }
    assert_eq!(count, 3);
}
