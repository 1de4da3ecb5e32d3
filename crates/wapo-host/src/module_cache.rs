//! Gives modules ready to start, compiled once in this process and, with a
//! folder, once at all.
//!
//! A file is looked at (`precheck`) before anything is spent on it, then found
//! among what was compiled before, in memory or on disk (`module_files`), or
//! put into the line of those to be compiled (`compiler`). Files that are
//! foreign, stale or damaged are compiled anew and replaced. Called by `engine`.

#![allow(
    unsafe_code,
    reason = "loading native code that was compiled before; JUSTIFICATION: compiling 1 MB takes about a second, on every start"
)]

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tracing::debug;
use wasmtime::{InstancePre, Linker, Module};

use crate::compiler::queue::{Bounds, Queue, Refusal};
use crate::compiler::{CompileSettings, Compiler, Stop};
use crate::limits::{
    COMPILE_QUEUE_BYTES_MAX, COMPILE_QUEUE_MAX, COMPILE_QUEUE_OF_APP_MAX, COMPILE_WAIT_MAX,
    COMPILE_WALL_TIME_MAX, PRECHECKS_MAX,
};
use crate::load_error::LoadError;
use crate::module_files::{ModuleCacheConfig, ModuleFiles};
use crate::precheck::{Precheck, check_header};
use crate::state::InstanceState;

/// Modules that are kept in memory although nobody runs them.
///
/// Compiled code is about three times the size of the module.
const MODULES_MAX: usize = 64;

/// A module that is compiled, linked and ready to start.
#[derive(Clone)]
pub struct Program {
    inner: Arc<ProgramInner>,
}

struct ProgramInner {
    hash: [u8; 32],
    memory_min_bytes: u64,
    code: Code,
}

/// A program that is linked, by the ABI of its guests.
pub(crate) enum Code {
    /// A module that exports a poll function.
    Poll(InstancePre<InstanceState>),
}

impl Code {
    fn module(&self) -> &Module {
        match self {
            Self::Poll(pre) => pre.module(),
        }
    }
}

impl Program {
    /// SHA-256 of the wasm file.
    pub fn hash(&self) -> [u8; 32] {
        self.inner.hash
    }

    /// A reference that does not keep it in memory.
    pub fn downgrade(&self) -> WeakProgram {
        WeakProgram {
            hash: self.inner.hash,
            inner: Arc::downgrade(&self.inner),
        }
    }

    pub(crate) fn code(&self) -> &Code {
        &self.inner.code
    }
}

/// A program that is there while the engine keeps it or an instance runs it.
#[derive(Clone, Debug)]
pub struct WeakProgram {
    hash: [u8; 32],
    inner: Weak<ProgramInner>,
}

impl WeakProgram {
    /// SHA-256 of the wasm file.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The program, if it is still there.
    pub fn upgrade(&self) -> Option<Program> {
        let inner = self.inner.upgrade()?;
        Some(Program { inner })
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Program({})", hex::encode(self.inner.hash))
    }
}

/// For whom a module is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoadFor {
    /// Takes turns with others when modules wait to be compiled: the app.
    pub app: [u8; 32],
    /// Linear memory that its instances may have, in bytes.
    pub memory_max_bytes: u64,
}

/// Compiled modules of an engine.
pub(crate) struct ModuleCache {
    loader: Arc<Loader>,
    kept: Arc<Mutex<Kept>>,
    queue: Queue<Result<Program, LoadError>>,
    prechecks: Arc<Semaphore>,
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
    /// Bytes of the modules that wait.
    pub waiting_bytes: usize,
    /// Most bytes that may wait, but for one module alone.
    pub waiting_bytes_max: usize,
    /// Modules that found no room, or whose turn did not come in time, since the
    /// start.
    pub refused: u64,
}

/// Programs by the hash of their file.
#[derive(Default)]
struct Kept {
    programs: HashMap<[u8; 32], (Program, u64)>,
    clock: u64,
}

impl Kept {
    fn get(&mut self, hash: [u8; 32]) -> Option<Program> {
        self.clock += 1;
        let (program, used) = self.programs.get_mut(&hash)?;
        *used = self.clock;
        Some(program.clone())
    }

    /// Keeps a program, unless one of this hash is there, which is given then.
    fn put(&mut self, program: Program) -> Program {
        if let Some(first) = self.get(program.hash()) {
            return first;
        }
        if self.programs.len() >= MODULES_MAX {
            // Those that run are kept alive by their instances; this only
            // forgets that they are compiled.
            let used = |(_, used): &(Program, u64)| *used;
            let oldest = self.programs.iter().min_by_key(|(_, entry)| used(entry));
            if let Some(oldest) = oldest.map(|(hash, _)| *hash) {
                self.programs.remove(&oldest);
            }
        }
        let entry = (program.clone(), self.clock);
        self.programs.insert(program.hash(), entry);
        program
    }
}

