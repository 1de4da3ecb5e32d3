//! Places for connections: which have one, and which is closed for a new connection.
//!
//! A port serves a bounded number of connections, and a bounded number of each
//! client. When there is no place left, the connection that has waited for its client
//! the longest is closed: its client has sent no head, or not the rest of a body, or
//! reads nothing of an answer, or it is idle. A connection with a request in progress
//! keeps its place. A connection whose PROXY header has not arrived has a place, too:
//! half of the places at most can be taken so, and for a further one the oldest of
//! the same proxy is closed. Asked by `door` and by the TLS port (`edge`) for each
//! new connection, told by them, `collect`, `http2` and the gateway what a connection
//! is doing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicIsize, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

use super::budget::{BudgetReading, Who};
use crate::limits::CONNECTIONS_DISPLACED_AT_ONCE;

/// Time after which a newcomer looks again for a connection that waits.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// All places of a port.
pub(super) struct Places {
    max: usize,
    /// Of each client that has a bound of its own.
    each_max: usize,
    taken: Mutex<Taken>,
    /// A client has left.
    left: Notify,
    refused: AtomicU64,
    displaced: AtomicU64,
}

#[derive(Default)]
struct Taken {
    next: u64,
    by: HashMap<u64, Entry>,
    each: HashMap<IpAddr, usize>,
    /// Those whose PROXY header is still to come.
    headless: usize,
}

struct Entry {
    who: Who,
    /// The proxy that has yet to say whose connection it is.
    proxy: Option<IpAddr>,
    activity: Arc<Activity>,
}

/// The place of one connection. Dropping it makes it free.
pub(crate) struct Place {
    number: u64,
    places: Arc<Places>,
    activity: Arc<Activity>,
}

/// What a connection is doing.
pub(crate) struct Activity {
    /// Requests that the daemon works on, less those whose client it waits for.
    at_work: AtomicIsize,
    /// When the daemon began to wait for the client, in milliseconds of
    /// [`now_ms`].
    waits_since_ms: AtomicU64,
    displaced: Notify,
}

/// A request that the daemon works on, until it is dropped.
pub(crate) struct Work(Arc<Activity>);

/// The daemon waits for the client of a request, until this is dropped.
pub(super) struct Wait(Arc<Activity>);

