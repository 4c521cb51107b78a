//! The keys of a service that are understood but not carried out, by name: nothing is ignored silently.

use std::path::Path;

use serde_json::Value;

use crate::compose::convert::plugs;
use crate::compose::model::Service;
use crate::container;

/// Keys that ask for nothing a container would have, or that have been worked into others before.
const NOTHING_TO_DO: [&str; 4] = ["develop", "env_file", "label_file", "extends"];

/// Warnings about what a service asks for and does not get.
pub fn uncarried(name: &str, service: &Service) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, value) in &service.rest {
        let is_nothing = matches!(value, Value::Null | Value::Bool(false)) || value.as_array().is_some_and(Vec::is_empty);
        if !is_nothing && !key.starts_with("x-") && !NOTHING_TO_DO.contains(&key.as_str()) && !is_done(key, value) {
            keys.push(key.clone());
        }
    }
    if let Some(logging) = &service.logging
        && let Ok((_, left_out)) = container::logging(&logging.driver, &logging.texts())
    {
        keys.extend(left_out.into_iter().map(|what| format!("logging.{what}")));
    }
    for (network, settings) in &service.networks {
        let rest = settings.iter().flat_map(|settings| settings.rest.keys());
        keys.extend(rest.filter(|key| *key != "ipv6_address").map(|key| format!("networks.{network}.{key}")));
        let options = settings.iter().flat_map(|settings| settings.driver_opts.keys()).filter(|option| *option != plugs::SYSCTLS);
        keys.extend(options.map(|option| format!("networks.{network}.driver_opts.{option}")));
    }
    for volume in &service.volumes {
        // Where there is no SELinux there is nothing to label.
        let selinux =
            volume.bind.as_ref().is_some_and(|bind| bind.contains_key("selinux")) && Path::new("/sys/fs/selinux/enforce").exists();
        keys.extend(selinux.then(|| format!("volumes ({}).bind.selinux", volume.target)));
    }
    keys.into_iter().map(|key| format!("service `{name}`: `{key}` is not carried out")).collect()
}

/// Whether a key asks for what is done anyway.
fn is_done(key: &str, value: &Value) -> bool {
    match key {
        "isolation" => value.as_str() == Some("default"),
        _ => false,
    }
}
