//! Whose processes, IPC, host name and control groups a service's container sees.

use crate::compose::convert::Peers;
use crate::compose::model::Service;
use crate::container::Ipc;
use crate::container::Share;
use crate::container::Wanted;
use crate::failure::Failure;
use crate::failure::Result;

pub(super) fn apply(service: &Service, wanted: &mut Wanted, peers: &dyn Peers) -> Result<()> {
    wanted.pid = match mode(&service.pid) {
        "" | "private" => Share::Own,
        "host" => Share::Host,
        other => Share::Container(partner("pid", other, peers)?),
    };
    wanted.ipc = match mode(&service.ipc) {
        "" | "private" => Ipc::Private,
        "shareable" => Ipc::Shareable,
        "none" => Ipc::None,
        "host" => Ipc::Host,
        other => Ipc::Container(partner("ipc", other, peers)?),
    };
    wanted.uts_host = is_host("uts", mode(&service.uts), &[""])?;
    if wanted.uts_host && (wanted.hostname.is_some() || wanted.domainname.is_some()) {
        return Err(Failure::new("cannot give a name to a container that has the host's").because("`uts: host` is set beside `hostname`"));
    }
    // There is no other user namespace than the host's to be in.
    is_host("userns_mode", mode(&service.userns_mode), &[""])?;
    wanted.cgroup_host = is_host("cgroup", mode(&service.cgroup), &["", "private"])?;
    Ok(())
}

fn mode(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}

/// The container that `service:name` or `container:name` names.
fn partner(key: &str, mode: &str, peers: &dyn Peers) -> Result<String> {
    let (what, found) = match mode.split_once(':') {
        Some(("service", name)) => (format!("service `{name}`"), peers.of_service(name)),
        Some(("container", name)) => (format!("container `{name}`"), peers.of_name(name)),
        _ => return Err(unknown(key, mode)),
    };
    found.ok_or_else(|| Failure::new(format!("{what}, which it shares `{key}` with, has no container")))
}

fn is_host(key: &str, mode: &str, others: &[&str]) -> Result<bool> {
    match mode {
        "host" => Ok(true),
        _ if others.contains(&mode) => Ok(false),
        _ => Err(unknown(key, mode)),
    }
}

fn unknown(key: &str, mode: &str) -> Failure {
    Failure::new(format!("cannot understand `{key}: {mode}`"))
}
