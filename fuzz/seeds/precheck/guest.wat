;; A small guest that is accepted: imports, a table, segments, a loop, a switch.
(module
  (import "wapo" "ocall_fast_return"
    (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (table 2 funcref)
  (global $count (mut i32) (i32.const 3))
  (elem (i32.const 0) func $poll $poll)
  (data (i32.const 8) "text")
  (func $poll (export "wapo_poll") (result i32) (local i64 i32)
    (block $out
      (loop $again
        (br_table $out $again $out (local.get 1))))
    (memory.fill (i32.const 0) (i32.const 1) (local.get 1))
    (call_indirect (result i32) (i32.const 0))))
