//! How much each row does: thoroughly, or just enough to see that it works.

use std::time::Duration;

/// Amounts of work.
pub(crate) struct Plan {
    /// Whether only the working of the rows is of interest.
    pub(crate) smoke: bool,
    /// Rounds that alternate between ours and native; medians are taken.
    pub(crate) rounds: usize,
    /// Time of one round of a server under load.
    pub(crate) load: Duration,
    /// Time of each phase of the neighbour's row.
    pub(crate) neighbour: Duration,
    /// Host calls in one round.
    pub(crate) calls: u32,
    /// Instances started in one round.
    pub(crate) starts: usize,
    /// Divides the rounds of CPU kernels.
    pub(crate) kernel_divisor: u32,
    /// Numbers of idle instances.
    pub(crate) idle_instances: &'static [usize],
    /// Time until memory that is no longer needed has been given back to the system.
    /// Connections rest after two to four seconds, and the allocator gives pages back some ten
    /// seconds after that.
    pub(crate) settle: Duration,
    /// Deployed apps of the row about many of them.
    pub(crate) apps: usize,
    /// Idle connections of the row about many of them.
    pub(crate) connections: usize,
}

impl Plan {
    /// Numbers to publish.
    pub(crate) const FULL: Self = Self {
        smoke: false,
        rounds: 7,
        load: Duration::from_secs(4),
        neighbour: Duration::from_secs(6),
        calls: 5_000_000,
        starts: 500,
        kernel_divisor: 1,
        idle_instances: &[1_000, 10_000],
        settle: Duration::from_secs(20),
        apps: 100_000 - 1,
        connections: 10_000,
    };

    /// Proof that every row works, within a minute and without optimisation.
    pub(crate) const SMOKE: Self = Self {
        smoke: true,
        rounds: 1,
        load: Duration::from_millis(500),
        neighbour: Duration::from_secs(1),
        calls: 50_000,
        starts: 10,
        kernel_divisor: 200,
        idle_instances: &[100],
        settle: Duration::from_millis(500),
        apps: 50,
        connections: 50,
    };
}
