//! State at the shared TLS port that an app shares with the apps that it has
//! replaced.
//!
//! Sessions that clients resume, and bounds on the connections that wait for the
//! app. Made by the parent module with the first of the family.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use rustls::server::ProducesTickets;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::tickets::Configs;
use crate::limits::{PARKED_OF_APP_MAX, WAITING_OF_APP_MAX};
use crate::worker::{App, Family};

/// One family at the port.
pub(crate) struct Kin {
    family: Family,
    /// The one that serves. Weak: the app's own tables have it.
    app: Mutex<Weak<App>>,
    /// Its serial number.
    serial: AtomicU64,
    /// The one that is to take its place, if it proves itself.
    next: Mutex<Weak<App>>,
    tickets: OnceLock<Arc<dyn ProducesTickets>>,
    configs: Configs,
    /// Places of the port for connections.
    places: usize,
    /// Made with the first connection, as is `parked`.
    waiting: OnceLock<Arc<Semaphore>>,
    parked: OnceLock<Arc<Semaphore>>,
    /// Connections that its guests have taken.
    connections: AtomicU64,
}

impl Kin {
    /// The family of an app, at a port with so many places.
    pub(super) fn new(app: &Arc<App>, places: usize) -> Self {
        Self {
            family: app.family(),
            app: Mutex::new(Arc::downgrade(app)),
            serial: AtomicU64::new(app.serial),
            next: Mutex::default(),
            tickets: OnceLock::new(),
            configs: Configs::default(),
            places,
            waiting: OnceLock::new(),
            parked: OnceLock::new(),
            connections: AtomicU64::new(0),
        }
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    /// The app that serves, unless it is gone.
    pub(super) fn app(&self) -> Option<Arc<App>> {
        let app = self.app.lock().unwrap_or_else(PoisonError::into_inner);
        app.upgrade()
    }

    /// The serial number of the app that serves.
    pub(super) fn serial(&self) -> u64 {
        self.serial.load(Ordering::Acquire)
    }

    /// The app that is to take its place.
    pub(super) fn next(&self) -> Option<Arc<App>> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.upgrade()
    }

    pub(super) fn set_next(&self, app: Option<&Arc<App>>) {
        let next = app.map_or_else(Weak::new, Arc::downgrade);
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }

    pub(super) fn hand_over(&self, to: &Arc<App>) {
        self.set_next(None);
        *self.app.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(to);
        self.serial.store(to.serial, Ordering::Release);
    }

    /// What sessions are resumed with: of this family only, over all its listeners
    /// and instances.
    ///
    /// # Errors
    ///
    /// The library has no randomness.
    pub(super) fn tickets(&self) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
        if let Some(tickets) = self.tickets.get() {
            return Ok(Arc::clone(tickets));
        }
        let made = rustls::crypto::ring::Ticketer::new()?;
        Ok(Arc::clone(self.tickets.get_or_init(|| made)))
    }

    /// How TLS is spoken for names that are left to the gateway.
    pub(super) fn configs(&self) -> &Configs {
        &self.configs
    }

    /// A place among the connections that have not come to a guest yet.
    pub(super) fn wait(&self) -> Option<OwnedSemaphorePermit> {
        let places = share(self.places, 8, WAITING_OF_APP_MAX);
        take(&self.waiting, places)
    }

    /// A place among those that wait for the app to start.
    pub(super) fn park(&self) -> Option<OwnedSemaphorePermit> {
        let places = share(self.places, 16, PARKED_OF_APP_MAX);
        take(&self.parked, places)
    }

    /// Counts a connection that a guest has taken.
    pub(super) fn count(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections that guests have taken.
    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

/// One of so many places.
fn take(of: &OnceLock<Arc<Semaphore>>, places: usize) -> Option<OwnedSemaphorePermit> {
    let semaphore = of.get_or_init(|| Arc::new(Semaphore::new(places)));
    Arc::clone(semaphore).try_acquire_owned().ok()
}

/// An app's share of the places of a port, one at least.
fn share(places: usize, shares: usize, most: usize) -> usize {
    (places / shares).clamp(1, most)
}

#[cfg(test)]
impl Kin {
    /// That of an app with this number.
    pub(super) fn of_test(serial: u64) -> Self {
        Self {
            family: Family(serial),
            app: Mutex::default(),
            serial: AtomicU64::new(serial),
            next: Mutex::default(),
            tickets: OnceLock::new(),
            configs: Configs::default(),
            places: usize::MAX,
            waiting: OnceLock::new(),
            parked: OnceLock::new(),
            connections: AtomicU64::new(0),
        }
    }

    pub(super) fn set_serial_of_test(&self, serial: u64) {
        self.serial.store(serial, Ordering::Release);
    }
}
