//! The two bodies of an HTTP exchange, as one stream with two ends.
//!
//! A pipe in memory for each direction that knows an end from a loss: a writer
//! that finishes says so, by shutting down or (for a guest) by closing its handle,
//! with trailers or without. An end that vanishes without a word, because its
//! guest crashed or its client left, is an error to the other side and never
//! looks like the end of a body. One end is the embedder's, the other belongs
//! to a guest's handle (`stream`); what HTTP is, nobody here knows.

mod ends;
mod guest;

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::{io, mem};

pub(crate) use guest::GuestBody;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::host_memory::{HostMemory, MemoryCharge, NoMemory};
use crate::limits::{PIPE_BASE_BYTES, PIPE_BYTES};

/// Fields behind a body, names and values.
pub type Trailers = Vec<(String, String)>;

/// One end of an HTTP exchange: what one side writes, the other reads.
pub struct BodyStream {
    reader: BodyReader,
    writer: BodyWriter,
}

/// Reads the body that the other side writes.
///
/// Dropping it makes the other side's writes fail.
pub struct BodyReader(Arc<Pipe>);

/// Writes the body that the other side reads.
///
/// Shutting it down ends the body; dropping it without that breaks it off.
pub struct BodyWriter(Arc<Pipe>);

/// Why there are no trailers to be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoTrailers {
    /// The body was not read to its end.
    Early,
    /// The body had none, or they were taken.
    Absent,
}

/// One direction.
struct Pipe(Mutex<State>);

struct State {
    buffer: BytesMut,
    /// Memory of the instance for the buffer: the base, or more while it is used.
    charge: MemoryCharge,
    end: End,
    trailers: Trailers,
    /// Memory of the trailers until they are taken.
    trailers_charge: Option<MemoryCharge>,
    is_reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Of a task that waits for the reader to leave.
    watcher: Option<Waker>,
}

/// What the writer has said about the end.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum End {
    /// Nothing. Goes to one of the others, which stay.
    #[default]
    Open,
    /// No more follows.
    Finished,
    /// More should have followed.
    Broken,
}

impl State {
    fn new(charge: MemoryCharge) -> Self {
        Self {
            buffer: BytesMut::new(),
            charge,
            end: End::Open,
            trailers: Trailers::new(),
            trailers_charge: None,
            is_reader_gone: false,
            reader: None,
            writer: None,
            watcher: None,
        }
    }

    /// How many more bytes the buffer takes, of so many that are there.
    fn room(&mut self, wanted: usize) -> usize {
        let used = self.buffer.len();
        let capacity = |charge: &MemoryCharge| usize::try_from(charge.bytes()).unwrap_or(0);
        if wanted > capacity(&self.charge).saturating_sub(used) {
            // Refused, the body goes on in smaller steps.
            let _ = self.charge.resize(PIPE_BYTES as u64);
        }
        wanted.min(capacity(&self.charge).saturating_sub(used))
    }

    /// Gives memory back that an empty buffer does not need.
    fn relax(&mut self) {
        if self.buffer.is_empty() {
            // Less is never refused.
            let _ = self.charge.resize(PIPE_BASE_BYTES as u64);
        }
    }
}

