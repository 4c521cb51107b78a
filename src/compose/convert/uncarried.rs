//! The attributes of a service that are understood but not carried out, by name: nothing is ignored silently.
//!
//! Most are known by name alone, see [`treatment`]; those of which it depends are judged here.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::compose::convert::plugs;
use crate::compose::model::Project;
use crate::compose::model::Service;
use crate::compose::model::ServiceVolume;
use crate::compose::short;
use crate::compose::treatment;
use crate::container;

/// Warnings about what a service asks for and does not get.
pub fn uncarried(project: &Project, name: &str) -> Vec<String> {
    let Some(service) = project.services.get(name) else { return Vec::new() };
    let mut keys = project.normal_of(name).map(treatment::without_effect).unwrap_or_default();
    // As with docker compose, the normal form has nothing of it.
    keys.extend(project.places.has(&format!("{name}.pull_refresh_after")).then(|| "pull_refresh_after".to_owned()));
    keys.extend(of_restarts(service));
    keys.extend(of_logging(service));
    keys.extend(of_networks(service));
    service.volumes.iter().for_each(|volume| keys.extend(of_volume(volume)));
    let options = service.security_opt.iter().filter(|option| short::security_without_effect(option));
    keys.extend(options.map(|option| format!("security_opt: {option}")));
    let mut told: Vec<String> = line(&keys).map(|line| format!("service `{name}`: {line}")).into_iter().collect();
    let lost = of_mode(service);
    let mode = service.network_mode.as_deref().unwrap_or_default();
    told.extend(line(&lost).map(|line| format!("service `{name}`: {line}, as it has `network_mode: {mode}`")));
    let configs = service.configs.iter().filter_map(|grant| Some(("config", &grant.source, project.configs.get(&grant.source)?)));
    let secrets = service.secrets.iter().filter_map(|grant| Some(("secret", &grant.source, project.secrets.get(&grant.source)?)));
    let labelled = configs.chain(secrets).filter(|(_, _, object)| object.rest.get("labels").is_some_and(|labels| !labels.is_null()));
    told.extend(labelled.map(|(kind, source, _)| format!("{kind} `{source}`: `labels` is not carried out")));
    told
}

/// `a`, `b` and `c` are not carried out
fn line(keys: &BTreeSet<String>) -> Option<String> {
    let quoted: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    let (last, others) = quoted.split_last()?;
    Some(match others {
        [] => format!("{last} is not carried out"),
        _ => format!("{} and {last} are not carried out", others.join(", ")),
    })
}

/// Only a container that fails is counted.
fn of_restarts(service: &Service) -> Option<String> {
    let policy = service.deploy.as_ref()?.get("restart_policy")?;
    let is_counted = policy.get("condition").and_then(Value::as_str) == Some("on-failure");
    policy.get("max_attempts").filter(|_| !is_counted).map(|_| "deploy.restart_policy.max_attempts".to_owned())
}

fn of_logging(service: &Service) -> Vec<String> {
    let Some(logging) = &service.logging else { return Vec::new() };
    let Ok((_, left_out)) = container::logging(&logging.driver, &logging.texts()) else { return Vec::new() };
    left_out.into_iter().map(|what| format!("logging.{what}")).collect()
}

fn of_networks(service: &Service) -> impl Iterator<Item = String> + '_ {
    service.networks.iter().flat_map(|(network, settings)| {
        let options = settings.iter().flat_map(|settings| settings.driver_opts.keys()).filter(|option| *option != plugs::SYSCTLS);
        options.map(move |option| format!("networks.{network}.driver_opts.{option}"))
    })
}

fn of_volume(volume: &ServiceVolume) -> Vec<String> {
    let parts = [("bind", &volume.bind), ("volume", &volume.volume), ("tmpfs", &volume.tmpfs), ("image", &volume.image)];
    let others = parts.into_iter().filter(|(kind, options)| *kind != volume.kind && options.as_ref().is_some_and(|map| !map.is_empty()));
    let mut names: Vec<&str> = others.map(|(kind, _)| kind).collect();
    let says = |part: &Option<serde_json::Map<String, Value>>, key: &str| part.as_ref().is_some_and(|part| part.contains_key(key));
    // A volume with a name has the labels that stand with it at the top level.
    if volume.kind == "volume" && volume.source.is_some() && says(&volume.volume, "labels") {
        names.push("volume.labels");
    }
    // Where there is no SELinux there is nothing to label.
    if volume.kind == "bind" && says(&volume.bind, "selinux") && Path::new("/sys/fs/selinux/enforce").exists() {
        names.push("bind.selinux");
    }
    names.into_iter().map(|name| format!("volumes ({}).{name}", volume.target)).collect()
}

/// What has no meaning on the network that a service shares, or without any.
fn of_mode(service: &Service) -> BTreeSet<String> {
    let mode = service.network_mode.as_deref().unwrap_or_default();
    let is_shared = mode.contains(':');
    if !is_shared && !matches!(mode, "host" | "none") {
        return BTreeSet::new();
    }
    let on_a_network = [
        ("ports", !service.ports.is_empty()),
        ("links", !service.links.is_empty()),
        ("external_links", !service.external_links.is_empty()),
        ("mac_address", service.mac_address.as_ref().is_some_and(|text| !text.is_empty())),
    ];
    // Its /etc/hosts and /etc/resolv.conf are those of the other one.
    let of_its_own = [
        ("dns", is_shared && !service.dns.is_empty()),
        ("dns_opt", is_shared && !service.dns_opt.is_empty()),
        ("dns_search", is_shared && !service.dns_search.is_empty()),
        ("extra_hosts", is_shared && !service.extra_hosts.is_empty()),
    ];
    on_a_network.into_iter().chain(of_its_own).filter(|(_, is_set)| *is_set).map(|(key, _)| key.to_owned()).collect()
}
