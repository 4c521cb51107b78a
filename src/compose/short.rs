//! Docker's short texts that Compose files and flags have in common: `on-failure:3`, `db:10.0.0.1`, `/run:size=64m`.
//!
//! Each reader returns the reason as text; who calls knows where the text stood.

use std::path::Component;
use std::path::Path;

use crate::container::Limits;
use crate::container::Mount;
use crate::container::MountSource;
use crate::container::Restart;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::runtime::SeccompChoice;
use crate::runtime::Trust;
use crate::units;

/// Reads `no`, `always`, `unless-stopped`, `on-failure[:n]`.
///
/// # Errors
/// None of these.
pub fn restart(text: &str) -> Result<Restart, String> {
    match text.split_once(':').map_or((text, None), |(word, count)| (word, Some(count))) {
        ("" | "no", None) => Ok(Restart::No),
        ("always", None) => Ok(Restart::Always),
        ("unless-stopped", None) => Ok(Restart::UnlessStopped),
        ("on-failure", None) => Ok(Restart::OnFailure(0)),
        ("on-failure", Some(count)) => count.parse().map(Restart::OnFailure).map_err(|_| "the number of restarts is no number".to_owned()),
        _ => Err("a restart policy is `no`, `always`, `unless-stopped` or `on-failure[:count]`".to_owned()),
    }
}

/// Reads `name:address` or `name=address`.
///
/// # Errors
/// Not of that form.
pub fn extra_host(text: &str) -> Result<(String, String), String> {
    let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).ok_or("a host is NAME:ADDRESS")?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    if address != "host-gateway" && address.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("{address} is no address"));
    }
    Ok((name.to_owned(), address.to_owned()))
}

/// Reads `name[:alias]`; without an alias the name is one.
pub fn link(text: &str) -> (String, String) {
    let (name, alias) = text.split_once(':').unwrap_or((text, text));
    (name.to_owned(), alias.to_owned())
}

/// Reads `02:42:ac:11:00:02`.
///
/// # Errors
/// Not of that form; an address of many.
pub fn mac(text: &str) -> Result<[u8; 6], String> {
    let bytes: Vec<u8> = text.split([':', '-']).filter_map(|part| u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 2)).collect();
    match <[u8; 6]>::try_from(bytes) {
        Ok(mac) if text.split([':', '-']).count() == 6 && mac[0] & 1 == 0 => Ok(mac),
        Ok(_) => Err("it is the address of a group".to_owned()),
        Err(_) => Err("a hardware address is six pairs of hexadecimal digits, such as 02:42:ac:11:00:02".to_owned()),
    }
}

/// Reads kernel settings of a link: `net.ipv4.conf.IFNAME.log_martians=1,…`.
///
/// # Errors
/// Not of that form; a setting of more than one link.
pub fn sysctls_of_link(text: &str) -> Result<Vec<(String, String)>, String> {
    let one = |text: &str| {
        let (name, value) = text.split_once('=').ok_or("a setting is NAME=VALUE")?;
        let parts: Vec<&str> = name.split('.').collect();
        match parts[..] {
            ["net", "ipv4" | "ipv6" | "mpls", _, "IFNAME", _] => Ok((name.to_owned(), value.to_owned())),
            _ => Err(format!("`{name}` is no setting of a link, such as net.ipv4.conf.IFNAME.log_martians")),
        }
    };
    text.split(',').filter(|text| !text.is_empty()).map(one).collect()
}

