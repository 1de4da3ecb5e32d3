//! The line before the hardware: quotes are made one at a time.
//!
//! A thread has the source, because its calls block for as long as the hardware or the
//! host likes. Who wants a quote waits in a line with places: the worker's own, some for
//! guests, one for each app, and some for strangers, who also have a rate. A place is
//! given back when the quote is there, also when nobody waits for it any more.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use wapo_rpc::statement::Quote;

use super::{QuoteSource, ReportData, SourceKind};
use crate::limits::{
    GUEST_QUOTES_WAITING_MAX, OWN_QUOTES_WAITING_MAX, QUOTE_TIMEOUT, STRANGER_QUOTES_BURST,
    STRANGER_QUOTES_PER_SECOND, STRANGER_QUOTES_WAITING_MAX,
};

/// Who wants a quote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asker {
    /// The worker, by itself or for its operator.
    Worker,
    /// A guest.
    Guest,
    /// Anybody who may call the worker.
    Stranger,
}

/// Why there is no quote. The texts are for remote clients.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum QuoteError {
    /// There is no hardware.
    #[error(
        "this worker attests nothing: it runs in no enclave and in no confidential machine that it knows"
    )]
    None,
    /// The line is full.
    #[error("{0} quotes are waited for already, which is all that may be: try again")]
    Busy(usize),
    /// Strangers have asked too often.
    #[error(
        "more than {STRANGER_QUOTES_PER_SECOND} quotes a second, and {STRANGER_QUOTES_BURST} at once, are not made for everyone: try again, or ask without a nonce, which costs none"
    )]
    TooMany,
    /// It took too long.
    #[error("the hardware has made no quote within {} seconds", QUOTE_TIMEOUT.as_secs())]
    Timeout,
    /// It could not be made. The reason is in the log.
    #[error("the hardware has made no quote")]
    Failed,
}

/// A quote that somebody waits for.
struct Job {
    report_data: ReportData,
    answer: oneshot::Sender<Option<Quote>>,
    /// Held until the quote was made.
    _place: OwnedSemaphorePermit,
}

/// Makes quotes. Ends its thread when it is dropped and the last quote was made.
pub(crate) struct Quoter {
    kind: SourceKind,
    jobs: mpsc::Sender<Job>,
    own: Arc<Semaphore>,
    guests: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    pace: Mutex<Pace>,
}

impl Quoter {
    /// Starts the thread.
    pub(super) fn start(source: Box<dyn QuoteSource>) -> io::Result<Self> {
        let places =
            OWN_QUOTES_WAITING_MAX + GUEST_QUOTES_WAITING_MAX + STRANGER_QUOTES_WAITING_MAX;
        let (jobs, waiting) = mpsc::channel(places);
        let kind = source.kind();
        let thread = std::thread::Builder::new().name("quotes".to_owned());
        thread.spawn(move || work(source, waiting))?;
        tracing::info!(
            source = kind.name(),
            "the worker can attest what it runs in"
        );
        Ok(Self {
            kind,
            jobs,
            own: Arc::new(Semaphore::new(OWN_QUOTES_WAITING_MAX)),
            guests: Arc::new(Semaphore::new(GUEST_QUOTES_WAITING_MAX)),
            strangers: Arc::new(Semaphore::new(STRANGER_QUOTES_WAITING_MAX)),
            pace: Mutex::new(Pace::full(Instant::now())),
        })
    }

    /// With hardware that a test plays.
    #[cfg(test)]
    pub(crate) fn played(make: impl FnMut(&ReportData) -> Option<Quote> + Send + 'static) -> Self {
        Self::start(Box::new(tests::Played(make))).expect("a thread")
    }

    /// What stands behind the quotes.
    pub(crate) fn kind(&self) -> SourceKind {
        self.kind
    }

    /// Makes a quote with this report data.
    ///
    /// # Errors
    ///
    /// [`QuoteError`]
    ///
    /// # Cancel safety
    ///
    /// The quote is made even so, unless it has not been begun.
    pub(crate) async fn quote(
        &self,
        report_data: ReportData,
        asker: Asker,
    ) -> Result<Quote, QuoteError> {
        let (places, max) = match asker {
            Asker::Worker => (&self.own, OWN_QUOTES_WAITING_MAX),
            Asker::Guest => (&self.guests, GUEST_QUOTES_WAITING_MAX),
            Asker::Stranger => (&self.strangers, STRANGER_QUOTES_WAITING_MAX),
        };
        let place = Arc::clone(places).try_acquire_owned();
        let place = place.map_err(|_| QuoteError::Busy(max))?;
        if asker == Asker::Stranger {
            let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
            pace.take(Instant::now())?;
        }
        let (answer, made) = oneshot::channel();
        let job = Job {
            report_data,
            answer,
            _place: place,
        };
        // As many fit as there are places.
        self.jobs.try_send(job).map_err(|_| QuoteError::Failed)?;
        match tokio::time::timeout(QUOTE_TIMEOUT, made).await {
            Err(_) => Err(QuoteError::Timeout),
            Ok(Ok(Some(quote))) => Ok(quote),
            Ok(_) => Err(QuoteError::Failed),
        }
    }
}

/// What the thread does.
fn work(mut source: Box<dyn QuoteSource>, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.blocking_recv() {
        if job.answer.is_closed() {
            continue;
        }
        let made = source.quote(&job.report_data);
        let quote = made.inspect_err(|error| tracing::error!(%error, "no quote was made"));
        let _ = job.answer.send(quote.ok());
    }
}

/// How often strangers may ask: what was not used is saved up to a burst.
struct Pace {
    saved: f64,
    looked: Instant,
}

impl Pace {
    fn full(now: Instant) -> Self {
        Self {
            saved: STRANGER_QUOTES_BURST,
            looked: now,
        }
    }

    fn take(&mut self, now: Instant) -> Result<(), QuoteError> {
        let passed: Duration = now.saturating_duration_since(self.looked);
        let saved = self.saved + passed.as_secs_f64() * STRANGER_QUOTES_PER_SECOND;
        self.saved = saved.min(STRANGER_QUOTES_BURST);
        self.looked = now;
        if self.saved < 1.0 {
            return Err(QuoteError::TooMany);
        }
        self.saved -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::SourceError;
    use super::*;

    /// Hardware that is a closure.
    pub(super) struct Played<F>(pub(super) F);

    impl<F: FnMut(&ReportData) -> Option<Quote> + Send> QuoteSource for Played<F> {
        fn kind(&self) -> SourceKind {
            SourceKind::Sgx
        }

        fn quote(&mut self, report_data: &ReportData) -> Result<Quote, SourceError> {
            (self.0)(report_data).ok_or_else(|| SourceError::Wrong("it fails".to_owned()))
        }
    }

    #[test]
    fn strangers_have_a_burst_and_then_a_rate() {
        let start = Instant::now();
        let mut pace = Pace::full(start);
        let mut count = 0;
        while pace.take(start).is_ok() {
            count += 1;
        }
        assert_eq!(f64::from(count), STRANGER_QUOTES_BURST);
        let each = Duration::from_secs_f64(1.0 / STRANGER_QUOTES_PER_SECOND);
        assert_eq!(pace.take(start + each / 2), Err(QuoteError::TooMany));
        assert_eq!(pace.take(start + each * 3 / 2), Ok(()));
        assert_eq!(pace.take(start + each * 3 / 2), Err(QuoteError::TooMany));
        let later = start + Duration::from_secs(3600);
        for _ in 0..count {
            assert_eq!(pace.take(later), Ok(()));
        }
        assert_eq!(pace.take(later), Err(QuoteError::TooMany));
    }
}
