//! Budgets: how much the daemon keeps for clients, in all and for each of them.
//!
//! A [`Budget`] counts bytes, or whatever else a client can make the daemon
//! keep. A [`Share`] is what one request has taken of it, and gives it back when
//! it is dropped, however the request ends. What does not fit is refused with the
//! reason, unless the caller says that it can wait. Made by `clients` and by the
//! parent module, used by `collect`, `call`, `log_stream` and `blob`, and by
//! `liveness` and `unread` for what a connection keeps; read by `all_budgets`.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::body::Bytes;
use ipnet::IpNet;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::limits::SMALL_BODY_BYTES_MAX;

/// Bits of an IPv6 address that tell clients apart: a household or a server has
/// all addresses below them.
const IPV6_CLIENT_BITS: u32 = 64;

/// The client that something is counted for, if it has a bound of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Who(Option<IpAddr>);

impl Who {
    /// Loopback and trusted proxies have no bound of their own: many clients
    /// stand behind them.
    pub(super) fn new(client: IpAddr, trusted: &[IpNet]) -> Self {
        let ip = client.to_canonical();
        if ip.is_loopback() || trusted.iter().any(|net| net.contains(&ip)) {
            return Self(None);
        }
        Self(Some(match ip {
            IpAddr::V4(_) => ip,
            IpAddr::V6(v6) => {
                let kept = u128::MAX << (u128::BITS - IPV6_CLIENT_BITS);
                IpAddr::V6((u128::from(v6) & kept).into())
            }
        }))
    }

    /// The address to count under.
    pub(super) fn key(self) -> Option<IpAddr> {
        self.0
    }
}

/// How much a budget has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bounds {
    /// For everyone together.
    pub(super) total: u64,
    /// For each client that has a bound of its own.
    pub(super) each: u64,
    /// What of `total` only shares up to [`SMALL_BODY_BYTES_MAX`] may take, so
    /// that a few large ones do not keep everyone out.
    pub(super) for_small: u64,
}

/// Something does not fit into a budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Full {
    #[error("the budget of all clients together is used up")]
    Total,
    #[error("the budget of this client is used up")]
    Each,
}

/// What is left, and which clients have the rest. `K` identifies a client.
pub(super) struct Budget<K = IpAddr> {
    bounds: Bounds,
    ledger: Mutex<Ledger<K>>,
    refused: AtomicU64,
    /// Something was given back.
    freed: Notify,
}

struct Ledger<K> {
    used: u64,
    each: HashMap<K, u64>,
}

/// A budget at a glance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BudgetReading {
    pub(super) used: u64,
    pub(super) total: u64,
    pub(super) refused: u64,
}

impl<K: Copy + Eq + Hash> Budget<K> {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            bounds,
            ledger: Mutex::new(Ledger {
                used: 0,
                each: HashMap::new(),
            }),
            refused: AtomicU64::new(0),
            freed: Notify::new(),
        })
    }

    /// An empty share, for one request. Without a key only `total` counts.
    pub(super) fn share(self: &Arc<Self>, key: Option<K>) -> Share<K> {
        Share {
            budget: Arc::clone(self),
            key,
            amount: 0,
        }
    }

    pub(super) fn reading(&self) -> BudgetReading {
        BudgetReading {
            used: self.ledger().used,
            total: self.bounds.total,
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    fn take(&self, key: Option<K>, held: u64, more: u64) -> Result<(), Full> {
        let is_small = held + more <= SMALL_BODY_BYTES_MAX as u64;
        let kept = if is_small { 0 } else { self.bounds.for_small };
        let mut ledger = self.ledger();
        let fits = if ledger.used + more > self.bounds.total - kept {
            Err(Full::Total)
        } else {
            match key {
                Some(key) => {
                    let each = ledger.each.entry(key).or_default();
                    if *each + more > self.bounds.each {
                        if *each == 0 {
                            ledger.each.remove(&key);
                        }
                        Err(Full::Each)
                    } else {
                        *each += more;
                        Ok(())
                    }
                }
                None => Ok(()),
            }
        };
        match fits {
            Ok(()) => ledger.used += more,
            Err(_) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        fits
    }

    fn give_back(&self, key: Option<K>, amount: u64) {
        let mut ledger = self.ledger();
        ledger.used = ledger.used.saturating_sub(amount);
        if let Some(key) = key
            && let Some(each) = ledger.each.get_mut(&key)
        {
            *each = each.saturating_sub(amount);
            if *each == 0 {
                ledger.each.remove(&key);
            }
        }
        drop(ledger);
        self.freed.notify_waiters();
    }
}

impl<K> Budget<K> {
    fn ledger(&self) -> MutexGuard<'_, Ledger<K>> {
        // Nothing in here panics half-way.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one request has of a budget. Dropping it gives it back.
pub(super) struct Share<K: Copy + Eq + Hash = IpAddr> {
    budget: Arc<Budget<K>>,
    key: Option<K>,
    amount: u64,
}

impl<K: Copy + Eq + Hash> Share<K> {
    /// Takes more.
    ///
    /// # Errors
    ///
    /// [`Full`]; the share stays as it was.
    pub(super) fn grow(&mut self, more: usize) -> Result<(), Full> {
        let more = more as u64;
        self.budget.take(self.key, self.amount, more)?;
        self.amount += more;
        Ok(())
    }

    /// Takes what is missing to so much.
    ///
    /// # Errors
    ///
    /// As [`grow`](Self::grow).
    pub(super) fn grow_to(&mut self, amount: u64) -> Result<(), Full> {
        let more = amount.saturating_sub(self.amount);
        if more > 0 {
            self.budget.take(self.key, self.amount, more)?;
            self.amount = amount;
        }
        Ok(())
    }

    /// The same, as soon as there is room.
    ///
    /// # Errors
    ///
    /// [`Full`], when there is none at the deadline.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn grow_later(&mut self, amount: u64, deadline: Instant) -> Result<(), Full> {
        loop {
            let budget = Arc::clone(&self.budget);
            let mut freed = pin!(budget.freed.notified());
            freed.as_mut().enable();
            let Err(full) = self.grow_to(amount) else {
                return Ok(());
            };
            if timeout_at(deadline, freed).await.is_err() {
                return Err(full);
            }
        }
    }

    /// Gives back all but so much.
    pub(super) fn shrink(&mut self, amount: u64) {
        let less = self.amount.saturating_sub(amount);
        if less > 0 {
            self.budget.give_back(self.key, less);
            self.amount = amount;
        }
    }
}

impl<K: Copy + Eq + Hash + Send + 'static> Share<K> {
    /// Bytes that hold this share until the last copy of them is gone.
    pub(super) fn around(self, content: Vec<u8>) -> Bytes {
        Bytes::from_owner(BudgetedBytes {
            content,
            _share: self,
        })
    }
}

impl<K: Copy + Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        if self.amount > 0 {
            self.budget.give_back(self.key, self.amount);
        }
    }
}

