//! `coracle network …`

mod plugs;

use std::net::IpAddr;

use clap::ArgAction;
use clap::Args;
use clap::Subcommand;
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::each;
use crate::cli::inspect::Kind;
use crate::cli::inspect::Query;
use crate::cli::listing;
use crate::cli::listing::Columns;
use crate::cli::listing::Filter;
use crate::cli::listing::Row;
use crate::cli::listing::Sieve;
use crate::cli::listing::holds;
use crate::cli::out;
use crate::cli::spelling;
use crate::cli::wording::Width;
use crate::container;
use crate::container::NetworkMode;
use crate::failure::Failure;
use crate::failure::Result;
use crate::net;
use crate::net::Network;
use crate::net::WantedAddresses;
use crate::place::Home;
use plugs::Connect;
use plugs::Disconnect;

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Put a container on one more network
    Connect(Connect),
    /// Create a network
    Create(Create),
    /// Take a container off a network
    Disconnect(Disconnect),
    /// Show everything that is known of networks
    Inspect(Query),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(List),
    /// Remove networks that no container is on
    Prune(Prune),
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm(Remove),
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        match self {
            Command::Connect(command) => command.run(home),
            Command::Create(command) => command.run(home),
            Command::Disconnect(command) => command.run(home),
            Command::Inspect(query) => query.run(home, Some(Kind::Network)),
            Command::Ls(command) => command.run(home),
            Command::Prune(command) => command.run(home),
            Command::Rm(command) => command.run(home),
        }
    }
}

#[derive(Debug, Args)]
pub struct Create {
    /// Only `bridge`
    #[arg(short, long, default_value = "bridge", value_parser = ["bridge"])]
    driver: String,
    /// Have addresses of IPv4
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = ArgAction::Set)]
    ipv4: bool,
    /// Have addresses of IPv6
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = ArgAction::Set)]
    ipv6: bool,
    /// Such as 172.30.0.0/16 or fd00:30::/64; one of each family
    #[arg(long)]
    subnet: Vec<String>,
    /// The bridge's own address in a subnet
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<IpAddr>,
    /// The part of a subnet that containers get addresses from
    #[arg(long, value_name = "SUBNET")]
    ip_range: Vec<String>,
    /// An address that no container gets
    #[arg(long, value_name = "NAME=ADDRESS", value_parser = spelling::pair)]
    aux_address: Vec<(String, String)>,
    /// No way out and none in
    #[arg(long)]
    internal: bool,
    /// An option of the driver, such as com.docker.network.driver.mtu=1400
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = spelling::pair)]
    opt: Vec<(String, String)>,
    /// Only `default`
    #[arg(long, value_name = "DRIVER", default_value = "default", value_parser = ["default"])]
    ipam_driver: String,
    /// Let containers be plugged in by hand, as they always can be
    #[arg(long)]
    attachable: bool,
    /// Only `local`
    #[arg(long, default_value = "local", value_parser = ["local"])]
    scope: String,
    /// Set a label
    #[arg(long, value_name = "NAME=VALUE", value_parser = spelling::pair)]
    label: Vec<(String, String)>,
    network: String,
}

impl Create {
    fn run(self, home: &Home) -> Outcome {
        let ipv4 = self.addresses("IPv4", |text| !text.contains(':'))?;
        let ipv6 = self.addresses("IPv6", |text| text.contains(':'))?;
        if !self.ipv6 && ipv6 != WantedAddresses::default() {
            out::warn("addresses of IPv6 are left out, as the network is made without `--ipv6`");
        }
        if !self.ipv4 && ipv4 != WantedAddresses::default() {
            out::warn("addresses of IPv4 are left out, as the network is made with `--ipv4=false`");
        }
        let (ipv4, ipv6) = (self.ipv4.then_some(ipv4), self.ipv6.then_some(ipv6));
        let labels = self.label.into_iter().collect();
        let options = self.opt.into_iter().collect();
        net::unknown_options(&options).iter().for_each(|option| out::warn(&format!("the option `{option}` is not carried out")));
        let wanted = net::Wanted { name: self.network, ipv4, ipv6, internal: self.internal, options, labels };
        out::line(&net::create(home, &wanted)?.id)?;
        Ok(0)
    }
}

