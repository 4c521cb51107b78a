//! Plugs a running container into one more network, or takes it out of one.

use std::io;
use std::os::fd::BorrowedFd;

use super::Plug;
use super::Plugged;
use super::link;
use super::namespace;
use super::netlink::Channel;
use super::plug;
use super::plug::Container;
use super::record;
use crate::failure::Doing;
use crate::failure::Result;
use crate::place::Home;
use crate::state;

/// Plugs a container that has these plugs in already into one more network. Its way out changes if the new one ranks higher, or is
/// the first that has one.
///
/// # Errors
/// What could not be made; what was made is taken back.
pub fn plug_in(home: &Home, container_id: &str, netns: BorrowedFd<'_>, (plug, before): (&Plug, &[Plugged])) -> Result<Plugged> {
    let doing = || format!("cannot plug the container into network `{}`", plug.network);
    let mut guest = namespace::inside(netns, Channel::route).doing(|| "cannot enter the container's network namespace")?;
    let _lock = record::lock(home)?;
    let mut host = Channel::route().doing(|| "cannot reach the kernel's links")?;
    let place = free_place(&mut host, (container_id, plug), before).doing(doing)?;
    let mut container = Container { home, id: container_id, netns, host: &mut host, guest: &mut guest };
    let plugged = container.plug_one(place, plug).doing(doing).and_then(|plugged| {
        let after: Vec<Plugged> = before.iter().cloned().chain([plugged.clone()]).collect();
        turn_to_ways_out(container.guest, before, &after)?;
        let number = namespace::number(netns).doing(|| "cannot look at the container's network namespace")?;
        state::write_json(&plug::namespace_record(home, container_id), &number)?;
        Ok(plugged)
    });
    if plugged.is_err() {
        // What failed is what the user needs to know.
        let _ = link::delete(&mut host, &plug::host_end(container_id, place));
        let _ = plug::network(home, &plug.network).and_then(|network| plug::leave(home, &network, container_id));
    }
    plugged
}

/// Takes a container out of one network, which leaves it with these plugs.
///
/// # Errors
/// What could not be taken back.
pub fn plug_out(home: &Home, container_id: &str, netns: BorrowedFd<'_>, (gone, left): (&Plugged, &[Plugged])) -> Result<()> {
    let doing = || format!("cannot take the container out of network `{}`", gone.network);
    let mut guest = namespace::inside(netns, Channel::route).doing(|| "cannot enter the container's network namespace")?;
    let _lock = record::lock(home)?;
    // The other end goes with it, and so do the routes.
    link::delete(&mut guest, &gone.interface).doing(doing)?;
    let network = record::by_name(home, &gone.network)?;
    network.map_or(Ok(()), |network| plug::leave(home, &network, container_id)).doing(doing)?;
    turn_to_ways_out(&mut guest, &[], left)
}

/// The first number that neither the container's links nor the host's have.
fn free_place(host: &mut Channel, (id, plug): (&str, &Plug), plugged: &[Plugged]) -> io::Result<usize> {
    let is_named = |place: usize| plug.interface.is_none() && plugged.iter().any(|other| other.interface == format!("eth{place}"));
    for place in 0.. {
        if !is_named(place) && link::find(host, &plug::host_end(id, place))?.is_none() {
            return Ok(place);
        }
    }
    Err(io::ErrorKind::QuotaExceeded.into())
}

fn turn_to_ways_out(guest: &mut Channel, before: &[Plugged], after: &[Plugged]) -> Result<()> {
    let known: Vec<_> = plug::ways_out(before).collect();
    for gateway in plug::ways_out(after).filter(|gateway| !known.contains(gateway)) {
        link::replace_default_route(guest, gateway).doing(|| "cannot set the default route")?;
    }
    Ok(())
}
