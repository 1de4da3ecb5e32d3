//! SIGINT and SIGTERM, on a thread of their own.
//!
//! The first signal asks the program to stop, and the program has its grace for
//! that. If it has not ended a moment later, because guests or the disk hold
//! every other thread, this thread writes down what apps have used and ends the
//! process. A second signal ends it at once. Used by `wapod` and `wapo run`.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};

use crate::limits::{EXIT_AT_ONCE_TIME, EXIT_MARGIN, LAST_SAVE_TIME};
use crate::server::LastSave;

/// Who wanted the program to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopCause {
    /// Ctrl-C.
    Interrupt,
    /// What service managers send.
    Terminate,
    /// The operator's interface.
    Operator,
}

impl StopCause {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::Operator => "Operation.WorkerExit",
        }
    }

    /// What a shell reports of a program that a signal has ended.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
            Self::Operator => 0,
        }
    }
}

/// What the thread and the program tell each other.
struct Shared {
    plan: Mutex<Plan>,
    /// The program stops without a signal.
    stopping: Notify,
}

#[derive(Default)]
struct Plan {
    grace: Duration,
    save: Option<LastSave>,
    stopping: Option<StopCause>,
}

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        // Every state between two statements below is a valid one.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The signals of this process, for the program to wait for.
pub struct Signals {
    /// The last of those that came.
    cause: watch::Receiver<Option<StopCause>>,
    shared: Arc<Shared>,
}

impl Signals {
    /// From now on signals do not end the process by themselves. `last_words` is
    /// called before the thread ends it, and should be quick.
    ///
    /// # Errors
    ///
    /// The system gives no thread or no signals.
    pub fn listen(last_words: fn()) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            plan: Mutex::default(),
            stopping: Notify::new(),
        });
        let (tell, cause) = watch::channel(None);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let sources = {
            let _inside = runtime.enter();
            Sources {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            }
        };
        let thread = Thread {
            sources,
            tell,
            shared: Arc::clone(&shared),
        };
        std::thread::Builder::new()
            .name("wapod-signals".to_owned())
            .spawn(move || {
                let cause = runtime.block_on(thread.wait());
                // Whatever happens in them, the process ends.
                let _ = std::panic::catch_unwind(last_words);
                std::process::exit(cause.exit_code().into());
            })?;
        Ok(Self { cause, shared })
    }

    /// The program runs and wants so much time to stop. Without this it has none.
    pub fn running(&self, grace: Duration, save: LastSave) {
        let mut plan = self.shared.plan();
        plan.grace = grace;
        plan.save = Some(save);
    }

    /// The program stops by itself; it has the same time for that.
    pub fn stopping(&self, cause: StopCause) {
        self.shared.plan().stopping = Some(cause);
        self.shared.stopping.notify_one();
    }

    /// The next signal.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> StopCause {
        loop {
            if self.cause.changed().await.is_err() {
                // The thread is ending the process.
                std::future::pending::<()>().await;
            }
            if let Some(cause) = *self.cause.borrow_and_update() {
                return cause;
            }
        }
    }
}

/// What the thread waits for.
struct Sources {
    interrupt: Signal,
    terminate: Signal,
}

impl Sources {
    async fn next(&mut self) -> StopCause {
        tokio::select! {
            _ = self.interrupt.recv() => StopCause::Interrupt,
            _ = self.terminate.recv() => StopCause::Terminate,
        }
    }
}

struct Thread {
    sources: Sources,
    tell: watch::Sender<Option<StopCause>>,
    shared: Arc<Shared>,
}

impl Thread {
    /// Returns when the process has to be ended.
    async fn wait(mut self) -> StopCause {
        let first = tokio::select! {
            cause = self.sources.next() => cause,
            () = self.shared.stopping.notified() => {
                self.shared.plan().stopping.unwrap_or(StopCause::Operator)
            }
        };
        let _ = self
            .tell
            .send((first != StopCause::Operator).then_some(first));
        let (grace, save) = {
            let mut plan = self.shared.plan();
            (plan.grace, plan.save.take())
        };
        let time = grace + EXIT_MARGIN;
        tokio::select! {
            second = self.sources.next() => {
                // Parts of the daemon that still can log it and end by themselves.
                let _ = self.tell.send(Some(second));
                tokio::time::sleep(EXIT_AT_ONCE_TIME).await;
                return second;
            }
            () = tokio::time::sleep(time) => {}
        }
        tracing::error!(
            "not stopped {:.1} s after {}: ended at once",
            time.as_secs_f64(),
            first.name()
        );
        if let Some(save) = save {
            within(LAST_SAVE_TIME, save.save()).await;
        }
        first
    }
}

/// Waits for something, but not longer than that.
async fn within(time: Duration, future: impl Future<Output = ()>) {
    let _ = tokio::time::timeout(time, future).await;
}