/// What a thread that loads modules needs.
struct Loader {
    engine: wasmtime::Engine,
    linker: Linker<InstanceState>,
    files: Option<ModuleFiles>,
    precheck: Precheck,
    compiler: Compiler,
    settings: CompileSettings,
}

impl ModuleCache {
    pub(crate) fn new(
        engine: &wasmtime::Engine,
        linker: Linker<InstanceState>,
        disk: Option<ModuleCacheConfig>,
        compiler: Compiler,
        settings: CompileSettings,
        threads: usize,
    ) -> wasmtime::Result<Self> {
        let fingerprint = crate::compiler::fingerprint(engine);
        let loader = Arc::new(Loader {
            engine: engine.clone(),
            linker,
            files: disk.map(|disk| ModuleFiles::new(disk, fingerprint)),
            precheck: Precheck::new(engine, settings.memory_max_bytes)?,
            compiler,
            settings,
        });
        let kept = Arc::new(Mutex::new(Kept::default()));
        let threads_max = threads.max(1);
        let bounds = Bounds {
            threads: threads_max,
            waiting: COMPILE_QUEUE_MAX,
            waiting_of_one: COMPILE_QUEUE_OF_APP_MAX,
            waiting_bytes: COMPILE_QUEUE_BYTES_MAX,
            wait: COMPILE_WAIT_MAX,
            work: COMPILE_WALL_TIME_MAX,
        };
        let queue = Queue::new(bounds, {
            let (loader, kept) = (Arc::clone(&loader), Arc::clone(&kept));
            move |hash, wasm, stop| {
                let compiled = AssertUnwindSafe(|| loader.compile(hash, wasm, stop));
                // A compiler that panics on one module works for the next one.
                let compiled = std::panic::catch_unwind(compiled);
                let program = compiled.unwrap_or(Err(LoadError::Compiler))?;
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(kept.put(program))
            }
        });
        Ok(Self {
            loader,
            kept,
            queue,
            prechecks: Arc::new(Semaphore::new(PRECHECKS_MAX)),
            threads_max,
        })
    }

    /// Keeps a program as one that was used just now.
    pub(crate) fn keep(&self, program: &Program) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.put(program.clone());
    }

    /// Whether what was compiled is on disk as well.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.loader.files.is_some()
    }

    pub(crate) fn compiler_load(&self) -> CompilerLoad {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.programs.len();
        let load = self.queue.load();
        CompilerLoad {
            kept,
            kept_max: MODULES_MAX,
            compiling: load.working,
            compiling_max: self.threads_max,
            waiting: load.waiting,
            waiting_max: COMPILE_QUEUE_MAX,
            waiting_bytes: load.waiting_bytes,
            waiting_bytes_max: COMPILE_QUEUE_BYTES_MAX,
            refused: load.refused,
        }
    }

    /// Gives a module ready to start, compiled now if need be.
    ///
    /// # Errors
    ///
    /// [`LoadError`]; a failure is not remembered, and leaves nothing behind.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; a compilation that nobody waits for any more is stopped.
    pub(crate) async fn load(
        &self,
        wanted: Option<LoadFor>,
        wasm: Bytes,
    ) -> Result<Program, LoadError> {
        check_header(&wasm)?;
        let (hash, found) = self.find(wanted, wasm.clone()).await?;
        let program = match found {
            Some(program) => program,
            None => {
                let app = wanted.map_or([0; 32], |wanted| wanted.app);
                let compiled = self.queue.result(hash, app, &wasm).await;
                compiled.map_err(|refusal| match refusal {
                    Refusal::Busy => LoadError::Busy,
                    Refusal::TooLong => LoadError::CompileTime(COMPILE_WALL_TIME_MAX.as_secs()),
                    Refusal::Closed => LoadError::Stopping,
                })??
            }
        };
        fits(wanted, program.inner.memory_min_bytes)?;
        Ok(program)
    }

    /// Looks at a module, and whether it was compiled before.
    async fn find(
        &self,
        wanted: Option<LoadFor>,
        wasm: Bytes,
    ) -> Result<([u8; 32], Option<Program>), LoadError> {
        // Goes along with the work: its bound holds when the caller is gone.
        let permit = Arc::clone(&self.prechecks).acquire_owned().await;
        let loader = Arc::clone(&self.loader);
        let kept = Arc::clone(&self.kept);
        let looking = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let hash: [u8; 32] = Sha256::digest(&wasm).into();
            let mut programs = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let kept_program = programs.get(hash);
            drop(programs);
            if let Some(program) = kept_program {
                loader.write_again(&program);
                return Ok((hash, Some(program)));
            }
            let found = loader.find(hash, wanted, &wasm)?.map(|program| {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.put(program)
            });
            Ok((hash, found))
        });
        looking.await.map_err(|_| LoadError::Compiler)?
    }

    /// Checks a module without loading it.
    pub(crate) fn check(&self, wasm: &[u8]) -> Result<(), LoadError> {
        let outline = self.loader.precheck.outline(wasm)?;
        self.loader.precheck.costs(&outline)
    }

    /// Stops all compilations at once and refuses more.
    pub(crate) fn stop_compiling(&self) {
        self.queue.close();
    }

    /// Removes compiled modules that are not among `live` from a worker's own
    /// folder. Blocks.
    pub(crate) fn keep_only(&self, live: &HashSet<[u8; 32]>) {
        if let Some(files) = &self.loader.files {
            files.keep_only(live);
        }
    }
}

