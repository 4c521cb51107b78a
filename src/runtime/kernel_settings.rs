//! Sysctls of a container: only those that its own namespaces have a value of.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;

use super::namespaces::IPC;
use super::namespaces::NETWORK;
use super::namespaces::USER;
use super::namespaces::UTS;
use super::spec::NETWORK_SETTINGS;
use super::talk::During;
use super::talk::Step;
use super::talk::Trouble;

/// Which namespace a setting belongs to, by its name or the beginning of it (proc_sys(5), ipc_namespaces(7)).
const NAMESPACED: &[(&str, u64)] = &[
    ("net.", NETWORK),
    ("fs.mqueue.", IPC),
    ("kernel.msgmax", IPC),
    ("kernel.msgmnb", IPC),
    ("kernel.msgmni", IPC),
    ("kernel.sem", IPC),
    ("kernel.shm_rmid_forced", IPC),
    ("kernel.shmall", IPC),
    ("kernel.shmmax", IPC),
    ("kernel.shmmni", IPC),
    ("kernel.domainname", UTS),
    ("kernel.hostname", UTS),
    ("user.", USER),
];

/// Writes the settings; `own` are the `CLONE_NEW*` bits of the namespaces that the container has for itself.
pub(super) fn set(settings: Option<&HashMap<String, String>>, own: u64) -> Step {
    for (name, value) in settings.into_iter().flatten() {
        if let Some(path) = place(name, value, own)? {
            let file = OpenOptions::new().write(true).open(&path);
            file.and_then(|mut file| file.write_all(value.as_bytes())).during(|| format!("set sysctl {name} to {value}"))?;
        }
    }
    Ok(())
}

/// The file of a setting; `None` for a default that does not count here.
fn place(name: &str, value: &str, own: u64) -> Step<Option<String>> {
    // Slashes are the other spelling, for names with dots of their own such as an interface's (sysctl(8)).
    let dotted = name.replace('/', ".");
    let kind = NAMESPACED.iter().find(|(known, _)| *known == dotted || known.ends_with('.') && dotted.starts_with(known));
    let kind = kind.map_or(0, |(_, kind)| *kind);
    if kind & own == 0 {
        // With the host's network, or another container's, the defaults are not ours to set.
        if NETWORK_SETTINGS.contains(&(name, value)) {
            return Ok(None);
        }
        return Err(Trouble::new(format!("sysctl `{name}` is not the container's own: it would change the host or another container")));
    }
    let relative = if name.contains('/') { name.to_owned() } else { name.replace('.', "/") };
    if relative.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(Trouble::new(format!("sysctl `{name}` is not a name")));
    }
    Ok(Some(format!("/proc/sys/{relative}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_containers_own_settings_are_set() {
        let found = |name: &str, own: u64| place(name, "0", own).map_err(|trouble| trouble.words);
        assert_eq!(found("net.core.somaxconn", NETWORK).unwrap().unwrap(), "/proc/sys/net/core/somaxconn");
        assert_eq!(found("net/ipv4/conf/eth0.1/forwarding", NETWORK).unwrap().unwrap(), "/proc/sys/net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(found("kernel.shmmax", IPC).unwrap().unwrap(), "/proc/sys/kernel/shmmax");
        for (name, own) in [
            ("net.core.somaxconn", IPC),
            ("vm.swappiness", u64::MAX),
            ("kernel.shmmaxx", IPC),
            ("net/../vm/x", NETWORK),
            ("net..x", NETWORK),
        ] {
            assert!(found(name, own).is_err(), "{name}");
        }
    }

    /// `network_mode: host` got the container's default for unprivileged ports.
    #[test]
    fn a_default_is_not_written_into_the_hosts_network() {
        let (name, value) = NETWORK_SETTINGS[0];
        assert_eq!(place(name, value, 0).unwrap(), None);
        assert!(place(name, "1", 0).is_err());
    }
}
