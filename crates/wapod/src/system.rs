//! What the system says about this process and this machine.
//!
//! Read from `/proc` and the control group; what cannot be read is zero or
//! absent. Called by `worker` for its report, and by the `wapod` program for its
//! defaults and for a look at the machine before it starts.

use std::fs;

use rustix::process::{Resource, getrlimit, setrlimit};

use wapo_host::DescriptorLimits;

use crate::limits::{
    ADMIN_CONNECTIONS_MAX, CONNECTIONS_MAX, DAEMON_FILES, DAEMON_MAPPINGS, DAEMON_MEMORY_BYTES_MIN,
    FILES_PER_INSTANCE, INSTANCE_FILES_MIN, MAPPINGS_PER_INSTANCE, TLS_CONNECTIONS_MAX,
};

/// What others than its owner may do with a file: a secret has none of these bits.
pub const MODE_OF_OTHERS: u32 = 0o077;

/// Permissions of folders: only the owner of the worker has business in them.
pub(crate) const FOLDER_MODE: u32 = 0o700;

/// Permissions of files: they are for nobody else either.
pub(crate) const FILE_MODE: u32 = 0o600;

/// Memory, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Memory {
    /// Of this process, resident.
    pub(crate) resident_bytes: u64,
    pub(crate) resident_peak_bytes: u64,
    /// Address space of this process at its largest.
    pub(crate) virtual_peak_bytes: u64,
    /// Of the machine, unused.
    pub(crate) machine_free_bytes: u64,
}

/// Reads how much memory is in use.
pub(crate) fn memory() -> Memory {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Memory {
        resident_bytes: field(&status, "VmRSS:"),
        resident_peak_bytes: field(&status, "VmHWM:"),
        virtual_peak_bytes: field(&status, "VmPeak:"),
        machine_free_bytes: field(&machine, "MemFree:"),
    }
}

/// Files that this process has open; `None` when the system does not say. Blocks,
/// for some microseconds for each of them.
pub(crate) fn open_files() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    // One of them is the folder itself.
    Some((entries.count() as u64).saturating_sub(1))
}

/// Memory that this process may have: of its control group, else of the machine.
pub(crate) fn memory_limit_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let machine = Some(field(&machine, "MemTotal:")).filter(|bytes| *bytes > 0);
    [machine, control_group_limit()].into_iter().flatten().min()
}

/// Memory that all instances may have together when the operator names no
/// budget: what there is, less a reserve for the daemon itself.
pub fn memory_budget_default_bytes() -> Option<u64> {
    memory_limit_bytes().map(|all| all - daemon_reserve_bytes(all))
}

/// An eighth, at least [`DAEMON_MEMORY_BYTES_MIN`], never more than half.
fn daemon_reserve_bytes(all_bytes: u64) -> u64 {
    (all_bytes / 8)
        .max(DAEMON_MEMORY_BYTES_MIN)
        .min(all_bytes / 2)
}

/// What this process may take from the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// Files that it may have open.
    pub open_files: u64,
    /// Pieces of address space that it may have.
    pub mappings: u64,
}

/// What a server may need at most of what the kernel gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Demand {
    /// Instances at a time.
    pub instances_max: u32,
    /// Connections to the user port at a time.
    pub connections_max: u32,
    /// Whether there is a port that apps share for TLS.
    pub has_tls: bool,
}

/// How the files that a process may have open are divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DescriptorPlan {
    /// What the daemon keeps for itself.
    pub(crate) daemon: u64,
    /// What guests may hold.
    pub(crate) guests: DescriptorLimits,
    /// Connections to the user port.
    pub(crate) user_connections: u32,
    /// Connections to the admin port.
    pub(crate) admin_connections: u32,
    /// Connections of the TLS port that no guest has yet.
    pub(crate) tls_connections: u32,
}

