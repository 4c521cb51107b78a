//! Networks and volumes of a project: what they are made from, and with which labels.

use std::collections::BTreeMap;

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
use crate::net::WantedAddresses;
use crate::volume;

/// The settings of a network that call for a new one when they change, as one digest.
pub fn network_hash(network: &Network) -> String {
    let ipam = network.ipam.as_ref().map(Value::to_string).unwrap_or_default();
    let mut text = format!("{:?} {} {:?} {ipam} {:?}", network.driver, network.internal, network.labels, network.rest.get("driver_opts"));
    // What is as usual says nothing, so that networks made before there was a choice are left alone.
    for (key, usual) in [("enable_ipv4", true), ("enable_ipv6", false)] {
        if is_on(network, key, usual) != usual {
            text += &format!(" {key}: {}", !usual);
        }
    }
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
    let (ipv4, ipv6) = addresses(network).map_err(|failure| failure.within(format!("cannot make network `{key}`")))?;
    let options = driver_options(network);
    Ok(net::Wanted { name: network.name.clone(), ipv4, ipv6, internal: network.internal, options, labels })
}

fn driver_options(network: &Network) -> BTreeMap<String, String> {
    let written = network.rest.get("driver_opts").and_then(Value::as_object).into_iter().flatten();
    written.map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))).collect()
}

/// What a top-level network asks for and does not get.
pub fn uncarried_of_network(key: &str, network: &Network) -> Vec<String> {
    let mut keys: Vec<String> =
        net::unknown_options(&driver_options(network)).iter().map(|option| format!("driver_opts.{option}")).collect();
    let ipam = network.ipam.as_ref();
    let driver = ipam.and_then(|ipam| ipam.get("driver")).and_then(Value::as_str).filter(|driver| !matches!(*driver, "" | "default"));
    keys.extend(driver.map(|driver| format!("ipam.driver: {driver}")));
    let mut told: Vec<String> = keys.into_iter().map(|what| format!("network `{key}`: `{what}` is not carried out")).collect();
    for config in configs(network) {
        let (switch, usual) = if config.is_ipv6() { ("enable_ipv6", false) } else { ("enable_ipv4", true) };
        if !is_on(network, switch, usual) {
            let subnet = config.subnet.as_deref().unwrap_or("ipam.config");
            told.push(format!("network `{key}`: `{subnet}` is left out, as `{switch}` is not on"));
        }
    }
    told
}

/// The families of addresses that a network is to have, and what of them.
fn addresses(network: &Network) -> Result<(Option<WantedAddresses>, Option<WantedAddresses>)> {
    let mut ipv4 = is_on(network, "enable_ipv4", true).then(WantedAddresses::default);
    let mut ipv6 = is_on(network, "enable_ipv6", false).then(WantedAddresses::default);
    for wanted in configs(network) {
        let family = if wanted.is_ipv6() { &mut ipv6 } else { &mut ipv4 };
        match family {
            Some(place) if *place != WantedAddresses::default() => {
                let name = if wanted.is_ipv6() { "IPv6" } else { "IPv4" };
                return Err(Failure::new(format!("a network can have one subnet of {name}, not several")));
            }
            Some(place) => *place = wanted,
            None => {} // as Docker does; it is told by `uncarried_of_network`
        }
    }
    Ok((ipv4, ipv6))
}

fn configs(network: &Network) -> Vec<WantedAddresses> {
    let configs = network.ipam.as_ref().and_then(|ipam| ipam.get("config")).and_then(Value::as_array).into_iter().flatten();
    let read = |config: &Value| {
        let text = |name: &str| config.get(name).and_then(Value::as_str).map(str::to_owned);
        let reserved = config.get("aux_addresses").and_then(Value::as_object).into_iter().flatten();
        WantedAddresses {
            subnet: text("subnet"),
            gateway: text("gateway"),
            range: text("ip_range"),
            reserved: reserved.filter_map(|(what, address)| Some((what.clone(), address.as_str()?.to_owned()))).collect(),
        }
    };
    configs.map(read).collect()
}

fn is_on(network: &Network, key: &str, usual: bool) -> bool {
    network.rest.get(key).and_then(Value::as_bool).unwrap_or(usual)
}

/// The settings of a volume, as one digest.
pub fn volume_hash(volume: &Volume) -> String {
    let text = format!("{:?} {:?}", volume.driver_opts, volume.labels);
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
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
    labels.insert(labels::CONFIG_HASH.to_owned(), volume_hash(volume));
    let options: BTreeMap<String, String> = volume.driver_opts.clone();
    Ok(volume::Wanted { name: Some(volume.name.clone()), labels, options })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn network(value: Value) -> Network {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_network_has_the_families_that_are_turned_on() {
        let config = json!([
            { "subnet": "172.28.0.0/16", "ip_range": "172.28.5.0/24", "gateway": "172.28.5.254", "aux_addresses": { "host1": "172.28.1.5" } },
            { "subnet": "fd00:28::/64", "gateway": "fd00:28::99" },
        ]);
        let dual = network(json!({ "enable_ipv6": true, "ipam": { "config": config } }));
        let (ipv4, ipv6) = addresses(&dual).unwrap();
        let ipv4 = ipv4.unwrap();
        assert_eq!((ipv4.subnet.as_deref(), ipv4.range.as_deref()), (Some("172.28.0.0/16"), Some("172.28.5.0/24")));
        assert_eq!((ipv4.gateway.as_deref(), ipv4.reserved["host1"].as_str()), (Some("172.28.5.254"), "172.28.1.5"));
        let ipv6 = ipv6.unwrap();
        assert_eq!((ipv6.subnet.as_deref(), ipv6.gateway.as_deref()), (Some("fd00:28::/64"), Some("fd00:28::99")));
        let usual = Some(WantedAddresses::default());
        assert_eq!(addresses(&network(json!({}))).unwrap(), (usual.clone(), None));
        assert_eq!(addresses(&network(json!({ "enable_ipv4": false, "enable_ipv6": true }))).unwrap(), (None, usual.clone()));
        let off = network(json!({ "ipam": { "config": [{ "subnet": "fd00::/64" }] } }));
        assert_eq!(addresses(&off).unwrap(), (usual, None), "a subnet does not turn its family on");
        assert_eq!(uncarried_of_network("off", &off), ["network `off`: `fd00::/64` is left out, as `enable_ipv6` is not on"]);
        let twice = network(json!({ "ipam": { "config": [{ "subnet": "10.1.0.0/16" }, { "subnet": "10.2.0.0/16" }] } }));
        assert!(addresses(&twice).unwrap_err().to_string().contains("one subnet of IPv4, not several"));
    }

    #[test]
    fn another_choice_of_families_makes_another_network() {
        let hash = |value| network_hash(&network(value));
        let usual = hash(json!({}));
        assert_eq!(hash(json!({ "enable_ipv4": true, "enable_ipv6": false })), usual);
        assert_ne!(hash(json!({ "enable_ipv6": true })), usual);
        assert_ne!(hash(json!({ "enable_ipv4": false })), usual);
        assert_ne!(hash(json!({ "enable_ipv4": false, "enable_ipv6": true })), hash(json!({ "enable_ipv6": true })));
    }
}
