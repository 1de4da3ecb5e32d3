//! The console: files of `crates/wapod/console`, which the program carries.
//!
//! Nothing but files; what they ask for are ordinary calls. The sample app is
//! text that people can read, and the same in binary for the worker. What `cargo xtask
//! guests` makes, the editor of programs and the verifier of the page `/verify`, may be
//! missing. Called by `admin`, before it asks for the token.
//!
//! # Adding a page
//!
//! A page of the console is a section of `index.html`, connected in `main.js`, whose header
//! says how; its module is listed in [`FILES`]. A page with a path of its own, such as
//! `/verify`, is a file that [`file`] serves; if it needs other rights, [`policy`] has them.
//! It has a row in the headers of `admin` and of `xtask/src/codegen/rpc_introduction.md`.
//! Either is a stop of the tour in `e2e/tests/console/looks.rs`, or has tests beside it.

use std::sync::LazyLock;

use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::{Response, StatusCode};

use super::body::{self, Body};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";
const WASM: &str = "application/wasm";

/// Expands to the table of files: path, type, content.
macro_rules! files {
    ($($name:literal $type:ident),* $(,)?) => {
        &[$((
            concat!("/console/", $name),
            $type,
            include_bytes!(concat!("../../console/", $name)),
        )),*]
    };
}

/// The files below `/console/`.
const FILES: &[(&str, &str, &[u8])] = files! {
    "actions.js" SCRIPT,
    "app-list.js" SCRIPT,
    "app.js" SCRIPT,
    "apps.js" SCRIPT,
    "auth.js" SCRIPT,
    "blake2b.js" SCRIPT,
    "chart.js" SCRIPT,
    "copy.svg" PICTURE,
    "deploy.js" SCRIPT,
    "deploying.js" SCRIPT,
    "dialogs.js" SCRIPT,
    "dom.js" SCRIPT,
    "domains.js" SCRIPT,
    "editing.js" SCRIPT,
    "form.js" SCRIPT,
    "format.js" SCRIPT,
    "history.js" SCRIPT,
    "icon.svg" PICTURE,
    "links.js" SCRIPT,
    "log-stream.js" SCRIPT,
    "logs.js" SCRIPT,
    "main.js" SCRIPT,
    "manifest.js" SCRIPT,
    "program.js" SCRIPT,
    "query.js" SCRIPT,
    "quotas.js" SCRIPT,
    "rpc.js" SCRIPT,
    "sample.js" SCRIPT,
    "scale.js" SCRIPT,
    "script-answer.js" SCRIPT,
    "script.js" SCRIPT,
    "sha256.js" SCRIPT,
    "store.js" SCRIPT,
    "style.css" CSS,
    "toast.js" SCRIPT,
    "usage.js" SCRIPT,
    "verify-files.js" SCRIPT,
    "verify-worker.js" SCRIPT,
    "verify.js" SCRIPT,
    "view.js" SCRIPT,
    "worker.js" SCRIPT,
};

/// The editor of programs, if `cargo xtask guests` had bundled it when the daemon was
/// compiled.
const EDITOR: Option<&[u8]> = include!(concat!(env!("OUT_DIR"), "/console_editor.rs"));

/// What `editing.js` finds without one, and takes a text area.
const NO_EDITOR: &[u8] = b"export const createEditor = null;\n";

/// The verifier of the page `/verify`, if `cargo xtask guests` had built it when the daemon
/// was compiled.
const VERIFIER: Option<&[u8]> = include!(concat!(env!("OUT_DIR"), "/console_verifier.rs"));

/// The path of the page that verifies in the browser.
const VERIFY: &str = "/verify";

/// That page. It is here and not on the user port: there it would be a page of the
/// operator who is verified, from an origin that the operator's apps share.
const VERIFY_PAGE: &[u8] = include_bytes!("../../console/verify.html");

/// What pages may do: have files of this origin and calls to it, nothing inline, and no
/// frame around them.
const POLICY: &str =
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The same for [`VERIFY`], which compiles the verifier. It needs less of the rest.
const VERIFY_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; \
     worker-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The same for the thread of that page, which is given all that it needs.
const THREAD_POLICY: &str =
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The page itself.
const INDEX: &[u8] = include_bytes!("../../console/index.html");

/// The sample app in text.
const SAMPLE: &str = include_str!("../../console/sample.wat");

/// The sample app as the worker takes it.
static SAMPLE_WASM: LazyLock<Option<Bytes>> =
    LazyLock::new(|| wat::parse_str(SAMPLE).ok().map(Bytes::from));

/// The content security policy of what is at a path of the admin port, file or not.
pub(super) fn policy(path: &str) -> &'static str {
    match path {
        VERIFY => VERIFY_POLICY,
        "/console/verify-worker.js" => THREAD_POLICY,
        _ => POLICY,
    }
}

/// The file with a path, if there is one.
pub(super) fn file(path: &str) -> Option<Response<Body>> {
    let found = match path {
        "/" => Some((HTML, Bytes::from_static(INDEX))),
        VERIFY => Some((HTML, Bytes::from_static(VERIFY_PAGE))),
        "/console/verify.wasm" => VERIFIER.map(|wasm| (WASM, Bytes::from_static(wasm))),
        "/console/editor.js" => Some((SCRIPT, Bytes::from_static(EDITOR.unwrap_or(NO_EDITOR)))),
        "/console/sample.wat" => Some((TEXT, Bytes::from_static(SAMPLE.as_bytes()))),
        "/console/sample.wasm" => SAMPLE_WASM.clone().map(|wasm| (WASM, wasm)),
        _ => {
            let file = FILES.iter().find(|(name, _, _)| *name == path);
            file.map(|(_, content_type, content)| (*content_type, Bytes::from_static(content)))
        }
    };
    let (content_type, content) = found?;
    let mut response = body::full(StatusCode::OK, content_type, content);
    // A new daemon brings a new console.
    let fresh = HeaderValue::from_static("no-cache");
    response.headers_mut().insert(CACHE_CONTROL, fresh);
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("console");
        for entry in std::fs::read_dir(folder).expect("folder") {
            let entry = entry.expect("entry");
            let name = entry.file_name().into_string().expect("name");
            let is_served = name
                .rsplit_once('.')
                .is_some_and(|(_, extension)| ["js", "css", "svg", "wat"].contains(&extension));
            if is_served {
                assert!(
                    file(&format!("/console/{name}")).is_some(),
                    "{name} is not listed"
                );
            }
        }
        assert!(file("/").is_some());
        assert!(file("/console/sample.wasm").is_some());
        assert!(file("/console/editor.js").is_some());
        assert!(file("/console/../Cargo.toml").is_none());
        assert!(file(VERIFY).is_some());
    }

    #[test]
    fn only_the_page_that_verifies_may_compile_wasm() {
        const MAY: &str = "'wasm-unsafe-eval'";
        assert!(policy(VERIFY).contains(MAY));
        let thread = policy("/console/verify-worker.js");
        assert!(thread.starts_with("default-src 'none';"), "{thread}");
        let others = FILES.iter().map(|(path, _, _)| *path);
        let others = others.chain([
            "/",
            "/verify/",
            "/verify/x",
            "/console/verify.html",
            "/health",
        ]);
        for path in others {
            assert!(!policy(path).contains(MAY), "{path}");
        }
    }
}
