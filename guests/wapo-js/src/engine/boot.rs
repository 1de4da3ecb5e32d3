//! Evaluates the boot code: the modules below `js/`, which build the web
//! platform and the `Wapo` object on the natives.
//!
//! They are compiled once, before the image of memory is taken. The program's engine
//! and those of isolates load the bytecode, which has no sources in it: the engine
//! would keep the text of every function for `toString`.

#![allow(unsafe_code, reason = "bytecode that this program has written")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use rquickjs::module::Declared;
use rquickjs::{
    CatchResultExt, Context, Ctx, Error, Function, Module, Object, Persistent, Runtime, Value,
    WriteOptions,
};

use super::Engine;
use crate::program::loader;

/// Every boot module: its name (a path below `js/`), the length of its text, and
/// where that is in [`TEXTS`].
const MODULES: &[(&str, usize, Range<usize>)] =
    include!(concat!(env!("OUT_DIR"), "/boot_modules.rs"));

/// The texts of all boot modules, each deflated (`build.rs`).
const TEXTS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/boot_texts.bin"));

/// What names of boot modules begin with.
const PREFIX: &str = "wapo:boot/";
/// The module that installs the globals. Its default export holds the hooks.
const MAIN: &str = "wapo:boot/boot.js";

/// Bytecode of a module.
enum Code {
    Here(Rc<[u8]>),
    /// Its length, and the bytecode deflated.
    Packed(usize, Vec<u8>),
}

thread_local! {
    /// Bytecode of boot modules, by their full names.
    static CODE: RefCell<BTreeMap<String, Code>> = const { RefCell::new(BTreeMap::new()) };
}

/// Functions of the boot code that the engine calls. None of them throws, but
/// `outcome` and what `call_module_entry` calls.
pub(crate) struct Hooks {
    /// `dispatch(exchange, handler)`: answers a request.
    pub(crate) dispatch: Persistent<Function<'static>>,
    /// `rejection(promise, reason, is_handled)`: at the end of a turn.
    pub(crate) rejection: Persistent<Function<'static>>,
    /// `report(error)`: an exception that nobody caught.
    pub(crate) report: Persistent<Function<'static>>,
    /// `words(thrown)`: better words than the engine's own, or undefined.
    pub(crate) words: Persistent<Function<'static>>,
    /// `isServing(handler)`: whether requests have a handler to answer them.
    pub(crate) is_serving: Persistent<Function<'static>>,
    /// `callModuleEntry()`: a promise; what the convention of scripts calls.
    pub(crate) call_module_entry: Persistent<Function<'static>>,
    /// `begin(handler)`: once the program was evaluated, with its default export.
    pub(crate) begin: Persistent<Function<'static>>,
    /// `emitOutput()`: at the end.
    pub(crate) emit_output: Persistent<Function<'static>>,
    /// `outcome()`: what an isolate hands to its creator, at its end.
    pub(crate) outcome: Persistent<Function<'static>>,
    /// `mapStacks()`: has stacks of errors tell places by the source map.
    pub(crate) map_stacks: Persistent<Function<'static>>,
}

/// Evaluates the boot code in a new engine.
///
/// # Errors
///
/// It throws.
pub(super) fn evaluate(engine: &Engine) -> rquickjs::Result<()> {
    compile()?;
    loader::install(&engine.0.runtime);
    engine.0.context.with(|ctx| {
        let hooks = run(&ctx).catch(&ctx).map_err(|error| {
            log::error!("the boot code failed: {error}");
            Error::Exception
        })?;
        *engine.0.hooks.borrow_mut() = Some(hooks);
        Ok(())
    })
}

/// Folders of modules that are compiled when a program asks for one: modules of Node.
/// Packages that the boot code itself imports are compiled with it.
const LATE: &[&str] = &["node/", "node-parts/", "npm/"];

