//! A host made of a script, one per test thread.
//!
//! Tests queue answers by call id and look at the calls that were made. A call
//! without a queued answer succeeds with 0, except those that wait: they are
//! pending.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

use wapo_abi::{CALLS, Errno, Event, GET_RETURN, wire};

/// What the script says to one call.
pub(crate) enum Answer {
    /// A number.
    Value(u32),
    /// A failure.
    Fails(Errno),
    /// Bytes to fetch, for slow calls.
    Bytes(Vec<u8>),
}

/// One call that was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Call {
    pub(crate) task: i32,
    pub(crate) name: &'static str,
    pub(crate) slots: [usize; 4],
}

impl Call {
    /// The slot that calls which wait use for their waker.
    pub(crate) fn waker(&self) -> i32 {
        u32::try_from(self.slots[0]).expect("32 bits").cast_signed()
    }
}

#[derive(Default)]
struct Host {
    events: VecDeque<Event>,
    answers: HashMap<&'static str, VecDeque<Answer>>,
    calls: Vec<Call>,
    returned: Option<Vec<u8>>,
    written: Vec<u8>,
}

thread_local! {
    static HOST: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// Puts a fresh host in place.
pub(crate) fn install() {
    HOST.set(Some(Host::default()));
}

fn with<T>(use_host: impl FnOnce(&mut Host) -> T) -> T {
    HOST.with_borrow_mut(|host| use_host(host.as_mut().expect("installed")))
}

/// Queues an event for `next_events`.
pub(crate) fn happen(event: Event) {
    with(|host| host.events.push_back(event));
}

/// Queues an answer to a call.
pub(crate) fn answer(name: &'static str, answer: Answer) {
    with(|host| host.answers.entry(name).or_default().push_back(answer));
}

/// The calls of a name since the last time of asking.
pub(crate) fn calls(name: &str) -> Vec<Call> {
    with(|host| {
        let (taken, kept) = host.calls.iter().partition(|call| call.name == name);
        host.calls = kept;
        taken
    })
}

/// The bytes that streams and oneshot senders took since the last time of asking.
pub(crate) fn written() -> Vec<u8> {
    with(|host| std::mem::take(&mut host.written))
}

pub(super) fn call(id: u32, slots: [usize; 4]) -> Option<i64> {
    let task = crate::task::current_id();
    HOST.try_with(|host| {
        let outcome = respond(host.borrow_mut().as_mut()?, task, id, slots);
        Some(wire::pack(outcome))
    })
    .ok()
    .flatten()
}

fn respond(host: &mut Host, task: i32, id: u32, slots: [usize; 4]) -> Result<u32, Errno> {
    if id == GET_RETURN {
        let bytes = host.returned.take().ok_or(Errno::NOT_FOUND)?;
        super::fill_for_tests(slots[0], slots[1], &bytes);
        return u32::try_from(bytes.len()).map_err(|_| Errno::INVALID_PARAMETER);
    }
    let row = CALLS
        .iter()
        .find(|row| row.id == id)
        .ok_or(Errno::UNKNOWN_CALL_NUMBER)?;
    if row.name == "next_events" {
        let room = slots[1] / 8;
        let count = room.min(host.events.len());
        let bytes: Vec<u8> = host
            .events
            .drain(..count)
            .flat_map(Event::to_bytes)
            .collect();
        super::fill_for_tests(slots[0], slots[1], &bytes);
        return u32::try_from(bytes.len()).map_err(|_| Errno::INVALID_PARAMETER);
    }
    host.calls.push(Call {
        task,
        name: row.name,
        slots,
    });
    let scripted = host.answers.get_mut(row.name).and_then(VecDeque::pop_front);
    let may_wait = row.args.first().is_some_and(|arg| arg.kind == "waker");
    match scripted {
        Some(Answer::Value(value)) => {
            match row.name {
                "poll_write" => host
                    .written
                    .extend(super::peek_for_tests(slots[2], value as usize)),
                "http_respond" => host
                    .written
                    .extend(super::peek_for_tests(slots[2], slots[3])),
                _ => {}
            }
            Ok(value)
        }
        Some(Answer::Fails(errno)) => Err(errno),
        Some(Answer::Bytes(bytes)) if row.mode.is_fast() => {
            // The bytes go into the buffer.
            let before = row.args.iter().take_while(|arg| arg.kind != "bytes_mut");
            let at: usize = before.map(|arg| wapo_abi::calls::slots_of(arg.kind)).sum();
            super::fill_for_tests(slots[at], slots[at + 1], &bytes);
            u32::try_from(bytes.len()).map_err(|_| Errno::INVALID_PARAMETER)
        }
        Some(Answer::Bytes(bytes)) => {
            let len = u32::try_from(bytes.len()).map_err(|_| Errno::INVALID_PARAMETER);
            host.returned = Some(bytes);
            len
        }
        None if may_wait => Err(Errno::PENDING),
        None => {
            let sent = match row.name {
                "oneshot_send" | "http_finish" => Some((slots[1], slots[2])),
                "http_respond" => Some((slots[2], slots[3])),
                _ => None,
            };
            if let Some((address, len)) = sent {
                host.written.extend(super::peek_for_tests(address, len));
            }
            Ok(0)
        }
    }
}
