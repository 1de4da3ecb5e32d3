//! What the worker offers, and for how much.

use parity_scale_codec::{Decode, Encode};
use wapo_crypto::ContentType;

use super::usage::AppMetrics;
use super::usage_report::UsageTotals;
use super::{Bounded, Signature, Statement, TooLong};
use crate::limits::DESCRIPTION_BYTES_MAX;

/// What each thing costs; none where nothing is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Prices {
    /// A second of an instance.
    pub general_fee_per_second: Option<u128>,
    /// A unit of gas.
    pub gas_price: Option<u128>,
    /// A byte received.
    pub net_ingress_price: Option<u128>,
    /// A byte sent.
    pub net_egress_price: Option<u128>,
    /// A byte read from storage.
    pub storage_read_price: Option<u128>,
    /// A byte written to storage.
    pub storage_write_price: Option<u128>,
    /// A megabyte stored for a second.
    pub storage_price: Option<u128>,
    /// A unit of memory by time.
    pub memory_price: Option<u128>,
    /// A unit of tip.
    pub tip_price: Option<u128>,
}

impl Prices {
    /// What the usage costs. Sums that do not fit stay at the largest number.
    pub fn cost(&self, usage: &AppMetrics) -> u128 {
        self.cost_of(&usage.totals())
    }

    /// The same for figures of the bill. Requests have no price.
    pub fn cost_of(&self, usage: &UsageTotals) -> u128 {
        [
            (
                self.general_fee_per_second,
                u128::from(usage.running_time_ms / 1000),
            ),
            (self.gas_price, u128::from(usage.gas_consumed)),
            (self.net_ingress_price, u128::from(usage.network_ingress)),
            (self.net_egress_price, u128::from(usage.network_egress)),
            (self.storage_read_price, u128::from(usage.storage_read)),
            (self.storage_write_price, u128::from(usage.storage_write)),
            (self.storage_price, usage.storage_used),
            (self.memory_price, usage.memory_used),
            (self.tip_price, u128::from(usage.tip)),
        ]
        .into_iter()
        .fold(0, |sum, (price, amount)| {
            sum.saturating_add(price.unwrap_or(0).saturating_mul(amount))
        })
    }

    /// These prices, and the other's where nothing is said.
    pub fn or(&self, other: &Self) -> Self {
        Self {
            general_fee_per_second: self.general_fee_per_second.or(other.general_fee_per_second),
            gas_price: self.gas_price.or(other.gas_price),
            net_ingress_price: self.net_ingress_price.or(other.net_ingress_price),
            net_egress_price: self.net_egress_price.or(other.net_egress_price),
            storage_read_price: self.storage_read_price.or(other.storage_read_price),
            storage_write_price: self.storage_write_price.or(other.storage_write_price),
            storage_price: self.storage_price.or(other.storage_price),
            memory_price: self.memory_price.or(other.memory_price),
            tip_price: self.tip_price.or(other.tip_price),
        }
    }
}

/// What the worker offers.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct WorkerDescription {
    /// For how much.
    pub prices: Prices,
    /// In words.
    pub description: Bounded<String, DESCRIPTION_BYTES_MAX>,
}

impl WorkerDescription {
    /// Makes a description.
    ///
    /// # Errors
    ///
    /// [`TooLong`] when the text is.
    pub fn new(prices: Prices, description: String) -> Result<Self, TooLong> {
        let description = Bounded::new(description)?;
        Ok(Self {
            prices,
            description,
        })
    }
}

impl Statement for WorkerDescription {
    const CONTENT_TYPE: ContentType = ContentType::WorkerDescription;
}

/// A description, signed.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SignedWorkerDescription {
    /// What is signed.
    pub worker_description: WorkerDescription,
    /// The worker's signature.
    pub signature: Signature,
    /// The worker's public key.
    pub worker_pubkey: [u8; 32],
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;
    use crate::manifest::AppAddress;

    #[test]
    fn a_description_is_the_documented_layout() {
        let prices = Prices {
            general_fee_per_second: Some(1),
            ..Prices::default()
        };
        let description = WorkerDescription::new(prices, "hi".into()).expect("short");
        let expected = format!("0101{}{}086869", "00".repeat(15), "00".repeat(8));
        assert_eq!(hex::encode(description.encode()), expected);
        assert_eq!(decode(&description.encode()), Ok(description));
        assert_eq!(Prices::default().encode(), [0; 9]);
    }

    #[test]
    fn a_description_is_short_and_so_is_its_signature() {
        let text = |bytes| WorkerDescription::new(Prices::default(), "x".repeat(bytes));
        let longest = text(DESCRIPTION_BYTES_MAX).expect("fits");
        assert!(text(DESCRIPTION_BYTES_MAX + 1).is_err());
        let signed = |bytes: usize| (longest.clone(), vec![0u8; bytes], [0u8; 32]).encode();
        assert!(decode::<SignedWorkerDescription>(&signed(128)).is_ok());
        assert!(decode::<SignedWorkerDescription>(&signed(129)).is_err());
    }

    #[test]
    fn a_bill_adds_up_and_never_wraps() {
        let usage = AppMetrics {
            address: AppAddress([0; 32]),
            session: [0; 32],
            running_time_ms: 2999,
            gas_consumed: 10,
            network_ingress: 1,
            network_egress: 1,
            storage_read: 1,
            storage_write: 1,
            storage_used: 1,
            memory_used: 1,
            tip: 1,
            starts: 1,
        };
        let prices = Prices {
            general_fee_per_second: Some(100),
            gas_price: Some(3),
            ..Prices::default()
        };
        assert_eq!(prices.cost(&usage), 230);
        let dear = Prices {
            gas_price: Some(u128::MAX),
            tip_price: Some(7),
            ..Prices::default()
        };
        assert_eq!(dear.cost(&usage), u128::MAX);
        let both = prices.or(&dear);
        assert_eq!((both.gas_price, both.tip_price), (Some(3), Some(7)));
    }
}