/// Makes the bytecode of the boot code, once.
fn compile() -> rquickjs::Result<()> {
    if CODE.with_borrow(|code| !code.is_empty()) {
        return Ok(());
    }
    let runtime = Runtime::new()?;
    loader::install(&runtime);
    Context::full(&runtime)?.with(|ctx| {
        let is_late = |name: &str| LATE.iter().any(|folder| name.starts_with(folder));
        for (name, ..) in MODULES.iter().filter(|(name, ..)| !is_late(name)) {
            let name = format!("{PREFIX}{name}");
            // What others import is there already.
            if code(&name).is_none() {
                let declared = declare(&ctx, &name).unwrap_or(Err(Error::Unknown));
                declared.catch(&ctx).map_err(|error| {
                    log::error!("{name}: {error}");
                    Error::Exception
                })?;
            }
        }
        Ok(())
    })
}

/// Packs the bytecode: most programs run no isolate, and never need it again.
pub(crate) fn pack() {
    CODE.with_borrow_mut(|all| {
        for code in all.values_mut() {
            if let Code::Here(bytes) = code
                && let Some(packed) = deflated(bytes)
            {
                *code = Code::Packed(bytes.len(), packed);
            }
        }
    });
}

fn code(name: &str) -> Option<Rc<[u8]>> {
    CODE.with_borrow_mut(|all| {
        let code = all.get_mut(name)?;
        if let Code::Packed(length, packed) = code {
            *code = Code::Here(inflated(packed, *length)?.into());
        }
        match code {
            Code::Here(bytes) => Some(Rc::clone(bytes)),
            Code::Packed(..) => None,
        }
    })
}

fn deflated(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut packed = Vec::with_capacity(bytes.len() + 64);
    let status = Compress::new(Compression::best(), false).compress_vec(
        bytes,
        &mut packed,
        FlushCompress::Finish,
    );
    packed.shrink_to_fit();
    (status.ok()? == Status::StreamEnd).then_some(packed)
}

fn inflated(packed: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length);
    Decompress::new(false)
        .decompress_vec(packed, &mut bytes, FlushDecompress::Finish)
        .ok()?;
    Some(bytes)
}

/// Declares a boot module; `None` when there is none of that name.
pub(crate) fn declare<'js>(
    ctx: &Ctx<'js>,
    name: &str,
) -> Option<rquickjs::Result<Module<'js, Declared>>> {
    if let Some(code) = code(name) {
        // SAFETY: written below, by this engine.
        return Some(unsafe { Module::load(ctx.clone(), &code) });
    }
    let compiled = Module::declare(ctx.clone(), name, source(name)?);
    let options = WriteOptions {
        strip_source: true,
        ..WriteOptions::default()
    };
    Some(compiled.and_then(|module| {
        let code = Code::Here(module.write(options)?.into());
        CODE.with_borrow_mut(|all| all.insert(name.to_owned(), code));
        Ok(module)
    }))
}

fn run(ctx: &Ctx<'_>) -> rquickjs::Result<Hooks> {
    let main = declare(ctx, MAIN).ok_or_else(|| Error::new_loading(MAIN))?;
    let (module, promise) = main?.eval()?;
    promise.finish::<Value<'_>>()?;
    let hooks: Object<'_> = module.get("default")?;
    let hook = |name: &str| -> rquickjs::Result<Persistent<Function<'static>>> {
        Ok(Persistent::save(ctx, hooks.get::<_, Function<'_>>(name)?))
    };
    Ok(Hooks {
        dispatch: hook("dispatch")?,
        rejection: hook("rejection")?,
        report: hook("report")?,
        words: hook("words")?,
        is_serving: hook("isServing")?,
        call_module_entry: hook("callModuleEntry")?,
        begin: hook("begin")?,
        emit_output: hook("emitOutput")?,
        outcome: hook("outcome")?,
        map_stacks: hook("mapStacks")?,
    })
}

/// The boot modules below a folder, by their names in it.
pub(crate) fn names(folder: &str) -> impl Iterator<Item = &'static str> {
    MODULES
        .iter()
        .filter_map(move |(name, ..)| name.strip_prefix(folder))
}

/// Source of a boot module by its full name.
pub(crate) fn source(name: &str) -> Option<String> {
    let name = name.strip_prefix(PREFIX)?;
    let index = MODULES
        .binary_search_by(|(known, ..)| (*known).cmp(name))
        .ok()?;
    let (_, length, place) = &MODULES[index];
    String::from_utf8(inflated(&TEXTS[place.clone()], *length)?).ok()
}
