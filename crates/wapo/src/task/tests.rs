//! The executor against a scripted host.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Wake;

use wapo_abi::{Errno, Event, WakeCode, WakerId};

use super::*;
use crate::sys::fake::{self, Answer};

async fn unreachable_main() {
    unreachable!("the program was started before");
}

fn poll() -> i32 {
    poll_program(unreachable_main)
}

fn start<F: Future<Output = ()> + 'static>(main: impl FnOnce() -> F + 'static) -> i32 {
    fake::install();
    fake::happen(Event::TaskReady(0));
    poll_program(main)
}

/// Polls until nothing is ready any more.
fn poll_until_idle() {
    while poll() == 0 && !fake::calls("mark_task_ready").is_empty() {}
}

/// Waits for something of the host.
async fn event() {
    let read = |cx: &mut Context<'_>| {
        poll_call(cx, |waker| crate::sys::calls::poll_read(waker, 7, &mut []))
    };
    future::poll_fn(read).await.expect("no failure is scripted");
}

/// A waker that is not a task's.
struct Foreign;

impl Wake for Foreign {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_program_runs_until_its_main_future_is_done() {
    let steps = Rc::new(Cell::new(0));
    let seen = Rc::clone(&steps);
    let outcome = start(|| async move {
        seen.set(1);
        event().await;
        seen.set(2);
    });
    assert_eq!((outcome, steps.get()), (0, 1));
    assert_eq!(poll(), 0);
    assert_eq!(fake::calls("poll_read").len(), 1, "nothing woke it");
    fake::answer("poll_read", Answer::Value(0));
    fake::happen(Event::TaskReady(0));
    assert_eq!((poll(), steps.get()), (1, 2));
    assert_eq!(poll(), 1, "finished is finished");
}

#[test]
fn a_plain_wait_names_no_waker_and_carries_its_task() {
    start(|| async {
        spawn(event());
        pending().await
    });
    let waits = fake::calls("poll_read");
    assert_eq!(waits.len(), 1);
    assert_eq!((waits[0].task, waits[0].waker()), (1, -1));
    assert_eq!(wakers::in_use(), 0);
}

#[test]
fn a_foreign_waker_keeps_its_number_until_the_host_releases_it() {
    start(|| async {
        let mut event = pin!(event());
        let foreign = Waker::from(Arc::new(Foreign));
        let mut cx = Context::from_waker(&foreign);
        assert!(event.as_mut().poll(&mut cx).is_pending());
        assert!(event.as_mut().poll(&mut cx).is_pending());
        pending().await
    });
    let ids: Vec<_> = fake::calls("poll_read")
        .iter()
        .map(fake::Call::waker)
        .collect();
    assert_eq!((ids, wakers::in_use()), (vec![0, 1], 2));
    fake::happen(Event::Waker(WakeCode::Released(WakerId(0))));
    fake::happen(Event::Waker(WakeCode::Wake(WakerId(1))));
    fake::happen(Event::Waker(WakeCode::Released(WakerId(77))));
    poll();
    assert_eq!(wakers::in_use(), 1);
    assert_eq!(intern(Waker::from(Arc::new(Foreign))), 0, "free again");
}

#[test]
fn the_timer_is_set_once_for_all_tasks_and_wakes_those_whose_time_has_come() {
    let long = std::time::Duration::from_secs(3600);
    let moment = std::time::Duration::from_millis(1);
    let done = Rc::new(Cell::new(0));
    let seen = Rc::clone(&done);
    start(move || async move {
        for _ in 0..100 {
            spawn(crate::time::sleep(long));
        }
        crate::time::sleep(moment).await;
        seen.set(1);
        crate::time::sleep(moment).await;
        seen.set(2);
        pending().await
    });
    assert_eq!(fake::calls("create_timer").len(), 1);
    let waits = fake::calls("poll_read");
    assert_eq!(waits.len(), 1);
    assert_eq!((waits[0].task, waits[0].waker()), (crate::time::TASK, -1));
    for count in 1..=2 {
        let end = std::time::Instant::now() + moment;
        while std::time::Instant::now() < end {
            std::hint::spin_loop();
        }
        fake::happen(Event::TaskReady(crate::time::TASK));
        poll();
        assert_eq!(done.get(), count);
    }
    assert_eq!(wakers::in_use(), 0);
}

#[test]
fn an_unknown_call_gives_its_waker_back() {
    start(pending);
    let foreign = Waker::from(Arc::new(Foreign));
    let cx = Context::from_waker(&foreign);
    let outcome = poll_call(&cx, |_| Err::<(), _>(Errno::UNKNOWN_CALL_NUMBER.into()));
    assert!(outcome.is_ready());
    assert_eq!(wakers::in_use(), 0);
}

#[test]
fn only_woken_tasks_run_and_ids_without_a_task_are_ignored() {
    let runs = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&runs);
    start(|| async move {
        for number in 1..=3 {
            let seen = Rc::clone(&seen);
            spawn(future::poll_fn(move |_| {
                seen.borrow_mut().push(number);
                Poll::<()>::Pending
            }));
        }
        pending().await
    });
    assert_eq!(runs.take(), [1, 2, 3]);
    for id in [2, 2, 99, -7, i32::MAX] {
        fake::happen(Event::TaskReady(id));
    }
    poll();
    assert_eq!(runs.take(), [2], "once, although told twice");
}

