//! Limits of a service, from its own keys and from `deploy.resources`.

use serde_json::Map;
use serde_json::Value;

use crate::compose::gpu;
use crate::compose::model;
use crate::compose::model::DeviceRate;
use crate::compose::model::Service;
use crate::compose::short;
use crate::container;
use crate::container::BlockIo;
use crate::container::Limits;
use crate::container::Wanted;
use crate::failure::Failure;
use crate::failure::Result;
use crate::units;

pub(super) fn apply(service: &Service, wanted: &mut Wanted) -> Result<()> {
    let resource = |kind: &str, name: &str| service.deploy.as_ref()?.get("resources")?.get(kind)?.get(name);
    let size = |own: &Option<String>, deploy: Option<&Value>| match own.clone().or_else(|| deploy.map(text)) {
        Some(text) => units::bytes(&text).map(Some),
        None => Ok(None),
    };
    wanted.limits = Limits {
        memory: size(&service.mem_limit, resource("limits", "memory"))?,
        memory_reservation: size(&service.mem_reservation, resource("reservations", "memory"))?,
        memory_swap: service.memswap_limit.as_deref().map(swap).transpose()?,
        cpus: service.cpus.or_else(|| resource("limits", "cpus").and_then(|value| text(value).parse().ok())),
        cpu_shares: service.cpu_shares,
        cpu_period: service.cpu_period,
        cpu_quota: service.cpu_quota,
        cpu_rt_period: service.cpu_rt_period,
        cpu_rt_runtime: service.cpu_rt_runtime,
        cpuset: service.cpuset.clone(),
        cpuset_mems: None,
        swappiness: service.mem_swappiness.as_ref().map(swappiness).transpose()?,
        oom_kill_disable: service.oom_kill_disable,
        pids: service.pids_limit.or_else(|| resource("limits", "pids").and_then(Value::as_i64)),
        oom_score_adj: service.oom_score_adj,
        block_io: service.blkio_config.as_ref().map(block_io).transpose()?.unwrap_or_default(),
    };
    short::check_cpus(&wanted.limits).map_err(|reason| Failure::new("cannot limit the CPUs").because(reason))?;
    wanted.shm_size = service.shm_size.as_deref().map(units::bytes).transpose()?;
    wanted.ulimits = service.ulimits.iter().map(|(name, value)| ulimit(name, value)).collect::<Result<_>>()?;
    let source = |value: &Value| value.get("source").and_then(Value::as_str).or(value.as_str()).unwrap_or_default().to_owned();
    let (named, paths): (Vec<&Value>, Vec<&Value>) = service.devices.iter().partition(|value| container::is_cdi_device(&source(value)));
    wanted.devices = paths.into_iter().map(device).collect::<Result<_>>()?;
    wanted.cdi_devices = named.into_iter().map(source).collect();
    let reserved = resource("reservations", "devices").and_then(Value::as_array).into_iter().flatten();
    for request in service.gpus.iter().chain(reserved) {
        let found = gpu::devices(request).map_err(|reason| Failure::new("cannot give the devices that are asked for").because(reason))?;
        wanted.cdi_devices.extend(found);
    }
    if service.runtime.as_deref() == Some("nvidia") {
        wanted.cdi_devices.extend(gpu::of_environment(&wanted.env));
    }
    wanted.cdi_devices.sort();
    wanted.cdi_devices.dedup();
    container::check_cdi_devices(&wanted.cdi_devices).map_err(|failure| failure.exit(1))?;
    wanted.device_rules = service.device_cgroup_rules.clone();
    for rule in &wanted.device_rules {
        container::check_device_rule(rule)?;
    }
    wanted.cgroup_parent = service.cgroup_parent.clone().filter(|parent| !parent.is_empty());
    if let Some(parent) = &wanted.cgroup_parent {
        short::cgroup_parent(parent).map_err(|reason| Failure::new(format!("cannot use `cgroup_parent: {parent}`")).because(reason))?;
    }
    Ok(())
}

fn swappiness(value: &Value) -> Result<u64> {
    let number = text(value).parse().ok().filter(|number| *number <= 100);
    number.ok_or_else(|| Failure::new(format!("cannot set `mem_swappiness: {}`", text(value))).because("it is a number from 0 to 100"))
}

fn block_io(wanted: &model::BlockIo) -> Result<BlockIo> {
    let weight = |number: u16| match number {
        0 | 10..=1000 => Ok(number),
        _ => Err(Failure::new(format!("cannot give block devices the weight {number}")).because("it is a number from 10 to 1000")),
    };
    let rates = |devices: &[DeviceRate]| -> Result<Vec<(String, u64)>> {
        devices.iter().map(|device| Ok((device.path.clone(), units::bytes(&text(&device.rate))?))).collect()
    };
    Ok(BlockIo {
        weight: wanted.weight.map(weight).transpose()?,
        weight_device: wanted
            .weight_device
            .iter()
            .map(|device| Ok((device.path.clone(), weight(device.weight)?)))
            .collect::<Result<_>>()?,
        read_bps: rates(&wanted.device_read_bps)?,
        write_bps: rates(&wanted.device_write_bps)?,
        read_iops: rates(&wanted.device_read_iops)?,
        write_iops: rates(&wanted.device_write_iops)?,
    })
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn swap(text: &str) -> Result<i64> {
    if text == "-1" {
        return Ok(-1);
    }
    let bytes = units::bytes(text)?;
    i64::try_from(bytes).map_err(|_| Failure::new(format!("cannot limit memory and swap to `{text}`")).because("that is too much"))
}

/// One number is both limits; -1 is none. The normal form leaves a 0 out of the long form.
pub fn ulimit(name: &str, value: &Value) -> Result<(String, u64, u64)> {
    let number = |value: &Value| match value.as_i64() {
        Some(-1) => Some(u64::MAX),
        _ => value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok())),
    };
    let field = |map: &Map<String, Value>, name: &str| map.get(name).or(map.get("single")).map_or(Some(0), number);
    let (soft, hard) = match value {
        Value::Object(map) => (field(map, "soft"), field(map, "hard")),
        single => (number(single), number(single)),
    };
    match (soft, hard) {
        (Some(soft), Some(hard)) => Ok((name.to_owned(), soft, hard)),
        _ => Err(Failure::new(format!("cannot set the limit `{name}`")).because(format!("`{value}` is no limit"))),
    }
}

fn device(value: &Value) -> Result<(String, String, String)> {
    let field = |name: &str| value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let source = field("source").or_else(|| value.as_str().map(str::to_owned));
    let Some(source) = source.filter(|source| source.starts_with('/')) else {
        return Err(Failure::new(format!("cannot give the device `{value}`")).because("only devices of the host, by path, can be given"));
    };
    let target = field("target").unwrap_or_else(|| source.clone());
    Ok((source, target, field("permissions").unwrap_or_else(|| "rwm".to_owned())))
}
