//! The table of quotas: what each is called, what it counts, what happens at it.
//!
//! Data only. Read by [`Quotas`](super::Quotas), and by embedders that show or set
//! them.

/// What a quota is measured in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QuotaUnit {
    /// A number of things.
    Count,
    /// Bytes.
    Bytes,
    /// Bytes in a second.
    BytesPerSecond,
    /// Gas.
    Gas,
    /// Gas in a second.
    GasPerSecond,
    /// Thousandths of a processor core.
    MilliCores,
}

/// What happens to an app that has reached a quota.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtQuota {
    /// What it asks for is refused.
    Refuse,
    /// What others want of it waits.
    Wait,
    /// It goes on more slowly.
    SlowDown,
    /// It is stopped.
    Stop,
}

impl AtQuota {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Wait => "wait",
            Self::SlowDown => "slow down",
            Self::Stop => "stop",
        }
    }
}

/// A quota as the table has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuotaInfo {
    /// Name in settings.
    pub name: &'static str,
    /// Name of the budget of all apps together, in figures.
    pub budget: &'static str,
    /// For people: what there is so much of.
    pub title: &'static str,
    /// What it is measured in.
    pub unit: QuotaUnit,
    /// What happens at it.
    pub at_limit: AtQuota,
}

macro_rules! quotas {
    ($( $(#[doc = $doc:literal])* $kind:ident: $name:literal, $title:literal, $unit:ident, $at:ident; )*) => {
        /// What an app has a quota of. All instances of the app share it.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum QuotaKind {
            $( $(#[doc = $doc])* $kind, )*
        }

        impl QuotaKind {
            /// All of them, in the order in which people see them.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// Its row of the table.
            pub const fn info(self) -> QuotaInfo {
                match self {
                    $( Self::$kind => QuotaInfo {
                        name: $name,
                        budget: concat!("quota_", $name),
                        title: $title,
                        unit: QuotaUnit::$unit,
                        at_limit: AtQuota::$at,
                    }, )*
                }
            }
        }
    };
}

quotas! {
    /// Connections that were accepted on the app's own ports and names and are open.
    /// More stay with the kernel, unaccepted.
    ConnectionsIn: "connections-in", "connections in", Count, Wait;
    /// Connections to elsewhere, attempts included.
    ConnectionsOut: "connections-out", "connections out", Count, Refuse;
    /// Ports and names that the app listens on, in all instances.
    Listeners: "listeners", "listeners", Count, Refuse;
    /// Handles of all kinds. Where one is needed for a request or a connection of
    /// others, that waits.
    Handles: "handles", "handles", Count, Refuse;
    /// Timers that exist.
    Timers: "timers", "timers", Count, Refuse;
    /// File descriptors.
    Descriptors: "descriptors", "descriptors", Count, Refuse;
    /// Requests and queries at a time, those that wait included.
    Requests: "requests", "requests", Count, Refuse;
    /// Linear memories and tables.
    Memory: "memory", "bytes of memory", Bytes, Refuse;
    /// What the host keeps for the app, beyond the first 64 KiB for each instance.
    HostMemory: "host-memory", "bytes of the host's memory", Bytes, Refuse;
    /// What the app has on disk: the blobs of its manifest and its sealed record.
    Storage: "storage", "bytes of storage", Bytes, Refuse;
    /// Bytes received in a second.
    Ingress: "ingress-per-second", "bytes in per second", BytesPerSecond, SlowDown;
    /// Bytes sent in a second.
    Egress: "egress-per-second", "bytes out per second", BytesPerSecond, SlowDown;
    /// Time of processors.
    Cpu: "cpu", "processor cores", MilliCores, SlowDown;
    /// Gas used in a second.
    GasRate: "gas-per-second", "gas per second", GasPerSecond, SlowDown;
    /// Gas used since the app was deployed.
    Gas: "gas", "gas", Gas, Stop;
}

impl QuotaKind {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Its name in settings.
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// The quota of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|kind| kind.name() == name)
    }

    /// Whether it limits how fast something goes.
    pub const fn is_rate(self) -> bool {
        matches!(self.info().at_limit, AtQuota::SlowDown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for (number, kind) in QuotaKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, number);
            assert_eq!(QuotaKind::from_name(kind.name()), Some(*kind));
        }
        assert_eq!(QuotaKind::from_name("conections-in"), None);
    }
}
