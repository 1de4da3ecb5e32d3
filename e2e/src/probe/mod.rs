//! Host calls by number, made by a guest on a test's behalf.
//!
//! The guest is `fixtures/probe.wat`. A test says `probe.create_timer(10)`; the
//! call travels as a query, the guest makes it, its outcome travels back. What
//! is written down here (numbers, layouts) is written down a second time on
//! purpose: a change of the contract fails tests instead of changing both.

mod calls;
mod guard;
mod http;
mod listen;
pub mod noise;
mod script;
mod udp;

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

pub use calls::{TlsIdentity, unpack};
pub use http::Fields;
pub use listen::Listen;
pub use script::{Drain, Output, Script};
pub use udp::{Datagram, datagrams};
use wapod::AppConfig;

use crate::{App, Daemon, fixture, within};

/// Memory that the guest does not use itself.
pub const SCRATCH: u32 = 0x10_0000;
/// Bytes of memory that the guest starts with.
pub const MEMORY_BYTES: u32 = 32 << 16;
/// Most bytes that fit into one query or answer besides the script.
pub const TRANSFER_BYTES_MAX: u32 = 0x3_8000;

/// The number of an error, as guests know it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Errno {
    /// No such call.
    UnknownCall = 1,
    /// A bad slice or value.
    InvalidParameter = 3,
    /// A scalar out of range, or no UTF-8.
    InvalidEncoding = 4,
    /// No such thing.
    NotFound = 7,
    /// Not with this kind of handle.
    Unsupported = 8,
    /// The network, the disk, the peer.
    Io = 9,
    /// A limit.
    Limited = 10,
    /// Later.
    Pending = 11,
    /// Never again.
    EndOfFile = 12,
    /// There is one.
    AlreadyExists = 15,
    /// Not allowed.
    Forbidden = 17,
    /// A lock is taken, or not held.
    Condition = 18,
}

impl Errno {
    /// The error of a number.
    ///
    /// # Panics
    ///
    /// For a number that no call may answer with.
    pub fn of(number: u32) -> Self {
        let all = [
            Self::UnknownCall,
            Self::InvalidParameter,
            Self::InvalidEncoding,
            Self::NotFound,
            Self::Unsupported,
            Self::Io,
            Self::Limited,
            Self::Pending,
            Self::EndOfFile,
            Self::AlreadyExists,
            Self::Forbidden,
            Self::Condition,
        ];
        let found = all.into_iter().find(|errno| *errno as u32 == number);
        found.unwrap_or_else(|| panic!("the host answered with error {number}"))
    }
}

/// What a fast call answers with.
pub type Fast = Result<u32, Errno>;
/// What a slow call answers with.
pub type Slow = Result<Vec<u8>, Errno>;

/// What the host told the guest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// This task has something to do.
    Task(i32),
    /// This waker was woken.
    Wake(i32),
    /// The host holds this waker no more.
    Released(i32),
}

/// A guest that makes the calls a test wants.
pub struct Probe {
    app: App,
    wakers: AtomicI32,
    /// Wakers that reached a call's implementation.
    used: Mutex<Vec<i32>>,
    /// All events so far.
    seen: Mutex<Vec<Event>>,
}

impl Probe {
    /// Starts a daemon and a probe without permissions.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts a daemon and a probe after `change` has seen the app.
    pub async fn with(change: impl FnOnce(&mut AppConfig)) -> Self {
        Self::on(&Daemon::start().await, change).await
    }

    /// Starts a probe on a daemon.
    pub async fn on(daemon: &Daemon, change: impl FnOnce(&mut AppConfig)) -> Self {
        let mut config = fixture("probe");
        change(&mut config);
        Self::of(daemon.deploy(config).await)
    }

