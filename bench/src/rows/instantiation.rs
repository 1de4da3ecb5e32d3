//! Row `instantiation`: from a compiled module to the end of the first poll.
//!
//! Runs on a runtime of one thread, where the task that waits for the instance
//! goes on only when the instance's own task has stopped, which is when its
//! first poll has returned. The memory slots are warm: instances end between
//! two starts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use wapo_host::{
    Embedder, Engine, EngineConfig, InstanceConfig, Phase, Program, SchedulingHistory,
};
use wasmtime::{Linker, Module, Store};

use super::plain::{self, Metering, told};
use crate::embedder::Keeper;
use crate::guests;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::median;

/// A guest with nothing to do.
const EMPTY: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "wapo_poll") (result i32) (i32.const 0)))"#;

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let hello = guests::read("hello-http")?;
    let size = hello.len() / 1024;
    let empty = wat::parse_str(EMPTY)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut hello_times, mut empty_times, mut bare_times) = (vec![], vec![], vec![]);
    runtime.block_on(async {
        let engine = Engine::new(EngineConfig {
            instances_max: 16,
            ..EngineConfig::default()
        })?;
        let bare = told(Bare::new(&empty))?;
        let hello = engine.load(&hello).await?;
        let empty = engine.load(&empty).await?;
        // As instances of two apps that have run before.
        let (hello_app, empty_app) = (Arc::default(), Arc::default());
        for _ in 0..plan.starts {
            hello_times.push(micros(start(&engine, &hello, &hello_app, true).await?));
            empty_times.push(micros(start(&engine, &empty, &empty_app, false).await?));
            bare_times.push(micros(told(bare.start().await)?));
        }
        anyhow::Ok(())
    })?;
    let bare = median(&bare_times);
    for (what, times, goal) in [
        (
            format!("hello-http ({size} KiB) until its first poll returns"),
            &hello_times,
            Goal::AtMost(100.0),
        ),
        (
            "a module that does nothing, the same".to_owned(),
            &empty_times,
            Goal::None,
        ),
    ] {
        let ours = median(times);
        report.add(Line {
            row: "instantiation",
            what,
            beside: format!("{} µs (empty module, wasmtime alone)", number(bare)),
            ours: format!("{} µs", number(ours)),
            value: ours,
            unit: "µs",
            goal,
        });
    }
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Starts an instance, waits until it idles, and ends it.
pub(crate) async fn start(
    engine: &Engine,
    program: &Program,
    app: &Arc<SchedulingHistory>,
    takes_http: bool,
) -> Result<Duration> {
    let embedder: Arc<dyn Embedder> = Arc::new(Keeper::default());
    let config = InstanceConfig {
        args: vec!["hello".to_owned()],
        history: Arc::clone(app),
        ..InstanceConfig::default()
    };
    let begun = Instant::now();
    let handle = engine.start(program, config, embedder);
    let mut status = handle.status();
    status
        .wait_for(|status| match status.phase {
            Phase::Running => status.takes_http == takes_http,
            Phase::Ended(_) => true,
            _ => false,
        })
        .await
        .context("the instance is gone")?;
    let time = begun.elapsed();
    let phase = status.borrow().phase.clone();
    ensure!(phase == Phase::Running, "the guest ended: {phase:?}");
    handle.stop();
    handle.ended().await;
    Ok(time)
}

/// The empty module in wasmtime's pool, without a host around it.
struct Bare {
    engine: wasmtime::Engine,
    linker: Linker<()>,
    module: Module,
}

impl Bare {
    fn new(wasm: &[u8]) -> wasmtime::Result<Self> {
        let engine = plain::engine(Metering::On)?;
        Ok(Self {
            linker: Linker::new(&engine),
            module: Module::new(&engine, wasm)?,
            engine,
        })
    }

    async fn start(&self) -> wasmtime::Result<Duration> {
        let begun = Instant::now();
        let mut store = Store::new(&self.engine, ());
        store.set_fuel(u64::MAX / 4)?;
        let instance = self
            .linker
            .instantiate_async(&mut store, &self.module)
            .await?;
        let poll = instance.get_typed_func::<(), i32>(&mut store, "wapo_poll")?;
        poll.call_async(&mut store, ()).await?;
        Ok(begun.elapsed())
    }
}