#[test]
fn many_events_are_fetched_in_several_calls() {
    let runs = Rc::new(Cell::new(0));
    let seen = Rc::clone(&runs);
    start(|| async move {
        for _ in 0..100 {
            let seen = Rc::clone(&seen);
            spawn(future::poll_fn(move |_| {
                seen.set(seen.get() + 1);
                Poll::<()>::Pending
            }));
        }
        pending().await
    });
    assert_eq!(runs.replace(0), 100);
    (1..=100).for_each(|id| fake::happen(Event::TaskReady(id)));
    poll();
    assert_eq!(runs.get(), 100);
}

#[test]
fn a_task_that_wakes_itself_gives_the_host_its_turn() {
    let runs = Rc::new(Cell::new(0));
    let seen = Rc::clone(&runs);
    start(|| async move {
        loop {
            seen.set(seen.get() + 1);
            yield_now().await;
        }
    });
    for turn in 1..5 {
        assert_eq!(runs.get(), turn);
        assert_eq!(
            fake::calls("mark_task_ready").len(),
            1,
            "so that the host comes back"
        );
        poll();
    }
}

#[test]
fn others_run_while_a_task_computes_and_wakes_of_it_are_kept() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&log);
    let outcome = start(|| async move {
        let other = Rc::clone(&seen);
        spawn(async move {
            for step in 0..3 {
                other.borrow_mut().push(format!("other {step}"));
                yield_now().await;
            }
        });
        let mut is_first = true;
        future::poll_fn(|cx| {
            if !std::mem::take(&mut is_first) {
                return Poll::Ready(());
            }
            for step in 0..2 {
                seen.borrow_mut().push(format!("main {step}"));
                // The host wakes it, and it wakes itself, while it is on the stack.
                fake::happen(Event::TaskReady(MAIN_ID));
                cx.waker().wake_by_ref();
                assert!(run_others());
                assert_eq!(current_id(), MAIN_ID);
            }
            Poll::Pending
        })
        .await;
        seen.borrow_mut().push("main is polled again".to_owned());
    });
    let expected = [
        "main 0",
        "other 0",
        "main 1",
        "other 1",
        "main is polled again",
    ];
    assert_eq!(*log.borrow(), expected);
    assert_eq!(outcome, 1);
}

/// Id of the main future.
const MAIN_ID: i32 = 0;

#[test]
fn tasks_that_wake_each_other_give_the_host_its_turn() {
    let runs = Rc::new(Cell::new(0));
    let wakers: Rc<RefCell<[Option<Waker>; 2]>> = Rc::default();
    let (seen, shared) = (Rc::clone(&runs), Rc::clone(&wakers));
    start(|| async move {
        for own in 0..2 {
            let (seen, shared) = (Rc::clone(&seen), Rc::clone(&shared));
            spawn(future::poll_fn(move |cx| {
                seen.set(seen.get() + 1);
                let mut wakers = shared.borrow_mut();
                wakers[own] = Some(cx.waker().clone());
                if let Some(other) = &wakers[1 - own] {
                    other.wake_by_ref();
                }
                Poll::<()>::Pending
            }));
        }
        pending().await
    });
    assert_eq!(runs.get(), 127, "and the main task");
    assert_eq!(fake::calls("mark_task_ready").len(), 1);
}

#[test]
fn an_aborted_task_is_dropped_at_once_and_its_handle_says_so() {
    let outcomes = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&outcomes);
    let dropped = Rc::new(());
    let witness = Rc::downgrade(&dropped);
    start(|| async move {
        let task = spawn(async move {
            pending::<()>().await;
            drop(dropped);
        });
        yield_now().await;
        task.abort();
        task.abort();
        seen.borrow_mut().push(task.is_finished());
        assert_eq!(task.await, Err(Canceled));
        let reused = spawn(async { 5 });
        assert_eq!(reused.await, Ok(5));
        seen.borrow_mut().push(witness.upgrade().is_none());
        pending().await
    });
    poll_until_idle();
    assert_eq!(outcomes.take(), [true, true]);
}

#[test]
fn a_task_may_abort_itself_and_the_last_poll_counts() {
    let outcome = Rc::new(Cell::new(None));
    let seen = Rc::clone(&outcome);
    start(|| async move {
        let own: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
        let inner = Rc::clone(&own);
        let task = spawn(async move {
            yield_now().await;
            if let Some(task) = &*inner.borrow() {
                task.abort();
            }
            pending::<()>().await;
        });
        own.replace(Some(task));
        yield_now().await;
        yield_now().await;
        yield_now().await;
        let task = own.take();
        seen.set(task.map(|task| task.is_finished()));
        pending().await
    });
    poll_until_idle();
    assert_eq!(outcome.get(), Some(true));
}

#[test]
fn a_dropped_handle_detaches() {
    let done = Rc::new(Cell::new(false));
    let seen = Rc::clone(&done);
    start(|| async move {
        drop(spawn(async move { seen.set(true) }));
        pending().await
    });
    assert!(done.get());
}

#[test]
fn ids_of_finished_tasks_are_used_again() {
    start(|| async {
        for _ in 0..10 {
            let id = spawn(async { current_id() }).await;
            assert_eq!(id, Ok(1));
        }
    });
    assert_eq!(poll(), 1);
}
