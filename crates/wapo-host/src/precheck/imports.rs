//! Imports: what a host has, and what is probably wrong with the others.

use std::collections::HashMap;

use wapo_abi::{
    IMPORT_FAST, IMPORT_MODULE, IMPORT_SLOW, LEGACY_IMPORT_FAST, LEGACY_IMPORT_MODULE,
    LEGACY_IMPORT_SLOW,
};
use wasmtime::{Extern, Linker, Store};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::WasiP1Ctx;

use super::outline::{Import, Outline, signature};
use crate::load_error::LoadError;

/// Type of the host calls, as [`Outline`] writes types.
const HOST_CALL: &str = "(i32, i32, i32, i32, i32, i32) -> (i64)";

/// The functions that guests may import, by module and name, with their types.
pub(super) struct KnownImports {
    functions: HashMap<(String, String), String>,
}

impl KnownImports {
    /// Takes the names of WASI from the library that implements it.
    ///
    /// # Errors
    ///
    /// The library does not link.
    pub(super) fn new(engine: &wasmtime::Engine) -> wasmtime::Result<Self> {
        let mut linker = Linker::<WasiP1Ctx>::new(engine);
        wasmtime_wasi::p1::add_to_linker_async(&mut linker, |context| context)?;
        wasmtime_wasi::p0::add_to_linker_async(&mut linker, |context| context)?;
        let mut store = Store::new(engine, WasiCtxBuilder::new().build_p1());
        let linked: Vec<_> = linker
            .iter(&mut store)
            .filter_map(|(module, name, item)| match item {
                Extern::Func(function) => Some((module.to_owned(), name.to_owned(), function)),
                _ => None,
            })
            .collect();
        let mut functions = HashMap::new();
        for (module, name, function) in linked {
            let ty = function.ty(&store);
            let ty = signature(ty.params(), ty.results());
            functions.insert((module, name), ty);
        }
        for (module, name) in [
            (IMPORT_MODULE, IMPORT_FAST),
            (IMPORT_MODULE, IMPORT_SLOW),
            (LEGACY_IMPORT_MODULE, LEGACY_IMPORT_FAST),
            (LEGACY_IMPORT_MODULE, LEGACY_IMPORT_SLOW),
        ] {
            functions.insert((module.to_owned(), name.to_owned()), HOST_CALL.to_owned());
        }
        Ok(Self { functions })
    }

    /// Checks that every import is here and has the right type.
    ///
    /// # Errors
    ///
    /// [`LoadError::Imports`] for the first that does not.
    pub(super) fn check(&self, outline: &Outline<'_>) -> Result<(), LoadError> {
        for import in &outline.imports {
            self.check_one(import).map_err(LoadError::Imports)?;
        }
        Ok(())
    }

    fn check_one(&self, import: &Import<'_>) -> Result<(), String> {
        let Import { module, name, ty } = import;
        let key = ((*module).to_owned(), (*name).to_owned());
        let shown = format!("{}::{}", shorten(module), shorten(name));
        let known = self.functions.get(&key);
        match (known, ty) {
            (Some(known), Some(ty)) if known == ty => Ok(()),
            (Some(known), ty) => {
                let found = ty.as_deref().unwrap_or("no function");
                Err(format!(
                    "`{shown}` is of type {}, the host's is {known}",
                    shorten(found)
                ))
            }
            (None, _) => {
                let hint = hint(module, name, ty.is_some());
                Err(format!("there is no `{shown}` here{hint}"))
            }
        }
    }
}

/// A text of the module, which may be long and hold anything, for a message.
pub(super) fn shorten(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let mut short: String = text
        .chars()
        .take(CHARS_MAX)
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect();
    if short.len() < text.len() && text.chars().nth(CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

/// What is probably the mistake behind an import.
fn hint(module: &str, name: &str, is_function: bool) -> &'static str {
    let is_bindgen = |text: &str| text.contains("wbindgen") || text == "wbg";
    let is_emscripten = |text: &str| {
        text.contains("emscripten")
            || ["invoke_", "__syscall_", "__cxa_", "_emval_", "_embind_"]
                .iter()
                .any(|start| text.starts_with(start))
            || text == "_abort_js"
    };
    if is_bindgen(module) || is_bindgen(name) {
        " (wasm-bindgen is for browsers: build for wasm32-wasip1 instead of \
         wasm32-unknown-unknown, without features such as `js` and `wasm-bindgen` of dependencies)"
    } else if module == "wasi" && name.starts_with("thread") {
        " (threads are off: build for wasm32-wasip1 instead of wasm32-wasip1-threads)"
    } else if module.starts_with("wasi:") || module.starts_with("cm32p") || module == "$root" {
        " (this is the core of a component: build for wasm32-wasip1 instead of wasm32-wasip2)"
    } else if module.starts_with("wasix") {
        " (WASIX is another interface: build for wasm32-wasip1 and use the network through `wapo`)"
    } else if module == "go" || module == "gojs" {
        " (this is Go's build for browsers: use GOOS=wasip1)"
    } else if is_emscripten(name) || module == "a" {
        " (Emscripten builds for browsers: use wasi-sdk, or emcc with -sSTANDALONE_WASM)"
    } else if !is_function {
        " (guests bring memory, tables and globals of their own: link without --import-memory)"
    } else if module == "env" {
        " (a function that was not found when linking: built for wasm32-unknown-unknown, or a \
         library is missing; build for wasm32-wasip1)"
    } else if module.starts_with("wasi") {
        " (a function of another version of WASI, or an extension such as sockets)"
    } else {
        ""
    }
}
