//! Sleeps against a scripted host.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use wapo_abi::Errno;

use super::*;
use crate::sys::fake::{self, Answer};

/// Waits that end while a test runs.
const MOMENT: Duration = Duration::from_millis(2);
/// Waits that do not.
const LONG: Duration = Duration::from_secs(3600);

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Counter {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn poll_once(sleep: &mut Sleep) -> bool {
    poll_with(sleep, Waker::noop())
}

fn poll_with(sleep: &mut Sleep, waker: &Waker) -> bool {
    Pin::new(sleep)
        .poll(&mut Context::from_waker(waker))
        .is_ready()
}

/// Lets time go by; there is nothing else to do meanwhile.
fn pass(duration: Duration) {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// The milliseconds that the host's timer was set to.
fn settings() -> Vec<usize> {
    let calls = fake::calls("reset_timer");
    calls.iter().map(|call| call.slots[1]).collect()
}

#[test]
fn any_number_of_sleeps_takes_one_timer() {
    fake::install();
    start();
    let mut sleeps: Vec<_> = (0..10_000).map(|_| sleep(LONG)).collect();
    assert!(sleeps.iter_mut().all(|sleep| !poll_once(sleep)));
    set();
    set();
    assert_eq!(fake::calls("create_timer").len(), 1);
    assert_eq!(fake::calls("poll_read").len(), 1);
    assert_eq!(settings().len(), 1);
    drop(sleeps);
    assert_eq!(queue::len(), 0);
    assert_eq!(fake::calls("close").len(), 0, "nothing to give back");
}

#[test]
fn only_an_earlier_deadline_sets_the_timer_anew() {
    fake::install();
    start();
    let mut long = sleep(LONG);
    poll_once(&mut long);
    set();
    let mut longer = sleep(LONG * 2);
    poll_once(&mut longer);
    set();
    assert_eq!(settings().len(), 1);
    let mut shorter = sleep(LONG / 2);
    poll_once(&mut shorter);
    set();
    let set_to = settings();
    assert_eq!(set_to.len(), 1);
    assert!((1_790_000..=1_800_000).contains(&set_to[0]), "{set_to:?}");
    assert_eq!(fake::calls("poll_read").len(), 1, "the first wait goes on");
}

#[test]
fn a_sleep_ends_when_its_time_has_come_and_no_other_does() {
    fake::install();
    start();
    let (first, second) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
    let (mut short, mut long) = (sleep(MOMENT), sleep(LONG));
    assert!(!poll_with(&mut long, &Waker::from(Arc::clone(&second))));
    assert!(!poll_with(&mut short, &Waker::from(Arc::clone(&first))));
    set();
    pass(MOMENT);
    fire();
    assert_eq!((first.count(), second.count()), (1, 0));
    assert!(poll_once(&mut short) && short.is_elapsed());
    assert!(!poll_once(&mut long));
    set();
    assert_eq!(fake::calls("poll_read").len(), 2, "for the rest");
}

#[test]
fn sleeps_end_in_the_order_of_their_deadlines_and_equal_ones_in_that_of_their_polls() {
    struct Note(usize, Arc<std::sync::Mutex<Vec<usize>>>);
    impl Wake for Note {
        fn wake(self: Arc<Self>) {
            self.1.lock().expect("no panic").push(self.0);
        }
    }
    fake::install();
    let order = Arc::default();
    let now = Instant::now();
    let mut sleeps: Vec<_> = [3, 1, 2, 1, 3]
        .into_iter()
        .map(|millis| sleep_until(now + MOMENT * millis))
        .collect();
    for (number, sleep) in sleeps.iter_mut().enumerate() {
        poll_with(
            sleep,
            &Waker::from(Arc::new(Note(number, Arc::clone(&order)))),
        );
    }
    pass(MOMENT * 4);
    fire();
    assert_eq!(*order.lock().expect("no panic"), [1, 3, 2, 0, 4]);
}

#[test]
fn zero_and_the_past_are_over_at_once_without_the_host() {
    fake::install();
    let mut zero = sleep(Duration::ZERO);
    assert!(zero.is_elapsed() && poll_once(&mut zero));
    let mut past = sleep_until(Instant::now());
    assert!(past.is_elapsed() && poll_once(&mut past));
    set();
    for name in ["create_timer", "reset_timer", "poll_read"] {
        assert!(fake::calls(name).is_empty(), "{name}");
    }
}

#[test]
fn a_wait_beyond_the_clock_and_the_host_is_made_of_several_settings() {
    fake::install();
    start();
    let mut never = sleep(Duration::MAX);
    for _ in 0..3 {
        assert!(!poll_once(&mut never));
        set();
        assert_eq!(settings(), [i32::MAX as usize]);
        fire();
    }
}

#[test]
fn a_reset_takes_the_task_that_waits_along() {
    fake::install();
    start();
    let counter = Arc::new(Counter::default());
    let mut sleep = sleep(LONG);
    poll_with(&mut sleep, &Waker::from(Arc::clone(&counter)));
    sleep.reset(Instant::now() + MOMENT);
    pass(MOMENT);
    fire();
    assert_eq!(counter.count(), 1);
    assert!(poll_once(&mut sleep));
    sleep.reset(Instant::now() + LONG);
    assert!(!sleep.is_elapsed() && !poll_once(&mut sleep));
    sleep.reset(Instant::now());
    assert_eq!(queue::len(), 1, "it is woken for what is over");
    fire();
    assert!(poll_once(&mut sleep));
}

#[test]
fn without_a_timer_the_program_stays_on_time() {
    fake::install();
    for _ in 0..2 {
        fake::answer("create_timer", Answer::Fails(Errno::RESOURCE_LIMITED));
    }
    start();
    let mut starved = sleep(LONG);
    poll_once(&mut starved);
    set();
    let marks = fake::calls("mark_task_ready");
    assert_eq!(marks.len(), 1, "the host comes back");
    fire();
    set();
    assert_eq!(fake::calls("create_timer").len(), 3);
    assert_eq!(settings().len(), 1, "the third attempt worked");
}

#[test]
fn missed_ticks_become_one_and_the_schedule_stays() {
    let start = Instant::now();
    let second = Duration::from_secs(1);
    assert_eq!(next_tick(start, start, second), start + second);
    let late = start + Duration::from_millis(3_400);
    assert_eq!(next_tick(start, late, second), start + second * 4);
}

#[test]
fn a_period_beyond_the_clock_never_ticks_again() {
    let now = Instant::now();
    for period in [Duration::MAX, Duration::MAX / 2, CENTURY] {
        assert!(next_tick(now, now, period) >= now + CENTURY);
        let later = now + LONG;
        assert!(next_tick(now, later, period) > later + LONG);
    }
}
