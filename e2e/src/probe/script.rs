//! Scripts for the probe and what comes back (the format stands at the head of
//! `fixtures/probe.wat`).

use super::{Errno, Event, Fast, Slow};

const FAST: u32 = 1;
const SLOW: u32 = 2;
const FETCH: u32 = 3;
const WRITE: u32 = 4;
const READ: u32 = 5;
const GROW: u32 = 6;
const FLOOD_FAST: u32 = 7;
const FLOOD_SLOW: u32 = 8;
const EVENTS: u32 = 9;
const PARK: u32 = 10;
const RETURN: u32 = 11;
const TRAP: u32 = 12;
const LOOP: u32 = 13;
const DRAIN: u32 = 14;
const FILL: u32 = 15;

/// How the probe hears of events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drain {
    /// By `next_events`.
    Events = 0,
    /// By `awake_wakers` and `next_ready_task`.
    Older = 1,
    /// Not at all.
    Never = 2,
}

/// A row of things to do.
#[derive(Clone, Default, Debug)]
pub struct Script {
    bytes: Vec<u8>,
    /// The guest task in whose name calls are made.
    task: u32,
}

impl Script {
    /// A script that does nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the calls that follow in the name of a guest task.
    #[must_use]
    pub fn task(mut self, task: u32) -> Self {
        self.task = task;
        self
    }

    /// One fast call.
    #[must_use]
    pub fn fast(self, call: u32, slots: [u32; 4]) -> Self {
        self.record(FAST, 1, call, slots)
    }

    /// Fast calls, all the same, until one fails.
    #[must_use]
    pub fn fast_times(self, count: u32, call: u32, slots: [u32; 4]) -> Self {
        self.record(FAST, count, call, slots)
    }

    /// One slow call without its answer.
    #[must_use]
    pub fn slow(self, call: u32, slots: [u32; 4]) -> Self {
        self.record(SLOW, 1, call, slots)
    }

    /// One slow call and its answer.
    #[must_use]
    pub fn fetch(self, call: u32, slots: [u32; 4]) -> Self {
        self.record(FETCH, 1, call, slots)
    }

    /// Fast calls whatever their outcome; the first slot grows by one each time.
    #[must_use]
    pub fn flood(self, count: u32, call: u32, slots: [u32; 4]) -> Self {
        self.record(FLOOD_FAST, count, call, slots)
    }

    /// As [`flood`](Self::flood), slow.
    #[must_use]
    pub fn flood_slow(self, count: u32, call: u32, slots: [u32; 4]) -> Self {
        self.record(FLOOD_SLOW, count, call, slots)
    }

    /// Puts bytes into the guest's memory.
    ///
    /// # Panics
    ///
    /// When there are more than 4 GiB.
    #[must_use]
    pub fn write(self, at: u32, data: &[u8]) -> Self {
        let len = u32::try_from(data.len()).expect("fits into memory");
        let mut script = self.record(WRITE, 1, 0, [at, len, 0, 0]);
        script.bytes.extend_from_slice(data);
        script
    }

    /// Reads the guest's memory.
    #[must_use]
    pub fn read(self, at: u32, len: u32) -> Self {
        self.record(READ, 1, 0, [at, len, 0, 0])
    }

    /// Fills the guest's memory.
    #[must_use]
    pub fn fill(self, at: u32, byte: u8, len: u32) -> Self {
        self.record(FILL, 1, 0, [at, u32::from(byte), len, 0])
    }

    /// Grows the guest's memory by so many pages.
    #[must_use]
    pub fn grow(self, pages: u32) -> Self {
        self.record(GROW, 1, 0, [pages, 0, 0, 0])
    }

    /// Takes the log of events.
    #[must_use]
    pub fn events(self) -> Self {
        self.record(EVENTS, 1, 0, [0; 4])
    }

    /// Answers when a waker was woken; the last step of a script.
    #[must_use]
    pub fn park(self, waker: u32) -> Self {
        self.record(PARK, 1, 0, [waker, 0, 0, 0])
    }

    /// Lets the poll export return this number from now on.
    #[must_use]
    pub fn poll_returns(self, number: u32) -> Self {
        self.record(RETURN, 1, 0, [number, 0, 0, 0])
    }

    /// Traps.
    #[must_use]
    pub fn trap(self) -> Self {
        self.record(TRAP, 1, 0, [0; 4])
    }

    /// Loops for ever.
    #[must_use]
    pub fn spin(self) -> Self {
        self.record(LOOP, 1, 0, [0; 4])
    }

    /// Changes how the guest hears of events.
    #[must_use]
    pub fn drain(self, how: Drain) -> Self {
        self.record(DRAIN, 1, 0, [how as u32, 0, 0, 0])
    }

    /// The script as the guest reads it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn record(mut self, op: u32, count: u32, call: u32, slots: [u32; 4]) -> Self {
        let [a, b, c, d] = slots;
        for number in [op, count, self.task, call, a, b, c, d] {
            self.bytes.extend_from_slice(&number.to_le_bytes());
        }
        self
    }
}

/// What a script left, read from the front.
#[derive(Clone, Debug)]
pub struct Output {
    bytes: Vec<u8>,
    at: usize,
}

impl Output {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// So many bytes.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let end = self.at + len;
        let taken = self.bytes.get(self.at..end).expect("more output").to_vec();
        self.at = end;
        taken
    }

    /// A number of four bytes.
    pub fn number(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes(4).try_into().expect("four bytes"))
    }

    /// What an import returned, as it was.
    pub fn raw(&mut self) -> i64 {
        i64::from_le_bytes(self.bytes(8).try_into().expect("eight bytes"))
    }

    /// Outcome of a call, without how often it succeeded.
    pub fn result(&mut self) -> Fast {
        self.counted().0
    }

    /// Outcome of the last of several calls, and how many succeeded.
    pub fn counted(&mut self) -> (Fast, u32) {
        let result = decode(self.raw());
        (result, self.number())
    }

    /// Outcome of a slow call whose answer was fetched.
    ///
    /// # Panics
    ///
    /// When the answer could not be fetched.
    pub fn fetched(&mut self) -> Slow {
        let (result, got) = (decode(self.raw()), decode(self.raw()));
        let len = result?;
        assert_eq!(got, Ok(len), "fetching the answer");
        Ok(self.bytes(len as usize))
    }

    /// A log of events.
    ///
    /// # Panics
    ///
    /// When it holds an event of an unknown kind.
    pub fn events(&mut self) -> Vec<Event> {
        let count = self.number() / 8;
        let events = (0..count).map(|_| {
            let (kind, number) = (self.number(), self.number().cast_signed());
            match kind {
                0 => Event::Task(number),
                1 if number < 0 => Event::Released(-1 - number),
                1 => Event::Wake(number),
                _ => panic!("an event of kind {kind}"),
            }
        });
        events.collect()
    }
}

fn decode(raw: i64) -> Fast {
    let low = u32::try_from(raw & 0xffff_ffff).expect("32 bits");
    match raw >> 32 {
        0 => Ok(low),
        1 => Err(Errno::of(low)),
        _ => panic!("the host returned {raw:#x}"),
    }
}
