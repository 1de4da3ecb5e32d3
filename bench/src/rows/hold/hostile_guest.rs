//! Guests that mean harm, as texts: each does one thing for ever.
//!
//! All have nearly 128 MiB of memory, wait a few times for a timer first, so that
//! they are judged well-behaved, and then attack, again and again.

/// What a hostile guest does.
pub(super) struct Attack {
    /// In a few words, for the table.
    pub(super) what: &'static str,
    /// Instructions of one attack; may use the imports below and the timer.
    body: &'static str,
    pace: Pace,
}

/// How often it attacks.
#[derive(Clone, Copy)]
enum Pace {
    /// In a loop that never returns.
    Loop,
    /// Once in each poll, then it waits for a millisecond.
    OncePerMillisecond,
    /// In its start function, in a loop.
    Start,
}

/// Some kinds of host work that a guest's number can drive.
pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        what: "a loop",
        body: "",
        pace: Pace::Loop,
    },
    Attack {
        what: "a lock with a name of 120 MiB",
        body: "(drop (call $fast (i32.const 0) (i32.const 262) (i32.const 0) (i32.const 125829120) (i32.const 0) (i32.const 0)))",
        pace: Pace::Loop,
    },
    Attack {
        what: "such a lock once in a millisecond",
        body: "(drop (call $fast (i32.const 0) (i32.const 262) (i32.const 0) (i32.const 125829120) (i32.const 0) (i32.const 0)))",
        pace: Pace::OncePerMillisecond,
    },
    Attack {
        what: "log lines of 120 MiB",
        body: "(drop (call $fast (i32.const 0) (i32.const 220) (i32.const 2) (i32.const 0) (i32.const 125829120) (i32.const 0)))",
        pace: Pace::Loop,
    },
    Attack {
        what: "connecting to a host of 120 MiB",
        body: "(drop (call $fast (i32.const 0) (i32.const 213) (i32.const 0) (i32.const 125829120) (i32.const 80) (i32.const 0)))",
        pace: Pace::Loop,
    },
    Attack {
        what: "120 MiB of randomness",
        body: "(drop (call $random_get (i32.const 0) (i32.const 125829120)))",
        pace: Pace::Loop,
    },
    Attack {
        what: "a write of 15 million empty vectors",
        body: "(drop (call $fd_write (i32.const 1) (i32.const 8) (i32.const 15000000) (i32.const 0)))",
        pace: Pace::Loop,
    },
    Attack {
        what: "a poll of 2 million subscriptions",
        body: "(drop (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 2000000) (i32.const 0)))",
        pace: Pace::Loop,
    },
    Attack {
        what: "a start function that never ends",
        body: "",
        pace: Pace::Start,
    },
];

impl Attack {
    /// The guest as WebAssembly text.
    pub(super) fn text(&self) -> String {
        let body = self.body;
        let (start, poll) = match self.pace {
            Pace::Loop => (
                "",
                format!("(loop $for_ever {body} (br $for_ever)) (i32.const 0)"),
            ),
            Pace::OncePerMillisecond => (
                "",
                format!("{body} (call $wait (i32.const 1)) (i32.const 0)"),
            ),
            Pace::Start => ("(start $attack)", "(i32.const 0)".to_owned()),
        };
        format!(
            r#";; {what}
(module
  (import "wapo" "ocall_fast_return" (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2000)
  (global $turn (mut i32) (i32.const 0))
  (global $timer (mut i32) (i32.const 0))
  (func $ready (result i32)
    (i64.eqz (call $fast (i32.const 0) (i32.const 103) (i32.const -1) (global.get $timer) (i32.const 0) (i32.const 0))))
  (func $wait (param $ms i32)
    (drop (call $fast (i32.const 0) (i32.const 203) (global.get $timer) (local.get $ms) (i32.const 0) (i32.const 0)))
    (drop (call $ready)))
  (func $attack (loop $for_ever (br $for_ever)))
  {start}
  (func (export "wapo_poll") (result i32)
    (if (i32.eqz (global.get $turn)) (then
      (global.set $timer (i32.wrap_i64 (call $fast (i32.const 0) (i32.const 201) (i32.const 100) (i32.const 0) (i32.const 0) (i32.const 0))))
      (global.set $turn (i32.const 1))
      (drop (call $ready))
      (return (i32.const 0))))
    (if (i32.eqz (call $ready)) (then (return (i32.const 0))))
    (if (i32.lt_u (global.get $turn) (i32.const 4)) (then
      (global.set $turn (i32.add (global.get $turn) (i32.const 1)))
      (call $wait (i32.const 100))
      (return (i32.const 0))))
    {poll}))
"#,
            what = self.what
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_is_a_module() {
        for attack in ATTACKS {
            let outcome = wat::parse_str(attack.text());
            assert!(outcome.is_ok(), "{}: {outcome:?}", attack.what);
        }
    }
}
