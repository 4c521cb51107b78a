//! Limits of a service, from its own keys and from `deploy.resources`.

use serde_json::Value;

use crate::compose::model::Service;
use crate::container::Limits;
use crate::container::Wanted;
use crate::failure::Failure;
use crate::failure::Result;
use crate::units;

pub(super) fn apply(service: &Service, wanted: &mut Wanted) -> Result<()> {
    let resource = |kind: &str, name: &str| service.deploy.as_ref().and_then(|deploy| deploy.pointer(&format!("/resources/{kind}/{name}")));
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
        cpuset: service.cpuset.clone(),
        pids: service.pids_limit.or_else(|| resource("limits", "pids").and_then(Value::as_i64)),
        oom_score_adj: service.oom_score_adj,
    };
    wanted.shm_size = service.shm_size.as_deref().map(units::bytes).transpose()?;
    wanted.ulimits = service.ulimits.iter().map(|(name, value)| ulimit(name, value)).collect::<Result<_>>()?;
    wanted.devices = service.devices.iter().map(device).collect::<Result<_>>()?;
    Ok(())
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

/// One number is both limits; -1 is none.
fn ulimit(name: &str, value: &Value) -> Result<(String, u64, u64)> {
    let number = |value: &Value| match value.as_i64() {
        Some(-1) => Some(u64::MAX),
        _ => value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok())),
    };
    let soft = number(value.get("soft").or(value.get("single")).unwrap_or(value));
    let hard = number(value.get("hard").or(value.get("single")).unwrap_or(value)).or(soft);
    match (soft.or(hard), hard) {
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