impl Create {
    /// What is asked for of the family that `is_of` knows.
    fn addresses(&self, family: &str, is_of: impl Fn(&str) -> bool) -> Result<WantedAddresses> {
        let gateways: Vec<String> = self.gateway.iter().map(ToString::to_string).collect();
        let only = |flag: &str, all: &[String]| {
            let mut found = all.iter().filter(|text| is_of(text));
            match (found.next(), found.next()) {
                (one, None) => Ok(one.cloned()),
                _ => Err(Failure::new(format!("cannot create network `{}`", self.network))
                    .because(format!("there is more than one `{flag}` of {family}"))
                    .hint("make a network for each, and put containers on both")),
            }
        };
        Ok(WantedAddresses {
            subnet: only("--subnet", &self.subnet)?,
            gateway: only("--gateway", &gateways)?,
            range: only("--ip-range", &self.ip_range)?,
            reserved: self.aux_address.iter().filter(|(_, text)| is_of(text)).cloned().collect(),
        })
    }
}

#[derive(Debug, Args)]
pub struct Remove {
    /// A network that is not there is no failure
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

impl Remove {
    fn run(self, home: &Home) -> Outcome {
        each(&self.networks, |name| match net::find(home, name)? {
            Some(network) => net::remove(home, &network),
            None if self.force => Ok(()),
            None => Err(Failure::new(format!("network {name} not found"))),
        })
    }
}

#[derive(Debug, Args)]
pub struct Prune {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only those: until=TIME, label=NAME[=VALUE], label!=NAME[=VALUE]
    #[arg(long, value_parser = listing::filter)]
    filter: Vec<Filter>,
}

impl Prune {
    fn run(self, home: &Home) -> Outcome {
        let sieve = Sieve::of(&self.filter, &["until", "label", "label!"])?;
        if !self.force && !out::confirmed("This will remove all networks that no container is on. Continue?")? {
            return Ok(1);
        }
        remove_unneeded(home, &sieve)?;
        Ok(0)
    }
}

/// Removes the networks that no container is on, the default one apart, and prints their names.
///
/// # Errors
/// The records cannot be read. One that cannot be removed is said and left.
pub fn remove_unneeded(home: &Home, sieve: &Sieve<'_>) -> Result<()> {
    let mut used = vec![net::DEFAULT_NETWORK.to_owned()];
    for found in container::list(home)? {
        if let NetworkMode::Plugs(plugs) = found.wanted.network {
            used.extend(plugs.into_iter().map(|plug| plug.network));
        }
    }
    let mut removed = Vec::new();
    let networks = net::list(home)?;
    for network in networks.iter().filter(|network| !used.contains(&network.name) && sieve.passes(&network.created, &network.labels)) {
        match net::remove(home, network) {
            Ok(()) => removed.push(network.name.as_str()),
            Err(failure) => out::say(&failure.to_string()),
        }
    }
    out::told("Deleted Networks:", &removed)
}

#[derive(Debug, Args)]
pub struct List {
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Do not cut long texts
    #[arg(long)]
    no_trunc: bool,
    /// Only those: name=, id=, driver=, label=
    #[arg(short, long, value_parser = listing::filter)]
    filter: Vec<Filter>,
    /// `table`, `table TEMPLATE`, `json` or a template
    #[arg(long)]
    format: Option<String>,
}

const COLUMNS: Columns = Columns {
    headings: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
    usual: &["ID", "Name", "Driver", "Scope"],
};

impl List {
    fn run(self, home: &Home) -> Outcome {
        listing::only_known(&self.filter, &["name", "id", "driver", "label"])?;
        let width = Width::of_flag(self.no_trunc);
        let networks: Vec<_> = net::list(home)?.into_iter().filter(|network| self.shows(network)).collect();
        if self.quiet && self.format.is_none() {
            out::data(&networks.iter().map(|network| format!("{}\n", width.id(&network.id))).collect::<String>())?;
            return Ok(0);
        }
        let rows: Vec<Row> = networks.iter().map(|network| row(network, width)).collect();
        listing::print(&rows, COLUMNS, self.format.as_deref())?;
        Ok(0)
    }

    fn shows(&self, network: &Network) -> bool {
        holds(&self.filter, "name", |value| network.name.contains(value))
            && holds(&self.filter, "id", |value| network.id.starts_with(value))
            && holds(&self.filter, "driver", |value| network.driver == value)
            && self
                .filter
                .iter()
                .filter(|filter| filter.key == "label")
                .all(|filter| listing::has_label(&filter.value, |name| network.labels.get(name).map(String::as_str)))
    }
}

fn row(network: &Network, width: Width) -> Row {
    let labels: Vec<_> = network.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let fields = json!({
        "ID": width.id(&network.id),
        "Name": network.name,
        "Driver": network.driver,
        "Scope": "local",
        "IPv4": network.ipv4.is_some().to_string(),
        "IPv6": network.ipv6.is_some().to_string(),
        "Internal": network.internal.to_string(),
        "Labels": labels.join(","),
        "CreatedAt": crate::units::long_time_text(&network.created),
    });
    fields.as_object().cloned().expect("the literal above is an object")
}
