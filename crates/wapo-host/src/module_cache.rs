//! Compiles a module once, in this process and, with a folder, once at all.
//!
//! However many ask for a module at the same time, one compiles it and the
//! others wait. What is kept on disk is native code that the host will execute,
//! so a file counts only if its keyed hash over the engine's fingerprint, the
//! module's hash and the very bytes that are then loaded is right. Files that
//! are foreign, stale or damaged are compiled anew and replaced.

#![allow(
    unsafe_code,
    reason = "loading native code that was compiled before; JUSTIFICATION: compiling 1 MB takes about a second, on every start"
)]

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use tokio::sync::{OnceCell, Semaphore};
use tracing::{debug, warn};
use wapo_abi::{LEGACY_POLL_EXPORT, MEMORY_EXPORT, POLL_EXPORT};
use wasmtime::{ExternType, InstancePre, Linker, Module};

use crate::engine::ModuleCacheConfig;
use crate::limits::{COMPILE_QUEUE_MAX, MODULE_BYTES_MAX};
use crate::state::InstanceState;

/// Modules that are kept in memory although nobody runs them.
///
/// Compiled code is about three times the size of the module.
const MODULES_MAX: usize = 64;

/// Version of the layout of cache files.
const FILE_VERSION: &[u8] = b"wapo module cache 2\n";

/// A module that is compiled, linked and ready to start.
#[derive(Clone)]
pub struct Program {
    inner: Arc<ProgramInner>,
}

struct ProgramInner {
    hash: [u8; 32],
    pre: InstancePre<InstanceState>,
}

impl Program {
    /// SHA-256 of the wasm file.
    pub fn hash(&self) -> [u8; 32] {
        self.inner.hash
    }

    pub(crate) fn pre(&self) -> &InstancePre<InstanceState> {
        &self.inner.pre
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Program({})", hex::encode(self.inner.hash))
    }
}

/// Why a file does not run here.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoadError {
    /// It does not begin as wasm files do.
    #[error("this is not a WebAssembly file: it does not begin with \"\\0asm\"")]
    NotWasm,
    /// It is a component.
    #[error(
        "this is a WebAssembly component; Wapo runs core modules (build for wasm32-wasip1 instead of wasm32-wasip2)"
    )]
    Component,
    /// It is larger than [`MODULE_BYTES_MAX`].
    #[error("the module has {0} bytes, the limit is {MODULE_BYTES_MAX}")]
    TooLarge(usize),
    /// It is damaged, or uses what is switched off here.
    #[error("the module is not valid here: {0}")]
    Invalid(String),
    /// It imports what no Wapo host has.
    #[error(
        "the module cannot be linked: {0}; guests may import `wapo`, `wasi_snapshot_preview1` and `wasi_unstable` only"
    )]
    Imports(String),
    /// It cannot be polled.
    #[error(
        "the module exports no function `{POLL_EXPORT}`: put #[wapo::main] on its main function, or export a function of that name and type () -> i32"
    )]
    NoPoll,
    /// The poll export has another type.
    #[error("the module's export `{0}` is not a function of type () -> i32")]
    WrongPoll(&'static str),
    /// Host calls need the guest's memory.
    #[error("the module exports no memory named `{MEMORY_EXPORT}`")]
    NoMemory,
    /// Too many modules wait for the compiler.
    #[error("too many modules wait to be compiled; try again later")]
    Busy,
    /// The compiler failed in a way it should not.
    #[error("the compiler failed on this module")]
    Compiler,
}

/// Compiled modules of an engine.
pub(crate) struct ModuleCache {
    loader: Arc<Loader>,
    modules: Mutex<HashMap<[u8; 32], Entry>>,
    threads: Semaphore,
    waiting: AtomicUsize,
    clock: AtomicUsize,
    threads_max: usize,
}

/// How busy the compiler is, and what is kept compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompilerLoad {
    /// Modules that are kept compiled in memory.
    pub kept: usize,
    /// Most that are kept.
    pub kept_max: usize,
    /// Modules that are being compiled.
    pub compiling: usize,
    /// Most that are compiled at a time.
    pub compiling_max: usize,
    /// Modules that wait for their turn.
    pub waiting: usize,
    /// Most that may wait.
    pub waiting_max: usize,
}

