//! Runs the export and reads what it left behind.

use std::fmt;

use wasmi::{Caller, Config, Engine, Extern, ExternType, Linker, Memory, Module, Store, Val};

use crate::Error;
use crate::check::Facts;
use crate::rewrite::{MEMORY, global_name};

/// Calls that may be nested. The parser of a language calls itself often; the
/// interpreter keeps its frames on the heap.
const RECURSION_MAX: usize = 20_000;
/// Bytes of the interpreter's stack for them.
const STACK_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of output that an error shows.
const OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// The module and names of imports that have an answer.
const WASI: &str = "wasi_snapshot_preview1";
/// Says 0 at all times. QuickJS seeds its numbers with it when a context is made;
/// the engine draws them elsewhere.
const CLOCK: &str = "clock_time_get";
/// Reads no more than what an error shows; the call itself is an error.
const WRITE: &str = "fd_write";

/// A value of a global.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
}

/// What an instance holds after the call.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) memory: Vec<u8>,
    /// In the order of [`Facts::globals`].
    pub(crate) globals: Vec<Number>,
}

/// An import that has no answer.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was called", self.0)
    }
}

impl wasmi::errors::HostError for Refused {}

/// Calls the export of a module whose globals and memory are exported.
pub(crate) fn run(module: &[u8], export: &str, facts: &Facts) -> Result<Image, Error> {
    let mut config = Config::default();
    config
        .set_max_recursion_depth(RECURSION_MAX)
        .set_max_stack_height(STACK_BYTES_MAX);
    let engine = Engine::new(&config);
    let mut store = Store::new(&engine, String::new());
    let outcome = call(&engine, &mut store, module, export);
    let instance = outcome.map_err(|error| {
        let output = store.data().clone();
        let export = export.to_owned();
        match error.downcast_ref::<Refused>() {
            Some(Refused(import)) => Error::HostCall {
                export,
                import: import.clone(),
                output,
            },
            None => Error::Failed {
                export,
                reason: error.to_string(),
                output,
            },
        }
    })?;
    let memory = instance.get_memory(&store, MEMORY);
    let memory = memory.ok_or(Error::Unsupported("no memory"))?;
    let global = |index: u32| {
        let global = instance.get_global(&store, &global_name(index));
        match global.map(|global| global.get(&store)) {
            Some(Val::I32(value)) => Ok(Number::I32(value)),
            Some(Val::I64(value)) => Ok(Number::I64(value)),
            Some(Val::F32(value)) => Ok(Number::F32(value.to_bits())),
            Some(Val::F64(value)) => Ok(Number::F64(value.to_bits())),
            _ => Err(Error::Unsupported("mutable globals that are no numbers")),
        }
    };
    Ok(Image {
        globals: facts
            .globals
            .iter()
            .map(|(index, _)| global(*index))
            .collect::<Result<_, _>>()?,
        memory: memory.data(&store).to_vec(),
    })
}

fn call(
    engine: &Engine,
    store: &mut Store<String>,
    module: &[u8],
    export: &str,
) -> Result<wasmi::Instance, wasmi::Error> {
    let module = Module::new(engine, module)?;
    let mut linker = Linker::new(engine);
    for import in module.imports() {
        let ExternType::Func(ty) = import.ty() else {
            continue;
        };
        let (from, name) = (import.module().to_owned(), import.name().to_owned());
        let answer = move |mut caller: Caller<'_, String>, given: &[Val], results: &mut [Val]| {
            if from == WASI && name == CLOCK {
                return tell_no_time(&mut caller, given, results);
            }
            if from == WASI && name == WRITE {
                keep_output(&mut caller, given);
            }
            Err(wasmi::Error::host(Refused(format!("{from}.{name}"))))
        };
        // A module may import the same function twice.
        linker.allow_shadowing(true);
        linker.func_new(import.module(), import.name(), ty.clone(), answer)?;
    }
    let instance = linker.instantiate_and_start(&mut *store, &module)?;
    instance
        .get_typed_func::<(), ()>(&*store, export)?
        .call(store, ())?;
    Ok(instance)
}

/// `clock_time_get(id, precision, *time) -> errno`.
fn tell_no_time(
    caller: &mut Caller<'_, String>,
    given: &[Val],
    results: &mut [Val],
) -> Result<(), wasmi::Error> {
    let place = given.get(2).and_then(Val::i32).unwrap_or_default();
    if let (Some(memory), Ok(place)) = (memory(caller), usize::try_from(place)) {
        let written = memory.write(&mut *caller, place, &0_u64.to_le_bytes());
        written.map_err(|error| wasmi::Error::new(error.to_string()))?;
    }
    if let Some(errno) = results.first_mut() {
        *errno = Val::I32(0);
    }
    Ok(())
}

/// `fd_write(fd, *vectors, count, *written)`: takes what an error will show.
fn keep_output(caller: &mut Caller<'_, String>, given: &[Val]) {
    let Some(memory) = memory(caller) else {
        return;
    };
    let number = |index: usize| {
        let value = given.get(index).and_then(Val::i32).unwrap_or_default();
        usize::try_from(value).unwrap_or_default()
    };
    let (vectors, count) = (number(1), number(2).min(64));
    let data = memory.data(&*caller);
    let word = |at: usize| {
        let bytes = data.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let mut text = String::new();
    for vector in (0..count).map(|index| vectors + index * 8) {
        let bytes = word(vector).zip(word(vector + 4)).and_then(|(start, len)| {
            data.get(start..start.checked_add(len.min(OUTPUT_BYTES_MAX))?)
        });
        text.push_str(&String::from_utf8_lossy(bytes.unwrap_or_default()));
    }
    caller.data_mut().push_str(&text);
}

fn memory(caller: &Caller<'_, String>) -> Option<Memory> {
    caller.get_export(MEMORY).and_then(Extern::into_memory)
}
