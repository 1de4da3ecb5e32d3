//! What a person reads of a trap: its cause, then where it happened.
//!
//! Of the guest's stack only the functions that its author wrote are shown; the
//! way from there into the standard library's panic machinery tells nothing.
//! To get all of it, as elsewhere in Rust: `RUST_BACKTRACE=1` in the
//! guest's environment. Nothing of the host's own stack is ever in it. Called
//! by `drive`.

use wasmtime::WasmBacktrace;

use crate::line::cut_to;

/// Frames that are shown unless all are asked for.
///
/// Guests of async runtimes have deep stacks, of which the end says where.
const FRAMES_MAX: usize = 8;

/// Bytes of the text of a trap; longer ones are cut.
///
/// The names in it are the module's, of a hundred thousand bytes each if it
/// likes, and the text is kept with the status of the instance. A whole
/// backtrace of ordinary names has some 4 KiB.
const TRAP_TEXT_BYTES_MAX: usize = 8 * 1024;

/// Beginnings of the names of functions that are not the author's.
const FOREIGN: &[&str] = &[
    "std::",
    "core::",
    "alloc::",
    "wapo::",
    "panic_abort::",
    "__rust",
    "rust_",
    "wapo_poll",
    "__wasm",
    "_start",
    "abort",
    "hyper::",
    "tokio::",
];

/// Which frames of the guest's stack are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Frames {
    /// Those of functions with a name that are the author's.
    Own,
    /// All of them.
    All,
}

impl Frames {
    /// What a guest with this environment asks for.
    pub(crate) fn asked_for(env: &[(String, String)]) -> Self {
        let wish = env.iter().find(|(name, _)| name == "RUST_BACKTRACE");
        match wish {
            Some((_, value)) if value != "0" => Self::All,
            _ => Self::Own,
        }
    }
}

/// Cause and place of a trap, cut to [`TRAP_TEXT_BYTES_MAX`].
pub(crate) fn text(error: &wasmtime::Error, frames: Frames) -> String {
    cut_to(&whole_text(error, frames), TRAP_TEXT_BYTES_MAX)
}

fn whole_text(error: &wasmtime::Error, frames: Frames) -> String {
    let cause = error.root_cause().to_string();
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return cause;
    };
    let backtrace = backtrace.to_string();
    let shown = match frames {
        Frames::All => backtrace,
        Frames::Own => own_frames(&backtrace),
    };
    match shown.is_empty() {
        true => cause,
        false => format!("{cause}\n{}", shown.trim_end()),
    }
}

/// The frames of a printed backtrace that are the author's.
fn own_frames(backtrace: &str) -> String {
    let mut shown = String::new();
    let mut count = 0;
    let mut is_own = false;
    for line in backtrace.lines() {
        if let Some(name) = function_name(line) {
            let name = without_hashes(name);
            is_own = count < FRAMES_MAX && is_the_authors(&name);
            if is_own {
                count += 1;
                shown.push_str(&format!("    in {name}\n"));
            }
        } else if is_own && line.trim_start().starts_with("at ") {
            // Where in the source, if the module has it.
            shown.push_str(&format!("       {}\n", line.trim_start()));
        }
    }
    shown
}

/// The name in a line such as `   3:  0x1a2b - module!app::work::h0123456789abcdef`.
fn function_name(line: &str) -> Option<&str> {
    let (number, rest) = line.trim_start().split_once(':')?;
    number.parse::<u32>().ok()?;
    let (_, name) = rest.split_once('!')?;
    Some(name.trim())
}

fn is_the_authors(name: &str) -> bool {
    // `<core::… as Trait>::method` and `<&T as …>` begin with the type.
    let plain = name.trim_start_matches(['<', '&']);
    let is_nameless = name.starts_with("<wasm function");
    !is_nameless && !FOREIGN.iter().any(|prefix| plain.starts_with(prefix))
}

/// A name without what the compiler adds to tell equal ones apart: `::h` and a
/// hash at its end, or a hash in brackets behind each crate.
fn without_hashes(name: &str) -> String {
    const HASH_DIGITS: usize = 16;
    let is_hash = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = match name.rsplit_once("::h") {
        Some((plain, hash)) if hash.len() == HASH_DIGITS && is_hash(hash) => plain,
        _ => name,
    };
    let mut parts = name.split('[');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(']') {
            // Leading zeros are left out.
            Some((hash, rest))
                if !hash.is_empty() && hash.len() <= HASH_DIGITS && is_hash(hash) =>
            {
                plain.push_str(rest);
            }
            _ => {
                plain.push('[');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_authors_functions_are_shown() {
        let backtrace = "\
error while executing at wasm backtrace:
    0:   0xacb7 - app.wasm!__rust_start_panic
    1:   0x11d3 - app.wasm!std::panicking::begin_panic_handler::h0123456789abcdef
    2:   0x7db5 - app.wasm!core::panicking::panic_fmt::h0123456789abcdef
    3:   0x1234 - app.wasm!app::config::read::h0123456789abcdef
                    at src/config.rs:7:5
    4:   0x1235 - app.wasm!<core::pin::Pin<P> as core::future::future::Future>::poll
                    at future.rs:1:1
    5:   0x1236 - app.wasm!<app::Server as app::Serve>::run
    6:   0x1237 - <unknown>!<wasm function 32>
    7:   0x1238 - app.wasm!wapo::task::executor::Executor::run
    8:   0x1239 - app.wasm!wapo_poll
    9:   0x123a - app.wasm!std[a88812da5ee6ad9e]::process::abort
   10:   0x123b - app.wasm!app[f8d08631ff90aa5]::sort::<[u8]>
";
        assert_eq!(
            own_frames(backtrace),
            "    in app::config::read\n       at src/config.rs:7:5\n    in <app::Server as app::Serve>::run\n    in app::sort::<[u8]>\n"
        );
        let nameless = "    0:   0xacb7 - <unknown>!<wasm function 168>\n";
        assert_eq!(own_frames(nameless), "");
    }

    #[test]
    fn a_long_text_is_cut() {
        let error = wasmtime::Error::msg("ä".repeat(TRAP_TEXT_BYTES_MAX));
        let text = text(&error, Frames::Own);
        assert!(text.len() <= TRAP_TEXT_BYTES_MAX + '…'.len_utf8());
        assert!(text.ends_with("ä…"));
    }

    #[test]
    fn all_frames_are_asked_for_as_elsewhere() {
        let env = |value: &str| [("RUST_BACKTRACE".to_owned(), value.to_owned())];
        assert_eq!(Frames::asked_for(&env("1")), Frames::All);
        assert_eq!(Frames::asked_for(&env("full")), Frames::All);
        assert_eq!(Frames::asked_for(&env("0")), Frames::Own);
        assert_eq!(Frames::asked_for(&[]), Frames::Own);
    }
}
