//! Calls of the family `task`: handles, polling, wakers, ready tasks.
//!
//! What can be done with a resource is decided here, by its kind; anything else
//! is an unsupported operation.

use std::future::Future as _;
use std::io;
use std::task::{Context, Poll, Waker};

use rand::Rng as _;
use wapo_abi::message::InputChannel;
use wapo_abi::wake::EVENT_SIZE;
use wapo_abi::{Errno, WakeCode, WakerId};

use super::{WORK_SYSCALL, family, work_moved};
use crate::net::connect::{TCP_CONNECT_BYTES, TLS_CONNECT_BYTES};
use crate::net::dialer::Dialer;
use crate::net::failure::Failure;
use crate::net::rate_waits::RateWaits;
use crate::net::stream::Stream;
use crate::quotas::QuotaKind;
use crate::resource::{Handle, Resource, ResourceTable};
use crate::state::InstanceState;
use crate::wake::LazyWaker;

/// Stands for any handle, and for calls without one.
pub(super) const ANY_HANDLE: Handle = Handle(-1);

/// Bytes charged for ending the writing side of a stream.
pub(super) const SHUTDOWN_BYTES: u64 = 128;

/// Polls with the guest's waker, which is made only if the first try must wait.
pub(super) fn poll_lazily<T>(
    mut lazy: LazyWaker<'_>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    if !lazy.is_cheap()
        && let Poll::Ready(value) = poll(&mut Context::from_waker(Waker::noop()))
    {
        return Poll::Ready(value);
    }
    let waker = lazy.make();
    poll(&mut Context::from_waker(&waker))
}

impl InstanceState {
    /// Maps the outcome of I/O: one door from `io::Error` to the guest.
    pub(super) fn io_outcome<T>(
        &mut self,
        handle: Handle,
        outcome: Poll<io::Result<T>>,
    ) -> Result<T, Errno> {
        match outcome {
            Poll::Ready(Ok(value)) => Ok(value),
            Poll::Ready(Err(error)) => {
                self.fail(handle, Failure::from(&error));
                Err(Errno::IO_ERROR)
            }
            Poll::Pending => Err(Errno::PENDING),
        }
    }

    /// Keeps why a call on the network failed, for a guest that asks.
    #[cold]
    pub(super) fn fail(&mut self, handle: Handle, failure: Failure) {
        self.net_failure = Some((handle, failure));
    }
}

/// Bytes that come.
pub(super) const WAY_IN: QuotaKind = QuotaKind::Ingress;
/// Bytes that go.
pub(super) const WAY_OUT: QuotaKind = QuotaKind::Egress;

/// How many of so many bytes may be moved this way now; they count as soon as the
/// meter counts them. To be asked before each step that moves bytes.
///
/// # Errors
///
/// [`Errno::PENDING`] when the app's quota, or that of all apps, is used up for the
/// moment. The guest is woken when it is worth trying again.
#[inline]
pub(super) fn allow(
    waits: &mut RateWaits,
    dialer: &Dialer,
    handle: Handle,
    way: QuotaKind,
    wanted: usize,
    lazy: &mut LazyWaker<'_>,
) -> Result<usize, Errno> {
    match dialer.quotas.allow(way, wanted, &dialer.meter) {
        Ok(len) => {
            waits.moved(handle, way);
            Ok(len)
        }
        Err(time) => {
            waits.wait(handle, way, lazy.make(), time);
            Err(Errno::PENDING)
        }
    }
}

fn stream(resources: &mut ResourceTable, handle: Handle) -> Result<&mut Stream, Errno> {
    match resources.get(handle)? {
        Resource::Stream(stream) => Ok(stream),
        _ => Err(Errno::UNSUPPORTED_OPERATION),
    }
}

impl family::task::Calls for InstanceState {
    fn close(&mut self, handle: Handle) -> Result<(), Errno> {
        self.add_work(WORK_SYSCALL);
        if let Some((on, _)) = &mut self.net_failure
            && *on == handle
        {
            // The number may soon stand for something else.
            *on = ANY_HANDLE;
        }
        let closed = self.resources.remove(handle)?;
        self.rate_waits.over(handle);
        match closed {
            Resource::Stream(stream) => stream.close(),
            Resource::Listener(listener) => {
                self.room_waits.over(handle);
                self.context.close_listener(*listener);
            }
            Resource::Udp(udp) => self.context.close_udp(*udp),
            Resource::Inbox(channel) => {
                let inbox = self.inbox_mut(channel);
                inbox.closed = true;
                inbox.waiting = None;
                self.announce_channels();
            }
            Resource::Timer(_)
            | Resource::Reply(_)
            | Resource::HttpReply(_)
            | Resource::Connecting(_)
            | Resource::Evidence(_) => {}
        }
        // What was closed has given back what it had.
        self.room_waits.closed_something();
        Ok(())
    }

    fn poll(&mut self, waker: WakerId, handle: Handle) -> Result<Vec<u8>, Errno> {
        let channel = match self.resources.get(handle) {
            Ok(Resource::Inbox(channel)) => Ok(*channel),
            Ok(_) => Err(Errno::UNSUPPORTED_OPERATION),
            Err(errno) => Err(errno),
        };
        let message = channel.ok().and_then(|channel| self.next_request(channel));
        // The fields are borrowed one by one: the waker holds two of them. It is
        // made whatever follows, so that the guest hears of its release.
        let mut lazy = LazyWaker::new(&self.wakes, &mut self.task_wakers, self.task, waker);
        let inbox = match channel? {
            InputChannel::Query => &mut self.queries,
            InputChannel::HttpRequest => &mut self.requests,
        };
        match message {
            Some(message) => {
                inbox.waiting = None;
                self.context.control.note_io();
                Ok(message)
            }
            None => {
                inbox.waiting = Some(lazy.make());
                Err(Errno::PENDING)
            }
        }
    }

