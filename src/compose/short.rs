//! Docker's short texts that Compose files and flags have in common: `on-failure:3`, `db:10.0.0.1`, `/run:size=64m`.
//!
//! Each reader returns the reason as text; who calls knows where the text stood.

use std::path::Path;

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

/// Reads one `--tmpfs`: `/run[:size=64m,mode=1777,ro]`.
///
/// # Errors
/// Not of that form; an option we do not carry out.
pub fn tmpfs(text: &str) -> Result<Mount, String> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let (mut size, mut mode, mut read_only) = (None, None, false);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("size", value) => size = Some(units::bytes(value).map_err(|failure| failure.what().to_owned())?),
            ("mode", value) => mode = Some(octal(value)?),
            ("ro", "") => read_only = true,
            // What every tmpfs of ours has, and Docker's too.
            ("rw" | "nosuid" | "nodev" | "noexec", "") => {}
            _ => return Err(format!("the option `{option}` is unknown here")),
        }
    }
    if !target.starts_with('/') {
        return Err(format!("the target `{target}` is no absolute path"));
    }
    Ok(Mount { target: target.to_owned(), read_only, source: MountSource::Tmpfs { size, mode } })
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
        // Nothing of ours confines by AppArmor or SELinux, so these two ask for what is.
        ("apparmor", "unconfined") | ("label", "disable") => {}
        _ => {
            return Err(Failure::new(format!("cannot carry out the security option `{text}`"))
                .hint("known are no-new-privileges, seccomp=FILE|unconfined|builtin, apparmor=unconfined and label=disable"));
        }
    }
    Ok(())
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
        assert!(extra_host("db").is_err());
        let source = MountSource::Tmpfs { size: Some(64 << 20), mode: Some(0o1777) };
        assert_eq!(tmpfs("/run:size=64m,mode=1777"), Ok(Mount { target: "/run".to_owned(), read_only: false, source }));
        assert!(tmpfs("run").is_err());
    }

    #[test]
    fn restart_policies_are_read() {
        assert_eq!(restart("on-failure:3"), Ok(Restart::OnFailure(3)));
        assert_eq!(restart("unless-stopped"), Ok(Restart::UnlessStopped));
        assert!(restart("always:3").is_err());
        assert!(restart("sometimes").is_err());
    }
}
