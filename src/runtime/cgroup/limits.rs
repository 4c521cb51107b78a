//! Resource limits, translated and applied by libcgroups; what the machine cannot do is taken out first and named.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;

use libcgroups::common::CgroupManager;
use libcgroups::common::ControllerOpt;
use oci_spec::runtime::LinuxBlockIo;
use oci_spec::runtime::LinuxCpu;
use oci_spec::runtime::LinuxMemory;
use oci_spec::runtime::LinuxResources;

use super::block_io;
use super::block_io::Version;
use super::hierarchy::Hierarchies;
use super::real_time;
use crate::failure::Failure;
use crate::failure::Result;

type Test = fn(&LinuxResources) -> bool;
type Clear = fn(&mut LinuxResources);

/// A limit that the user can set, by the controller it needs.
struct Limit {
    controller_v1: &'static str,
    controller_v2: &'static str,
    /// Files of which the kernel must have one.
    files_v1: &'static [&'static str],
    files_v2: &'static [&'static str],
    /// As the user knows it.
    setting: &'static str,
    is_set: Test,
    clear: Clear,
}

const LIMITS: [Limit; 8] = [
    Limit {
        controller_v1: "memory",
        controller_v2: "memory",
        files_v1: &["memory.limit_in_bytes"],
        files_v2: &["memory.max"],
        setting: "memory limit",
        is_set: |resources| {
            memory(resources, |memory| memory.limit().is_some() || memory.reservation().is_some() || memory.swap().is_some())
        },
        clear: |resources| {
            clear_memory(resources, |memory| {
                memory.set_limit(None).set_reservation(None).set_swap(None);
            });
        },
    },
    Limit {
        controller_v1: "memory",
        controller_v2: "memory",
        files_v1: &["memory.swappiness"],
        files_v2: &["memory.swappiness"],
        setting: "memory swappiness",
        is_set: |resources| memory(resources, |memory| memory.swappiness().is_some()),
        clear: |resources| {
            clear_memory(resources, |memory| {
                memory.set_swappiness(None);
            });
        },
    },
    Limit {
        controller_v1: "memory",
        controller_v2: "memory",
        files_v1: &["memory.oom_control"],
        files_v2: &["memory.oom_control"],
        setting: "OOM killer's being switched off",
        is_set: |resources| memory(resources, |memory| memory.disable_oom_killer() == Some(true)),
        clear: |resources| {
            clear_memory(resources, |memory| {
                memory.set_disable_oom_killer(None);
            });
        },
    },
    Limit {
        controller_v1: "cpu",
        controller_v2: "cpu",
        files_v1: &["cpu.cfs_quota_us", "cpu.shares"],
        files_v2: &["cpu.max"],
        setting: "cpu limit",
        is_set: |resources| cpu(resources, |cpu| cpu.quota().is_some() || cpu.shares().is_some() || cpu.period().is_some()),
        clear: |resources| {
            clear_cpu(resources, |cpu| {
                cpu.set_quota(None).set_shares(None).set_period(None);
            });
        },
    },
    Limit {
        controller_v1: "cpu",
        controller_v2: "cpu",
        files_v1: &["cpu.rt_runtime_us"],
        files_v2: &["cpu.rt_runtime_us"],
        setting: "cpu time for real-time programs",
        is_set: |resources| cpu(resources, |cpu| cpu.realtime_runtime().is_some() || cpu.realtime_period().is_some()),
        clear: |resources| {
            clear_cpu(resources, |cpu| {
                cpu.set_realtime_runtime(None).set_realtime_period(None);
            });
        },
    },
    Limit {
        controller_v1: "cpuset",
        controller_v2: "cpuset",
        files_v1: &["cpuset.cpus"],
        files_v2: &["cpuset.cpus"],
        setting: "cpuset",
        is_set: |resources| cpu(resources, |cpu| cpu.cpus().is_some() || cpu.mems().is_some()),
        clear: |resources| {
            clear_cpu(resources, |cpu| {
                cpu.set_cpus(None).set_mems(None);
            });
        },
    },
    Limit {
        controller_v1: "pids",
        controller_v2: "pids",
        files_v1: &["pids.max"],
        files_v2: &["pids.max"],
        setting: "pids limit",
        is_set: |resources| resources.pids().is_some(),
        clear: |resources| {
            resources.set_pids(None);
        },
    },
    Limit {
        controller_v1: "blkio",
        controller_v2: "io",
        files_v1: &["blkio.throttle.read_bps_device", "blkio.weight", "blkio.bfq.weight"],
        files_v2: &["io.max", "io.weight", "io.bfq.weight"],
        setting: "block device limit",
        is_set: |resources| resources.block_io().is_some(),
        clear: |resources| {
            resources.set_block_io(None);
        },
    },
];

