//! Row `host call`: what a trivial call costs from a loop in a guest.
//!
//! Three loops of the same length: a guest written with the SDK, the same call
//! from wasm text (the host's side alone), and a call of an empty wasmtime
//! function of the same signature in an engine that counts fuel, too.

use std::time::Duration;

use anyhow::{Result, ensure};
use wasmtime::{Linker, Module, Store};

use super::plain::{self, Metering, told};
use crate::embedder::{Host, cpu_time, value};
use crate::guests;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::median;

/// Switches traces off that are off: the call that does least.
const ENABLE_OCALL_TRACE: u32 = 111;

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let host = Host::new()?;
    let with_sdk = host.load(&guests::read("calls")?)?;
    let loop_of_calls = wat::parse_str(loop_of(plan.calls))?;
    let text = host.load(&loop_of_calls)?;
    let empty = told(Empty::new(&loop_of_calls))?;
    let count = plan.calls.to_string();
    let each = |time: Duration| time.as_nanos() as f64 / f64::from(plan.calls);

    let (mut sdk_times, mut text_times, mut empty_times) = (vec![], vec![], vec![]);
    for _ in 0..plan.rounds {
        let ran = host.run(&with_sdk, &["trivial", &count])?;
        ensure!(
            value(&ran.output, "failed")? == "0",
            "a call failed: {}",
            ran.output
        );
        sdk_times.push(each(ran.cpu));
        text_times.push(each(host.run(&text, &[])?.cpu));
        empty_times.push(each(told(empty.run(&host))?));
    }
    let (sdk, text, empty) = (
        median(&sdk_times),
        median(&text_times),
        median(&empty_times),
    );
    report.add(Line {
        row: "host call",
        what: "trivial call from a guest's loop, SDK included".to_owned(),
        beside: format!("{} ns (empty wasmtime function)", number(empty)),
        ours: format!("{} ns", number(sdk)),
        value: sdk / empty,
        unit: "×",
        goal: Goal::AtMost(3.5),
    });
    report.add(Line {
        row: "host call",
        what: "the host's side of it, by itself".to_owned(),
        beside: format!("{} ns (empty wasmtime function)", number(empty)),
        ours: format!("{} ns", number(text)),
        value: text / empty,
        unit: "×",
        goal: Goal::AtMost(2.5),
    });
    Ok(())
}

/// A guest that makes a number of calls in its first poll and ends.
pub(crate) fn loop_of(count: u32) -> String {
    format!(
        r#"(module
            (import "wapo" "ocall_fast_return"
                (func $call (param i32 i32 i32 i32 i32 i32) (result i64)))
            (memory (export "memory") 1)
            (func (export "wapo_poll") (result i32)
                (local $left i32)
                (local.set $left (i32.const {count}))
                (loop $again
                    (drop (call $call
                        (i32.const 0) (i32.const {ENABLE_OCALL_TRACE})
                        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
                    (br_if $again (local.tee $left
                        (i32.sub (local.get $left) (i32.const 1)))))
                (i32.const 1)))"#
    )
}

/// The same loop around a function of the host that does nothing.
struct Empty {
    engine: wasmtime::Engine,
    linker: Linker<()>,
    module: Module,
}

impl Empty {
    fn new(wasm: &[u8]) -> wasmtime::Result<Self> {
        let engine = plain::engine(Metering::On)?;
        let mut linker = Linker::new(&engine);
        linker.func_wrap(
            "wapo",
            "ocall_fast_return",
            |_: i32, _: i32, _: i32, _: i32, _: i32, _: i32| 0i64,
        )?;
        let module = Module::new(&engine, wasm)?;
        Ok(Self {
            engine,
            linker,
            module,
        })
    }

    fn run(&self, host: &Host) -> wasmtime::Result<Duration> {
        let mut store = Store::new(&self.engine, ());
        store.set_fuel(u64::MAX / 4)?;
        store.fuel_async_yield_interval(Some(wapo_host::limits::SLICE_FUEL))?;
        host.runtime.block_on(async {
            let instance = self
                .linker
                .instantiate_async(&mut store, &self.module)
                .await?;
            let poll = instance.get_typed_func::<(), i32>(&mut store, "wapo_poll")?;
            let before = cpu_time();
            poll.call_async(&mut store, ()).await?;
            Ok(cpu_time().saturating_sub(before))
        })
    }
}
