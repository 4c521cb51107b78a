//! What a cgroup has used, and the freezer.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use super::hierarchy::Hierarchies;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;

/// How long a freeze may take: a process in an uninterruptible sleep holds it up.
const LONGEST_FREEZE: Duration = Duration::from_secs(10);

/// v1 writes "no limit" as a number near the largest it has.
const NO_LIMIT: u64 = 1 << 62;

/// What a cgroup has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu_nanoseconds: u64,
    /// Without the page cache that the kernel could drop at once, as `docker stats` shows it.
    pub memory_bytes: u64,
    pub memory_limit: Option<u64>,
    pub pids: u64,
    /// Bytes from and to block devices. Where the machine does not account for them, those of the processes that are there now.
    pub block_read: u64,
    pub block_written: u64,
}

/// Where a controller's files of this cgroup are, and in which version's dialect.
enum Files {
    V1(PathBuf),
    V2(PathBuf),
}

fn files(hierarchies: &Hierarchies, path: &Path, controller: &str) -> Option<Files> {
    if let Some(mount) = hierarchies.v1(controller) {
        return Some(Files::V1(mount.join(path)));
    }
    hierarchies.unified().map(|mount| Files::V2(mount.join(path)))
}

pub(super) fn usage(hierarchies: &Hierarchies, path: &Path) -> Result<Usage> {
    if !hierarchies.all_mounts().any(|mount| mount.join(path).exists()) {
        return Err(Failure::new(format!("cannot measure the cgroup {}", path.display())).because("it is not there"));
    }
    let mut usage = Usage::default();
    match files(hierarchies, path, "cpuacct") {
        Some(Files::V1(at)) => usage.cpu_nanoseconds = number(&at.join("cpuacct.usage")).unwrap_or(0),
        Some(Files::V2(at)) => usage.cpu_nanoseconds = entry(&at.join("cpu.stat"), "usage_usec").unwrap_or(0) * 1000,
        None => {}
    }
    match files(hierarchies, path, "memory") {
        Some(Files::V1(at)) => {
            usage.memory_bytes =
                busy_memory(number(&at.join("memory.usage_in_bytes")), entry(&at.join("memory.stat"), "total_inactive_file"));
            usage.memory_limit = number(&at.join("memory.limit_in_bytes")).filter(|limit| *limit < NO_LIMIT);
        }
        Some(Files::V2(at)) => {
            usage.memory_bytes = busy_memory(number(&at.join("memory.current")), entry(&at.join("memory.stat"), "inactive_file"));
            usage.memory_limit = number(&at.join("memory.max"));
        }
        None => {}
    }
    if let Some(Files::V1(at) | Files::V2(at)) = files(hierarchies, path, "pids") {
        usage.pids = number(&at.join("pids.current")).unwrap_or(0);
    }
    (usage.block_read, usage.block_written) = blocks(hierarchies, path);
    Ok(usage)
}

/// Bytes read from and written to block devices.
fn blocks(hierarchies: &Hierarchies, path: &Path) -> (u64, u64) {
    let text = |file: PathBuf| fs::read_to_string(file).ok();
    let accounted = match files(hierarchies, path, "blkio") {
        Some(Files::V1(at)) => text(at.join("blkio.throttle.io_service_bytes_recursive")).map(|text| service_bytes(&text)),
        Some(Files::V2(at)) => text(at.join("io.stat")).map(|text| io_stat(&text)),
        None => None,
    };
    accounted.unwrap_or_else(|| {
        let listed = hierarchies.all_mounts().find_map(|mount| text(mount.join(path).join("cgroup.procs"))).unwrap_or_default();
        let of_processes = listed.lines().filter_map(|pid| text(PathBuf::from(format!("/proc/{pid}/io"))));
        of_processes.fold((0, 0), |sum, text| {
            let count = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).unwrap_or(0);
            (sum.0 + count("read_bytes:"), sum.1 + count("write_bytes:"))
        })
    })
}

/// v1: lines of `8:0 Read 4096`.
fn service_bytes(text: &str) -> (u64, u64) {
    let sum = |wanted: &str| -> u64 {
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.filter(|words| words.get(1) == Some(&wanted)).filter_map(|words| words.get(2)?.parse::<u64>().ok()).sum()
    };
    (sum("Read"), sum("Write"))
}

/// v2: lines of `8:0 rbytes=4096 wbytes=0 …`.
fn io_stat(text: &str) -> (u64, u64) {
    let sum = |name: &str| text.split_whitespace().filter_map(|word| word.strip_prefix(name)?.parse::<u64>().ok()).sum();
    (sum("rbytes="), sum("wbytes="))
}

fn busy_memory(all: Option<u64>, droppable: Option<u64>) -> u64 {
    all.unwrap_or(0).saturating_sub(droppable.unwrap_or(0))
}

pub(super) fn oom_kills(hierarchies: &Hierarchies, path: &Path) -> u64 {
    let count = match files(hierarchies, path, "memory") {
        Some(Files::V1(at)) => entry(&at.join("memory.oom_control"), "oom_kill"),
        Some(Files::V2(at)) => entry(&at.join("memory.events"), "oom_kill"),
        None => None,
    };
    count.unwrap_or(0)
}

pub(super) fn freeze(hierarchies: &Hierarchies, path: &Path, frozen: bool) -> Result<()> {
    let unified = hierarchies.unified().map(|mount| mount.join(path)).filter(|at| at.join("cgroup.freeze").exists());
    if let Some(at) = unified {
        let (switch, events) = (at.join("cgroup.freeze"), at.join("cgroup.events"));
        write(&switch, if frozen { "1" } else { "0" })?;
        return until(path, || entry(&events, "frozen") == Some(u64::from(frozen)));
    }
    let Some(mount) = hierarchies.v1("freezer") else {
        return Err(Failure::new(format!("cannot freeze the cgroup {}", path.display())).because("this machine has no freezer"));
    };
    let (file, state) = (mount.join(path).join("freezer.state"), if frozen { "FROZEN" } else { "THAWED" });
    write(&file, state)?;
    until(path, || fs::read_to_string(&file).is_ok_and(|text| text.trim() == state))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).doing(|| format!("cannot write `{text}` to {}", file.display()))
}

fn until(path: &Path, done: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + LONGEST_FREEZE;
    while !done() {
        if Instant::now() > deadline {
            return Err(Failure::new(format!("cannot freeze the cgroup {}", path.display())).because("a process inside does not stop"));
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// The only number in a file; `max` and a missing file are None.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The number behind a name in a file of `name number` lines.
fn entry(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_devices_are_summed_up_in_both_dialects() {
        assert_eq!(service_bytes("8:0 Read 10\n8:0 Write 5\n8:16 Read 1\nTotal 16\n"), (11, 5));
        assert_eq!(io_stat("8:0 rbytes=10 wbytes=5 rios=1\n8:16 rbytes=1 wbytes=0\n"), (11, 5));
    }
}
