//! `coracle network connect` and `disconnect`

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::revive;
use crate::cli::spelling;
use crate::compose::short;
use crate::container;
use crate::failure::Failure;
use crate::failure::Result;
use crate::net;
use crate::net::DEFAULT_NETWORK;
use crate::net::Plug;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Connect {
    /// Another name that it answers to there
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    alias: Vec<String>,
    /// An option of the driver
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',')]
    driver_opt: Vec<String>,
    /// The network with the highest has the default route
    #[arg(long, value_name = "NUMBER", default_value_t = 0, allow_negative_numbers = true)]
    gw_priority: i64,
    /// A fixed address of IPv4
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// A fixed address of IPv6
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,
    /// A name that it alone knows another container by
    #[arg(long, value_name = "CONTAINER[:ALIAS]")]
    link: Vec<String>,
    /// One more address, of 169.254.0.0/16 or fe80::/64
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    link_local_ip: Vec<IpAddr>,
    network: String,
    container: String,
}

#[derive(Debug, Args)]
pub struct Disconnect {
    /// As without; nothing is left over here that could keep it there
    #[arg(short, long)]
    force: bool,
    network: String,
    container: String,
}

impl Connect {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        let found = container::find(home, &self.container)?;
        let mut plug = Plug {
            aliases: self.alias,
            address: self.ip,
            ipv6_address: self.ip6,
            link_local: self.link_local_ip,
            gateway_priority: self.gw_priority,
            links: self
                .link
                .iter()
                .map(|text| short::link(text))
                .flat_map(|(name, alias)| [(name.clone(), alias), (name.clone(), name)])
                .collect(),
            ..Plug::into_network(&name_of(home, &self.network)?)
        };
        for option in &self.driver_opt {
            spelling::driver_option(&mut plug, option).map_err(Failure::new)?;
        }
        container::connect(home, &found.id, plug)?;
        Ok(0)
    }
}

impl Disconnect {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        let found = container::find(home, &self.container)?;
        container::disconnect(home, &found.id, &name_of(home, &self.network)?)?;
        Ok(0)
    }
}

/// The name of a network that is known by its name or id.
fn name_of(home: &Home, network: &str) -> Result<String> {
    let network = if network == "default" { DEFAULT_NETWORK } else { network };
    let found = net::find(home, network)?.ok_or_else(|| Failure::new(format!("network {network} not found")))?;
    Ok(found.name)
}
