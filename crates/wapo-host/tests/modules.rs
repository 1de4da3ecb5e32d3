//! Compiled modules on disk, and memory without guard regions.

mod support;

use std::path::Path;
use std::sync::Arc;

use support::{Deaf, ended, module};
use wapo_host::{
    Allocation, CacheKind, Engine, EngineConfig, ExitReason, InstanceConfig, ModuleCacheConfig,
};

fn engine_with_cache(dir: &Path, key: u8) -> Engine {
    Engine::new(EngineConfig {
        instances_max: 4,
        module_cache: Some(ModuleCacheConfig {
            dir: dir.to_owned(),
            key: [key; 32],
            kind: CacheKind::Own,
        }),
        ..EngineConfig::default()
    })
    .expect("engine")
}

fn done() -> Vec<u8> {
    module(r#"(func (export "wapo_poll") (result i32) (i32.const 1))"#)
}

/// The only compiled file in `dir`, and its bytes.
fn only_file(dir: &Path) -> (std::path::PathBuf, Vec<u8>) {
    let mut files = std::fs::read_dir(dir).expect("folder");
    let path = files.next().expect("a file").expect("entry").path();
    assert!(files.next().is_none(), "one file, no temporary ones");
    let bytes = std::fs::read(&path).expect("file");
    (path, bytes)
}

async fn runs(engine: &Engine) {
    let program = engine.load(&done()).await.expect("loads");
    let handle = engine.start(
        &program,
        InstanceConfig::default(),
        Arc::new(Deaf::default()),
    );
    assert_eq!(ended(&handle).await, ExitReason::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiled_module_is_found_again() {
    let dir = tempfile::tempdir().expect("folder");
    runs(&engine_with_cache(dir.path(), 1)).await;
    let (path, before) = only_file(dir.path());
    let written = path
        .metadata()
        .and_then(|file| file.modified())
        .expect("time");
    runs(&engine_with_cache(dir.path(), 1)).await;
    let (path, after) = only_file(dir.path());
    assert_eq!(before, after);
    let again = path
        .metadata()
        .and_then(|file| file.modified())
        .expect("time");
    assert_eq!(written, again, "the file was used, not written again");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_foreign_and_empty_files_are_compiled_anew() {
    let dir = tempfile::tempdir().expect("folder");
    runs(&engine_with_cache(dir.path(), 1)).await;
    let (path, genuine) = only_file(dir.path());
    let mut flipped_code = genuine.clone();
    *flipped_code.last_mut().expect("bytes") ^= 1;
    let mut flipped_tag = genuine.clone();
    flipped_tag[0] ^= 1;
    for bad in [
        Vec::new(),
        b"short".to_vec(),
        vec![0; 64],
        genuine[..genuine.len() - 1].to_vec(),
        flipped_code,
        flipped_tag,
    ] {
        std::fs::write(&path, &bad).expect("write");
        runs(&engine_with_cache(dir.path(), 1)).await;
        assert_eq!(only_file(dir.path()).1, genuine, "replaced by a good one");
    }
    // The same file under another key belongs to another worker.
    runs(&engine_with_cache(dir.path(), 2)).await;
    assert_ne!(only_file(dir.path()).1, genuine);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_costs_only_time() {
    let dir = tempfile::tempdir().expect("folder");
    let file = dir.path().join("file");
    std::fs::write(&file, "in the way").expect("write");
    runs(&engine_with_cache(&file.join("below"), 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_folder_keeps_what_was_used_last() {
    let dir = tempfile::tempdir().expect("folder");
    let wasm = |number: u32| {
        module(&format!(
            r#"(func (export "wapo_poll") (result i32) (i32.const 1))
               (func (result i32) (i32.const {number}))"#
        ))
    };
    let load = async |number: u32, bytes_max: u64| {
        let engine = Engine::new(EngineConfig {
            instances_max: 4,
            module_cache: Some(ModuleCacheConfig {
                dir: dir.path().to_owned(),
                key: [1; 32],
                kind: CacheKind::Shared { bytes_max },
            }),
            ..EngineConfig::default()
        })
        .expect("engine");
        engine.load(&wasm(number)).await.expect("loads");
    };
    load(0, u64::MAX).await;
    let (first, bytes) = only_file(dir.path());
    let room_for_three = 3 * bytes.len() as u64 + 1_000;
    for number in [1, 2, 0, 3] {
        load(number, room_for_three).await;
    }
    // The second was used before the first was used again.
    let files: Vec<_> = std::fs::read_dir(dir.path()).expect("folder").collect();
    assert_eq!(files.len(), 3);
    assert!(first.exists(), "used a moment ago");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_ask_and_one_compiles() {
    let engine = support::engine();
    let wasm = done();
    let loads = (0..16).map(|_| engine.load(&wasm));
    for program in futures_util::future::join_all(loads).await {
        assert!(program.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn enclave_memory_is_checked_limited_and_clean() {
    let engine = Engine::new(EngineConfig {
        instances_max: 1,
        memory_max_bytes: 4 << 16,
        allocation: Allocation::Enclave,
        ..EngineConfig::default()
    })
    .expect("engine");
    let run = async |body: &str| {
        let program = engine.load(&module(body)).await.expect("loads");
        let handle = engine.start(
            &program,
            InstanceConfig::default(),
            Arc::new(Deaf::default()),
        );
        ended(&handle).await
    };
    // Grows to the limit and no further, writes to the last byte.
    let grows = r#"(func (export "wapo_poll") (result i32)
        (if (i32.eq (memory.grow (i32.const 4)) (i32.const -1)) (then) (else unreachable))
        (if (i32.eq (memory.grow (i32.const 3)) (i32.const -1)) (then unreachable))
        (i32.store8 (i32.const 0x3ffff) (i32.const 7))
        (i32.const 1))"#;
    assert_eq!(run(grows).await, ExitReason::Finished);
    let outside = r#"(func (export "wapo_poll") (result i32)
        (i32.store8 (i32.const 0x10000) (i32.const 7)) (i32.const 1))"#;
    assert!(
        matches!(run(outside).await, ExitReason::Trapped(text) if text.contains("out of bounds"))
    );
    // The byte written by the first guest is not seen by the next.
    let clean = r#"(func (export "wapo_poll") (result i32)
        (drop (memory.grow (i32.const 3)))
        (if (i32.load8_u (i32.const 0x3ffff)) (then unreachable))
        (i32.const 1))"#;
    assert_eq!(run(clean).await, ExitReason::Finished);
}
