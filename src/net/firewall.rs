//! Keeps the nftables table of each family in step with the networks and the published ports. What is on disk is the truth:
//! should someone flush our tables, the next change makes all of them again.
//!
//! All functions want [`super::record::lock`] held.

use std::cell::RefCell;
use std::io;

use super::Network;
use super::conntrack;
use super::foreign;
use super::host;
use super::lease;
use super::neighbours;
use super::neighbours::Neighbours;
use super::netlink::Channel;
use super::nftables;
use super::nftables::Batch;
use super::nftables::Element;
use super::options;
use super::options::Mode;
use super::options::Options;
use super::port;
use super::record;
use super::rule::Family;
use super::subnet::Subnet;
use crate::failure::Doing;
use crate::failure::Result;
use crate::place::Home;

/// Lets a network's packets through, and out if it is not internal.
pub(super) fn admit(home: &Home, network: &Network) -> Result<()> {
    let doing = || format!("cannot set up the firewall for network `{}`", network.name);
    replace(home, &[], &elements_of(network)).doing(doing)?;
    with_channel(|channel| foreign::give_way(channel, network))
        .doing(|| "cannot have the host's other firewall let packets through")
        .doing(doing)
}

/// Whether anything is there for a network.
pub(super) fn knows(home: &Home, network: &Network) -> Result<bool> {
    let neighbours = neighbours::lock(home)?;
    for family in Family::of_network(network) {
        if !known(&neighbours, family, std::slice::from_ref(network))?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Those of the networks for which there is something in a family's table, or that are noted as needing it.
fn known<'a>(neighbours: &Neighbours, family: Family, networks: &'a [Network]) -> Result<Vec<&'a Network>> {
    let bridges = with_channel(|channel| nftables::bridges(channel, family)).doing(|| "cannot look for other networks")?;
    let is_known = |network: &&Network| {
        Family::of_network(network).any(|of| of == family) && (bridges.contains(&network.bridge) || neighbours.has(family, &network.bridge))
    };
    Ok(networks.iter().filter(is_known).collect())
}

/// Forgets networks whose links are gone; with the last one of a family its table goes, and the host forwards as it did before.
///
/// What is there is the measure, so that it is done again for whom it was killed over.
pub(super) fn expel(home: &Home, networks: &[Network]) -> Result<()> {
    if networks.is_empty() {
        return Ok(());
    }
    let doing = || "cannot take networks out of the firewall";
    let neighbours = neighbours::lock(home)?;
    for family in Family::ALL {
        let known = known(&neighbours, family, networks)?;
        if known.is_empty() {
            continue;
        }
        let bridges: Vec<&str> = known.iter().map(|network| network.bridge.as_str()).collect();
        with_channel(|channel| foreign::take_back(channel, &bridges)).doing(doing)?;
        expel_from(home, family, (&neighbours, &known)).doing(doing)?;
        bridges.iter().try_for_each(|bridge| neighbours.forget(family, bridge))?;
    }
    Ok(())
}

fn expel_from(home: &Home, family: Family, (neighbours, networks): (&Neighbours, &[&Network])) -> Result<()> {
    let bridges: Vec<&str> = networks.iter().map(|network| network.bridge.as_str()).collect();
    if neighbours.has_others(family, &bridges)? {
        let elements = networks.iter().flat_map(|network| elements_of(network));
        return replace(home, &elements.filter(|element| element.family() == family).collect::<Vec<_>>(), &[]);
    }
    // Before the table, which keeps others from having the host forward for them.
    host::restore_forwarding(home, family)?;
    with_channel(|channel| {
        if !nftables::has_table(channel, family)? {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.delete_table(family);
        ignore_missing(batch.commit(channel))
    })
    .doing(|| "cannot remove our table")
}

/// Replaces elements by others in one batch.
///
/// # Errors
/// What the kernel says: EEXIST if a port leads elsewhere already. Nothing has changed then.
pub(super) fn replace(home: &Home, gone: &[Element], new: &[Element]) -> Result<()> {
    with_channel(|channel| {
        // Asked first: a batch that fails makes the kernel wait for a grace period of RCU, which is ten milliseconds.
        for family in Family::ALL.into_iter().filter(|family| gone.iter().chain(new).any(|element| element.family() == *family)) {
            if !nftables::has_table(channel, family)? {
                return make_all(home, channel, gone, new);
            }
        }
        let mut batch = Batch::default();
        batch.delete(gone);
        batch.add(new);
        match batch.commit(channel) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                delete_each(channel, gone)?;
                make_all(home, channel, gone, new)
            }
            done => done,
        }?;
        for family in Family::ALL {
            let udp = udp_ports(family, gone.iter().chain(new));
            if !udp.is_empty() {
                conntrack::forget_udp(channel, family, &udp)?;
            }
        }
        Ok(())
    })
    .doing(|| "cannot change the kernel's firewall")
}

