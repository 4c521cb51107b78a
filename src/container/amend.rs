//! Changes a container that is there: its name, its limits, its restart policy, its networks.
//!
//! The record is written anew, whole; then the supervisor, if there is one, is told to read it again.

use oci_spec::runtime::LinuxResources;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::net::Plug;
use crate::place::Home;
use crate::runtime::Cgroup;
use crate::state;
use crate::state::Lock;

use super::BlockIo;
use super::Container;
use super::Limits;
use super::NetworkMode;
use super::Restart;
use super::client;
use super::names;
use super::notes;
use super::protocol::Request;
use super::record;
use super::spec;

/// What of a container is changed; None leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Amendment {
    pub limits: Limits,
    pub restart: Option<Restart>,
}

/// Gives a container another name.
///
/// # Errors
/// No such container; a bad name, or one that is taken.
pub fn rename(home: &Home, id: &str, name: &str) -> Result<()> {
    let what = || format!("cannot rename container `{id}` to `{name}`");
    let lock = Lock::alone(home, "records")?;
    let mut container = load(home, id)?;
    let name = name.strip_prefix('/').unwrap_or(name);
    if name == container.name {
        return Err(Failure::new(format!("cannot rename container `{name}`")).because("that is its name already"));
    }
    let before = container.name.clone();
    let claim = names::claim(home, Some(name), id).map_err(|failure| failure.exit(1))?;
    name.clone_into(&mut container.name);
    container.wanted.name = Some(name.to_owned());
    write(home, &container).doing(what)?;
    claim.keep();
    names::release(home, &before, id)?;
    drop(lock);
    notes::note(home, &container, "rename", &[("oldName", format!("/{before}"))]);
    tell(home, &container)
}

/// Changes limits and restart policy, of a running container at once; returns what this machine cannot do of it.
///
/// # Errors
/// No such container; a limit that the kernel refuses. Then nothing has changed.
pub fn update(home: &Home, id: &str, amendment: &Amendment) -> Result<Vec<String>> {
    let lock = Lock::alone(home, "records")?;
    let mut container = load(home, id)?;
    let what = || format!("cannot change container `{}`", container.name);
    if amendment.restart.is_some_and(|restart| restart != Restart::No) && container.wanted.auto_remove {
        return Err(Failure::new(what())
            .because("it removes itself when it ends, so it cannot start again")
            .hint("leave `--restart` out, or make it anew without `--rm`"));
    }
    let limits = merged(&container.wanted.limits, &amendment.limits);
    check(&limits).map_err(|failure| failure.within(what()))?;
    let mut warnings = Vec::new();
    if limits != container.wanted.limits && record::state(home, id)?.has_process() {
        let mut resources = LinuxResources::default();
        spec::apply_limits(&mut resources, &limits)?;
        warnings = Cgroup { path: spec::cgroup_path(&container) }.limit(&resources).doing(what)?;
    }
    container.wanted.limits = limits;
    container.wanted.restart = amendment.restart.unwrap_or(container.wanted.restart);
    write(home, &container)?;
    drop(lock);
    notes::note(home, &container, "update", &[]);
    tell(home, &container)?;
    Ok(warnings)
}

/// Puts a container on one more network, one that runs at once.
///
/// # Errors
/// No such container; it is on that network, or on no network of ours. Then nothing has changed.
pub fn connect(home: &Home, id: &str, plug: Plug) -> Result<()> {
    let network = plug.network.clone();
    let cannot = |because: String| Failure::new(format!("cannot put container `{id}` on network `{network}`")).because(because);
    replug(home, id, |container| {
        let name = container.name.clone();
        match &mut container.wanted.network {
            NetworkMode::Plugs(plugs) if plugs.iter().any(|known| known.network == network) => {
                Err(cannot(format!("endpoint with name {name} already exists in network {network}")))
            }
            NetworkMode::Plugs(plugs) => {
                plugs.push(plug);
                Ok(())
            }
            NetworkMode::None => Err(cannot("it is to have no network".to_owned()).hint("make it anew without `--network none`")),
            NetworkMode::Host | NetworkMode::Container(_) => Err(cannot(
                "container sharing network namespace with another container or host cannot be connected to any other network".to_owned(),
            )),
        }
    })
}

