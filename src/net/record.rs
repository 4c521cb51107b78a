//! Networks on disk: `networks/<name>/record.json`. The pick of a subnet and its record are one act under one lock.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::DEFAULT_NETWORK;
use super::Network;
use super::Wanted;
use super::choice;
use super::holder;
use super::idle;
use super::lease;
use super::link;
use super::netlink::Channel;
use super::options;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::journal;
use crate::place::Home;
use crate::state;
use crate::state::Lock;

/// RFC 8200, 5; a link with less has no IPv6.
const LEAST_IPV6_MTU: u32 = 1280;

/// The link of [`DEFAULT_NETWORK`].
const DEFAULT_BRIDGE: &str = "coracle0";

/// Guards everything of this room that spans files, links and rules.
pub(super) fn lock(home: &Home) -> Result<Lock> {
    Lock::alone(home, "net")
}

/// The directory of a network.
pub(super) fn directory(home: &Home, name: &str) -> PathBuf {
    home.networks().join(name)
}

/// Makes a network's record, with a subnet that no other network and no route of the host covers. No link yet.
///
/// # Errors
/// The name is taken; no subnet is free; the wanted one overlaps.
pub fn create(home: &Home, wanted: &Wanted) -> Result<Network> {
    let _lock = lock(home)?;
    let made = create_locked(home, wanted).doing(|| format!("cannot create network `{}`", wanted.name))?;
    note(home, "create", &made);
    Ok(made)
}

/// Finds a network by name or by (a unique beginning of) its id; [`DEFAULT_NETWORK`] is made if it is not there.
///
/// # Errors
/// A record that cannot be read; a beginning that two ids share.
pub fn find(home: &Home, name: &str) -> Result<Option<Network>> {
    if let Some(network) = by_name(home, name)? {
        return Ok(Some(network));
    }
    if name == DEFAULT_NETWORK {
        let _lock = lock(home)?;
        return default(home).map(Some);
    }
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let mut alike: Vec<Network> = list(home)?.into_iter().filter(|network| network.id.starts_with(name)).collect();
    match alike.len() {
        0 | 1 => Ok(alike.pop()),
        count => Err(Failure::new(format!("cannot tell which network `{name}` is"))
            .because(format!("{count} ids begin so"))
            .hint("give more of the id, or the name")),
    }
}

/// All networks by name.
///
/// # Errors
/// A record that cannot be read.
pub fn list(home: &Home) -> Result<Vec<Network>> {
    let entries = match fs::read_dir(home.networks()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.doing(|| "cannot read the networks")?,
    };
    let mut networks = Vec::new();
    for entry in entries {
        let entry = entry.doing(|| "cannot read the networks")?;
        networks.extend(state::find_json::<Network>(&entry.path().join("record.json"))?);
    }
    networks.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(networks)
}

/// Removes a network: its record, its leases and, should one be left, its link.
///
/// # Errors
/// A container is plugged in: it is named. [`DEFAULT_NETWORK`] stays.
pub fn remove(home: &Home, network: &Network) -> Result<()> {
    let refusal = || Failure::new(format!("cannot remove network `{}`", network.name));
    if network.name == DEFAULT_NETWORK {
        return Err(refusal().because("it is the network that containers without one are on"));
    }
    let lock = lock(home)?;
    lease::sweep(home, network)?;
    if let Some(lease) = lease::list(home, network)?.first() {
        let name = holder::container_name(home, &lease.holder).unwrap_or_else(|| lease.holder.chars().take(12).collect());
        return Err(refusal()
            .because(format!("container `{name}` is plugged into it"))
            .hint(format!("stop it with `coracle stop {name}`, or take the project down")));
    }
    idle::leave(home, network)?;
    state::discard(home, &directory(home, &network.name))?;
    note(home, "destroy", network);
    drop(lock);
    idle::sweep(home)
}

/// Writes down what has happened to a network.
fn note(home: &Home, action: &str, network: &Network) {
    let mut attributes = network.labels.clone();
    attributes.extend([("name".to_owned(), network.name.clone()), ("type".to_owned(), network.driver.clone())]);
    journal::note(home, "network", action, (&network.id, attributes));
}

/// Reads the record of a network that is known by its name.
pub(super) fn by_name(home: &Home, name: &str) -> Result<Option<Network>> {
    if !is_valid(name) {
        return Ok(None);
    }
    state::find_json(&directory(home, name).join("record.json"))
}

/// The default network, made if it is not there; the caller holds the lock.
pub(super) fn default(home: &Home) -> Result<Network> {
    if let Some(network) = by_name(home, DEFAULT_NETWORK)? {
        return Ok(network);
    }
    create_locked(home, &Wanted { name: DEFAULT_NETWORK.to_owned(), ..Wanted::default() })
}

fn create_locked(home: &Home, wanted: &Wanted) -> Result<Network> {
    if !is_valid(&wanted.name) {
        return Err(Failure::new("a network's name begins with a letter or digit, and letters, digits and `_.-` follow"));
    }
    if matches!(wanted.name.as_str(), "host" | "none" | "container") {
        return Err(Failure::new(format!("`{}` is not a network but a way to be without one", wanted.name)));
    }
    if by_name(home, &wanted.name)?.is_some() {
        return Err(Failure::new("there is a network of that name"));
    }
    let mut channel = Channel::route().doing(|| "cannot reach the kernel's links")?;
    let settings = options::read(&wanted.options)?;
    options::check(&settings, wanted.internal)?;
    let others = list(home)?;
    if let Some(name) = &settings.bridge {
        let is_taken =
            others.iter().any(|other| other.bridge == *name) || link::find(&mut channel, name).doing(|| "cannot look for links")?.is_some();
        if is_taken {
            return Err(Failure::new(format!("there is a link `{name}` already")).hint("choose another `com.docker.network.bridge.name`"));
        }
    }
    if let (Some(mtu), Some(_)) = (settings.mtu.filter(|mtu| *mtu < LEAST_IPV6_MTU), &wanted.ipv6) {
        return Err(Failure::new(format!("an MTU of {mtu} is too small for IPv6, which needs {LEAST_IPV6_MTU}")));
    }
    let (ipv4, ipv6) = choice::choose(&mut channel, &others, wanted)?;
    let id = state::random_hex();
    let network = Network {
        version: 1,
        bridge: settings.bridge.map_or_else(|| bridge_name(&mut channel, &wanted.name, &id), Ok)?,
        id,
        name: wanted.name.clone(),
        driver: "bridge".to_owned(),
        ipv4,
        ipv6,
        internal: wanted.internal,
        options: wanted.options.clone(),
        labels: wanted.labels.clone(),
        created: jiff::Timestamp::now().to_string(),
    };
    state::write_json(&directory(home, &wanted.name).join("record.json"), &network)?;
    Ok(network)
}

/// Docker's pattern; also keeps the name from leaving its directory.
fn is_valid(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        && name.len() <= 200
}

/// The default network's link has a name that people know; where another home's has it, and for all others, it is Docker's.
fn bridge_name(channel: &mut Channel, name: &str, id: &str) -> Result<String> {
    if name == DEFAULT_NETWORK && link::find(channel, DEFAULT_BRIDGE).doing(|| "cannot look for links")?.is_none() {
        return Ok(DEFAULT_BRIDGE.to_owned());
    }
    Ok(format!("br-{}", &id[..12]))
}
