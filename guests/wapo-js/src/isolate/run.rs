//! The life of an isolate: made, evaluated, waited for, asked for its output, gone.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use rquickjs::{Object, Value};
use sha2::{Digest as _, Sha256};

use super::network::Network;
use super::{End, Isolate, gate};
use crate::engine::heap::Room;
use crate::engine::{Account, Engine, Failure, Signal, bytes, pack};
use crate::native::{keep_logs, kept_logs};
use crate::program::{Program, thrown};

/// Isolates that run at a time. Each has an engine of its own, a megabyte and more.
const ISOLATES_MAX: usize = 32;

/// Bytes of all scripts, arguments and variables of an isolate.
const TEXT_BYTES_MAX: usize = 32 * 1024 * 1024;

thread_local! {
    static RUNNING: Cell<usize> = const { Cell::new(0) };
}

/// What a program wants to have run.
pub(crate) struct Wish {
    pub(crate) scripts: Vec<String>,
    pub(crate) arguments: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) network: Network,
    /// Units of [`Isolate::take_gas`].
    pub(crate) gas: Option<u64>,
    /// Bytes, above what the engine itself takes.
    pub(crate) memory: Option<usize>,
    /// Time that may pass.
    pub(crate) time: Option<Duration>,
    /// Time that it may compute.
    pub(crate) processor: Option<Duration>,
    /// Its log is kept for [`Outcome::logs`] from the beginning.
    pub(crate) keeps_logs: bool,
}

/// What became of it.
pub(crate) struct Outcome {
    /// What it failed with, as a text.
    pub(crate) error: Option<String>,
    /// The output, for [`pack::read`].
    pub(crate) output: Option<Vec<u8>>,
    /// `serializedScriptOutput`.
    pub(crate) serialized: Option<String>,
    /// `scriptLogs`, if it kept any.
    pub(crate) logs: Option<String>,
}

/// Counts one of [`ISOLATES_MAX`].
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let running = RUNNING.get();
        (running < ISOLATES_MAX).then(|| {
            RUNNING.set(running + 1);
            Self
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        RUNNING.set(RUNNING.get() - 1);
    }
}

/// Starts an isolate. `done` is called from a task of the creator's engine.
///
/// # Errors
///
/// There are as many as there may be, or the texts are too long.
pub(crate) fn start(
    creator: &Engine,
    wish: Wish,
    done: impl FnOnce(&Engine, Outcome) + 'static,
) -> Result<Rc<Isolate>, Failure> {
    let all = wish.scripts.iter().chain(&wish.arguments);
    let bytes: usize = all.map(String::len).sum();
    let env: usize = wish
        .env
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes + env > TEXT_BYTES_MAX {
        return Err(Failure::range_error(format!(
            "{} bytes of scripts, arguments and variables: {TEXT_BYTES_MAX} is the most",
            bytes + env
        )));
    }
    let place = Place::take().ok_or_else(|| {
        Failure::range_error(format!(
            "{ISOLATES_MAX} isolates are running: wait for one, or close it"
        ))
    })?;
    let now = Instant::now();
    let isolate = Rc::new(Isolate {
        code: digest(&wish.scripts),
        env: wish.env,
        network: wish.network,
        failure: RefCell::default(),
        account: Account::of_isolate(creator.account(), wish.processor),
        room: Room::new(),
        gas_limit: wish.gas,
        gas_left: Cell::new(wish.gas.unwrap_or_default()),
        time_limit: wish.time,
        begin: now,
        end: Cell::new(None),
        ended: Signal::default(),
        gave_way: Cell::new(now),
        is_alarm_late: Cell::new(false),
    });
    let (weak, own) = (creator.weak(), Rc::clone(&isolate));
    let program = Program::of_scripts(wish.scripts, wish.arguments);
    creator
        .spawn(gate::pass(async move {
            let outcome = live(&own, program, wish.memory, wish.keeps_logs).await;
            drop(place);
            if let Some(creator) = weak.upgrade() {
                done(&creator, outcome);
            }
        }))
        .detach();
    Ok(isolate)
}