/// Takes a container off a network, one that runs at once.
///
/// # Errors
/// No such container; it is not on that network. Then nothing has changed.
pub fn disconnect(home: &Home, id: &str, network: &str) -> Result<()> {
    replug(home, id, |container| {
        let plugs = match &mut container.wanted.network {
            NetworkMode::Plugs(plugs) => plugs,
            _ => &mut Vec::new(),
        };
        let before = plugs.len();
        plugs.retain(|plug| plug.network != network);
        match plugs.len() < before {
            true => Ok(()),
            false => Err(Failure::new(format!("cannot take container `{id}` off network `{network}`"))
                .because(format!("container {} is not connected to network {network}", container.name))),
        }
    })
}

/// Changes a container's networks; the record is put back if that cannot be.
fn replug(home: &Home, id: &str, change: impl FnOnce(&mut Container) -> Result<()>) -> Result<()> {
    let _lock = Lock::alone(home, "records")?;
    let before = load(home, id)?;
    let mut container = before.clone();
    change(&mut container)?;
    write(home, &container)?;
    tell(home, &container).inspect_err(|_| {
        // What failed is what the user needs to know.
        let _ = write(home, &before).and_then(|()| tell(home, &before));
    })
}

/// What is said over what was so.
fn merged(before: &Limits, more: &Limits) -> Limits {
    Limits {
        memory: more.memory.or(before.memory),
        memory_reservation: more.memory_reservation.or(before.memory_reservation),
        memory_swap: more.memory_swap.or(before.memory_swap),
        cpus: more.cpus.or(before.cpus),
        cpu_shares: more.cpu_shares.or(before.cpu_shares),
        cpuset: more.cpuset.clone().or_else(|| before.cpuset.clone()),
        cpuset_mems: more.cpuset_mems.clone().or_else(|| before.cpuset_mems.clone()),
        pids: more.pids.or(before.pids),
        block_io: BlockIo { weight: more.block_io.weight.or(before.block_io.weight), ..before.block_io.clone() },
        // A number of CPUs takes the place of a quota.
        cpu_quota: before.cpu_quota.filter(|_| more.cpus.is_none()),
        cpu_period: before.cpu_period.filter(|_| more.cpus.is_none()),
        ..before.clone()
    }
}

fn check(limits: &Limits) -> Result<()> {
    let (Some(memory), Some(swap)) = (limits.memory.filter(|memory| *memory > 0), limits.memory_swap.filter(|swap| *swap > 0)) else {
        return Ok(());
    };
    match i64::try_from(memory).is_ok_and(|memory| memory <= swap) {
        true => Ok(()),
        false => Err(Failure::new("the limit of memory is above that of memory and swap together")
            .hint("change `--memory-swap` in the same command, or make it -1")),
    }
}

fn load(home: &Home, id: &str) -> Result<Container> {
    record::load(home, id)?.ok_or_else(|| Failure::new(format!("no such container: {id}")))
}

fn write(home: &Home, container: &Container) -> Result<()> {
    let bytes = serde_json::to_vec(container).doing(|| format!("cannot write the record of `{}`", container.name))?;
    state::write_whole(&record::record_path(home, &container.id), &bytes)
}

/// Lets the supervisor read the record again; without one there is nobody who remembers the old.
fn tell(home: &Home, container: &Container) -> Result<()> {
    client::ask_living(home, client::key(container), &Request::Amended { id: container.id.clone() }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_changes() {
        let before = Limits { memory: Some(1 << 20), pids: Some(5), ..Limits::default() };
        let more = Limits { pids: Some(9), cpus: Some(0.5), ..Limits::default() };
        assert_eq!(merged(&before, &more), Limits { memory: Some(1 << 20), pids: Some(9), cpus: Some(0.5), ..Limits::default() });
    }

    #[test]
    fn memory_cannot_be_more_than_memory_and_swap() {
        let limits = |memory, swap| Limits { memory: Some(memory), memory_swap: Some(swap), ..Limits::default() };
        assert!(check(&limits(2, 1)).is_err());
        assert!(check(&limits(2, 2)).is_ok());
        assert!(check(&limits(2, -1)).is_ok());
    }
}