fn udp_ports<'a>(family: Family, elements: impl Iterator<Item = &'a Element>) -> Vec<u16> {
    let udp = libc::IPPROTO_UDP.cast_unsigned();
    let published = elements.filter(|element| element.family() == family).filter_map(|element| match element {
        Element::Port { protocol, from, .. } if u32::from(*protocol) == udp => Some(from.1),
        _ => None,
    });
    published.collect()
}

/// Makes the tables and all that should be in them, whatever is there already.
fn make_all(home: &Home, channel: &mut Channel, gone: &[Element], new: &[Element]) -> io::Result<()> {
    let mut elements = wanted(home).map_err(io::Error::other)?;
    elements.retain(|element| !gone.contains(element));
    for element in new {
        if !elements.contains(element) {
            elements.push(element.clone());
        }
    }
    if elements.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::default();
    for family in Family::ALL.into_iter().filter(|family| elements.iter().any(|element| element.family() == *family)) {
        batch.ensure_table(family, host::forwarding(home, family).map_err(io::Error::other)?);
    }
    batch.add(&elements);
    batch.commit(channel)
}

/// Deletes elements of which some are missing, one batch each.
fn delete_each(channel: &mut Channel, gone: &[Element]) -> io::Result<()> {
    for element in gone {
        let mut batch = Batch::default();
        batch.delete(std::slice::from_ref(element));
        ignore_missing(batch.commit(channel))?;
    }
    Ok(())
}

/// Lends this thread's socket to the firewall of the host.
///
/// It stays open, because closing one waits for what was deleted through any (nft_rcv_nl_event, nf_tables_api.c): ten
/// milliseconds in which a supervisor would do nothing. After a fork the child opens its own.
fn with_channel<T>(work: impl FnOnce(&mut Channel) -> io::Result<T>) -> io::Result<T> {
    thread_local! {
        static CHANNEL: RefCell<Option<(u32, Channel)>> = const { RefCell::new(None) };
    }
    CHANNEL.with_borrow_mut(|kept| {
        let process = std::process::id();
        let mut channel = match kept.take() {
            Some((owner, channel)) if owner == process => channel,
            _ => Channel::netfilter()?,
        };
        let result = work(&mut channel);
        // One that failed may have answers waiting that belong to nothing that comes.
        *kept = result.is_ok().then_some((process, channel));
        result
    })
}

fn ignore_missing(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if error.raw_os_error() == Some(libc::ENOENT) { Ok(()) } else { Err(error) })
}

/// All elements that should be there: of networks that are in use, and of published ports.
fn wanted(home: &Home) -> Result<Vec<Element>> {
    let mut elements = port::all_elements(home)?;
    for network in record::list(home)? {
        if !lease::list(home, &network)?.is_empty() {
            elements.extend(elements_of(&network));
        }
    }
    Ok(elements)
}

fn elements_of(network: &Network) -> Vec<Element> {
    let mut elements = Vec::new();
    // What cannot be read was refused when the network was made.
    let options = options::read(&network.options).ok();
    let has = |wish: fn(&Options) -> bool| options.as_ref().is_none_or(wish);
    for family in Family::of_network(network) {
        let name = network.bridge.clone();
        let bridge = |set: &'static str| Element::Bridge { family, set, name: name.clone() };
        elements.push(bridge("bridges"));
        if has(|options| options.icc) {
            elements.push(Element::Within { family, name: name.clone() });
        }
        if network.internal {
            elements.push(bridge("internal"));
        }
        match options.as_ref().map(|options| options.mode(family)).unwrap_or_default() {
            Mode::NatUnprotected => elements.push(bridge("open")),
            Mode::Routed => elements.push(bridge("routed")),
            Mode::Nat | Mode::Isolated => {}
        }
        for link in options.iter().flat_map(|options| &options.trusted) {
            elements.push(Element::Trusted { family, link: link.clone(), bridge: name.clone() });
        }
    }
    if !network.internal && has(|options| options.masquerade) {
        let is_routed = |subnet: &Subnet| {
            let family = Family::of(subnet.base());
            options.as_ref().is_some_and(|options| options.mode(family) == Mode::Routed)
        };
        let subnets = network.subnets().filter(|subnet| !is_routed(subnet));
        elements.extend(subnets.map(|subnet| Element::Subnet { base: subnet.base(), end: subnet.end() }));
    }
    elements
}
