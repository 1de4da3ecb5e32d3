//! Evaluates the script in its argument and prints the processor time that it took
//! and the number that came out. Started by the row `javascript-loops` of the bench.

use std::process::ExitCode;

use rquickjs::{CatchResultExt as _, Context, Runtime};
use rustix::time::{ClockId, clock_gettime};

fn main() -> ExitCode {
    let code = std::env::args().nth(1).unwrap_or_default();
    match run(code) {
        Ok((nanoseconds, result)) => {
            println!("nanoseconds={nanoseconds} result={result}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(code: String) -> Result<(i64, f64), String> {
    let runtime = Runtime::new().map_err(|error| error.to_string())?;
    let context = Context::full(&runtime).map_err(|error| error.to_string())?;
    context.with(|ctx| {
        let before = cpu_time();
        let result = ctx.eval::<f64, _>(code).catch(&ctx);
        let time = cpu_time() - before;
        let result = result.map_err(|error| error.to_string())?;
        Ok((time, result))
    })
}

/// Processor time of this process, in nanoseconds.
fn cpu_time() -> i64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
