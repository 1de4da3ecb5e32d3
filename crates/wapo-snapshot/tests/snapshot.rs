//! What an image keeps, and what it refuses.

use wapo_snapshot::{Error, snapshot};
use wasmi::{Engine, Instance, Linker, Module, Store};

fn taken(text: &str) -> Result<Vec<u8>, Error> {
    snapshot(&wat::parse_str(text).expect("a module"), "prepare")
}

fn refusal(text: &str) -> String {
    taken(text).expect_err("refused").to_string()
}

/// An instance of a module without imports.
fn started(module: &[u8]) -> (Store<()>, Instance) {
    let engine = Engine::default();
    let module = Module::new(&engine, module).expect("a module");
    let mut store = Store::new(&engine, ());
    let linker = Linker::new(&engine);
    let instance = linker.instantiate_and_start(&mut store, &module);
    (store, instance.expect("an instance"))
}

fn called(module: &[u8], export: &str) -> i64 {
    let (mut store, instance) = started(module);
    let function = instance.get_typed_func::<(), i64>(&store, export);
    function.expect(export).call(&mut store, ()).expect("runs")
}

/// Counts its calls in a global, in memory and at the end of grown memory.
const COUNTER: &str = r#"(module
    (memory (export "memory") 1 10)
    (data (i32.const 8) "\05")
    (global $count (mut i64) (i64.const -3))
    (global $ratio (mut f64) (f64.const 0))
    (global $fixed i32 (i32.const 7))
    (table funcref (elem $one))
    (func $one (result i64) i64.const 1)
    (func $begin (global.set $count (i64.const 100)))
    (start $begin)
    (func (export "prepare")
        (global.set $count (i64.add (global.get $count) (call_indirect (result i64) (i32.const 0))))
        (global.set $ratio (f64.const 0.5))
        (drop (memory.grow (i32.const 2)))
        (i32.store8 (i32.const 8) (i32.const 9))
        (i32.store8 (i32.const 196607) (i32.const 200)))
    (func (export "count") (result i64) global.get $count)
    (func (export "double") (result i64) (i64.trunc_f64_s (f64.mul (global.get $ratio) (f64.const 4))))
    (func (export "fixed") (result i64) (i64.extend_i32_s (global.get $fixed)))
    (func (export "low") (result i64) (i64.load8_u (i32.const 8)))
    (func (export "high") (result i64) (i64.load8_u (i32.const 196607)))
    (func (export "pages") (result i64) (i64.extend_i32_u (memory.size))))"#;

#[test]
fn a_module_begins_where_the_call_ended() {
    let image = taken(COUNTER).expect("an image");
    for (export, value) in [
        ("count", 101),
        ("double", 2),
        ("fixed", 7),
        ("low", 9),
        ("high", 200),
        ("pages", 3),
    ] {
        assert_eq!(called(&image, export), value, "{export}");
    }
    let (store, instance) = started(&image);
    assert!(instance.get_func(&store, "prepare").is_none());
    // Of three pages, two bytes are not zero.
    assert!(image.len() < 1000, "{} bytes", image.len());
}

#[test]
fn the_same_module_has_the_same_image() {
    assert_eq!(taken(COUNTER).expect("one"), taken(COUNTER).expect("two"));
}

#[test]
fn names_of_functions_are_left_out() {
    let text = r#"(module (memory 1) (func $a_name (export "prepare")))"#;
    let has_name = |module: &[u8]| module.windows(6).any(|bytes| bytes == b"a_name");
    assert!(has_name(&wat::parse_str(text).expect("a module")));
    assert!(!has_name(&taken(text).expect("an image")));
}

#[test]
fn a_module_without_data_gets_some() {
    let image = taken(
        r#"(module (memory 1)
            (func (export "prepare") (i32.store (i32.const 4) (i32.const 77)))
            (func (export "read") (result i64) (i64.load (i32.const 4))))"#,
    );
    assert_eq!(called(&image.expect("an image"), "read"), 77);
}