impl Capacity {
    /// Divides the open files: first the daemon's own (store, blobs, and for each
    /// instance the image of its module), then the operator's and the users'
    /// connections, and those of a TLS port, of few files half, and what is left is
    /// the guests'. None can take what is another's.
    pub(crate) fn descriptors(self, demand: Demand) -> DescriptorPlan {
        let Demand {
            instances_max,
            connections_max,
            has_tls,
        } = demand;
        let daemon = (DAEMON_FILES + u64::from(instances_max)).min(self.open_files / 4);
        let rest = self.open_files - daemon;
        let part = |share: u64, max: u32| {
            u32::try_from(share)
                .unwrap_or(u32::MAX)
                .clamp(1, max.max(1))
        };
        // A setting above the default takes files from the guests.
        let is_asked = connections_max > CONNECTIONS_MAX;
        let (tls_share, user_share) = match (has_tls, is_asked) {
            (false, false) => (0, rest / 8 * 3),
            (false, true) => (0, rest / 8 * 6),
            (true, false) => (rest / 8, rest / 4),
            (true, true) => (rest / 8, rest / 8 * 5),
        };
        let user_connections = part(user_share, connections_max);
        let tls_connections = match has_tls {
            true => part(tls_share, TLS_CONNECTIONS_MAX.min(connections_max)),
            false => 0,
        };
        let admin_connections = part(rest / 8, ADMIN_CONNECTIONS_MAX.min(connections_max));
        let total = rest
            .saturating_sub(u64::from(
                user_connections + admin_connections + tls_connections,
            ))
            .min(DescriptorLimits::UNLIMITED.total);
        DescriptorPlan {
            daemon,
            guests: DescriptorLimits {
                total,
                per_instance: (total / 4).max(total.min(INSTANCE_FILES_MIN)),
            },
            user_connections,
            admin_connections,
            tls_connections,
        }
    }

    /// Raises the soft limit of open files to the hard one, and reads what is to
    /// be had then. What cannot be read counts as unlimited.
    pub fn take() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let mut raised = limit;
        raised.current = limit.maximum;
        let open_files = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => raised.current,
            Err(_) => limit.current,
        };
        let mappings = fs::read_to_string("/proc/sys/vm/max_map_count");
        Self {
            open_files: open_files.unwrap_or(u64::MAX),
            mappings: mappings
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(u64::MAX),
        }
    }

    /// Whether what is asked for fits; a warning when it fits in idleness only.
    ///
    /// # Errors
    ///
    /// A text for the operator: what is too little and how to change it. Without
    /// a mapping for the next allocation the whole daemon would be ended, so it
    /// does not start.
    pub fn check(self, demand: Demand) -> Result<Option<String>, String> {
        let connections_max = demand.connections_max;
        let instances = u64::from(demand.instances_max);
        let mappings = DAEMON_MAPPINGS + instances * MAPPINGS_PER_INSTANCE;
        if self.mappings < mappings {
            let room = self.mappings.saturating_sub(DAEMON_MAPPINGS) / MAPPINGS_PER_INSTANCE;
            return Err(format!(
                "{instances} instances (-c) may need {mappings} memory mappings, the kernel allows {}: use `sysctl vm.max_map_count={mappings}`, or `-c {room}` at most",
                self.mappings
            ));
        }
        let files = DAEMON_FILES + instances;
        if self.open_files < files {
            return Err(format!(
                "{instances} instances (-c) need {files} open files at least, the limit is {}: raise it (`ulimit -n`, LimitNOFILE), or use a smaller -c",
                self.open_files
            ));
        }
        let room = self.descriptors(demand).user_connections;
        // The default is for machines with enough files, and less is no mistake of anyone.
        if connections_max > CONNECTIONS_MAX.max(room) {
            return Err(format!(
                "{connections_max} connections (max-connections) need more open files than the limit of {}, of which {room} are for connections to the user port: raise it (`ulimit -n`, LimitNOFILE), or use `--max-connections {room}` at most",
                self.open_files
            ));
        }
        let files = DAEMON_FILES + u64::from(connections_max) + instances * FILES_PER_INSTANCE;
        Ok((self.open_files < files).then(|| {
            format!(
                "under load, {instances} instances (-c) may need {files} open files, the limit is {}: connections may fail then; raise it (`ulimit -n`, LimitNOFILE), or use a smaller -c",
                self.open_files
            )
        }))
    }
}

fn control_group_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut folder = std::path::PathBuf::from("/sys/fs/cgroup");
    let mut limits = Vec::new();
    // The limit of any group above counts as well.
    for part in std::iter::once("").chain(own.split('/').filter(|part| !part.is_empty())) {
        folder.push(part);
        let limit = fs::read_to_string(folder.join("memory.max"));
        limits.extend(limit.ok().and_then(|text| text.trim().parse::<u64>().ok()));
    }
    limits.into_iter().min()
}

