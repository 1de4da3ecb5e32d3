;; The sample app of the console: a whole Wapo program without a toolchain.
;;
;; It answers HTTP requests from the gateway with a small page, answers queries
;; with their own payload, and logs what it was asked. The contract between a
;; program and its host is docs/abi.md; the numbers below are its calls.
;; The console deploys this file; edit a copy and deploy that.
;;
;; Memory: 0x0100 answers to small calls   0x1000 texts that never change
;;         0x8000 the page being written   0x10000 the message at hand, and up
(module
  ;; Every host call goes through one of these two: task, call, four arguments.
  ;; The high half of the result tells whether it failed, the low half is the answer.
  (import "wapo" "ocall_fast_return"
    (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
  ;; A slow call answers with the length of a value, which `get_return` fetches.
  (import "wapo" "ocall"
    (func $slow (param i32 i32 i32 i32 i32 i32) (result i64)))

  (memory (export "memory") 2)

  ;; The head of the answer, in SCALE: status 200, one header.
  ;; Lengths are compact numbers: the length times four, in one byte.
  (data (i32.const 0x1000)
    "\c8\00" "\04" "\30content-type" "\60text/html; charset=utf-8")
  (global $head i32 (i32.const 0x1000))
  (global $head_len i32 (i32.const 41))

  (data (i32.const 0x1100) "ready for requests and queries")
  (global $ready i32 (i32.const 0x1100))
  (global $ready_len i32 (i32.const 30))

  ;; The page, up to the number and after it.
  (data (i32.const 0x2000)
    "<!doctype html><html lang='en'><meta charset='utf-8'>"
    "<meta name='viewport' content='width=device-width'><title>It runs</title>"
    "<style>:root{color-scheme:light dark}"
    "body{font:1.1em/1.6 system-ui,sans-serif;max-width:34em;margin:12vh auto;padding:0 1.2em}"
    "b{font-variant-numeric:tabular-nums}</style>"
    "<h1>Hello from a WebAssembly program</h1>"
    "<p>It runs on a Wapo worker, in a sandbox of its own, and has answered <b>")
  (global $before i32 (i32.const 0x2000))
  (global $before_len i32 (i32.const 411))
  (data (i32.const 0x2800)
    "</b> requests since it started.</p>"
    "<p><a href=''>Ask again</a> and the number grows. The console shows what it costs "
    "in gas and memory, and each request in the log.</p></html>\n")
  (global $after i32 (i32.const 0x2800))
  (global $after_len i32 (i32.const 176))

  (global $message i32 (i32.const 0x10000))
  (global $page i32 (i32.const 0x8000))

  ;; The two input channels, once they are open.
  (global $queries (mut i32) (i32.const -1))
  (global $requests (mut i32) (i32.const -1))
  (global $answered (mut i32) (i32.const 0))
  ;; Where the next thing is read in a message, or written in the page.
  (global $cursor (mut i32) (i32.const 0))

  (func $failed (param $result i64) (result i32)
    (i64.ne (i64.shr_u (local.get $result) (i64.const 32)) (i64.const 0)))

  ;; 220 log, level 3 is "info".
  (func $log (param $text i32) (param $len i32)
    (drop (call $fast (i32.const 0) (i32.const 220) (i32.const 3)
      (local.get $text) (local.get $len) (i32.const 0))))

  ;; 101 close: what is closed is given back, and a closed stream has ended.
  (func $close (param $handle i32)
    (drop (call $fast (i32.const 0) (i32.const 101) (local.get $handle)
      (i32.const 0) (i32.const 0) (i32.const 0))))

  ;; 202 oneshot_send: an answer is sent once, then its handle is of no use.
  (func $send (param $handle i32) (param $data i32) (param $len i32)
    (drop (call $fast (i32.const 0) (i32.const 202) (local.get $handle)
      (local.get $data) (local.get $len) (i32.const 0)))
    (call $close (local.get $handle)))

  ;; 240 create_input_channel: 3 for queries, 4 for HTTP requests.
  (func $open (param $kind i32) (result i32)
    (drop (call $slow (i32.const 0) (i32.const 240) (local.get $kind)
      (i32.const 0) (i32.const 0) (i32.const 0)))
    (drop (call $fast (i32.const 0) (i32.const 0) (i32.const 0x100)
      (i32.const 4) (i32.const 0) (i32.const 0)))
    (i32.load (i32.const 0x100)))

  ;; 102 poll: puts the next message of a channel at $message, the cursor at its
  ;; first field, and answers with its length, or -1 when there is none. No waker (-1) is named: it is enough
  ;; that the host enters the program again when a message has come.
  (func $next (param $channel i32) (result i32)
    (local $result i64) (local $len i32) (local $missing i32)
    (local.set $result (call $slow (i32.const 0) (i32.const 102) (i32.const -1)
      (local.get $channel) (i32.const 0) (i32.const 0)))
    (if (call $failed (local.get $result)) (then (return (i32.const -1))))
    (local.set $len (i32.wrap_i64 (local.get $result)))
    ;; Make room for a large message, in pages of 64 KiB.
    (local.set $missing (i32.sub
      (i32.add (i32.const 2) (i32.shr_u (local.get $len) (i32.const 16)))
      (memory.size)))
    (if (i32.gt_s (local.get $missing) (i32.const 0)) (then
      (if (i32.eq (memory.grow (local.get $missing)) (i32.const -1)) (then unreachable))))
    ;; 0 get_return: fetches the value of the slow call before.
    (drop (call $fast (i32.const 0) (i32.const 0) (global.get $message)
      (local.get $len) (i32.const 0) (i32.const 0)))
    ;; It is a vector of bytes: its own length comes first.
    (global.set $cursor (global.get $message))
    (drop (call $compact))
    (local.get $len))

  ;; Reads a length at the cursor. The two lowest bits say how many bytes it has.
  (func $compact (result i32)
    (local $at i32) (local $mode i32)
    (local.set $at (global.get $cursor))
    (local.set $mode (i32.and (i32.load8_u (local.get $at)) (i32.const 3)))
    ;; Mode 0, 1, 2: one, two, four bytes.
    (global.set $cursor (i32.add (local.get $at) (i32.shl (i32.const 1) (local.get $mode))))
    (if (i32.eqz (local.get $mode)) (then
      (return (i32.shr_u (i32.load8_u (local.get $at)) (i32.const 2)))))
    (if (i32.eq (local.get $mode) (i32.const 1)) (then
      (return (i32.shr_u (i32.load16_u (local.get $at)) (i32.const 2)))))
    (i32.shr_u (i32.load (local.get $at)) (i32.const 2)))

  (func $skip (param $count i32)
    (global.set $cursor (i32.add (global.get $cursor) (local.get $count))))

  (func $append (param $text i32) (param $len i32)
    (memory.copy (global.get $cursor) (local.get $text) (local.get $len))
    (call $skip (local.get $len)))

  ;; Appends a number in decimal. Digits come last first, so they are put before 0x140.
  (func $append_number (param $number i32)
    (local $at i32)
    (local.set $at (i32.const 0x140))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.add (i32.const 0x30) (i32.rem_u (local.get $number) (i32.const 10))))
      (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
      (br_if $digit (local.get $number)))
    (call $append (local.get $at) (i32.sub (i32.const 0x140) (local.get $at))))

  ;; A request: method, URL, headers, and two handles at the very end, one for
  ;; the head of the answer and one for the bodies.
  (func $answer_request (param $len i32)
    (local $end i32) (local $stream i32) (local $url_len i32)
    (local.set $end (i32.add (global.get $message) (local.get $len)))
    (call $skip (call $compact))
    (local.set $url_len (call $compact))
    (call $log (global.get $cursor) (local.get $url_len))
    (global.set $answered (i32.add (global.get $answered) (i32.const 1)))

    (global.set $cursor (global.get $page))
    (call $append (global.get $before) (global.get $before_len))
    (call $append_number (global.get $answered))
    (call $append (global.get $after) (global.get $after_len))

    (call $send (i32.load (i32.sub (local.get $end) (i32.const 8)))
      (global.get $head) (global.get $head_len))
    ;; 104 poll_write: the page is smaller than the pipe, so one call takes it all.
    (local.set $stream (i32.load (i32.sub (local.get $end) (i32.const 4))))
    (drop (call $fast (i32.const 0) (i32.const 104) (i32.const -1) (local.get $stream)
      (global.get $page) (i32.sub (global.get $cursor) (global.get $page))))
    (call $close (local.get $stream)))

  ;; A query: who signed it (nobody, or 32 bytes), path, payload, a handle for the answer.
  (func $answer_query
    (local $payload_len i32)
    (call $skip (select (i32.const 33) (i32.const 1) (i32.load8_u (global.get $cursor))))
    (call $skip (call $compact))
    (local.set $payload_len (call $compact))
    (call $send (i32.load (i32.add (global.get $cursor) (local.get $payload_len)))
      (global.get $cursor) (local.get $payload_len)))

  ;; The host enters here whenever there is something to do. 0: call me again.
  (func (export "wapo_poll") (result i32)
    (local $len i32)
    (if (i32.eq (global.get $queries) (i32.const -1)) (then
      (global.set $queries (call $open (i32.const 3)))
      (global.set $requests (call $open (i32.const 4)))
      (call $log (global.get $ready) (global.get $ready_len))))
    ;; 300 next_events: tells who was woken. There is one task, so none is looked at.
    (loop $more_events
      (br_if $more_events (i64.eq (i64.const 0x80) (call $fast (i32.const 0) (i32.const 300)
        (i32.const 0x180) (i32.const 0x80) (i32.const 0) (i32.const 0)))))
    (block $no_request (loop $each
      (br_if $no_request (i32.lt_s (local.tee $len (call $next (global.get $requests))) (i32.const 0)))
      (call $answer_request (local.get $len))
      (br $each)))
    (block $no_query (loop $each
      (br_if $no_query (i32.lt_s (call $next (global.get $queries)) (i32.const 0)))
      (call $answer_query)
      (br $each)))
    (i32.const 0)))
