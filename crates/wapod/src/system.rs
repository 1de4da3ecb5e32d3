//! What the system says about this process and this machine.
//!
//! Read from `/proc` and the control group; what cannot be read is zero or
//! absent. Called by `worker` for its report and by `config` for its defaults.

use std::fs;

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

/// Memory that this process may have: of its control group, else of the machine.
pub(crate) fn memory_limit_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let machine = Some(field(&machine, "MemTotal:")).filter(|bytes| *bytes > 0);
    [machine, control_group_limit()].into_iter().flatten().min()
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
    fn this_process_has_memory() {
        let memory = memory();
        assert!(memory.resident_bytes > 0);
        assert!(memory.virtual_peak_bytes >= memory.resident_bytes);
        assert!(memory_limit_bytes().is_some_and(|limit| limit > memory.resident_bytes));
    }
}