impl Places {
    pub(super) fn new(max: usize, each_max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            each_max,
            taken: Mutex::default(),
            left: Notify::new(),
            refused: AtomicU64::new(0),
            displaced: AtomicU64::new(0),
        })
    }

    /// A place for a newcomer; `None` when its client has all places that it may
    /// have, and uses them. Waits while all connections have requests in progress.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn take(self: &Arc<Self>, who: Who) -> Option<Place> {
        self.take_as(who, None).await
    }

    /// A place for a connection that begins with the header of a proxy, which is whom
    /// it is counted for until [`Place::pass_to`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn take_headless(self: &Arc<Self>, who: Who, proxy: IpAddr) -> Option<Place> {
        self.take_as(who, Some(proxy)).await
    }

    async fn take_as(self: &Arc<Self>, who: Who, proxy: Option<IpAddr>) -> Option<Place> {
        loop {
            if let Some(outcome) = self.try_take(who, proxy) {
                return outcome;
            }
            // A client may begin to wait without leaving.
            let _ = timeout(LOOK_AGAIN, self.left.notified()).await;
        }
    }

    /// The outcome, if there is one yet.
    fn try_take(self: &Arc<Self>, who: Who, proxy: Option<IpAddr>) -> Option<Option<Place>> {
        let mut taken = self.taken();
        if !self.has_room_for(&mut taken, who) {
            return Some(None);
        }
        if proxy.is_some() && taken.headless >= (self.max / 2).max(1) {
            let _ = self.displace(&mut taken, 1, |one| one.proxy == proxy)
                || self.displace(&mut taken, 1, |one| one.proxy.is_some());
        }
        let at_once = (self.max / 64).clamp(1, CONNECTIONS_DISPLACED_AT_ONCE);
        if taken.by.len() >= self.max && !self.displace(&mut taken, at_once, |_| true) {
            return None;
        }
        let number = taken.next;
        taken.next += 1;
        let activity = Arc::<Activity>::default();
        let entry = Entry {
            who,
            proxy,
            activity: Arc::clone(&activity),
        };
        taken.insert(number, entry);
        Some(Some(Place {
            number,
            places: Arc::clone(self),
            activity,
        }))
    }

    /// Whether a client may have one more place, or one of its own leaves for it.
    fn has_room_for(&self, taken: &mut Taken, who: Who) -> bool {
        let has = who.key().and_then(|ip| taken.each.get(&ip));
        if has.is_some_and(|has| *has >= self.each_max)
            && !self.displace(taken, 1, |one| one.who == who)
        {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Lets those go for whom the daemon waits the longest; false when there is
    /// nobody.
    fn displace(&self, taken: &mut Taken, count: usize, of: impl Fn(&Entry) -> bool) -> bool {
        let waiting = taken.by.iter().filter(|(_, one)| of(one));
        let waiting = waiting.filter_map(|(number, one)| Some((one.activity.waits()?, *number)));
        let mut waiting: Vec<_> = waiting.collect();
        if waiting.is_empty() {
            return false;
        }
        let count = count.min(waiting.len());
        waiting.select_nth_unstable(count - 1);
        for (_, number) in &waiting[..count] {
            if let Some(entry) = taken.remove(*number) {
                entry.activity.displaced.notify_one();
            }
        }
        self.displaced.fetch_add(count as u64, Ordering::Relaxed);
        true
    }

    /// Waits until nobody has a place.
    pub(super) async fn all_left(&self) {
        loop {
            let left = self.left.notified();
            if self.taken().by.is_empty() {
                return;
            }
            let _ = timeout(LOOK_AGAIN, left).await;
        }
    }

    pub(super) fn reading(&self) -> BudgetReading {
        BudgetReading {
            used: self.taken().by.len() as u64,
            total: self.max as u64,
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// Connections that had to leave for others.
    pub(super) fn displaced(&self) -> u64 {
        self.displaced.load(Ordering::Relaxed)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Nothing in here panics half-way.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn insert(&mut self, number: u64, entry: Entry) {
        if let Some(ip) = entry.who.key() {
            *self.each.entry(ip).or_default() += 1;
        }
        self.headless += usize::from(entry.proxy.is_some());
        self.by.insert(number, entry);
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.by.remove(&number)?;
        self.headless -= usize::from(entry.proxy.is_some());
        if let Some(ip) = entry.who.key()
            && let Some(count) = self.each.get_mut(&ip)
        {
            *count -= 1;
            if *count == 0 {
                self.each.remove(&ip);
            }
        }
        Some(entry)
    }
}

impl Place {
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// The header has come: the place is this client's from now on. False when the
    /// client has all that it may have, and uses them, or the place went to a newcomer.
    pub(super) fn pass_to(&self, who: Who) -> bool {
        let mut taken = self.places.taken();
        if !taken.by.contains_key(&self.number) || !self.places.has_room_for(&mut taken, who) {
            return false;
        }
        // The room may have been made of this one.
        let Some(mut entry) = taken.remove(self.number) else {
            return false;
        };
        (entry.who, entry.proxy) = (who, None);
        taken.insert(self.number, entry);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().remove(self.number);
        self.places.left.notify_one();
    }
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            at_work: AtomicIsize::new(0),
            waits_since_ms: AtomicU64::new(now_ms()),
            displaced: Notify::new(),
        }
    }
}

impl Activity {
    /// A request has come.
    pub(crate) fn work(self: &Arc<Self>) -> Work {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        Work(Arc::clone(self))
    }

    /// Nothing can be done for a request until its client goes on.
    pub(super) fn wait(self: &Arc<Self>) -> Wait {
        self.ends_work();
        Wait(Arc::clone(self))
    }

    /// Waits until the connection has to leave.
    pub(crate) async fn displaced(&self) {
        self.displaced.notified().await;
    }

    fn ends_work(&self) {
        self.waits_since_ms.store(now_ms(), Ordering::Relaxed);
        self.at_work.fetch_sub(1, Ordering::Relaxed);
    }

    /// Since when the daemon waits for the client, if it does.
    fn waits(&self) -> Option<u64> {
        let waits = self.at_work.load(Ordering::Relaxed) <= 0;
        waits.then(|| self.waits_since_ms.load(Ordering::Relaxed))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.ends_work();
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.0.at_work.fetch_add(1, Ordering::Relaxed);
    }
}

/// Milliseconds since the first call.
fn now_ms() -> u64 {
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(BEGIN.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(ip: &str) -> Who {
        Who::new(ip.parse().expect("ip"), &[])
    }

    fn place(places: &Arc<Places>, ip: &str) -> Option<Place> {
        places.try_take(who(ip), None).expect("an outcome")
    }

    fn headless(places: &Arc<Places>, proxy: &str) -> Place {
        let proxy = proxy.parse().expect("ip");
        let place = places.try_take(Who::new(proxy, &[proxy.into()]), Some(proxy));
        place.expect("an outcome").expect("a place")
    }

    /// Whether a connection has to leave.
    fn leaves(place: &Place) -> bool {
        !place.places.taken().by.contains_key(&place.number)
    }

    #[tokio::test]
    async fn who_waits_longest_leaves_for_a_newcomer_and_who_is_served_stays() {
        let places = Places::new(3, 3);
        let served = place(&places, "127.0.0.1").expect("a place");
        let work = served.activity().work();
        let silent = place(&places, "127.0.0.1").expect("a place");
        // Waits for the rest of a body since later.
        let stuck = place(&places, "127.0.0.1").expect("a place");
        let _stuck_work = stuck.activity().work();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let wait = stuck.activity().wait();
        let newcomer = place(&places, "127.0.0.1").expect("a place");
        let _newcomers_work = newcomer.activity().work();
        assert_eq!(places.displaced(), 1, "who waited longest");
        silent.activity().displaced().await;
        let second = place(&places, "127.0.0.1").expect("a place");
        let _seconds_work = second.activity().work();
        stuck.activity().displaced().await;
        drop((silent, stuck, wait));
        assert!(
            places.try_take(who("127.0.0.1"), None).is_none(),
            "all are busy"
        );
        drop(work);
        assert!(place(&places, "127.0.0.1").is_some());
    }

    #[test]
    fn a_client_that_uses_all_its_places_gets_no_other() {
        let places = Places::new(10, 2);
        let one = place(&places, "192.0.2.1").expect("a place");
        let two = place(&places, "192.0.2.1").expect("a place");
        let working = (one.activity().work(), two.activity().work());
        assert!(place(&places, "192.0.2.1").is_none());
        assert_eq!(places.reading().refused, 1);
        assert!(place(&places, "192.0.2.2").is_some());
        drop(working);
        let three = place(&places, "192.0.2.1").expect("an idle one leaves");
        assert_eq!(places.displaced(), 1);
        drop((one, two, three));
        assert!(places.taken().each.is_empty() && places.taken().by.is_empty());
    }

    #[test]
    fn of_connections_without_a_header_the_oldest_of_the_same_proxy_leaves() {
        let places = Places::new(8, 8);
        let client = place(&places, "192.0.2.1").expect("a place");
        let other = headless(&places, "10.0.0.2");
        let silent: Vec<_> = (0..3).map(|_| headless(&places, "10.0.0.1")).collect();
        // Half of all places are taken like that.
        let newcomer = headless(&places, "10.0.0.1");
        assert!(leaves(&silent[0]) && !leaves(&silent[1]) && !leaves(&other));
        // Of a proxy that has none, the oldest of any.
        let third = headless(&places, "10.0.0.3");
        assert!(leaves(&other) && !leaves(&silent[1]) && !leaves(&client));
        assert_eq!(places.displaced(), 2);
        assert_eq!(places.reading().used, 5);
        // What has its header is no longer among them.
        assert!(newcomer.pass_to(who("192.0.2.2")));
        assert!(!silent[0].pass_to(who("192.0.2.2")), "it has left");
        let fourth = headless(&places, "10.0.0.1");
        assert!(!leaves(&silent[1]) && !leaves(&newcomer));
        assert_eq!(places.taken().each.values().sum::<usize>(), 2);
        drop((client, other, silent, newcomer, third, fourth));
        let taken = places.taken();
        assert!(taken.by.is_empty() && taken.each.is_empty() && taken.headless == 0);
    }

    #[test]
    fn a_header_gives_a_client_no_more_than_it_may_have() {
        let places = Places::new(10, 1);
        let one = place(&places, "192.0.2.1").expect("a place");
        let work = one.activity().work();
        let second = headless(&places, "10.0.0.1");
        assert!(!second.pass_to(who("192.0.2.1")));
        assert_eq!(places.reading().refused, 1);
        drop(work);
        assert!(second.pass_to(who("192.0.2.1")), "an idle one leaves");
        assert!(leaves(&one) && !leaves(&second));
    }
}