fn memory(resources: &LinuxResources, test: impl Fn(&LinuxMemory) -> bool) -> bool {
    resources.memory().as_ref().is_some_and(test)
}

fn clear_memory(resources: &mut LinuxResources, clear: impl Fn(&mut LinuxMemory)) {
    let Some(mut left) = *resources.memory() else { return };
    clear(&mut left);
    resources.set_memory(Some(left).filter(|left| *left != LinuxMemory::default()));
}

fn cpu(resources: &LinuxResources, test: impl Fn(&LinuxCpu) -> bool) -> bool {
    resources.cpu().as_ref().is_some_and(test)
}

fn clear_cpu(resources: &mut LinuxResources, clear: impl Fn(&mut LinuxCpu)) {
    let Some(mut left) = resources.cpu().clone() else { return };
    clear(&mut left);
    resources.set_cpu(Some(left).filter(|left| *left != LinuxCpu::default()));
}

/// The v1 controllers whose hierarchies a container must be in: for fencing, for measuring, and for the limits set.
pub(super) fn needed_v1(resources: &LinuxResources, without_v2: bool) -> Vec<&'static str> {
    let mut needed = vec!["devices", "memory", "cpu", "cpuacct", "pids"];
    if without_v2 {
        needed.push("freezer");
    }
    needed.extend(LIMITS.iter().filter(|limit| (limit.is_set)(resources)).map(|limit| limit.controller_v1));
    needed
}

/// A warning for each limit set, when none can be applied.
pub(super) fn all_lost(resources: &LinuxResources, why: &str) -> Vec<String> {
    LIMITS.iter().filter(|limit| (limit.is_set)(resources)).map(|limit| lost(limit, why)).collect()
}

fn lost(limit: &Limit, why: &str) -> String {
    format!("the {} is not applied: {why}", limit.setting)
}

/// Applies what can be applied and returns a warning for each limit that cannot.
///
/// # Errors
/// The kernel refuses a value.
pub(super) fn apply(hierarchies: &Hierarchies, path: &Path, wanted: &LinuxResources) -> Result<Vec<String>> {
    let set: Vec<&Limit> = LIMITS.iter().filter(|limit| (limit.is_set)(wanted)).collect();
    if set.is_empty() {
        return Ok(Vec::new());
    }
    let mut resources = wanted.clone();
    resources.set_devices(None);
    let mut warnings = Vec::new();
    for limit in set {
        if let Err(why) = offer(hierarchies, path, limit) {
            warnings.push(lost(limit, &why));
            (limit.clear)(&mut resources);
        }
    }
    drop_swap(hierarchies, path, &mut resources, &mut warnings);
    if let Some(wanted) = resources.block_io().clone() {
        resources.set_block_io(None);
        let unknown = limit_block_devices(hierarchies, path, &wanted)?;
        warnings.extend(unknown.iter().map(|setting| format!("the {setting} is not applied: this kernel's scheduler has none")));
    }
    if let (Some(cpu), Some(mount)) = (resources.cpu(), hierarchies.v1("cpu"))
        && let Some(runtime) = cpu.realtime_runtime()
    {
        real_time::provide(mount, path, runtime, cpu.realtime_period())?;
    }
    carry_out(hierarchies, path, &resources)?;
    Ok(warnings)
}

