//! Resource limits, translated and applied by libcgroups; what the machine cannot do is taken out first and named.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use libcgroups::common::CgroupManager;
use libcgroups::common::ControllerOpt;
use oci_spec::runtime::LinuxResources;

use super::hierarchy::Hierarchies;
use crate::failure::Failure;
use crate::failure::Result;

/// A limit that the user can set, by the controller it needs.
struct Limit {
    controller_v1: &'static str,
    controller_v2: &'static str,
    /// As the user knows it.
    setting: &'static str,
    is_set: fn(&LinuxResources) -> bool,
    clear: fn(&mut LinuxResources),
}

const LIMITS: [Limit; 5] = [
    Limit {
        controller_v1: "memory",
        controller_v2: "memory",
        setting: "memory limit",
        is_set: |resources| resources.memory().is_some(),
        clear: |resources| {
            resources.set_memory(None);
        },
    },
    Limit {
        controller_v1: "cpu",
        controller_v2: "cpu",
        setting: "cpu limit",
        is_set: |resources| resources.cpu().as_ref().is_some_and(|cpu| cpu.quota().is_some() || cpu.shares().is_some()),
        clear: |resources| {
            if let Some(cpu) = resources.cpu().clone() {
                let mut left = cpu;
                left.set_quota(None).set_shares(None).set_period(None);
                resources.set_cpu(Some(left));
            }
        },
    },
    Limit {
        controller_v1: "cpuset",
        controller_v2: "cpuset",
        setting: "cpuset",
        is_set: |resources| resources.cpu().as_ref().is_some_and(|cpu| cpu.cpus().is_some() || cpu.mems().is_some()),
        clear: |resources| {
            if let Some(cpu) = resources.cpu().clone() {
                let mut left = cpu;
                left.set_cpus(None).set_mems(None);
                resources.set_cpu(Some(left));
            }
        },
    },
    Limit {
        controller_v1: "pids",
        controller_v2: "pids",
        setting: "pids limit",
        is_set: |resources| resources.pids().is_some(),
        clear: |resources| {
            resources.set_pids(None);
        },
    },
    Limit {
        controller_v1: "blkio",
        controller_v2: "io",
        setting: "block device limit",
        is_set: |resources| resources.block_io().is_some(),
        clear: |resources| {
            resources.set_block_io(None);
        },
    },
];

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
    carry_out(hierarchies, path, &resources)?;
    Ok(warnings)
}

/// Makes a limit's controller work in our cgroup, or says why it does not.
fn offer(hierarchies: &Hierarchies, path: &Path, limit: &Limit) -> std::result::Result<(), String> {
    if hierarchies.v1(limit.controller_v1).is_some() {
        return Ok(());
    }
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
    Ok(())
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
    let options = ControllerOpt { resources, disable_oom_killer: false, oom_score_adj: None, freezer_state: None };
    let refused = |error: &dyn std::fmt::Display| Failure::new(format!("cannot limit the cgroup {}", path.display())).because(error);
    if hierarchies.v1_mounts().next().is_some() {
        let manager = libcgroups::v1::manager::Manager::new(path).map_err(|error| refused(&error))?;
        return manager.apply(&options).map_err(|error| refused(&error));
    }
    let Some(mount) = hierarchies.unified() else { return Ok(()) };
    let manager = libcgroups::v2::manager::Manager::new(mount.to_path_buf(), path.to_path_buf()).map_err(|error| refused(&error))?;
    manager.apply(&options).map_err(|error| refused(&error))
}
