//! `-v` and `--mount`.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use crate::compose::short;
use crate::container::Below;
use crate::container::Mount;
use crate::container::MountSource;
use crate::units;

/// Reads one `-v`: `/target`, `name:/target[:options]` or `/host:/target[:options]`.
///
/// # Errors
/// Not of that form; an option we do not carry out.
pub fn volume(text: &str) -> Result<Mount, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => ("", target, ""),
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err("a volume is [SOURCE:]TARGET[:OPTIONS]".to_owned()),
    };
    if parts.len() > 1 && source.is_empty() {
        return Err("the source is empty".to_owned());
    }
    let is_path = source.starts_with(['/', '.', '~']);
    let source = match source {
        "" => MountSource::Anonymous { labels: BTreeMap::new() },
        path if is_path => MountSource::Bind { path: host_path(path)?, create: true, propagation: None, below: Below::Shown },
        name => MountSource::Volume { name: name.to_owned(), nocopy: false, subpath: None },
    };
    let mut mount = Mount { target: target_path(target)?, read_only: false, source };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        apply(&mut mount, option)?;
    }
    Ok(mount)
}

fn apply(mount: &mut Mount, option: &str) -> Result<(), String> {
    match (option, &mut mount.source) {
        ("ro", _) => mount.read_only = true,
        // z and Z set SELinux labels; there is nothing to set without SELinux, as with Docker.
        ("rw" | "z" | "Z", _) => {}
        ("nocopy", MountSource::Volume { nocopy, .. }) => *nocopy = true,
        (_, MountSource::Bind { propagation, .. }) if is_propagation(option) => *propagation = Some(option.to_owned()),
        _ => return Err(format!("the option `{option}` is unknown here")),
    }
    Ok(())
}

fn is_propagation(text: &str) -> bool {
    matches!(text, "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave")
}

/// An absolute path of the host, `~` and relative ones resolved as a shell would.
fn host_path(text: &str) -> Result<PathBuf, String> {
    let text = match text.strip_prefix("~/") {
        Some(rest) => format!("{}/{rest}", std::env::var("HOME").map_err(|_| "HOME is not set")?),
        None => text.to_owned(),
    };
    let path = std::path::absolute(&text).map_err(|error| error.to_string())?;
    Ok(tidy(&path))
}

/// Without `.` and `..`, by name alone.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                tidy.pop();
            }
            other => tidy.push(other),
        }
    }
    tidy
}

fn target_path(text: &str) -> Result<String, String> {
    match text {
        "/" => Err("a mount cannot take the place of `/`".to_owned()),
        _ if text.starts_with('/') => Ok(text.to_owned()),
        _ => Err(format!("the target `{text}` is no absolute path")),
    }
}

/// The keys of a `--mount`, as read.
#[derive(Default)]
struct Keys {
    kind: String,
    source: Option<String>,
    target: Option<String>,
    read_only: bool,
    propagation: Option<String>,
    nocopy: bool,
    subpath: Option<String>,
    size: Option<u64>,
    mode: Option<u32>,
    create: bool,
    below: Below,
}

/// Reads one `--mount`: `type=bind,source=/a,target=/b,readonly`.
///
/// # Errors
/// Not of that form; a key we do not carry out.
pub fn mount(text: &str) -> Result<Mount, String> {
    let mut keys = Keys { kind: "volume".to_owned(), ..Keys::default() };
    for word in text.split(',') {
        keys.take(word)?;
    }
    let target = target_path(&keys.target.take().ok_or("a mount needs a target")?)?;
    let read_only = keys.read_only;
    let source = keys.source_of()?;
    Ok(Mount { target, read_only, source })
}

