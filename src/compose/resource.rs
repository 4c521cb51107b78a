//! Networks and volumes of a project: what they are made from, and with which labels.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::Value;
use sha2::Digest;
use sha2::Sha256;

use crate::compose::labels;
use crate::compose::model::Network;
use crate::compose::model::Project;
use crate::compose::model::Volume;
use crate::failure::Failure;
use crate::failure::Result;
use crate::net;
use crate::volume;

/// The settings of a network that call for a new one when they change, as one digest.
pub fn network_hash(network: &Network) -> String {
    let ipam = network.ipam.as_ref().map(Value::to_string).unwrap_or_default();
    let text = format!("{:?} {} {:?} {ipam} {:?}", network.driver, network.internal, network.labels, network.rest.get("driver_opts"));
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is to be made for a top-level network.
///
/// # Errors
/// A driver we do not have; an address that is none.
pub fn network_wanted(project: &Project, key: &str, network: &Network) -> Result<net::Wanted> {
    let cannot = || Failure::new(format!("cannot make network `{key}`"));
    if let Some(driver) = network.driver.as_deref().filter(|driver| !matches!(*driver, "" | "bridge" | "default")) {
        return Err(cannot().because(format!("there is no network driver `{driver}`")).hint("the driver `bridge` is what there is"));
    }
    let mut labels = network.labels.clone();
    labels.extend(labels::of_project(&project.name));
    labels.insert(labels::NETWORK.to_owned(), key.to_owned());
    labels.insert(labels::CONFIG_HASH.to_owned(), network_hash(network));
    let configs = network.ipam.as_ref().and_then(|ipam| ipam.get("config")).and_then(Value::as_array).cloned().unwrap_or_default();
    let is_v4 = |config: &&Value| config.get("subnet").and_then(Value::as_str).is_none_or(|subnet| !subnet.contains(':'));
    let config = configs.iter().find(is_v4);
    let text = |name: &str| config.and_then(|config| config.get(name)).and_then(Value::as_str);
    let gateway = text("gateway")
        .map(|text| text.parse::<Ipv4Addr>().map_err(|_| cannot().because(format!("the gateway `{text}` is no IPv4 address"))));
    Ok(net::Wanted {
        name: network.name.clone(),
        subnet: text("subnet").map(str::to_owned),
        gateway: gateway.transpose()?,
        internal: network.internal,
        labels,
    })
}

/// What is to be made for a top-level volume.
///
/// # Errors
/// A driver we do not have.
pub fn volume_wanted(project: &Project, key: &str, volume: &Volume) -> Result<volume::Wanted> {
    if let Some(driver) = volume.driver.as_deref().filter(|driver| !matches!(*driver, "" | "local" | "default")) {
        return Err(Failure::new(format!("cannot make volume `{key}`"))
            .because(format!("there is no volume driver `{driver}`"))
            .hint("the driver `local` is what there is"));
    }
    let mut labels = volume.labels.clone();
    labels.extend(labels::of_project(&project.name));
    labels.insert(labels::VOLUME.to_owned(), key.to_owned());
    let options: BTreeMap<String, String> = volume.driver_opts.clone();
    Ok(volume::Wanted { name: Some(volume.name.clone()), labels, options })
}
