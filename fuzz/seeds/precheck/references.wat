;; External references, segments that do not fit, several values.
(module
  (type $many (func (param externref i32 i64) (result i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (table $t 3 externref)
  (elem (table $t) (i32.const 2) externref (ref.null extern) (ref.null extern))
  (data (i32.const 65530) "0123456789")
  (data (offset (i32.add (i32.const -1) (i32.const 7))) "x")
  (func $f (type $many) (block (result i32 i32 i32 i32) (i32.const 1) (i32.const 2)
    (i32.const 3) (i32.const 4) (br_table 0 0 0 (local.get 1))))
  (func (export "wapo_poll") (result i32)
    (drop (drop (drop (call $f (ref.null extern) (i32.const 1) (i64.const 2)))))))