impl Pipe {
    fn new(memory: &Arc<HostMemory>) -> Result<Arc<Self>, NoMemory> {
        let charge = memory.charge(PIPE_BASE_BYTES as u64)?;
        Ok(Arc::new(Self(Mutex::new(State::new(charge)))))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing below leaves the state half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the body, once; false when it had ended before, nobody reads it, or
    /// the host may not keep the trailers.
    fn end(&self, end: End, trailers: Trailers) -> bool {
        let mut state = self.state();
        if state.end != End::Open {
            return false;
        }
        let bytes: usize = trailers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if bytes > 0 {
            match state.charge.another(bytes as u64) {
                Ok(charge) => state.trailers_charge = Some(charge),
                // As if nobody read them: the body stays open.
                Err(_) => return false,
            }
        }
        state.end = end;
        state.trailers = trailers;
        let is_read = !state.is_reader_gone;
        wake(state, |state| &mut state.reader);
        is_read
    }

    /// Nobody reads any more.
    fn close_reader(&self) {
        let mut state = self.state();
        state.is_reader_gone = true;
        let unread = mem::take(&mut state.buffer);
        state.relax();
        let watcher = state.watcher.take();
        wake(state, |state| &mut state.writer);
        watcher.into_iter().for_each(Waker::wake);
        drop(unread);
    }

    /// Waits until there is something to read; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::ConnectionAborted`] when the writer broke off.
    fn poll_readable(&self, cx: &Context<'_>) -> Poll<io::Result<Option<MutexGuard<'_, State>>>> {
        let state = self.state();
        if state.is_reader_gone {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if !state.buffer.is_empty() {
            return Poll::Ready(Ok(Some(state)));
        }
        match state.end {
            End::Finished => Poll::Ready(Ok(None)),
            End::Broken => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            End::Open => {
                remember(state, cx.waker(), |state| &mut state.reader);
                Poll::Pending
            }
        }
    }
}

/// Wakes one of the sides when the lock is released.
fn wake(mut state: MutexGuard<'_, State>, side: impl FnOnce(&mut State) -> &mut Option<Waker>) {
    let waker = side(&mut state).take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Remembers whom to wake. What a waker does when it is dropped, it does when
/// the lock is released.
fn remember(
    mut state: MutexGuard<'_, State>,
    waker: &Waker,
    side: impl FnOnce(&mut State) -> &mut Option<Waker>,
) {
    let slot = side(&mut state);
    let old = match slot {
        Some(old) if old.will_wake(waker) => None,
        slot => slot.replace(waker.clone()),
    };
    drop(state);
    drop(old);
}

impl BodyReader {
    /// The next piece, without copying it; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::ConnectionAborted`] when the other side broke off.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.0.poll_readable(cx).map(|readable| {
            let taken = readable.map(|state| {
                let mut state = state?;
                let chunk = state.buffer.split().freeze();
                state.relax();
                wake(state, |state| &mut state.writer);
                Some(chunk)
            });
            taken.transpose()
        })
    }

    /// Takes the trailers; there are none before the body was read to its end.
    pub fn take_trailers(&mut self) -> Trailers {
        self.trailers().unwrap_or_default()
    }

    /// Takes the trailers.
    ///
    /// # Errors
    ///
    /// [`NoTrailers`] says why there are none.
    pub(crate) fn trailers(&mut self) -> Result<Trailers, NoTrailers> {
        let mut state = self.0.state();
        if state.end != End::Finished || !state.buffer.is_empty() {
            return Err(NoTrailers::Early);
        }
        let trailers = mem::take(&mut state.trailers);
        state.trailers_charge = None;
        match trailers.is_empty() {
            true => Err(NoTrailers::Absent),
            false => Ok(trailers),
        }
    }
}

impl BodyWriter {
    /// Ends the body. Dropping the writer then is an orderly end.
    ///
    /// Without effect when the body has ended already, in whatever way.
    pub fn finish(&mut self) {
        self.0.end(End::Finished, Trailers::new());
    }

    /// Ends the body with trailers; false when it has ended already or nobody
    /// reads it any more.
    pub fn finish_with_trailers(&mut self, trailers: Trailers) -> bool {
        self.0.end(End::Finished, trailers)
    }

    /// Breaks the body off: once the other side has read what was written so
    /// far, it gets an error.
    ///
    /// Without effect when the body has ended already.
    pub fn abort(&mut self) {
        self.0.end(End::Broken, Trailers::new());
    }
}

impl BodyStream {
    /// Both ends of a new exchange of an instance.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] when the host may not keep its buffers.
    pub(crate) fn pair(memory: &Arc<HostMemory>) -> Result<(Self, Self), NoMemory> {
        let (left, right) = (Pipe::new(memory)?, Pipe::new(memory)?);
        let end = |reads: &Arc<Pipe>, writes: &Arc<Pipe>| Self {
            reader: BodyReader(Arc::clone(reads)),
            writer: BodyWriter(Arc::clone(writes)),
        };
        Ok((end(&left, &right), end(&right, &left)))
    }

    /// The two directions, for two owners.
    pub fn into_split(self) -> (BodyReader, BodyWriter) {
        (self.reader, self.writer)
    }

    /// The body that the other side writes.
    pub fn reader(&mut self) -> &mut BodyReader {
        &mut self.reader
    }

