//! wasmtime without us: what an engine of the same configuration costs when it
//! does nothing else. Used by the rows that compare with it.

use wasmtime::{
    Caller, Config, Engine, Extern, InstanceAllocationStrategy, Linker, Module,
    PoolingAllocationConfig, Result, Store, ensure,
};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::WasiP1Ctx;

/// Id of the call by which a guest emits output.
const EMIT_OUTPUT: i32 = 243;

/// wasmtime has its own kind of error.
///
/// # Errors
///
/// The same, as everything else here has it.
pub(crate) fn told<T>(outcome: Result<T>) -> anyhow::Result<T> {
    outcome.map_err(|error| anyhow::anyhow!("{error:#}"))
}

/// How an engine can end a guest that computes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metering {
    /// It counts fuel.
    On,
    /// It cannot.
    Off,
    /// It looks at a counter that another thread moves, and counts nothing.
    Epochs,
}

/// Epochs that no guest of the bench reaches: nothing moves the counter.
const EPOCHS: u64 = 1 << 40;

/// An engine like the host's, and nothing around it.
///
/// # Errors
///
/// No address space.
pub(crate) fn engine(metering: Metering) -> Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(16)
        .total_memories(16)
        .total_stacks(16)
        .max_memory_size(128 << 20);
    let mut config = Config::new();
    config
        .consume_fuel(metering == Metering::On)
        .epoch_interruption(metering == Metering::Epochs)
        .concurrency_support(false)
        .memory_reservation(4 << 30)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// State of a guest that runs without the host.
struct Alone {
    wasi: WasiP1Ctx,
    output: Vec<u8>,
}

/// Runs a guest of ours to its end. It gets WASI and calls that do nothing,
/// apart from the one by which it emits what it found out.
///
/// # Errors
///
/// The guest traps or does not end in its first poll.
pub(crate) fn run_guest(engine: &Engine, module: &Module, args: &[&str]) -> Result<String> {
    let mut linker = Linker::<Alone>::new(engine);
    wasmtime_wasi::p1::add_to_linker_sync(&mut linker, |alone| &mut alone.wasi)?;
    for name in ["ocall", "ocall_fast_return"] {
        linker.func_wrap("wapo", name, call)?;
    }
    let mut wasi = WasiCtxBuilder::new();
    wasi.arg("bench").args(args);
    let mut store = Store::new(
        engine,
        Alone {
            wasi: wasi.build_p1(),
            output: Vec::new(),
        },
    );
    store.set_epoch_deadline(EPOCHS);
    let instance = linker.instantiate(&mut store, module)?;
    let poll = instance.get_typed_func::<(), i32>(&mut store, "wapo_poll")?;
    let outcome = poll.call(&mut store, ())?;
    ensure!(outcome == 1, "the guest did not end in its first poll");
    Ok(String::from_utf8(store.into_data().output)?)
}

fn call(
    mut caller: Caller<'_, Alone>,
    _task: i32,
    id: i32,
    pointer: i32,
    len: i32,
    _: i32,
    _: i32,
) -> i64 {
    if id == EMIT_OUTPUT
        && let Some(memory) = caller.get_export("memory").and_then(Extern::into_memory)
    {
        let start = pointer.cast_unsigned() as usize;
        let (memory, alone) = memory.data_and_store_mut(&mut caller);
        let data = memory.get(start..start + len.cast_unsigned() as usize);
        alone.output.extend_from_slice(data.unwrap_or_default());
    }
    0
}
