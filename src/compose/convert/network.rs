//! Networks, ports and names of a service.

use std::net::IpAddr;

use crate::compose::convert::Peers;
use crate::compose::convert::plugs;
use crate::compose::model::Project;
use crate::compose::model::Service;
use crate::compose::model::ServicePort;
use crate::compose::short;
use crate::container::NetworkMode;
use crate::container::Wanted;
use crate::failure::Failure;
use crate::failure::Result;
use crate::net::Port;
use crate::net::Protocol;

pub(super) fn apply(project: &Project, service: (&str, &Service), wanted: &mut Wanted, peers: &dyn Peers) -> Result<()> {
    let (_, model) = service;
    wanted.network = mode(project, service, peers)?;
    wanted.ports.clear();
    for candidates in port_candidates(model)? {
        wanted.exposed.push(format!("{}/{}", candidates.container_port, candidates.protocol.word()));
    }
    for text in &model.expose {
        wanted.exposed.extend(plugs::exposed(text)?);
    }
    wanted.exposed.sort();
    wanted.exposed.dedup();
    for text in &model.extra_hosts {
        let host = short::extra_host(text).map_err(|reason| Failure::new(format!("cannot add the host `{text}`")).because(reason))?;
        wanted.extra_hosts.push(host);
    }
    wanted.dns = model.dns.clone();
    wanted.dns_search = model.dns_search.clone();
    wanted.dns_options = model.dns_opt.clone();
    Ok(())
}

fn mode(project: &Project, (name, service): (&str, &Service), peers: &dyn Peers) -> Result<NetworkMode> {
    let joined = |found: Option<String>, what: &str| {
        found.map(NetworkMode::Container).ok_or_else(|| Failure::new(format!("{what}, whose network it shares, has no container")))
    };
    match service.network_mode.as_deref() {
        None | Some("") => plugs::plugs(project, (name, service)),
        Some("host") => Ok(NetworkMode::Host),
        Some("none") => Ok(NetworkMode::None),
        Some(mode) if mode.contains(':') && !service.ports.is_empty() => {
            Err(Failure::new(format!("cannot publish ports of a container that has the network of another (`network_mode: {mode}`)"))
                .hint("publish them with that other one"))
        }
        Some(mode) => match mode.split_once(':') {
            Some(("service", other)) => joined(peers.of_service(other), &format!("service `{other}`")),
            Some(("container", other)) => joined(peers.of_name(other), &format!("container `{other}`")),
            Some(_) => Err(Failure::new(format!("cannot understand `network_mode: {mode}`"))),
            None => plugs::lone(service, mode),
        },
    }
}

/// One published port, and the host ports that would do for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    /// All of the host's if None.
    pub host_address: Option<IpAddr>,
    /// In order; a lone 0 is for the kernel to choose.
    pub host_ports: Vec<u16>,
    pub container_port: u16,
    pub protocol: Protocol,
}

impl Candidates {
    /// The ports this stands for.
    pub fn ports(&self) -> impl Iterator<Item = Port> + '_ {
        let port = |host_port: &u16| Port {
            host_address: self.host_address,
            host_port: *host_port,
            container_port: self.container_port,
            protocol: self.protocol,
        };
        self.host_ports.iter().map(port)
    }
}

/// The ports that a service publishes.
///
/// # Errors
/// A port, range, address or protocol that cannot be published.
pub fn port_candidates(service: &Service) -> Result<Vec<Candidates>> {
    if matches!(service.network_mode.as_deref(), Some("host")) {
        // As Docker does: on the host's network there is nothing to publish.
        return Ok(Vec::new());
    }
    service.ports.iter().map(candidates).collect()
}

fn candidates(port: &ServicePort) -> Result<Candidates> {
    let cannot = |reason: String| Failure::new(format!("cannot publish port {}", port.target)).because(reason);
    let protocol = match port.protocol.as_deref() {
        None | Some("") => Protocol::Tcp,
        Some(word) => {
            Protocol::of_word(word).ok_or_else(|| cannot(format!("the protocol `{word}` cannot be published, only tcp, udp and sctp")))?
        }
    };
    let host_address = match port.host_ip.as_deref() {
        None | Some("") => None,
        Some(text) => {
            let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
            Some(bare.parse().map_err(|_| cannot(format!("`{text}` is no address")))?)
        }
    };
    let published = port.published.as_deref().unwrap_or_default();
    let (first, last) = published.split_once('-').unwrap_or((published, published));
    let number = |text: &str| match text {
        "" => Ok(0),
        _ => text.parse::<u16>().map_err(|_| cannot(format!("`{published}` is no port"))),
    };
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(cannot(format!("`{published}` is no range of ports: its end comes before its beginning")));
    }
    let host_ports = (first..=last).collect();
    Ok(Candidates { host_address, host_ports, container_port: port.target, protocol })
}
