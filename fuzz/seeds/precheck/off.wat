;; Parts of WebAssembly that are switched off.
(module
  (type $pair (struct (field i32)))
  (memory (export "memory") i64 1 2 shared)
  (memory 1)
  (tag)
  (func (export "wapo_poll") (result i32)
    (try_table (throw_ref (ref.null exn)))
    (i32.atomic.load (i64.const 0))))
