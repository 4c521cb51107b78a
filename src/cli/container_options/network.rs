//! `--network`, `-p`, `--dns` and their like.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use clap::Args;

use crate::cli::container_options::published;
use crate::cli::spelling;
use crate::compose::short;
use crate::container;
use crate::container::NetworkMode;
use crate::container::Wanted;
use crate::failure::Failure;
use crate::failure::Result;
use crate::net;
use crate::net::DEFAULT_NETWORK;
use crate::net::Plug;
use crate::net::Port;
use crate::net::Protocol;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct NetworkOptions {
    /// A network by name, `host`, `none` or `container:NAME`; or `name=NETWORK,alias=…,ip=…,mac-address=…,gw-priority=…`
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    network: Vec<String>,
    /// Know another container by a name of your own
    #[arg(long, value_name = "CONTAINER[:NAME]")]
    link: Vec<String>,
    /// The hardware address
    #[arg(long, value_name = "ADDRESS", value_parser = short::mac)]
    mac_address: Option<[u8; 6]>,
    /// One more address, of 169.254.0.0/16 or fe80::/64
    #[arg(long, value_name = "ADDRESS")]
    link_local_ip: Vec<IpAddr>,
    /// A name that others on the network find it by
    #[arg(long, visible_alias = "net-alias", value_name = "NAME")]
    network_alias: Vec<String>,
    /// A fixed address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// A fixed address of IPv6
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,
    /// Publish a port
    #[arg(short, long, value_name = "[[ADDRESS:]PORT:]PORT[/udp]")]
    publish: Vec<String>,
    /// Publish all exposed ports on ports that the kernel chooses
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// Expose a port
    #[arg(long, value_name = "PORT[/udp]", value_parser = spelling::ports::exposed)]
    expose: Vec<Vec<String>>,
    /// A line of /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = short::extra_host)]
    add_host: Vec<(String, String)>,
    /// A name server instead of the host's
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<String>,
    /// A search domain
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// An option of resolv.conf
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    dns_option: Vec<String>,
}

impl NetworkOptions {
    /// Writes the flags into `wanted`.
    ///
    /// # Errors
    /// A network or container that is not there; flags that contradict each other; a bad port.
    pub fn apply(self, home: &Home, wanted: &mut Wanted) -> Result<()> {
        wanted.exposed.extend(self.expose.iter().flatten().cloned());
        wanted.ports = published(&self.publish)?;
        if self.publish_all {
            let exposed = wanted.exposed.iter().filter_map(|text| chosen_port(text));
            wanted.ports.extend(exposed.collect::<Vec<_>>());
        }
        let also: Vec<_> = wanted.ports.iter().map(crate::cli::port::inside).collect();
        wanted.exposed.extend(also);
        wanted.exposed.sort();
        wanted.exposed.dedup();
        wanted.network = self.mode(home)?;
        if !matches!(wanted.network, NetworkMode::Plugs(_)) && !wanted.ports.is_empty() {
            if wanted.network != NetworkMode::Host {
                return Err(Failure::new("cannot publish ports of a container that has no network of its own"));
            }
            crate::cli::out::warn("published ports are left out, as the container is on the host's network");
            wanted.ports.clear();
        }
        wanted.extra_hosts = self.add_host;
        wanted.dns = self.dns;
        wanted.dns_search = self.dns_search;
        wanted.dns_options = self.dns_option;
        Ok(())
    }

    fn mode(&self, home: &Home) -> Result<NetworkMode> {
        match self.network.as_slice() {
            [] => Ok(NetworkMode::Plugs(vec![self.plug(DEFAULT_NETWORK)])),
            [one] if one == "host" => Ok(NetworkMode::Host),
            [one] if one == "none" => Ok(NetworkMode::None),
            [one] if one.starts_with("container:") => {
                let name = one.trim_start_matches("container:");
                Ok(NetworkMode::Container(container::find(home, name)?.id))
            }
            names => {
                names.iter().enumerate().map(|(place, name)| self.found(home, (place, name))).collect::<Result<_>>().map(NetworkMode::Plugs)
            }
        }
    }

    fn found(&self, home: &Home, (place, text): (usize, &str)) -> Result<Plug> {
        let long = text.contains('=').then(|| spelling::plug(text)).transpose();
        let mut plug =
            long.map_err(|reason| Failure::new(format!("cannot understand `--network {text}`")).because(reason))?.unwrap_or_else(|| {
                // As with Docker, the flags without a network are meant for the first.
                if place == 0 { self.plug(text) } else { Plug { aliases: self.network_alias.clone(), ..Plug::into_network(text) } }
            });
        plug.links = self.links();
        let name = if plug.network == "default" { DEFAULT_NETWORK } else { plug.network.as_str() };
        match net::find(home, name)? {
            Some(network) => Ok(Plug { network: network.name, ..plug }),
            None => Err(Failure::new(format!("network {name} not found")).hint(format!("make it with `coracle network create {name}`"))),
        }
    }

    fn plug(&self, network: &str) -> Plug {
        Plug {
            aliases: self.network_alias.clone(),
            address: self.ip,
            ipv6_address: self.ip6,
            mac: self.mac_address,
            link_local: self.link_local_ip.clone(),
            links: self.links(),
            ..Plug::into_network(network)
        }
    }

    /// Each by the name that was given, and by the container's own as Docker does.
    fn links(&self) -> Vec<(String, String)> {
        let pairs = self.link.iter().map(|text| short::link(text));
        pairs.flat_map(|(name, alias)| [(name.clone(), alias), (name.clone(), name)]).collect()
    }
}

/// An exposed port on a host port that the kernel chooses.
fn chosen_port(exposed: &str) -> Option<Port> {
    let (port, protocol) = exposed.split_once('/').unwrap_or((exposed, "tcp"));
    let protocol = Protocol::of_word(protocol)?;
    Some(Port { host_address: None, host_port: 0, container_port: port.parse().ok()?, protocol })
}