    /// The body that the other side reads.
    pub fn writer(&mut self) -> &mut BodyWriter {
        &mut self.writer
    }

    /// Breaks off both directions: the other side's reads and writes fail, and
    /// so do ours.
    pub fn abort(&mut self) {
        // In this order, as when both are dropped: a reader that has seen the loss
        // finds that it cannot write any more either.
        self.reader.0.close_reader();
        self.writer.abort();
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        self.0.close_reader();
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        self.abort();
    }
}

impl AsyncRead for BodyReader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.0.poll_readable(cx).map_ok(|readable| {
            if let Some(mut state) = readable {
                let len = state.buffer.len().min(buffer.remaining());
                buffer.put_slice(&state.buffer[..len]);
                state.buffer.advance(len);
                state.relax();
                wake(state, |state| &mut state.writer);
            }
        })
    }
}

impl AsyncWrite for BodyWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.state();
        if state.is_reader_gone || state.end != End::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let len = state.room(data.len());
        if len == 0 && !data.is_empty() {
            remember(state, cx.waker(), |state| &mut state.writer);
            return Poll::Pending;
        }
        state.buffer.extend_from_slice(&data[..len]);
        wake(state, |state| &mut state.reader);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for BodyStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buffer)
    }
}

impl AsyncWrite for BodyStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::budget::MemoryBudget;
    use crate::limits::HOST_MEMORY_FREE_BYTES;

    fn pair() -> (BodyStream, BodyStream) {
        let memory = HostMemory::new(&MemoryBudget::new(None));
        BodyStream::pair(&memory).expect("room")
    }

    #[tokio::test]
    async fn a_body_moves_on_however_little_memory_is_left() {
        let budget = MemoryBudget::new(Some(0));
        let memory = HostMemory::new(&budget);
        let (mut left, mut right) = BodyStream::pair(&memory).expect("room");
        let rest = memory.charge(HOST_MEMORY_FREE_BYTES - 2 * PIPE_BASE_BYTES as u64);
        let writing = tokio::spawn(async move {
            left.write_all(&[7; 3 * PIPE_BYTES])
                .await
                .expect("all of it");
            left.writer().finish();
            left
        });
        let mut read = Vec::new();
        right.read_to_end(&mut read).await.expect("an end");
        assert_eq!(read.len(), 3 * PIPE_BYTES);
        drop((writing.await.expect("no panic"), right, rest));
        assert!(memory.charge(HOST_MEMORY_FREE_BYTES).is_ok(), "given back");
    }

    #[tokio::test]
    async fn a_full_body_is_charged_until_it_is_read() {
        let budget = MemoryBudget::new(None);
        let memory = HostMemory::new(&budget);
        let free = memory.charge(HOST_MEMORY_FREE_BYTES).expect("room");
        let (mut left, mut right) = BodyStream::pair(&memory).expect("room");
        let base = budget.committed_bytes();
        left.write_all(&[7; PIPE_BYTES]).await.expect("room");
        assert_eq!(
            budget.committed_bytes() - base,
            (PIPE_BYTES - PIPE_BASE_BYTES) as u64
        );
        right.read_exact(&mut [0; PIPE_BYTES]).await.expect("all");
        assert_eq!(budget.committed_bytes(), base);
        drop((left, right, free));
        assert_eq!(budget.committed_bytes(), 0);
    }

    async fn chunk(reader: &mut BodyReader) -> Option<io::Result<Bytes>> {
        std::future::poll_fn(|cx| reader.poll_chunk(cx)).await
    }

    #[tokio::test]
    async fn an_end_and_a_loss_are_told_apart() {
        for orderly in [true, false] {
            let (mut left, mut right) = pair();
            left.write_all(b"some").await.expect("room");
            if orderly {
                left.writer().finish();
            }
            drop(left);
            let mut read = Vec::new();
            let outcome = right.read_to_end(&mut read).await;
            assert_eq!(read, b"some");
            assert_eq!(outcome.is_ok(), orderly);
        }
    }

    #[tokio::test]
    async fn each_direction_ends_by_itself() {
        let (mut left, mut right) = pair();
        left.shutdown().await.expect("an open pipe");
        let mut read = Vec::new();
        assert_eq!(right.read_to_end(&mut read).await.ok(), Some(0));
        right.write_all(b"back").await.expect("still open");
        right.shutdown().await.expect("an open pipe");
        assert_eq!(left.read_to_end(&mut read).await.ok(), Some(4));
        assert!(right.write_all(b"more").await.is_err(), "after the end");
    }

    #[tokio::test]
    async fn a_writer_is_as_fast_as_its_reader() {
        let (left, right) = pair();
        let (_, mut writer) = left.into_split();
        let (mut reader, _) = right.into_split();
        let body: Vec<u8> = (0..=250).cycle().take(3 * PIPE_BYTES + 5).collect();
        let expected = body.clone();
        let writing = tokio::spawn(async move {
            writer.write_all(&body).await?;
            writer.shutdown().await
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(!writing.is_finished(), "nobody has read yet");
        let mut read = Vec::new();
        let mut by_copy = [0; 1_000];
        while let Some(chunk) = chunk(&mut reader).await {
            let chunk = chunk.expect("no loss");
            assert!(!chunk.is_empty() && chunk.len() <= PIPE_BYTES);
            read.extend_from_slice(&chunk);
            let len = reader.read(&mut by_copy).await.expect("no loss");
            read.extend_from_slice(&by_copy[..len]);
        }
        assert!(read == expected);
        writing.await.expect("no panic").expect("all was taken");
    }

    #[tokio::test]
    async fn a_reader_that_leaves_is_an_error_to_the_writer() {
        let (left, right) = pair();
        let (_reader, mut writer) = left.into_split();
        let (reader, _writer) = right.into_split();
        writer.write_all(&[0; PIPE_BYTES]).await.expect("room");
        let writing = tokio::spawn(async move { writer.write_all(b"x").await });
        tokio::time::sleep(Duration::from_millis(5)).await;
        drop(reader);
        let outcome = writing.await.expect("no panic");
        let kind = outcome.expect_err("nobody reads").kind();
        assert_eq!(kind, io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn trailers_come_behind_the_body_and_are_taken_once() {
        let trailers = vec![("a".to_owned(), "b".to_owned())];
        let (mut left, mut right) = pair();
        assert_eq!(right.reader().trailers(), Err(NoTrailers::Early));
        left.write_all(b"x").await.expect("room");
        assert!(left.writer().finish_with_trailers(trailers.clone()));
        assert!(
            !left.writer().finish_with_trailers(Trailers::new()),
            "twice"
        );
        assert_eq!(right.reader().trailers(), Err(NoTrailers::Early));
        assert_eq!(right.reader().take_trailers(), []);
        right.read_to_end(&mut Vec::new()).await.expect("an end");
        drop(left);
        assert_eq!(right.reader().trailers(), Ok(trailers));
        assert_eq!(right.reader().trailers(), Err(NoTrailers::Absent));

        right.shutdown().await.expect("an open pipe");
        let (left, mut right) = pair();
        drop(left);
        assert!(
            !right.writer().finish_with_trailers(Trailers::new()),
            "nobody reads"
        );
    }

    #[tokio::test]
    async fn an_aborted_exchange_is_over_for_both() {
        let (mut left, mut right) = pair();
        left.write_all(b"some").await.expect("room");
        let reading = tokio::spawn(async move {
            let mut read = Vec::new();
            let outcome = right.read_to_end(&mut read).await;
            (read, outcome.map_err(|error| error.kind()), right)
        });
        left.abort();
        left.shutdown().await.expect("never fails");
        let (read, outcome, mut right) = reading.await.expect("no panic");
        assert_eq!(read, b"some");
        assert_eq!(outcome, Err(io::ErrorKind::ConnectionAborted));
        assert!(right.write_all(b"x").await.is_err());
        assert!(left.write_all(b"x").await.is_err());
        assert!(left.read_u8().await.is_err());
        assert_eq!(right.reader().trailers(), Err(NoTrailers::Early));
    }

    #[tokio::test]
    async fn an_abort_after_the_end_changes_nothing() {
        let (mut left, mut right) = pair();
        left.writer().finish();
        left.writer().abort();
        drop(left);
        assert_eq!(right.read_to_end(&mut Vec::new()).await.ok(), Some(0));
    }
}