impl Keys {
    fn take(&mut self, word: &str) -> Result<(), String> {
        let (key, value) = word.split_once('=').unwrap_or((word, "true"));
        let truth = || value.parse::<bool>().or(if value == "1" { Ok(true) } else { Err(format!("`{value}` is neither true nor false")) });
        match key {
            "type" => self.kind = value.to_owned(),
            "source" | "src" => self.source = Some(value.to_owned()),
            "target" | "dst" | "destination" => self.target = Some(value.to_owned()),
            "readonly" | "ro" => self.read_only = truth()?,
            "bind-propagation" if is_propagation(value) => self.propagation = Some(value.to_owned()),
            "bind-create-src" => self.create = truth()?,
            "bind-nonrecursive" if truth()? => self.below = Below::Hidden,
            "bind-nonrecursive" => {}
            "bind-recursive" => {
                self.below = match value {
                    "enabled" | "readonly" => Below::Shown,
                    "writable" => Below::ShownWritable,
                    "disabled" => Below::Hidden,
                    _ => return Err(format!("`{value}` is none of enabled, disabled, writable, readonly")),
                }
            }
            // There is no other, and nothing is cached between host and container.
            "volume-driver" if value == "local" => {}
            "consistency" => {}
            "volume-nocopy" => self.nocopy = truth()?,
            "volume-subpath" | "image-subpath" => self.subpath = Some(value.to_owned()),
            "tmpfs-size" => self.size = Some(units::bytes(value).map_err(|failure| failure.what().to_owned())?),
            "tmpfs-mode" => self.mode = Some(short::octal(value)?),
            _ => return Err(format!("`{word}` is unknown here")),
        }
        Ok(())
    }

    fn source_of(self) -> Result<MountSource, String> {
        match (self.kind.as_str(), self.source) {
            ("bind", Some(source)) => {
                Ok(MountSource::Bind { path: host_path(&source)?, create: self.create, propagation: self.propagation, below: self.below })
            }
            ("bind", None) => Err("a bind mount needs a source".to_owned()),
            ("volume", Some(name)) => Ok(MountSource::Volume { name, nocopy: self.nocopy, subpath: self.subpath }),
            ("volume", None) => Ok(MountSource::Anonymous { labels: BTreeMap::new() }),
            ("image", Some(name)) => Ok(MountSource::Image { name, id: String::new(), layers: Vec::new(), subpath: self.subpath }),
            ("image", None) => Err("an image mount needs a source".to_owned()),
            ("tmpfs", None) => Ok(MountSource::Tmpfs { size: self.size, mode: self.mode, options: Vec::new() }),
            ("tmpfs", Some(_)) => Err("a tmpfs has no source".to_owned()),
            (other, _) => Err(format!("the type `{other}` is none of bind, volume, tmpfs, image")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_volume_is_read() {
        let bind = |path: &str| MountSource::Bind { path: path.into(), create: true, propagation: None, below: Below::Shown };
        let named = |nocopy| MountSource::Volume { name: "db".to_owned(), nocopy, subpath: None };
        let table = [
            ("/data", MountSource::Anonymous { labels: BTreeMap::new() }, false),
            ("db:/data", named(false), false),
            ("db:/data:ro,nocopy", named(true), true),
            ("/a/../b:/data:z", bind("/b"), false),
        ];
        for (text, source, read_only) in table {
            assert_eq!(volume(text), Ok(Mount { target: "/data".to_owned(), read_only, source }), "{text}");
        }
        for text in ["", "data", "a:b", ":/data", "a:/", "a:/b:frozen", "a:/b:rslave", "a:b:c:d"] {
            assert!(volume(text).is_err(), "{text}");
        }
    }

    #[test]
    fn long_mounts_are_read() {
        let tmpfs_source = MountSource::Tmpfs { size: Some(64 << 20), mode: Some(0o1777), options: Vec::new() };
        let expected = Mount { target: "/run".to_owned(), read_only: false, source: tmpfs_source };
        assert_eq!(mount("type=tmpfs,target=/run,tmpfs-size=64m,tmpfs-mode=1777"), Ok(expected));
        assert!(mount("type=bind,source=/a,dst=/b,ro").is_ok_and(|mount| mount.read_only));
        for text in ["type=bind,target=/b", "target=b", "type=npipe,target=/b", "type=tmpfs,source=a,target=/b", "frozen,target=/a"] {
            assert!(mount(text).is_err(), "{text}");
        }
    }
}
