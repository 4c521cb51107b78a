//! What a running container uses: its cgroup's account, and what has gone over its network.

use std::fs;
use std::time::Instant;

use crate::failure::Result;
use crate::place::Home;
use crate::runtime::Cgroup;

use super::Container;
use super::NetworkMode;
use super::record;
use super::spec;

/// What a container has used so far and uses now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub taken: Instant,
    pub cpu_nanoseconds: u64,
    /// Bytes, without what the kernel could drop at once.
    pub memory: u64,
    /// Bytes; all the machine has if there is no limit.
    pub memory_limit: u64,
    /// Bytes that came in over the network.
    pub received: u64,
    pub sent: u64,
    /// Bytes read from block devices.
    pub read: u64,
    pub written: u64,
    pub pids: u64,
}

/// Measures a container; None if it does not run.
///
/// # Errors
/// Its record cannot be read.
pub fn usage(home: &Home, container: &Container) -> Result<Option<Usage>> {
    let state = record::state(home, &container.id)?;
    if !state.has_process() {
        return Ok(None);
    }
    // One that ends meanwhile has no cgroup any more.
    let Ok(used) = (Cgroup { path: spec::cgroup_path(container) }).usage() else { return Ok(None) };
    let (received, sent) = match container.wanted.network {
        // The host's traffic is not the container's.
        NetworkMode::Host => (0, 0),
        _ => traffic(&fs::read_to_string(format!("/proc/{}/net/dev", state.pid)).unwrap_or_default()),
    };
    Ok(Some(Usage {
        taken: Instant::now(),
        cpu_nanoseconds: used.cpu_nanoseconds,
        memory: used.memory_bytes,
        memory_limit: used.memory_limit.unwrap_or_else(memory_of_machine),
        received,
        sent,
        read: used.block_read,
        written: used.block_written,
        pids: used.pids,
    }))
}

/// Bytes received and sent, of all links but `lo`; see proc_pid_net(5).
fn traffic(text: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for line in text.lines() {
        let Some((name, counts)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let counts: Vec<u64> = counts.split_whitespace().filter_map(|count| count.parse().ok()).collect();
        sum.0 += counts.first().copied().unwrap_or(0);
        sum.1 += counts.get(8).copied().unwrap_or(0);
    }
    sum
}

fn memory_of_machine() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    total.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_that_of_all_links_but_lo() {
        let text = "Inter-|   Receive                 |  Transmit\n face |bytes packets\n    lo: 100 1 0 0 0 0 0 0 100 1 0 0 0 0 0 0\n  eth0: 7 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n  eth1: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n";
        assert_eq!(traffic(text), (17, 25));
    }
}