impl Loader {
    /// Checks a module and gives it if it was compiled before.
    fn find(
        &self,
        hash: [u8; 32],
        wanted: Option<LoadFor>,
        wasm: &[u8],
    ) -> Result<Option<Program>, LoadError> {
        let outline = self.precheck.outline(wasm)?;
        fits(wanted, outline.memory_min_bytes())?;
        let files = self.files.as_ref();
        if let Some(module) = files.and_then(|files| self.load_file(files, hash)) {
            return self.link(hash, &module).map(Some);
        }
        self.precheck.costs(&outline)?;
        Ok(None)
    }

    fn compile(&self, hash: [u8; 32], wasm: &[u8], stop: &Stop) -> Result<Program, LoadError> {
        let code = self
            .compiler
            .compile(&self.engine, self.settings, wasm, stop)?;
        // SAFETY: these bytes were made by `precompile_module` of an engine with
        // this fingerprint, in this process or by the compiler that the embedder
        // has named, which printed them into a pipe that nobody else has.
        let module = unsafe { Module::deserialize(&self.engine, &code) }
            .map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
        let program = self.link(hash, &module)?;
        // What cannot be linked is not kept.
        if let Some(files) = &self.files {
            files.write(hash, &code);
        }
        Ok(program)
    }

    /// Puts a module that memory has kept back into the folder, if it was removed
    /// there: an app came that needs it after the last one had gone.
    fn write_again(&self, program: &Program) {
        let hash = program.hash();
        let Some(files) = self.files.as_ref().filter(|files| !files.has(hash)) else {
            return;
        };
        match program.code().module().serialize() {
            Ok(code) => files.write(hash, &code),
            // It is compiled once more after the next start.
            Err(error) => debug!(%error, "a compiled module cannot be written"),
        }
    }

    fn link(&self, hash: [u8; 32], module: &Module) -> Result<Program, LoadError> {
        let pre = self
            .linker
            .instantiate_pre(module)
            .map_err(|error| LoadError::Imports(format!("{error:#}")))?;
        let needed = module.resources_required().max_initial_memory_size;
        Ok(Program {
            inner: Arc::new(ProgramInner {
                hash,
                memory_min_bytes: needed.unwrap_or(0).saturating_mul(WASM_PAGE_BYTES),
                code: Code::Poll(pre),
            }),
        })
    }

    /// Loads what was compiled before, if it is there and genuine.
    fn load_file(&self, files: &ModuleFiles, hash: [u8; 32]) -> Option<Module> {
        let file = files.read(hash)?;
        // SAFETY: these bytes were made by an engine with this fingerprint, in a
        // process that knew the key: `read` has checked it, on this very buffer.
        match unsafe { Module::deserialize(&self.engine, file.code()) } {
            Ok(module) => Some(module),
            Err(error) => {
                debug!(%error, "compiled module cannot be loaded");
                None
            }
        }
    }
}

/// Checks the memory that a module begins with against that of its app.
fn fits(wanted: Option<LoadFor>, memory_min_bytes: u64) -> Result<(), LoadError> {
    match wanted {
        Some(wanted) => {
            crate::precheck::check_memory_of_app(memory_min_bytes, wanted.memory_max_bytes)
        }
        None => Ok(()),
    }
}

/// Bytes of a page of linear memory.
const WASM_PAGE_BYTES: u64 = 65_536;