struct Entry {
    cell: Arc<OnceCell<Program>>,
    last_used: usize,
}

/// What a compiler thread needs.
struct Loader {
    engine: wasmtime::Engine,
    linker: Linker<InstanceState>,
    disk: Option<ModuleCacheConfig>,
    fingerprint: [u8; 8],
}

impl ModuleCache {
    pub(crate) fn new(
        engine: &wasmtime::Engine,
        linker: Linker<InstanceState>,
        disk: Option<ModuleCacheConfig>,
        threads: usize,
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self {
            loader: Arc::new(Loader {
                engine: engine.clone(),
                linker,
                disk,
                fingerprint: hasher.finish().to_le_bytes(),
            }),
            modules: Mutex::default(),
            threads: Semaphore::new(threads.max(1)),
            waiting: AtomicUsize::new(0),
            clock: AtomicUsize::new(0),
            threads_max: threads.max(1),
        }
    }

    pub(crate) fn compiler_load(&self) -> CompilerLoad {
        let modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = modules
            .values()
            .filter(|entry| entry.cell.initialized())
            .count();
        drop(modules);
        let compiling = self.threads_max - self.threads.available_permits();
        let begun = self.waiting.load(Ordering::Relaxed);
        CompilerLoad {
            kept,
            kept_max: MODULES_MAX,
            compiling,
            compiling_max: self.threads_max,
            waiting: begun.saturating_sub(compiling),
            waiting_max: COMPILE_QUEUE_MAX,
        }
    }

    /// Gives a module ready to start, compiled now if need be.
    ///
    /// # Errors
    ///
    /// [`LoadError`]; a failure is not remembered.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; a compilation under way goes on for whoever asks next.
    pub(crate) async fn load(&self, wasm: &[u8]) -> Result<Program, LoadError> {
        check_header(wasm)?;
        let hash: [u8; 32] = Sha256::digest(wasm).into();
        let cell = self.cell(hash);
        cell.get_or_try_init(|| self.compile(hash, wasm))
            .await
            .cloned()
    }

    fn cell(&self, hash: [u8; 32]) -> Arc<OnceCell<Program>> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if modules.len() >= MODULES_MAX && !modules.contains_key(&hash) {
            // Those that run are kept alive by their instances; this only
            // forgets that they are compiled.
            let oldest = modules
                .iter()
                .min_by_key(|(_, entry)| entry.last_used)
                .map(|(hash, _)| *hash);
            if let Some(oldest) = oldest {
                modules.remove(&oldest);
            }
        }
        let entry = modules.entry(hash).or_insert_with(|| Entry {
            cell: Arc::default(),
            last_used: now,
        });
        entry.last_used = now;
        Arc::clone(&entry.cell)
    }

    async fn compile(&self, hash: [u8; 32], wasm: &[u8]) -> Result<Program, LoadError> {
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= COMPILE_QUEUE_MAX {
            return Err(LoadError::Busy);
        }
        let _thread = self
            .threads
            .acquire()
            .await
            .map_err(|_| LoadError::Compiler)?;
        let loader = Arc::clone(&self.loader);
        let wasm = wasm.to_vec();
        tokio::task::spawn_blocking(move || loader.load(hash, &wasm))
            .await
            // The compiler panicked on this module; the next request may try again.
            .map_err(|_| LoadError::Compiler)?
    }
}

fn check_header(wasm: &[u8]) -> Result<(), LoadError> {
    if wasm.len() > MODULE_BYTES_MAX {
        return Err(LoadError::TooLarge(wasm.len()));
    }
    match wasm {
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Err(LoadError::Component),
        [0, b'a', b's', b'm', ..] => Err(LoadError::Invalid(
            "unknown version of the format".to_owned(),
        )),
        _ => Err(LoadError::NotWasm),
    }
}

