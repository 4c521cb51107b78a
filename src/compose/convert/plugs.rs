//! How a service's containers are plugged into networks.

use std::net::IpAddr;
use std::str::FromStr;

use serde_json::Value;

use crate::compose::model::Project;
use crate::compose::model::Service;
use crate::compose::model::ServiceNetwork;
use crate::compose::short;
use crate::container::NetworkMode;
use crate::failure::Failure;
use crate::failure::Result;
use crate::net;
use crate::net::Plug;

/// The option of a network's driver that sets kernel settings of the container's link.
pub(super) const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

/// The networks of a service, by priority, then by name.
pub(super) fn plugs(project: &Project, (name, service): (&str, &Service)) -> Result<NetworkMode> {
    let real = |key: &String| project.networks.get(key).map_or_else(|| key.clone(), |network| network.name.clone());
    let mut networks: Vec<(&String, ServiceNetwork)> =
        service.networks.iter().map(|(key, settings)| (key, settings.clone().unwrap_or_default())).collect();
    networks.sort_by_key(|(key, settings)| (-settings.priority.unwrap_or(0), key.as_str()));
    if let Some((mode, key)) = networks.iter().find_map(|(key, _)| Some((mode(&real(key))?, key))) {
        // The engine's own `host` and `none`, named as external networks.
        return match networks.len() {
            1 => Ok(mode),
            _ => Err(Failure::new(format!("cannot be on the network `{key}` and on others"))
                .because("it is no network but the host's own or none")),
        };
    }
    let plug = |(place, (key, settings)): (usize, (&String, ServiceNetwork))| {
        let mut plug = Plug::into_network(&real(key));
        describe(&mut plug, &settings).map_err(|failure| failure.within(format!("cannot be on network `{key}`")))?;
        if let Some(text) = service.mac_address.as_deref().filter(|text| place == 0 && !text.is_empty()) {
            let own = mac(text)?;
            if plug.mac.is_some_and(|other| other != own) {
                return Err(Failure::new(format!("`mac_address: {text}` is not the one that its network `{key}` gives it"))
                    .hint("keep one of the two"));
            }
            plug.mac = Some(own);
        }
        plug.aliases.insert(0, name.to_owned());
        plug.links = links(service);
        Ok(plug)
    };
    networks.into_iter().enumerate().map(plug).collect::<Result<_>>().map(NetworkMode::Plugs)
}

/// The one network that `network_mode` names.
pub(super) fn lone(service: &Service, network: &str) -> Result<NetworkMode> {
    let mut plug = Plug::into_network(network);
    plug.mac = service.mac_address.as_deref().filter(|text| !text.is_empty()).map(mac).transpose()?;
    plug.links = links(service);
    Ok(NetworkMode::Plugs(vec![plug]))
}

fn links(service: &Service) -> Vec<(String, String)> {
    service.links.iter().chain(&service.external_links).map(|text| short::link(text)).collect()
}

fn mode(network: &str) -> Option<NetworkMode> {
    match network {
        "host" => Some(NetworkMode::Host),
        "none" => Some(NetworkMode::None),
        _ => None,
    }
}

fn describe(plug: &mut Plug, settings: &ServiceNetwork) -> Result<()> {
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    plug.aliases = settings.aliases.clone();
    plug.address = text(&settings.ipv4_address).map(|text| fixed_address(&text, "IPv4")).transpose()?;
    let ipv6_address = settings.rest.get("ipv6_address").and_then(Value::as_str).filter(|text| !text.is_empty());
    plug.ipv6_address = ipv6_address.map(|text| fixed_address(text, "IPv6")).transpose()?;
    plug.link_local = settings.link_local_ips.iter().map(|text| fixed_address::<IpAddr>(text, "IPv4 or IPv6")).collect::<Result<_>>()?;
    plug.mac = text(&settings.mac_address).map(|text| mac(&text)).transpose()?;
    plug.interface = text(&settings.interface_name);
    if let Some(name) = plug.interface.as_ref().filter(|name| !net::is_link_name(name)) {
        return Err(
            Failure::new(format!("cannot call the interface `{name}`")).because("a link's name has up to 15 letters, digits and signs")
        );
    }
    plug.gateway_priority = settings.gw_priority.unwrap_or(0);
    let sysctls = settings.driver_opts.get(SYSCTLS).and_then(Value::as_str).unwrap_or_default();
    plug.sysctls = short::sysctls_of_link(sysctls).map_err(|reason| Failure::new(format!("cannot use `{SYSCTLS}`")).because(reason))?;
    Ok(())
}

fn mac(text: &str) -> Result<[u8; 6]> {
    short::mac(text).map_err(|reason| Failure::new(format!("cannot use the hardware address `{text}`")).because(reason))
}

fn fixed_address<A: FromStr>(text: &str, family: &str) -> Result<A> {
    text.parse().map_err(|_| Failure::new(format!("cannot use the address `{text}`")).because(format!("it is no address of {family}")))
}

/// The ports that `expose` names, one by one: `3000-3002/udp`.
///
/// # Errors
/// A port that is none.
pub(super) fn exposed(text: &str) -> Result<Vec<String>> {
    let cannot = || Failure::new(format!("cannot expose `{text}`")).because("it is no port and no range of ports");
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else { return Err(cannot()) };
    if first > last || !matches!(protocol, "tcp" | "udp" | "sctp") {
        return Err(cannot());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}
