//! Evaluates what a person types: `wapo repl`.
//!
//! Texts come as queries whose paths begin with the session's mark; outcomes are
//! lines of the session (`native::session`). `js/wapo/repl.js` does the rest.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rquickjs::{Function, Object, Persistent, Value};

use crate::engine::{Account, Engine, boot, report};
use crate::native::session::{self, Session};

/// The boot module with the prompt's functions.
const MODULE: &str = "wapo:boot/wapo/repl.js";

/// Serves the prompt until the command has gone.
///
/// # Errors
///
/// The boot module fails, which is a defect of ours.
pub(crate) async fn run(engine: &Engine, session: &Session) -> Result<(), String> {
    let inbox = Rc::new(Inbox::new(session.mark()));
    // The user at the prompt decides how long something takes.
    let looking = Rc::clone(&inbox);
    let _ = wapo::guard::limit_poll(None);
    engine.look_while_running(move || looking.look());
    let prompt = Prompt::load(engine).ok_or("the prompt cannot be loaded")?;
    session::report("{\"event\":\"ready\"}");
    while let Some(asked) = inbox.next().await {
        match asked {
            Command::Text(text) => {
                let account = Account::new(Duration::MAX);
                inbox.running.replace(Some(Rc::clone(&account)));
                prompt.call(engine, &account, &prompt.evaluate, text);
            }
            Command::Interrupt => {}
        }
        if inbox.is_interrupted.take() {
            prompt.call(
                engine,
                &Account::new(Duration::MAX),
                &prompt.interrupt,
                String::new(),
            );
        }
    }
    Ok(())
}

/// What the command asks for.
enum Command {
    Text(String),
    Interrupt,
}

/// What has come and was not taken yet.
struct Inbox {
    mark: String,
    waiting: RefCell<VecDeque<Command>>,
    is_over: Cell<bool>,
    /// The user has interrupted what runs.
    is_interrupted: Cell<bool>,
    /// Who pays for what runs, or ran last.
    running: RefCell<Option<Rc<Account>>>,
    /// The task that waits.
    waker: RefCell<Option<Waker>>,
}

impl Inbox {
    fn new(mark: &str) -> Self {
        Self {
            mark: mark.to_owned(),
            waiting: RefCell::default(),
            is_over: Cell::new(false),
            is_interrupted: Cell::new(false),
            running: RefCell::default(),
            waker: RefCell::default(),
        }
    }

    /// The next thing that is asked; `None` when there will be no more.
    async fn next(&self) -> Option<Command> {
        poll_fn(|cx| {
            self.waker.replace(Some(cx.waker().clone()));
            self.look();
            match self.waiting.borrow_mut().pop_front() {
                Some(asked) => Poll::Ready(Some(asked)),
                None if self.is_over.get() => Poll::Ready(None),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Takes what has come. The engine does so, too, while scripts run: an
    /// interruption ends their account.
    fn look(&self) {
        let waker = self.waker.borrow().clone();
        let waker = waker.unwrap_or_else(|| Waker::noop().clone());
        let mut cx = Context::from_waker(&waker);
        while let Poll::Ready(next) = pin!(wapo::query::next()).poll(&mut cx) {
            let Some((query, reply)) = next else {
                return self.is_over.set(true);
            };
            let asked = match query.path.strip_prefix(&self.mark) {
                Some("interrupt") => Command::Interrupt,
                Some("evaluate") => {
                    Command::Text(String::from_utf8_lossy(&query.payload).into_owned())
                }
                _ => {
                    let _ = reply.fail("nobody is asked here");
                    continue;
                }
            };
            // The outcome is told in a line.
            let _ = reply.send([]);
            if matches!(asked, Command::Interrupt) {
                self.is_interrupted.set(true);
                if let Some(account) = self.running.take() {
                    account.spend(account.left());
                }
            }
            self.waiting.borrow_mut().push_back(asked);
        }
    }
}

/// Functions of the boot code.
struct Prompt {
    evaluate: Persistent<Function<'static>>,
    interrupt: Persistent<Function<'static>>,
}

impl Prompt {
    fn load(engine: &Engine) -> Option<Self> {
        engine.enter(|ctx| {
            let load = || -> rquickjs::Result<Self> {
                let module = boot::declare(ctx, MODULE).ok_or(rquickjs::Error::Unknown)?;
                let (module, promise) = module?.eval()?;
                promise.finish::<Value<'_>>()?;
                let functions: Object<'_> = module.get("default")?;
                let evaluate: Function<'_> = functions.get("evaluate")?;
                let interrupt: Function<'_> = functions.get("interrupt")?;
                Ok(Self {
                    evaluate: Persistent::save(ctx, evaluate),
                    interrupt: Persistent::save(ctx, interrupt),
                })
            };
            load().map_err(|_| report::exception(ctx)).ok()
        })
    }

    /// Calls one of them. What cannot be caught has its own way to the person.
    fn call(
        &self,
        engine: &Engine,
        account: &Rc<Account>,
        function: &Persistent<Function<'static>>,
        text: String,
    ) {
        engine.enter_as(Rc::clone(account), |ctx| {
            let called = function.clone().restore(ctx);
            if called
                .and_then(|function| function.call::<_, ()>((text,)))
                .is_err()
            {
                drop(ctx.catch());
            }
        });
    }
}