/// Digest of scripts that says where each of them ends.
fn digest(scripts: &[String]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for script in scripts {
        // A length has at most 64 bits on every machine.
        hash.update((script.len() as u64).to_le_bytes());
        hash.update(script);
    }
    hash.finalize().into()
}

async fn live(
    isolate: &Rc<Isolate>,
    program: Program,
    memory: Option<usize>,
    keeps_logs: bool,
) -> Outcome {
    // What has called is not to wait until the engine is made.
    wapo::task::yield_now().await;
    let (room, begin) = (Rc::clone(&isolate.room), Instant::now());
    let Ok(engine) = Engine::of_isolate(Rc::clone(isolate), room) else {
        return Outcome {
            error: Some("there is no memory for an isolate".to_owned()),
            output: None,
            serialized: None,
            logs: None,
        };
    };
    if let Some(memory) = memory {
        isolate.room.allow_more(memory);
    }
    // The boot code has no account.
    isolate.account.spend(begin.elapsed());
    engine.look(|ctx| keep_logs(ctx, keeps_logs));
    let outcome = isolate.outcome(&engine, program).await;
    let begin = Instant::now();
    engine.tear_down();
    drop(engine);
    isolate.account.spend(begin.elapsed());
    outcome
}

impl Isolate {
    async fn outcome(&self, engine: &Engine, program: Program) -> Outcome {
        let work = async {
            program.evaluate(engine).await?;
            let is_over = |engine: &Engine| engine.exit_code().is_some() || engine.is_idle();
            engine.until(is_over).await;
            self.output(engine)
        };
        let result = self.unless_over(work).await;
        let (error, (output, serialized)) = match result {
            Some(Ok(output)) => (None, output),
            Some(Err(error)) => (Some(error), (None, None)),
            None => (None, (None, None)),
        };
        let error = match self.end.get() {
            Some(end) => Some(end.to_string()),
            None => error.or_else(|| self.failure.take()),
        };
        let error = error.map(|error| match self.room.is_full() {
            true if self.end.get().is_none() => {
                let used = self.room.used();
                format!("out of memory, with {used} bytes in use: {error}")
            }
            _ => error,
        });
        Outcome {
            // What was made before a failure is not handed over.
            output: output.filter(|_| error.is_none()),
            serialized: serialized.filter(|_| error.is_none()),
            error,
            logs: engine.look(kept_logs),
        }
    }

    /// Waits for a future, or for the isolate's end, which is `None`.
    async fn unless_over<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let mut alarm = pin!(async {
            match self.time_limit {
                Some(limit) => wapo::time::sleep_until(self.begin + limit).await,
                None => std::future::pending().await,
            }
        });
        poll_fn(|cx| {
            if self.end.get().is_some() {
                return Poll::Ready(None);
            }
            self.ended.register(cx);
            if let Poll::Ready(result) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(result));
            }
            if alarm.as_mut().poll(cx).is_ready()
                && let Some(limit) = self.time_limit
            {
                self.end(End::Time(limit));
            }
            match self.end.get() {
                Some(_) => Poll::Ready(None),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Asks the boot code for what the scripts have left.
    fn output(&self, engine: &Engine) -> Result<(Option<Vec<u8>>, Option<String>), String> {
        engine.enter(|ctx| {
            let made = engine.hook(ctx, |hooks| &hooks.outcome);
            let made = made.and_then(|outcome| {
                let made: Object<'_> = outcome.call(())?;
                let record: Value<'_> = made.get("record")?;
                let serialized: Option<rquickjs::String<'_>> = made.get("serialized")?;
                let serialized = serialized.as_ref().map(bytes::text).transpose()?;
                Ok((Some(pack::write(ctx, &record)?), serialized))
            });
            made.map_err(|_| thrown(ctx))
        })
    }
}