impl Loader {
    fn load(&self, hash: [u8; 32], wasm: &[u8]) -> Result<Program, LoadError> {
        let module = match self.read_compiled(hash) {
            Some(module) => module,
            None => {
                let split = crate::bulk::split(wasm);
                let module = Module::new(&self.engine, split.as_deref().unwrap_or(wasm))
                    .map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
                self.write_compiled(hash, &module);
                module
            }
        };
        check_exports(&module)?;
        let pre = self
            .linker
            .instantiate_pre(&module)
            .map_err(|error| LoadError::Imports(format!("{error:#}")))?;
        Ok(Program {
            inner: Arc::new(ProgramInner { hash, pre }),
        })
    }

    fn path(&self, dir: &Path, hash: [u8; 32]) -> PathBuf {
        let name = [hash.as_slice(), &self.fingerprint].concat();
        dir.join(format!("{}.wapoc", hex::encode(name)))
    }

    fn authenticate(&self, key: &[u8; 32], hash: [u8; 32], code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(FILE_VERSION);
        hasher.update(&self.fingerprint);
        hasher.update(&hash);
        hasher.update(code);
        hasher.finalize()
    }

    /// Loads what was compiled before, if it is there and genuine.
    fn read_compiled(&self, hash: [u8; 32]) -> Option<Module> {
        let config = self.disk.as_ref()?;
        let path = self.path(&config.dir, hash);
        let file = std::fs::read(&path).ok()?;
        let (tag, code) = file.split_at_checked(blake3::OUT_LEN)?;
        let tag = blake3::Hash::from_slice(tag).ok()?;
        // `Hash` compares in constant time.
        if tag != self.authenticate(&config.key, hash, code) {
            warn!(path = %path.display(), "compiled module is not genuine; compiling anew");
            return None;
        }
        // SAFETY: these bytes were made by `Module::serialize` of an engine with
        // this fingerprint, in a process that knew the key: checked just above,
        // on this very buffer.
        match unsafe { Module::deserialize(&self.engine, code) } {
            Ok(module) => Some(module),
            Err(error) => {
                debug!(%error, path = %path.display(), "compiled module cannot be loaded");
                None
            }
        }
    }

    /// Keeps what was compiled; failing to is a warning, not an error.
    fn write_compiled(&self, hash: [u8; 32], module: &Module) {
        let Some(config) = &self.disk else {
            return;
        };
        let path = self.path(&config.dir, hash);
        let write = || -> std::io::Result<()> {
            let code = module
                .serialize()
                .map_err(|error| std::io::Error::other(error.to_string()))?;
            std::fs::create_dir_all(&config.dir)?;
            let unique = format!("tmp-{}-{:x}", std::process::id(), rand::random::<u64>());
            let temporary = path.with_extension(unique);
            let written = std::fs::File::create_new(&temporary).and_then(|mut file| {
                file.write_all(self.authenticate(&config.key, hash, &code).as_bytes())?;
                file.write_all(&code)?;
                file.sync_all()
            });
            written
                .and_then(|()| std::fs::rename(&temporary, &path))
                .inspect_err(|_| drop(std::fs::remove_file(&temporary)))
        };
        if let Err(error) = write() {
            warn!(%error, path = %path.display(), "cannot keep a compiled module");
        }
    }
}

fn check_exports(module: &Module) -> Result<(), LoadError> {
    match module.get_export(MEMORY_EXPORT) {
        Some(ExternType::Memory(_)) => {}
        _ => return Err(LoadError::NoMemory),
    }
    let mut wrong = None;
    for name in [POLL_EXPORT, LEGACY_POLL_EXPORT] {
        match module.get_export(name) {
            Some(ExternType::Func(ty)) => {
                let mut results = ty.results();
                let returns_i32 = results.len() == 1 && results.all(|result| result.is_i32());
                if ty.params().len() == 0 && returns_i32 {
                    return Ok(());
                }
                wrong.get_or_insert(name);
            }
            Some(_) => {
                wrong.get_or_insert(name);
            }
            None => {}
        }
    }
    Err(wrong.map_or(LoadError::NoPoll, LoadError::WrongPoll))
}
