//! Which namespaces a container has for itself, and which it shares.

use std::path::PathBuf;

use oci_spec::runtime::Linux;
use oci_spec::runtime::LinuxNamespaceType;

use crate::container::Ipc;
use crate::container::NetworkMode;
use crate::container::Share;
use crate::container::State;
use crate::container::Wanted;
use crate::container::record;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

use super::short_id;

/// Where a namespace comes from.
enum Origin<'a> {
    Own,
    Host,
    /// That of a container, by id.
    Container(&'a str),
}

/// Every kind of namespace that can be shared.
const KINDS: [LinuxNamespaceType; 5] =
    [LinuxNamespaceType::Network, LinuxNamespaceType::Pid, LinuxNamespaceType::Ipc, LinuxNamespaceType::Uts, LinuxNamespaceType::Cgroup];

fn origin(wanted: &Wanted, kind: LinuxNamespaceType) -> Origin<'_> {
    match kind {
        LinuxNamespaceType::Network => match &wanted.network {
            NetworkMode::Plugs(_) | NetworkMode::None => Origin::Own,
            NetworkMode::Host => Origin::Host,
            NetworkMode::Container(id) => Origin::Container(id),
        },
        LinuxNamespaceType::Pid => match &wanted.pid {
            Share::Own => Origin::Own,
            Share::Host => Origin::Host,
            Share::Container(id) => Origin::Container(id),
        },
        LinuxNamespaceType::Ipc => match &wanted.ipc {
            Ipc::Private | Ipc::Shareable | Ipc::None => Origin::Own,
            Ipc::Host => Origin::Host,
            Ipc::Container(id) => Origin::Container(id),
        },
        LinuxNamespaceType::Uts if wanted.uts_host => Origin::Host,
        LinuxNamespaceType::Cgroup if wanted.cgroup_host => Origin::Host,
        _ => Origin::Own,
    }
}

/// Leaves the host's out; the others count as the container's own, which is all that one more process in it must know.
pub(super) fn leave_out(linux: &mut Linux, wanted: &Wanted) {
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    namespaces.retain(|namespace| !matches!(origin(wanted, namespace.typ()), Origin::Host));
    linux.set_namespaces(Some(namespaces));
}

/// Names those that belong to other containers.
///
/// # Errors
/// One of those does not run, or keeps to itself.
pub(super) fn join(home: &Home, linux: &mut Linux, wanted: &Wanted) -> Result<()> {
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    for kind in KINDS {
        let Origin::Container(id) = origin(wanted, kind) else { continue };
        let (word, file) = words(kind);
        let state = partner(home, id, word)?;
        let path = PathBuf::from(format!("/proc/{}/ns/{file}", state.pid));
        for namespace in namespaces.iter_mut().filter(|namespace| namespace.typ() == kind) {
            namespace.set_path(Some(path.clone()));
        }
    }
    linux.set_namespaces(Some(namespaces));
    Ok(())
}

/// As the user calls it, and as /proc does.
fn words(kind: LinuxNamespaceType) -> (&'static str, &'static str) {
    match kind {
        LinuxNamespaceType::Pid => ("processes", "pid"),
        LinuxNamespaceType::Ipc => ("IPC", "ipc"),
        _ => ("network", "net"),
    }
}

/// The container that something is shared with, while it runs.
///
/// # Errors
/// It does not; it does not share its IPC.
pub(super) fn partner(home: &Home, id: &str, what: &str) -> Result<State> {
    let refusal = || Failure::new(format!("cannot join the {what} of container `{}`", short_id(id))).exit(125);
    let state = record::state(home, id).map_err(|_| refusal().because("it is not there"))?;
    if !state.has_process() {
        return Err(refusal().because("it is not running").hint("start it first"));
    }
    let shares = || record::load(home, id).ok().flatten().is_none_or(|partner| partner.wanted.ipc != Ipc::Private);
    if what == "IPC" && !shares() {
        return Err(refusal().because("it keeps its IPC to itself").hint("give that one `ipc: shareable`"));
    }
    Ok(state)
}
