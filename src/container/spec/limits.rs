//! Resource limits and the rules for devices.

use std::os::unix::fs::MetadataExt;

use oci_spec::runtime::LinuxBlockIo;
use oci_spec::runtime::LinuxCpu;
use oci_spec::runtime::LinuxMemory;
use oci_spec::runtime::LinuxPids;
use oci_spec::runtime::LinuxResources;
use oci_spec::runtime::LinuxThrottleDevice;
use oci_spec::runtime::LinuxThrottleDeviceBuilder;
use oci_spec::runtime::LinuxWeightDevice;
use oci_spec::runtime::LinuxWeightDeviceBuilder;

use crate::container::BlockIo;
use crate::container::Limits;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;

/// The period that a share of the CPUs is counted in, in microseconds.
const CPU_PERIOD: u64 = 100_000;

/// Writes limits into the resources of a spec.
///
/// # Errors
/// A block device that is not there.
pub(in crate::container) fn apply(resources: &mut LinuxResources, limits: &Limits) -> Result<()> {
    resources.set_memory(Some(memory(limits)).filter(|memory| *memory != LinuxMemory::default()));
    resources.set_cpu(Some(cpu(limits)).filter(|cpu| *cpu != LinuxCpu::default()));
    if let Some(limit) = limits.pids.filter(|limit| *limit > 0) {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids));
    }
    resources.set_block_io(block_io(&limits.block_io)?);
    Ok(())
}

fn memory(limits: &Limits) -> LinuxMemory {
    let bytes = |value: Option<u64>| value.filter(|value| *value > 0).and_then(|value| i64::try_from(value).ok());
    let mut memory = LinuxMemory::default();
    memory.set_limit(bytes(limits.memory));
    memory.set_reservation(bytes(limits.memory_reservation));
    // Docker: as much swap as memory, unless told otherwise.
    let doubled = memory.limit().and_then(|limit| limit.checked_mul(2));
    memory.set_swap(limits.memory_swap.filter(|swap| *swap != 0).or(doubled));
    memory.set_swappiness(limits.swappiness);
    memory.set_disable_oom_killer(limits.oom_kill_disable.then_some(true));
    memory
}

fn cpu(limits: &Limits) -> LinuxCpu {
    let mut cpu = LinuxCpu::default();
    cpu.set_period(limits.cpu_period.filter(|period| *period > 0)).set_quota(limits.cpu_quota.filter(|quota| *quota != 0));
    if let Some(cpus) = limits.cpus.filter(|cpus| *cpus > 0.0) {
        cpu.set_quota(Some((cpus * CPU_PERIOD as f64).round() as i64)).set_period(Some(CPU_PERIOD));
    }
    cpu.set_shares(limits.cpu_shares.filter(|shares| *shares > 0));
    cpu.set_realtime_period(limits.cpu_rt_period.filter(|period| *period > 0));
    cpu.set_realtime_runtime(limits.cpu_rt_runtime.filter(|runtime| *runtime > 0));
    cpu.set_cpus(limits.cpuset.clone().filter(|cpus| !cpus.is_empty()));
    cpu.set_mems(limits.cpuset_mems.clone().filter(|nodes| !nodes.is_empty()));
    cpu
}

fn block_io(wanted: &BlockIo) -> Result<Option<LinuxBlockIo>> {
    if *wanted == BlockIo::default() {
        return Ok(None);
    }
    let weights = wanted.weight_device.iter().map(|(path, weight)| {
        let (major, minor) = numbers(path)?;
        Ok(LinuxWeightDeviceBuilder::default().major(major).minor(minor).weight(*weight).build().expect("every field has a default"))
    });
    let weights = weights.collect::<Result<Vec<LinuxWeightDevice>>>()?;
    let mut limits = LinuxBlockIo::default();
    limits.set_weight(wanted.weight.filter(|weight| *weight > 0)).set_weight_device(Some(weights).filter(|list| !list.is_empty()));
    limits.set_throttle_read_bps_device(rates(&wanted.read_bps)?).set_throttle_write_bps_device(rates(&wanted.write_bps)?);
    limits.set_throttle_read_iops_device(rates(&wanted.read_iops)?).set_throttle_write_iops_device(rates(&wanted.write_iops)?);
    Ok(Some(limits))
}

fn rates(wanted: &[(String, u64)]) -> Result<Option<Vec<LinuxThrottleDevice>>> {
    let rate = |(path, rate): &(String, u64)| {
        let (major, minor) = numbers(path)?;
        Ok(LinuxThrottleDeviceBuilder::default().major(major).minor(minor).rate(*rate).build().expect("every field has a default"))
    };
    let rates = wanted.iter().map(rate).collect::<Result<Vec<LinuxThrottleDevice>>>()?;
    Ok(Some(rates).filter(|list| !list.is_empty()))
}

fn numbers(path: &str) -> Result<(i64, i64)> {
    use std::os::unix::fs::FileTypeExt;
    let what = || format!("cannot limit the block device `{path}`");
    let found = std::fs::metadata(path).doing(what).map_err(|failure| failure.exit(125))?;
    if !found.file_type().is_block_device() {
        return Err(Failure::new(what()).because("it is no block device").exit(125));
    }
    Ok((i64::from(rustix::fs::major(found.rdev())), i64::from(rustix::fs::minor(found.rdev()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(limits: Limits) -> LinuxResources {
        let mut resources = LinuxResources::default();
        apply(&mut resources, &limits).unwrap();
        resources
    }

    #[test]
    fn limits_are_written_as_docker_means_them() {
        let found = resources(Limits { memory: Some(1 << 20), cpus: Some(1.5), pids: Some(0), ..Limits::default() });
        let memory = found.memory().unwrap();
        assert_eq!((memory.limit(), memory.swap()), (Some(1 << 20), Some(2 << 20)));
        let cpu = found.cpu().clone().unwrap();
        assert_eq!((cpu.quota(), cpu.period()), (Some(150_000), Some(100_000)));
        assert!(found.pids().is_none());
    }

    #[test]
    fn quota_and_period_stand_for_themselves() {
        let found = resources(Limits { cpu_quota: Some(20_000), cpu_period: Some(50_000), swappiness: Some(0), ..Limits::default() });
        let cpu = found.cpu().clone().unwrap();
        assert_eq!((cpu.quota(), cpu.period()), (Some(20_000), Some(50_000)));
        assert_eq!(found.memory().unwrap().swappiness(), Some(0));
    }

    #[test]
    fn no_limit_is_nothing_to_apply() {
        let found = resources(Limits::default());
        assert!(found.memory().is_none() && found.cpu().is_none() && found.block_io().is_none());
    }

    #[test]
    fn a_rate_is_for_a_block_device() {
        let limits = Limits { block_io: BlockIo { read_bps: vec![("/dev/null".into(), 1)], ..BlockIo::default() }, ..Limits::default() };
        let failure = apply(&mut LinuxResources::default(), &limits).unwrap_err();
        assert_eq!(failure.what(), "cannot limit the block device `/dev/null`");
    }
}