    /// An app that is a probe, or a variant of it.
    pub fn of(app: App) -> Self {
        Self {
            app,
            wakers: AtomicI32::new(1),
            used: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// The app.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Gas of an instance that lives for one script, its start included.
    ///
    /// An answer may be here before the poll that gave it is settled; after the
    /// end everything is.
    pub async fn gas_of(daemon: &Daemon, script: &Script) -> u64 {
        static COUNT: AtomicI32 = AtomicI32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let probe = Self::on(daemon, |app| app.label = format!("gas-{number}")).await;
        probe.run(script).await;
        probe.app.stop().await;
        probe.app.usage().gas
    }

    /// Runs a script.
    ///
    /// # Panics
    ///
    /// When the guest does not answer.
    pub async fn run(&self, script: &Script) -> Output {
        self.try_run(script)
            .await
            .unwrap_or_else(|error| panic!("the probe: {error}"))
    }

    /// Runs a script that may end the guest.
    ///
    /// # Errors
    ///
    /// What the daemon says instead of an answer.
    pub async fn try_run(&self, script: &Script) -> Result<Output, String> {
        let answer = self.app.query("/", script.bytes().to_vec()).await?;
        Ok(Output::new(answer))
    }

    /// Makes one fast call.
    pub async fn fast(&self, call: u32, slots: [u32; 4]) -> Fast {
        self.run(&Script::new().fast(call, slots)).await.result()
    }

    /// Makes one slow call without fetching the answer.
    pub async fn slow_only(&self, call: u32, slots: [u32; 4]) -> Fast {
        self.run(&Script::new().slow(call, slots)).await.result()
    }

    /// Makes one slow call and fetches its answer.
    pub async fn slow(&self, call: u32, slots: [u32; 4]) -> Slow {
        self.run(&Script::new().fetch(call, slots)).await.fetched()
    }

    /// Makes one fast call with bytes as its first slice: `slots` are what
    /// comes before the slice.
    pub async fn fast_with(&self, call: u32, before: &[u32], data: &[u8]) -> Fast {
        let script = Script::new().write(SCRATCH, data);
        let slots = slots_with(before, data);
        self.run(&script.fast(call, slots)).await.result()
    }

    /// As [`fast_with`](Self::fast_with), slow.
    pub async fn slow_with(&self, call: u32, before: &[u32], data: &[u8]) -> Slow {
        let script = Script::new().write(SCRATCH, data);
        let slots = slots_with(before, data);
        self.run(&script.fetch(call, slots)).await.fetched()
    }

    /// Bytes of the guest's memory.
    pub async fn read(&self, at: u32, len: u32) -> Vec<u8> {
        let mut output = self.run(&Script::new().read(at, len)).await;
        output.bytes(len as usize)
    }

    /// A number for a waker that was not used before.
    pub fn new_waker(&self) -> u32 {
        self.wakers.fetch_add(1, Ordering::Relaxed).cast_unsigned()
    }

    /// Makes a fast call that may have to wait, once. The first slot, the
    /// waker, comes from here; gives it back as well.
    pub async fn try_wait(&self, call: u32, rest: [u32; 3]) -> (u32, Fast) {
        let waker = self.new_waker();
        let [b, c, d] = rest;
        let result = self.fast(call, [waker, b, c, d]).await;
        self.count_waker(waker, result);
        (waker, result)
    }

    /// Makes a fast call until it is done waiting.
    pub async fn wait(&self, call: u32, rest: [u32; 3]) -> Fast {
        loop {
            let (waker, result) = self.try_wait(call, rest).await;
            if result != Err(Errno::Pending) {
                return result;
            }
            self.until_woken(waker).await;
        }
    }

    /// Makes a slow call until it is done waiting.
    pub async fn wait_slow(&self, call: u32, rest: [u32; 3]) -> Slow {
        loop {
            let waker = self.new_waker();
            let [b, c, d] = rest;
            let result = self.slow(call, [waker, b, c, d]).await;
            self.count_waker(waker, result.as_ref().map(|_| 0).map_err(|error| *error));
            if result != Err(Errno::Pending) {
                return result;
            }
            self.until_woken(waker).await;
        }
    }

    /// Waits until the host wakes a waker.
    pub async fn until_woken(&self, waker: u32) {
        self.run(&Script::new().park(waker)).await;
    }

    /// Notes that a call took a waker, unless its arguments were refused.
    pub fn count_waker(&self, waker: u32, result: Fast) {
        let refused = [
            Errno::UnknownCall,
            Errno::InvalidParameter,
            Errno::InvalidEncoding,
        ];
        if !result.is_err_and(|errno| refused.contains(&errno)) {
            self.used
                .lock()
                .expect("no panic before")
                .push(waker.cast_signed());
        }
    }

    /// What the host has told the guest since the last time.
    pub async fn events(&self) -> Vec<Event> {
        // The guest drains its queue before it looks at a script.
        let events = self.run(&Script::new().events()).await.events();
        self.seen.lock().expect("no panic before").extend(&events);
        events
    }

    /// Takes events until they are all there: what a script causes may be heard
    /// a poll later than the next script is read.
    ///
    /// # Panics
    ///
    /// When they do not come.
    pub async fn events_until(&self, are_all: impl Fn(&[Event]) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        within("the events", async {
            while !are_all(&events) {
                events.extend(self.events().await);
            }
        })
        .await;
        events
    }

    /// Whether each waker but those in `waiting` was released.
    async fn has_heard_of_all(&self, waiting: &[u32]) -> bool {
        self.events().await;
        let seen = self.seen.lock().expect("no panic before");
        let released: HashSet<i32> = seen
            .iter()
            .filter_map(|event| match event {
                Event::Released(waker) => Some(*waker),
                _ => None,
            })
            .collect();
        let used = self.used.lock().expect("no panic before");
        used.iter()
            .all(|waker| released.contains(waker) || waiting.contains(&waker.cast_unsigned()))
    }

    /// Checks the rule of wakers over all that happened so far: none released
    /// twice, none woken after its release, and, but for `waiting`, each
    /// released.
    pub async fn check_wakers(&self, waiting: &[u32]) {
        // The source of a wake releases the guest's waker a moment later.
        let all_heard = async {
            while !self.has_heard_of_all(waiting).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within("all wakers to be released", all_heard).await;
        let mut released: HashMap<i32, u32> = HashMap::new();
        for event in self.seen.lock().expect("no panic before").iter() {
            match event {
                Event::Released(waker) => *released.entry(*waker).or_default() += 1,
                Event::Wake(waker) => {
                    assert!(
                        !released.contains_key(waker),
                        "waker {waker} was woken after its release"
                    );
                }
                Event::Task(_) => {}
            }
        }
        for waker in self.used.lock().expect("no panic before").iter() {
            let expected = u32::from(!waiting.contains(&waker.cast_unsigned()));
            let count = released.remove(waker).unwrap_or(0);
            assert_eq!(count, expected, "releases of waker {waker}");
        }
        assert!(
            released.is_empty(),
            "never used, yet released: {released:?}"
        );
    }
}

fn slots_with(before: &[u32], data: &[u8]) -> [u32; 4] {
    let mut slots = [0; 4];
    slots[..before.len()].copy_from_slice(before);
    slots[before.len()] = SCRATCH;
    slots[before.len() + 1] = u32::try_from(data.len()).expect("fits into a query");
    slots
}