struct BudgetedBytes<K: Copy + Eq + Hash> {
    content: Vec<u8>,
    _share: Share<K>,
}

impl<K: Copy + Eq + Hash> AsRef<[u8]> for BudgetedBytes<K> {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIG: usize = SMALL_BODY_BYTES_MAX + 1;

    fn budget() -> Arc<Budget> {
        Budget::new(Bounds {
            total: 10 * BIG as u64,
            each: 3 * BIG as u64,
            for_small: 2 * BIG as u64,
        })
    }

    fn who(ip: &str) -> Option<IpAddr> {
        Who::new(ip.parse().expect("ip"), &[]).key()
    }

    #[test]
    fn a_client_has_its_own_bound_and_gets_back_what_it_gave_up() {
        let budget = budget();
        let mut one = budget.share(who("192.0.2.1"));
        for _ in 0..3 {
            one.grow(BIG).expect("fits");
        }
        assert_eq!(one.grow(1), Err(Full::Each));
        let mut other = budget.share(who("192.0.2.1"));
        assert_eq!(other.grow(1), Err(Full::Each), "the same client");
        let mut neighbour = budget.share(who("192.0.2.2"));
        neighbour.grow(BIG).expect("another client");
        drop(one);
        other.grow(BIG).expect("given back");
        drop((other, neighbour));
        let reading = budget.reading();
        assert_eq!((reading.used, reading.refused), (0, 2));
        assert!(budget.ledger().each.is_empty());
    }

    #[test]
    fn large_shares_leave_room_for_small_ones() {
        let budget = budget();
        let mut large = budget.share(None);
        for _ in 0..8 {
            large.grow(BIG).expect("fits");
        }
        assert_eq!(large.grow(BIG), Err(Full::Total));
        let mut small = budget.share(None);
        small.grow(SMALL_BODY_BYTES_MAX).expect("has room");
        assert_eq!(small.grow(1), Err(Full::Total), "no longer small");
    }

    #[test]
    fn bytes_hold_their_share_until_the_last_copy_is_gone() {
        let budget = budget();
        let mut share = budget.share(None);
        share.grow(5).expect("fits");
        let bytes = share.around(b"hello".to_vec());
        let part = bytes.slice(1..2);
        drop(bytes);
        assert_eq!(budget.reading().used, 5);
        drop(part);
        assert_eq!(budget.reading().used, 0);
    }

    #[test]
    fn clients_are_told_apart_by_address_and_ipv6_by_network() {
        assert_eq!(who("2001:db8::1"), who("2001:db8::ffff:1"));
        assert_ne!(who("2001:db8::1"), who("2001:db8:0:1::1"));
        assert_eq!(who("::ffff:192.0.2.1"), who("192.0.2.1"));
        for free in ["127.0.0.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(who(free), None, "{free}");
        }
        let proxies = ["10.0.0.0/8".parse().expect("net")];
        let proxy = "::ffff:10.1.1.1".parse().expect("ip");
        assert_eq!(Who::new(proxy, &proxies).key(), None);
    }
}