#[test]
fn a_memory_full_of_gaps_has_a_bounded_number_of_segments() {
    let image = taken(
        r#"(module (memory 40)
            (func (export "prepare") (local $at i32)
                (loop $more
                    (i32.store8 (local.get $at) (i32.const 1))
                    (local.set $at (i32.add (local.get $at) (i32.const 20)))
                    (br_if $more (i32.lt_u (local.get $at) (i32.const 2600000)))))
            (func (export "sum") (result i64) (local $at i32) (local $sum i64)
                (loop $more
                    (local.set $sum (i64.add (local.get $sum) (i64.load8_u (local.get $at))))
                    (local.set $at (i32.add (local.get $at) (i32.const 1)))
                    (br_if $more (i32.lt_u (local.get $at) (i32.const 2600000))))
                local.get $sum))"#,
    );
    let image = image.expect("an image");
    assert_eq!(called(&image, "sum"), 130_000);
    let segments = wasmparser::Parser::new(0)
        .parse_all(&image)
        .find_map(|payload| match payload.expect("valid") {
            wasmparser::Payload::DataSection(data) => Some(data.count()),
            _ => None,
        });
    assert!(segments.expect("data") <= 50_000);
}

#[test]
fn whatever_asks_the_host_is_named() {
    let text = refusal(
        r#"(module
            (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
            (memory 1)
            (func (export "prepare") (drop (call $random (i32.const 0) (i32.const 8)))))"#,
    );
    assert!(text.contains("wasi_snapshot_preview1.random_get"), "{text}");
    let text = refusal(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write"
                (func $write (param i32 i32 i32 i32) (result i32)))
            (memory 1)
            (data (i32.const 0) "\08\00\00\00\04\00\00\00oops")
            (func (export "prepare")
                (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 0)))))"#,
    );
    assert!(
        text.contains("fd_write") && text.ends_with("it wrote:\noops"),
        "{text}"
    );
}

#[test]
fn the_clock_says_nothing_of_the_time() {
    let image = taken(
        r#"(module
            (import "wasi_snapshot_preview1" "clock_time_get"
                (func $time (param i32 i64 i32) (result i32)))
            (memory 1)
            (data (i32.const 16) "\ff\ff\ff\ff\ff\ff\ff\ff")
            (func (export "prepare")
                (i32.store (i32.const 32) (call $time (i32.const 0) (i64.const 0) (i32.const 16)))))"#,
    );
    let image = image.expect("an image");
    let data = wasmparser::Parser::new(0)
        .parse_all(&image)
        .find_map(|payload| match payload.expect("valid") {
            wasmparser::Payload::DataSection(data) => Some(data.count()),
            _ => None,
        });
    assert_eq!(data, Some(0), "zeros only");
}

#[test]
fn what_an_image_cannot_keep_is_refused() {
    for (text, part) in [
        (
            r#"(module (import "a" "m" (memory 1)) (func (export "prepare")))"#,
            "imports other than functions",
        ),
        (r#"(module (func (export "prepare")))"#, "no memory"),
        (
            r#"(module (memory 1) (data "x") (func (export "prepare")))"#,
            "passive data segments",
        ),
        (
            r#"(module (memory 1) (data (i32.const 0) "x") (func (export "prepare") (data.drop 0)))"#,
            "code that names data segments",
        ),
        (
            r#"(module (memory 1) (table 1 funcref)
                (func (export "prepare") (table.set (i32.const 0) (ref.null func))))"#,
            "tables that change",
        ),
        (
            r#"(module (memory 1) (global (mut funcref) (ref.null func)) (func (export "prepare")))"#,
            "mutable globals that are no numbers",
        ),
        (
            r#"(module (memory 1) (func (export "prepare") (param i32)))"#,
            "no export `prepare`",
        ),
        (r#"(module (memory 1))"#, "no export `prepare`"),
        (
            r#"(module (memory 1) (func (export "prepare") unreachable))"#,
            "`prepare` failed",
        ),
        (
            r#"(module (memory 1) (func $f (export "prepare") (call $f)))"#,
            "`prepare` failed",
        ),
    ] {
        let refused = refusal(text);
        assert!(refused.contains(part), "{text}: {refused}");
    }
    assert!(matches!(
        snapshot(b"\0asm", "prepare"),
        Err(Error::Invalid(_))
    ));
}
