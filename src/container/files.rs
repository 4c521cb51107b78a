//! The files that a container gets from us: /etc/hosts, /etc/hostname, /etc/resolv.conf, configs and secrets.
//!
//! They lie in the container's run directory, are written anew for every start, and are bind mounted.

use std::fmt::Write;
use std::fs;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

use oci_spec::runtime::Mount as SpecMount;

use crate::failure::Doing;
use crate::failure::Result;
use crate::net;
use crate::net::NAME_SERVER;
use crate::net::Plugged;
use crate::net::Resolvers;
use crate::place::Home;

use super::Container;
use super::MountSource;
use super::NetworkMode;
use super::Wanted;
use super::spec;

const FILES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// The mounts of the three files; those of another container if its network is shared.
pub(super) fn mounts(home: &Home, container: &Container) -> Vec<SpecMount> {
    let owner = match &container.wanted.network {
        NetworkMode::Container(id) => id,
        _ => &container.id,
    };
    FILES.iter().map(|name| spec::bind(&home.container_run(owner).join(name), &format!("/etc/{name}"), &[])).collect()
}

/// Where the content of the record's mount with this number lies.
pub(super) fn content_path(home: &Home, id: &str, number: usize) -> PathBuf {
    home.container_run(id).join(format!("content.{number}"))
}

/// Writes all files for a start; `plugged` is where the container is on the network.
///
/// # Errors
/// What could not be written.
pub(super) fn write(home: &Home, container: &Container, plugged: &[Plugged]) -> Result<()> {
    let directory = home.container_run(&container.id);
    let hostname = spec::hostname(container);
    let texts = match &container.wanted.network {
        NetworkMode::Container(_) => None,
        NetworkMode::Host => Some([
            format!("{}{}", fs::read_to_string("/etc/hosts").unwrap_or_default(), extra_hosts(&container.wanted, plugged)),
            hostname + "\n",
            host_resolv_conf(&container.wanted),
        ]),
        NetworkMode::None => Some([hosts(container, plugged), hostname + "\n", host_resolv_conf(&container.wanted)]),
        NetworkMode::Plugs(_) => {
            let resolv_conf = resolv_conf(&container.wanted, &net::host_resolvers());
            Some([hosts(container, plugged), hostname + "\n", resolv_conf])
        }
    };
    for (name, text) in FILES.iter().zip(texts.iter().flatten()) {
        // In place, not by rename: a bind mount of the last run shows the file, not the name.
        fs::write(directory.join(name), text).doing(|| format!("cannot write /etc/{name} of `{}`", container.name))?;
    }
    write_contents(home, container)
}

/// Writes /etc/hosts for a container that is elsewhere on the network now, unless it has been changed in there.
///
/// # Errors
/// What could not be written.
pub(super) fn write_hosts_again(home: &Home, container: &Container, (before, after): (&[Plugged], &[Plugged])) -> Result<()> {
    let path = home.container_run(&container.id).join("hosts");
    if fs::read_to_string(&path).is_ok_and(|text| text != hosts(container, before)) {
        return Ok(());
    }
    fs::write(path, hosts(container, after)).doing(|| format!("cannot write /etc/hosts of `{}`", container.name))
}

fn write_contents(home: &Home, container: &Container) -> Result<()> {
    for (number, mount) in container.wanted.mounts.iter().enumerate() {
        let MountSource::Content { bytes, uid, gid, mode } = &mount.source else { continue };
        let path = content_path(home, &container.id, number);
        write_content(&path, bytes, (*uid, *gid), *mode).doing(|| format!("cannot write the content of `{}`", mount.target))?;
    }
    Ok(())
}

fn write_content(path: &Path, bytes: &[u8], owner: (u32, u32), mode: u32) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    std::os::unix::fs::fchown(&file, Some(owner.0), Some(owner.1))?;
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(mode))?;
    Ok(())
}

/// /etc/hosts as Docker writes it.
fn hosts(container: &Container, plugged: &[Plugged]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    text += &extra_hosts(&container.wanted, plugged);
    let hostname = spec::hostname(container);
    let names = match &container.wanted.domainname {
        Some(domain) if !domain.is_empty() => format!("{hostname}.{domain} {hostname}"),
        _ => hostname,
    };
    for address in plugged.iter().flat_map(Plugged::addresses) {
        let _ = writeln!(text, "{address}\t{names}");
    }
    text
}

fn extra_hosts(wanted: &Wanted, plugged: &[Plugged]) -> String {
    let ipv4 = plugged.iter().find_map(|plug| plug.ipv4.and_then(|assigned| assigned.gateway)).map(|gateway| gateway.to_string());
    let ipv6 = || plugged.iter().find_map(|plug| plug.ipv6.and_then(|assigned| assigned.gateway)).map(|gateway| gateway.to_string());
    let gateway = ipv4.or_else(ipv6);
    let mut text = String::new();
    for (name, address) in &wanted.extra_hosts {
        let address = match address.as_str() {
            "host-gateway" => gateway.as_deref().unwrap_or("127.0.0.1"),
            address => address,
        };
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}

/// /etc/resolv.conf of a container on our networks: we are its server.
fn resolv_conf(wanted: &Wanted, host: &Resolvers) -> String {
    let mut text = format!("nameserver {NAME_SERVER}\n");
    let search = if wanted.dns_search.is_empty() { &host.search } else { &wanted.dns_search };
    if !search.is_empty() && search.first().is_none_or(|first| first != ".") {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    let mut options = if wanted.dns_options.is_empty() { host.options.clone() } else { wanted.dns_options.clone() };
    // Without it a name without a dot is first tried with the search list; but a container's own wish counts.
    if !options.iter().any(|option| option.starts_with("ndots:")) {
        options.push("ndots:0".into());
    }
    let _ = writeln!(text, "options {}", options.join(" "));
    text
}

/// /etc/resolv.conf of a container that asks for itself: the host's, or the wanted servers.
fn host_resolv_conf(wanted: &Wanted) -> String {
    if wanted.dns.is_empty() && wanted.dns_search.is_empty() && wanted.dns_options.is_empty() {
        return fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    }
    let host = net::host_resolvers();
    let servers = match wanted.dns.is_empty() {
        true => host.servers.iter().map(ToString::to_string).collect(),
        false => wanted.dns.clone(),
    };
    let mut text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    let search = if wanted.dns_search.is_empty() { &host.search } else { &wanted.dns_search };
    if !search.is_empty() {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    let options = if wanted.dns_options.is_empty() { &host.options } else { &wanted.dns_options };
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}

/// Who answers what our name server does not know: the wanted servers, or the host's.
pub(super) fn upstream(wanted: &Wanted) -> Resolvers {
    let mut resolvers = net::host_resolvers();
    let own: Vec<IpAddr> = wanted.dns.iter().filter_map(|server| server.parse().ok()).collect();
    if !own.is_empty() {
        resolvers.servers = own;
    }
    resolvers
}
