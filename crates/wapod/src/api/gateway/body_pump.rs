//! A request's body on its way to the guest.
//!
//! A task of its own, so that an answer can start before the body has ended. It
//! goes as fast as the guest reads; a client has to keep a minimum pace until
//! the app has answered. Started by `gateway`, ended by dropping [`BodyPump`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes, Frame};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};
use wapo_host::BodyWriter;

use super::head;
use crate::api::body::discard;
use crate::api::error::ApiError;
use crate::api::pace::Pace;
use crate::api::places::{Activity, Wait};
use crate::api::request_body::RequestBody;
use crate::limits::{DISCARD_TIMEOUT, GOODBYE_TIMEOUT, REQUEST_BODY_BYTES_MAX};

/// A body that is being handed over. Dropping it says that the exchange is over.
pub(super) struct BodyPump {
    progress: Arc<Progress>,
    /// `None` once it is known that nothing failed.
    failed: Option<oneshot::Receiver<ApiError>>,
    _over: oneshot::Sender<()>,
}

#[derive(Default)]
struct Progress {
    /// Bytes that the guest has taken.
    bytes: AtomicU64,
    /// Whether it is the client that the pump waits for.
    is_clients_turn: AtomicBool,
    /// Whether the app has answered.
    is_answered: AtomicBool,
    /// Tells the task.
    answered: Notify,
    /// Says that the client is waited for. Not when the app has answered.
    wait: Mutex<Option<Wait>>,
}

impl Progress {
    fn wait(&self) -> MutexGuard<'_, Option<Wait>> {
        // A single value is always whole.
        self.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_answered(&self) -> bool {
        self.is_answered.load(Ordering::Relaxed)
    }
}

/// Why a body did not get through to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
enum PumpError {
    #[error("the client left")]
    ClientLeft,
    #[error("the client was too slow")]
    TooSlow,
    #[error("the body is too large")]
    TooLarge,
    #[error("the guest does not want it")]
    Unwanted,
    #[error("the answer came first")]
    Over,
}

impl BodyPump {
    /// Bytes that the guest has taken.
    pub(super) fn bytes(&self) -> u64 {
        self.progress.bytes.load(Ordering::Relaxed)
    }

    /// Whether it is the client that everyone waits for.
    pub(super) fn is_clients_turn(&self) -> bool {
        self.progress.is_clients_turn.load(Ordering::Relaxed)
    }

    /// The app has answered: the client may take its time from here on.
    pub(super) fn answered(&self) {
        let mut wait = self.progress.wait();
        self.progress.is_answered.store(true, Ordering::Relaxed);
        // At once: before the client can see the answer.
        drop(wait.take());
        drop(wait);
        self.progress.answered.notify_one();
    }

    /// Waits until the client turns out to be at fault.
    pub(super) async fn failed(&mut self) -> ApiError {
        if let Some(failed) = &mut self.failed {
            let outcome = failed.await;
            self.failed = None;
            if let Ok(error) = outcome {
                return error;
            }
        }
        std::future::pending().await
    }

    /// What the client did wrong, if it did.
    pub(super) fn failure(&mut self) -> Option<ApiError> {
        self.failed.as_mut()?.try_recv().ok()
    }
}

/// Hands a body to the guest; `None` when there is nothing to hand over.
pub(super) fn start(
    body: RequestBody,
    mut writer: BodyWriter,
    window: Duration,
    activity: &Arc<Activity>,
) -> Option<BodyPump> {
    if body.is_end_stream() {
        writer.finish();
        return None;
    }
    let (on_drop, over) = oneshot::channel();
    let (failing, failed) = oneshot::channel();
    let progress = Arc::<Progress>::default();
    let task = PumpTask {
        body,
        progress: Arc::clone(&progress),
        pace: Pace::new(window),
        activity: Arc::clone(activity),
    };
    tokio::spawn(task.run(writer, over, failing));
    Some(BodyPump {
        progress,
        failed: Some(failed),
        _over: on_drop,
    })
}

/// The client is waited for, until this is dropped or the app has answered.
struct Waits<'a>(&'a Progress);

impl<'a> Waits<'a> {
    fn new(progress: &'a Progress, activity: &Arc<Activity>) -> Self {
        let mut wait = progress.wait();
        if !progress.is_answered() {
            *wait = Some(activity.wait());
        }
        Self(progress)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        drop(self.0.wait().take());
    }
}

struct PumpTask {
    body: RequestBody,
    progress: Arc<Progress>,
    pace: Pace,
    activity: Arc<Activity>,
}

impl PumpTask {
    async fn run(
        mut self,
        mut writer: BodyWriter,
        over: oneshot::Receiver<()>,
        failing: oneshot::Sender<ApiError>,
    ) {
        let copied = tokio::select! {
            copied = self.copy(&mut writer) => copied,
            _ = over => Err(PumpError::Over),
        };
        let Err(error) = copied else {
            return;
        };
        tracing::debug!(%error, "a request body was not passed on to its end");
        // Said before the guest notices, whose answer would be about that.
        let _ = match error {
            PumpError::TooLarge => failing.send(ApiError::BodyTooLarge),
            PumpError::TooSlow => failing.send(ApiError::BodyTooSlow),
            PumpError::ClientLeft | PumpError::Unwanted | PumpError::Over => Ok(()),
        };
        drop(writer);
        match error {
            PumpError::ClientLeft => {}
            PumpError::TooSlow => discard(self.body, GOODBYE_TIMEOUT).await,
            _ => discard(self.body, DISCARD_TIMEOUT).await,
        }
    }

    async fn copy(&mut self, writer: &mut BodyWriter) -> Result<(), PumpError> {
        let mut bytes: u64 = 0;
        while let Some(frame) = self.next().await? {
            let data = match frame.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        writer.finish_with_trailers(head::request_trailers(&trailers));
                    }
                    return Ok(());
                }
            };
            let len = data.len() as u64;
            bytes += len;
            if bytes > REQUEST_BODY_BYTES_MAX {
                return Err(PumpError::TooLarge);
            }
            self.write(writer, &data).await?;
        }
        writer.finish();
        Ok(())
    }

    /// The guest takes what it can, and each part of it counts as a sign of life.
    async fn write(&self, writer: &mut BodyWriter, mut data: &[u8]) -> Result<(), PumpError> {
        while !data.is_empty() {
            let written = writer.write(data).await.map_err(|_| PumpError::Unwanted)?;
            data = &data[written..];
            let bytes = &self.progress.bytes;
            bytes.fetch_add(written as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Frame<Bytes>>, PumpError> {
        let turn = &self.progress.is_clients_turn;
        turn.store(true, Ordering::Relaxed);
        let frame = loop {
            if self.progress.is_answered() {
                break self.body.frame().await;
            }
            let _waits = Waits::new(&self.progress, &self.activity);
            let begun = Instant::now();
            let frame = tokio::select! {
                biased;
                frame = timeout(self.pace.left(), self.body.frame()) => frame,
                // From here on the daemon works on the answer, and waits for nobody.
                () = self.progress.answered.notified() => continue,
            };
            let bytes = match &frame {
                Ok(Some(Ok(frame))) => frame.data_ref().map_or(0, |data| data.len() as u64),
                _ => 0,
            };
            let keeps_up = self.pace.count(bytes, begun.elapsed());
            match frame {
                Ok(frame) => break frame,
                Err(_) if keeps_up => {}
                Err(_) => return Err(PumpError::TooSlow),
            }
        };
        turn.store(false, Ordering::Relaxed);
        frame.transpose().map_err(|_| PumpError::ClientLeft)
    }
}
