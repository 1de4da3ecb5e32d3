//! The queue of quotes: the hardware makes them one at a time.
//!
//! A thread has the source, because its calls block for as long as the hardware or
//! the host likes. Requests wait in a queue with separate places: the worker's own,
//! some for guests, one for each app, and some for anonymous clients. Guests and
//! anonymous clients also have a rate each: guests wait, anonymous clients are
//! refused. A place is given back when the quote is made, also when its requester has
//! gone.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use wapo_rpc::statement::Quote;

use super::figures::Figures;
use super::pace::Pace;
use super::request::{Asker, QuoteError};
use super::source::{QuoteSource, ReportData, SourceKind};
use crate::limits::{
    GUEST_QUOTES_BURST, GUEST_QUOTES_PER_SECOND, GUEST_QUOTES_WAITING_MAX, OWN_QUOTES_WAITING_MAX,
    QUOTE_TIMEOUT, STRANGER_QUOTES_BURST, STRANGER_QUOTES_PER_SECOND, STRANGER_QUOTES_WAITING_MAX,
};

/// A quote that a caller waits for.
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
    stranger_pace: Mutex<Pace>,
    /// Held by the guest whose turn is next.
    guest_pace: tokio::sync::Mutex<Pace>,
    figures: Figures,
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
            stranger_pace: Mutex::new(Pace::full(
                STRANGER_QUOTES_PER_SECOND,
                STRANGER_QUOTES_BURST,
            )),
            guest_pace: tokio::sync::Mutex::new(Pace::full(
                GUEST_QUOTES_PER_SECOND,
                GUEST_QUOTES_BURST,
            )),
            figures: Figures::default(),
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

    /// What has become of quotes and evidence.
    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
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
        let outcome = self.wait_for(report_data, asker).await;
        self.figures.count_quote(asker, outcome.as_ref().err());
        outcome
    }

    async fn wait_for(&self, report_data: ReportData, asker: Asker) -> Result<Quote, QuoteError> {
        let (places, max) = match asker {
            Asker::Worker => (&self.own, OWN_QUOTES_WAITING_MAX),
            Asker::Guest => (&self.guests, GUEST_QUOTES_WAITING_MAX),
            Asker::Stranger => (&self.strangers, STRANGER_QUOTES_WAITING_MAX),
        };
        let place = Arc::clone(places).try_acquire_owned();
        let place = place.map_err(|_| QuoteError::Busy(max))?;
        match asker {
            Asker::Worker => {}
            Asker::Guest => self.guest_pace.lock().await.turn().await,
            Asker::Stranger => {
                let pace = self.stranger_pace.lock();
                let mut pace = pace.unwrap_or_else(PoisonError::into_inner);
                let taken = pace.take(Instant::now());
                taken.map_err(|_| QuoteError::TooMany)?;
            }
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

#[cfg(test)]
mod tests {
    use super::super::source::SourceError;
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
}