fn limit_block_devices(hierarchies: &Hierarchies, path: &Path, wanted: &LinuxBlockIo) -> Result<Vec<&'static str>> {
    match (hierarchies.v1("blkio"), hierarchies.unified()) {
        (Some(mount), _) => block_io::apply(&mount.join(path), Version::One, wanted),
        (None, Some(mount)) => block_io::apply(&mount.join(path), Version::Two, wanted),
        (None, None) => Ok(Vec::new()),
    }
}

/// Makes a limit's controller work in our cgroup, or says why it does not.
fn offer(hierarchies: &Hierarchies, path: &Path, limit: &Limit) -> std::result::Result<(), String> {
    let (directory, files) = match hierarchies.v1(limit.controller_v1) {
        Some(mount) => (mount.join(path), limit.files_v1),
        None => (enable_on_v2(hierarchies, path, limit)?, limit.files_v2),
    };
    match files.iter().any(|file| directory.join(file).exists()) {
        true => Ok(()),
        false => Err(format!("this machine's control groups have no `{}`", files[0])),
    }
}

fn enable_on_v2(hierarchies: &Hierarchies, path: &Path, limit: &Limit) -> std::result::Result<PathBuf, String> {
    let missing = || format!("this machine has no `{}` controller", limit.controller_v2);
    let mount = hierarchies.unified().ok_or_else(missing)?;
    if !hierarchies.unified_controllers().iter().any(|has| has == limit.controller_v2) {
        return Err(missing());
    }
    let mut level = mount.to_path_buf();
    for part in path {
        enable(&level, limit.controller_v2)?;
        level.push(part);
    }
    Ok(level)
}

/// See "Enabling and Disabling" in the kernel's admin-guide/cgroup-v2.rst.
fn enable(directory: &Path, controller: &str) -> std::result::Result<(), String> {
    let file = directory.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&file).unwrap_or_default();
    if enabled.split_whitespace().any(|has| has == controller) {
        return Ok(());
    }
    fs::write(&file, format!("+{controller}")).map_err(|error| match error.kind() {
        ErrorKind::ResourceBusy => {
            format!("processes live in the cgroup {} itself, so it cannot give `{controller}` to others", directory.display())
        }
        _ => format!("cannot enable `{controller}` in {}: {error}", file.display()),
    })
}

/// Without swap accounting the memory limit still holds; only the swap limit is lost.
fn drop_swap(hierarchies: &Hierarchies, path: &Path, resources: &mut LinuxResources, warnings: &mut Vec<String>) {
    let Some(memory) = *resources.memory() else { return };
    if memory.swap().is_none() {
        return;
    }
    let file = match hierarchies.v1("memory") {
        Some(mount) => mount.join(path).join("memory.memsw.limit_in_bytes"),
        None => match hierarchies.unified() {
            Some(mount) => mount.join(path).join("memory.swap.max"),
            None => return,
        },
    };
    if !file.exists() {
        let mut left = memory;
        left.set_swap(None);
        resources.set_memory(Some(left));
        warnings.push("the swap limit is not applied: this kernel does not account for swap".to_owned());
    }
}

fn carry_out(hierarchies: &Hierarchies, path: &Path, resources: &LinuxResources) -> Result<()> {
    let disable_oom_killer = memory(resources, |memory| memory.disable_oom_killer() == Some(true));
    let options = ControllerOpt { resources, disable_oom_killer, oom_score_adj: None, freezer_state: None };
    let refused = |error: &dyn std::fmt::Display| Failure::new(format!("cannot limit the cgroup {}", path.display())).because(error);
    if hierarchies.v1_mounts().next().is_some() {
        let manager = libcgroups::v1::manager::Manager::new(path).map_err(|error| refused(&error))?;
        return manager.apply(&options).map_err(|error| refused(&error));
    }
    let Some(mount) = hierarchies.unified() else { return Ok(()) };
    let manager = libcgroups::v2::manager::Manager::new(mount.to_path_buf(), path.to_path_buf()).map_err(|error| refused(&error))?;
    manager.apply(&options).map_err(|error| refused(&error))
}
