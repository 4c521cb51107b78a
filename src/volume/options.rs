//! What the driver options of a volume come to: `type`, `o` and `device`, as mount(8) takes them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::ToSocketAddrs;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::failure::Result;

/// File systems whose `addr=` must be an address by the time the kernel sees it.
const NETWORK: [&str; 4] = ["nfs", "nfs4", "cifs", "smb3"];

/// Where the content of a volume comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A directory of the store.
    Directory(PathBuf),
    /// A file or directory of the host (`o: bind`).
    Bind { path: PathBuf, options: Vec<String> },
    /// A file system that is mounted where the volume is used.
    Filesystem { kind: String, source: String, options: Vec<String> },
}

/// Refuses options that contradict each other or that nobody knows, as Docker does.
///
/// # Errors
/// Which one, and why.
pub(super) fn check(options: &BTreeMap<String, String>) -> Result<()> {
    let text = |name: &str| options.get(name).filter(|text| !text.is_empty());
    let refuse = |reason: String| Err(Failure::new("cannot use the volume's driver options").because(reason));
    if let Some(unknown) = options.keys().find(|name| !matches!(name.as_str(), "type" | "o" | "device")) {
        let hint = if unknown == "size" { "for a tmpfs, write `o: size=…`" } else { "known are `type`, `o` and `device`" };
        return Err(Failure::new("cannot use the volume's driver options")
            .because(format!("the driver `local` does not carry out `{unknown}`"))
            .hint(hint));
    }
    for (given, needed) in [("device", "type"), ("type", "device"), ("o", "device"), ("o", "type")] {
        if text(given).is_some() && text(needed).is_none() {
            return refuse(format!("`{given}` needs `{needed}`"));
        }
    }
    match bind(options) {
        Some(path) if !path.is_absolute() => refuse(format!("the device `{}` is no absolute path", path.display())),
        _ => Ok(()),
    }
}

/// What the checked options stand for; `directory` if they are none.
///
/// # Errors
/// The server's name cannot be resolved.
pub(super) fn origin(options: &BTreeMap<String, String>, directory: PathBuf) -> Result<Origin> {
    let text = |name: &str| options.get(name).map(String::as_str).unwrap_or_default();
    if text("type").is_empty() {
        return Ok(Origin::Directory(directory));
    }
    let words: Vec<String> = text("o").split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    if let Some(path) = bind(options) {
        return Ok(Origin::Bind { path, options: words });
    }
    let kind = text("type").to_owned();
    let words = if NETWORK.contains(&kind.as_str()) { words.into_iter().map(resolved).collect::<Result<_>>()? } else { words };
    Ok(Origin::Filesystem { kind, source: text("device").to_owned(), options: words })
}

/// The path that is bound, if one is.
fn bind(options: &BTreeMap<String, String>) -> Option<PathBuf> {
    let is_bind = options.get("o").is_some_and(|words| words.split(',').any(|word| matches!(word, "bind" | "rbind")));
    options.get("device").filter(|_| is_bind).map(PathBuf::from)
}

/// An `addr=` with an address in the place of a name: the kernel asks no name server.
fn resolved(word: String) -> Result<String> {
    let Some(name) = word.strip_prefix("addr=").filter(|name| name.parse::<IpAddr>().is_err()) else { return Ok(word) };
    let cannot = |reason: String| Failure::new(format!("cannot find the volume's server `{name}`")).because(reason);
    let mut found = (name, 0).to_socket_addrs().map_err(|error| cannot(error.to_string()))?;
    found.next().map(|found| format!("addr={}", found.ip())).ok_or_else(|| cannot("it has no address".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn options_stand_for_what_is_mounted() {
        let found = |pairs: &[(&str, &str)]| origin(&options(pairs), "/store".into()).unwrap();
        assert_eq!(found(&[]), Origin::Directory("/store".into()));
        let bound = Origin::Bind { path: "/srv".into(), options: vec!["bind".into(), "ro".into()] };
        assert_eq!(found(&[("type", "none"), ("o", "bind,ro"), ("device", "/srv")]), bound);
        let memory = Origin::Filesystem { kind: "tmpfs".into(), source: "tmpfs".into(), options: vec!["size=1m".into()] };
        assert_eq!(found(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")]), memory);
        let words = vec!["addr=10.0.0.1".to_owned(), "rw".to_owned()];
        let remote = Origin::Filesystem { kind: "nfs".into(), source: ":/export".into(), options: words };
        assert_eq!(found(&[("type", "nfs"), ("o", "addr=10.0.0.1,rw"), ("device", ":/export")]), remote);
    }

    #[test]
    fn options_that_do_not_fit_are_refused() {
        for pairs in [
            &[("type", "nfs")][..],
            &[("device", "/srv")],
            &[("o", "bind")],
            &[("size", "1g")],
            &[("type", "none"), ("o", "bind"), ("device", "srv")],
        ] {
            assert!(check(&options(pairs)).is_err(), "{pairs:?}");
        }
        assert!(check(&options(&[("type", "none"), ("o", "bind"), ("device", "/srv")])).is_ok());
        assert!(check(&options(&[])).is_ok());
    }
}