/// Reads one `--tmpfs`: `/run[:size=64m,mode=1777,ro]`.
///
/// # Errors
/// Not of that form; an option we do not carry out.
pub fn tmpfs(text: &str) -> Result<Mount, String> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let (mut size, mut mode, mut read_only, mut more) = (None, None, false, Vec::new());
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=').unwrap_or((option, "")) {
            // A part of the memory is for the kernel to work out.
            ("size", value) if !value.ends_with('%') => size = Some(units::bytes(value).map_err(|failure| failure.what().to_owned())?),
            ("mode", value) => mode = Some(octal(value)?),
            ("ro", "") => read_only = true,
            ("rw", "") => read_only = false,
            (word, "") if TMPFS_FLAGS.contains(&word) => more.push(option.to_owned()),
            (key, value) if TMPFS_KEYS.contains(&key) && !value.is_empty() => more.push(option.to_owned()),
            _ => return Err(format!("the option `{option}` is unknown here")),
        }
    }
    if !target.starts_with('/') {
        return Err(format!("the target `{target}` is no absolute path"));
    }
    Ok(Mount { target: target.to_owned(), read_only, source: MountSource::Tmpfs { size, mode, options: more } })
}

/// Options of a tmpfs that need no reading, as mount(8) has them.
const TMPFS_FLAGS: [&str; 18] = [
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "noswap",
];
const TMPFS_KEYS: [&str; 7] = ["size", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge"];

/// What a container has of the mounts of another one (`volumes_from`): what lasts, and never more than the other may do.
///
/// # Errors
/// A mode that is none.
pub fn borrowed(mounts: Vec<Mount>, mode: &str) -> Result<Vec<Mount>, String> {
    let read_only = match mode {
        "ro" => true,
        "rw" | "z" | "Z" | "" => false,
        other => return Err(format!("the mode `{other}` is neither `ro` nor `rw`")),
    };
    let lasts = |mount: &Mount| matches!(mount.source, MountSource::Bind { .. } | MountSource::Volume { .. } | MountSource::Image { .. });
    let taken_over = mounts.into_iter().filter(lasts).map(|mount| Mount { read_only: mount.read_only || read_only, ..mount });
    Ok(taken_over.collect())
}

/// Refuses limits of CPUs that contradict each other, as Docker does.
///
/// # Errors
/// Which ones.
pub fn check_cpus(limits: &Limits) -> Result<(), String> {
    let period = limits.cpu_period.filter(|period| *period > 0);
    if limits.cpus.is_some_and(|cpus| cpus > 0.0) && (period.is_some() || limits.cpu_quota.is_some_and(|quota| quota > 0)) {
        return Err("a number of CPUs and a quota or period contradict each other".to_owned());
    }
    if period.is_some_and(|period| !(1000..=1_000_000).contains(&period)) {
        return Err("the period is 1000 to 1000000 microseconds".to_owned());
    }
    match limits.cpu_quota {
        Some(quota) if (1..1000).contains(&quota) => Err("the quota is at least 1000 microseconds".to_owned()),
        _ => Ok(()),
    }
}

/// Refuses a parent of control groups that would lead out of where they are.
///
/// # Errors
/// Why.
pub fn cgroup_parent(text: &str) -> Result<(), String> {
    let parts = Path::new(text).components();
    match parts.clone().any(|part| part == Component::ParentDir) || parts.filter(|part| matches!(part, Component::Normal(_))).count() == 0 {
        true => Err("it is a path below the control groups' file system, without `..`".to_owned()),
        false => Ok(()),
    }
}

/// Reads `0755`.
///
/// # Errors
/// Not octal.
pub fn octal(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8).map_err(|_| format!("`{text}` is no octal mode"))
}