/// A line such as `VmRSS:  123 kB`, in bytes.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number
        .and_then(|number| number.parse::<u64>().ok())
        .map_or(0, |kib| kib.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_and_scaled() {
        let text = "VmPeak:\t  20 kB\nVmRSS:\t 7 kB\n";
        assert_eq!(field(text, "VmRSS:"), 7 * 1024);
        assert_eq!(field(text, "VmSwap:"), 0);
    }

    #[test]
    fn the_daemon_keeps_some_memory_for_itself() {
        assert_eq!(daemon_reserve_bytes(64 << 30), 8 << 30);
        assert_eq!(daemon_reserve_bytes(1 << 30), DAEMON_MEMORY_BYTES_MIN);
        assert_eq!(daemon_reserve_bytes(100 << 20), 50 << 20);
        assert!(memory_budget_default_bytes() < memory_limit_bytes());
    }

    fn demand(instances_max: u32) -> Demand {
        Demand {
            instances_max,
            connections_max: CONNECTIONS_MAX,
            has_tls: false,
        }
    }

    #[test]
    fn instances_that_do_not_fit_are_refused_with_what_to_do() {
        let ample = Capacity {
            open_files: 1 << 20,
            mappings: 1 << 20,
        };
        let check = |of: Capacity, instances_max| of.check(demand(instances_max));
        assert_eq!(check(ample, 1000), Ok(None));
        let error = check(ample, 200_000).expect_err("too many");
        assert!(error.contains("vm.max_map_count=") && error.contains("-c"));

        let few_files = |open_files| Capacity {
            open_files,
            ..ample
        };
        let warning = check(few_files(1024), 128).expect("fits in idleness");
        assert!(warning.expect("a warning").contains("LimitNOFILE"));
        let error = check(few_files(256), 128).expect_err("too few");
        assert!(error.contains("the limit is 256"), "{error}");
    }

    #[test]
    fn connections_that_do_not_fit_are_refused_with_what_to_do() {
        let capacity = Capacity {
            open_files: 20_000,
            mappings: 1 << 20,
        };
        let connections = |connections_max| Demand {
            connections_max,
            ..demand(128)
        };
        assert_eq!(capacity.check(connections(14_000)), Ok(None));
        let plan = capacity.descriptors(connections(14_000));
        assert_eq!(plan.user_connections, 14_000);
        assert!(plan.guests.total > 5_000, "{plan:?}");
        let error = capacity.check(connections(16_000)).expect_err("too many");
        assert!(error.contains("--max-connections 14712"), "{error}");
        let with_tls = Demand {
            has_tls: true,
            ..connections(14_000)
        };
        let error = capacity.check(with_tls).expect_err("a share is for TLS");
        assert!(error.contains("--max-connections 12260"), "{error}");
        let none = capacity.descriptors(connections(0));
        assert_eq!((none.user_connections, none.admin_connections), (1, 1));
        // What an operator has not asked for is as much as there is.
        let few = Capacity {
            open_files: 2_000,
            ..capacity
        };
        assert!(few.check(connections(CONNECTIONS_MAX)).is_ok());
        assert!(few.check(connections(CONNECTIONS_MAX + 1)).is_err());
    }

    #[test]
    fn open_files_are_divided_without_a_rest_and_never_shared() {
        for open_files in [64, 1_024, 2_000, 20_000, 1 << 20, u64::MAX] {
            let capacity = Capacity {
                open_files,
                mappings: 1 << 20,
            };
            for has_tls in [false, true] {
                let plan = capacity.descriptors(Demand {
                    has_tls,
                    ..demand(100)
                });
                let connections =
                    plan.user_connections + plan.admin_connections + plan.tls_connections;
                assert_eq!(plan.tls_connections > 0, has_tls);
                let all = plan.guests.total + u64::from(connections) + plan.daemon;
                assert!(all <= open_files, "{plan:?}");
                assert!(plan.guests.per_instance <= plan.guests.total);
                assert!(plan.guests.total >= open_files.min(1 << 40) / 3, "{plan:?}");
                // Each instance may run another module, whose image is a file.
                let modules = DAEMON_FILES + 100;
                assert!(plan.daemon == modules || plan.daemon == open_files / 4);
            }
        }
    }

    #[test]
    fn the_limit_of_open_files_is_raised() {
        let capacity = Capacity::take();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(capacity.open_files, limit.current.unwrap_or(u64::MAX));
    }

    #[test]
    fn open_files_are_counted() {
        let before = open_files().expect("a number");
        let files: Vec<_> = (0..100).map(|_| fs::File::open("/dev/null")).collect();
        let after = open_files().expect("a number");
        // Other tests of this process open and close some, too.
        assert!(before >= 3 && after >= before + 50, "{before}, {after}");
        drop(files);
    }

    #[test]
    fn this_process_has_memory() {
        let memory = memory();
        assert!(memory.resident_bytes > 0);
        assert!(memory.virtual_peak_bytes >= memory.resident_bytes);
        assert!(memory_limit_bytes().is_some_and(|limit| limit > memory.resident_bytes));
    }
}