    fn poll_read(
        &mut self,
        waker: WakerId,
        handle: Handle,
        buffer: &mut [u8],
    ) -> Result<usize, Errno> {
        self.add_work(WORK_SYSCALL);
        // The fields are borrowed one by one: the waker holds two of them.
        let mut lazy = LazyWaker::new(&self.wakes, &mut self.task_wakers, self.task, waker);
        match self.resources.get(handle)? {
            Resource::Stream(stream) => {
                let (rates, dialer) = (&mut self.rate_waits, &self.dialer);
                let len = allow(rates, dialer, handle, WAY_IN, buffer.len(), &mut lazy)?;
                let read = poll_lazily(lazy, |cx| stream.poll_read(cx, &mut buffer[..len]));
                let read = self.io_outcome(handle, read)?;
                self.add_work(work_moved(read));
                self.context.config.meter.add_ingress(read as u64);
                self.context.control.note_io();
                Ok(read)
            }
            Resource::Timer(sleep) => match poll_lazily(lazy, |cx| sleep.as_mut().poll(cx)) {
                Poll::Ready(()) => Ok(0),
                Poll::Pending => Err(Errno::PENDING),
            },
            _ => Err(Errno::UNSUPPORTED_OPERATION),
        }
    }

    fn poll_write(&mut self, waker: WakerId, handle: Handle, data: &[u8]) -> Result<usize, Errno> {
        self.add_work(WORK_SYSCALL);
        let mut lazy = LazyWaker::new(&self.wakes, &mut self.task_wakers, self.task, waker);
        let stream = stream(&mut self.resources, handle)?;
        let (rates, dialer) = (&mut self.rate_waits, &self.dialer);
        let len = allow(rates, dialer, handle, WAY_OUT, data.len(), &mut lazy)?;
        let written = poll_lazily(lazy, |cx| stream.poll_write(cx, &data[..len]));
        let written = self.io_outcome(handle, written)?;
        self.add_work(work_moved(written));
        self.context.config.meter.add_egress(written as u64);
        self.context.control.note_io();
        Ok(written)
    }

    fn poll_shutdown(&mut self, waker: WakerId, handle: Handle) -> Result<(), Errno> {
        self.add_work(WORK_SYSCALL);
        let (lazy, resources) = self.lazy_waker(waker);
        let stream = stream(resources, handle)?;
        let shut = poll_lazily(lazy, |cx| stream.poll_shutdown(cx));
        self.io_outcome(handle, shut)?;
        self.context.config.meter.add_egress(SHUTDOWN_BYTES);
        Ok(())
    }

    fn poll_res(&mut self, waker: WakerId, handle: Handle) -> Result<Handle, Errno> {
        self.add_work(WORK_SYSCALL);
        let (lazy, resources) = self.lazy_waker(waker);
        // Before the outcome is taken: a stream without a handle would be lost.
        let Resource::Connecting(_) = resources.get(handle)? else {
            return Err(Errno::UNSUPPORTED_OPERATION);
        };
        resources.reserve(1)?;
        let Resource::Connecting(connecting) = resources.get(handle)? else {
            return Err(Errno::UNSUPPORTED_OPERATION);
        };
        let polled = poll_lazily(lazy, |cx| connecting.poll(cx));
        if !matches!(polled, Poll::Ready(Some(Ok(_)))) {
            resources.release();
        }
        match polled {
            Poll::Pending => Err(Errno::PENDING),
            Poll::Ready(Some(Ok(stream))) => {
                // The guest pays for a connection that it takes.
                let bytes = match &stream {
                    Stream::Tls(_) => TLS_CONNECT_BYTES,
                    _ => TCP_CONNECT_BYTES,
                };
                self.context.config.meter.add_ingress(bytes);
                self.insert_stream(stream)
            }
            Poll::Ready(Some(Err(failure))) => {
                self.fail(handle, failure);
                Err(Errno::IO_ERROR)
            }
            // The outcome was handed over before.
            Poll::Ready(None) => Err(Errno::IO_ERROR),
        }
    }

    fn mark_task_ready(&mut self, task: i32) -> Result<(), Errno> {
        self.wakes.mark_ready(task);
        Ok(())
    }

    fn next_ready_task(&mut self) -> Result<i32, Errno> {
        self.wakes.next_ready().ok_or(Errno::NOT_FOUND)
    }

    fn enable_ocall_trace(&mut self, enable: bool) -> Result<(), Errno> {
        self.trace = enable;
        self.pay_attention();
        Ok(())
    }

    fn awake_wakers(&mut self) -> Result<Vec<WakeCode>, Errno> {
        let codes = self.wakes.take_codes();
        self.add_work(EVENT_SIZE as u64 * codes.len() as u64);
        Ok(codes)
    }

    fn getrandom(&mut self, buffer: &mut [u8]) -> Result<(), Errno> {
        self.add_work(buffer.len() as u64);
        rand::rng().fill_bytes(buffer);
        Ok(())
    }

    fn next_events(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        // A guest may ask in the middle of a long poll, too.
        self.announce_requests();
        let written = self.wakes.write_events(buffer);
        self.add_work(written as u64);
        Ok(written)
    }

    fn poll_flush(&mut self, waker: WakerId, handle: Handle) -> Result<(), Errno> {
        self.add_work(WORK_SYSCALL);
        let (lazy, resources) = self.lazy_waker(waker);
        let stream = stream(resources, handle)?;
        let flushed = poll_lazily(lazy, |cx| stream.poll_flush(cx));
        self.io_outcome(handle, flushed)
    }
}