/// Writes one `security_opt` into `trust`.
/// The path of a profile is relative to `directory`.
///
/// # Errors
/// What we cannot do: an option that would be ignored is refused.
pub fn security_option(trust: &mut Trust, text: &str, directory: &Path) -> Result<()> {
    let (name, value) = text.split_once('=').or_else(|| text.split_once(':')).unwrap_or((text, ""));
    match (name, value) {
        ("no-new-privileges", "" | "true") => trust.no_new_privileges = true,
        ("no-new-privileges", "false") => trust.no_new_privileges = false,
        ("seccomp", "unconfined") => trust.seccomp = SeccompChoice::Unconfined,
        ("seccomp", "builtin") => trust.seccomp = SeccompChoice::Default,
        ("seccomp", path) => trust.seccomp = SeccompChoice::Profile(profile(&directory.join(path))?),
        ("systempaths", "unconfined") => trust.open_paths = true,
        // Nothing of ours confines by AppArmor or SELinux, so these two ask for what is.
        ("apparmor", "unconfined") | ("label", "disable") => {}
        // What the kernel does not do for anybody is told by `security_without_effect`.
        _ if security_without_effect(text) => {}
        _ => {
            return Err(Failure::new(format!("cannot carry out the security option `{text}`")).hint(
                "known are no-new-privileges, seccomp=FILE|unconfined|builtin, systempaths=unconfined, apparmor=unconfined and label=disable",
            ));
        }
    }
    Ok(())
}

/// Whether a security option asks for what this kernel has not: a profile of AppArmor, a label of SELinux.
pub fn security_without_effect(text: &str) -> bool {
    let (name, value) = text.split_once('=').or_else(|| text.split_once(':')).unwrap_or((text, ""));
    let has_apparmor = || std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'));
    match (name, value) {
        ("apparmor", "unconfined" | "") | ("label", "disable" | "") => false,
        ("apparmor", _) => !has_apparmor(),
        ("label", _) => !Path::new("/sys/fs/selinux/enforce").exists(),
        _ => false,
    }
}

fn profile(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).doing(|| format!("cannot read the seccomp profile `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_tmpfs_are_read() {
        assert_eq!(extra_host("db:10.0.0.1"), Ok(("db".into(), "10.0.0.1".into())));
        assert_eq!(extra_host("db=[::1]"), Ok(("db".into(), "::1".into())));
        assert_eq!((link("db"), link("db:data")), (("db".into(), "db".into()), ("db".into(), "data".into())));
        assert!(extra_host("db").is_err());
        let source = MountSource::Tmpfs { size: Some(64 << 20), mode: Some(0o1777), options: Vec::new() };
        assert_eq!(tmpfs("/run:size=64m,mode=1777"), Ok(Mount { target: "/run".to_owned(), read_only: false, source }));
        let source =
            MountSource::Tmpfs { size: None, mode: None, options: vec!["exec".to_owned(), "size=10%".to_owned(), "uid=7".to_owned()] };
        assert_eq!(tmpfs("/run:exec,size=10%,uid=7,ro"), Ok(Mount { target: "/run".to_owned(), read_only: true, source }));
        for text in ["run", "/run:frozen", "/run:uid=", "/run:exec=1"] {
            assert!(tmpfs(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_link_has_is_read() {
        assert_eq!(mac("02:42:ac:11:00:0F"), Ok([2, 0x42, 0xac, 0x11, 0, 15]));
        assert_eq!(mac("02-42-ac-11-00-02"), Ok([2, 0x42, 0xac, 0x11, 0, 2]));
        for text in ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "02:42:ac:11:0:02", "02:42:ac:11:00:xx", "01:00:5e:00:00:01"] {
            assert!(mac(text).is_err(), "{text}");
        }
        let setting = |name: &str| (name.to_owned(), "1".to_owned());
        assert_eq!(sysctls_of_link("net.ipv4.conf.IFNAME.log_martians=1"), Ok(vec![setting("net.ipv4.conf.IFNAME.log_martians")]));
        for text in ["net.ipv4.conf.all.forwarding=1", "vm.swappiness=1", "net.ipv4.conf.IFNAME.x"] {
            assert!(sysctls_of_link(text).is_err(), "{text}");
        }
    }

    #[test]
    fn restart_policies_are_read() {
        assert_eq!(restart("on-failure:3"), Ok(Restart::OnFailure(3)));
        assert_eq!(restart("unless-stopped"), Ok(Restart::UnlessStopped));
        assert!(restart("always:3").is_err());
        assert!(restart("sometimes").is_err());
    }
}
