//! Relative paths of a project, and what they are relative to.

use std::fs;
use std::path::Component;
use std::path::Path as FilePath;
use std::path::PathBuf;

use super::defaults::items;
use super::defaults::reach;
use super::node::Map;
use super::node::Node;
use super::node::Value;
use super::session::Session;

/// A path cleaned by its letters alone; nothing stays nothing, which Go's cleaning would make `.`.
pub(super) fn clean(path: &str) -> String {
    if path.is_empty() { String::new() } else { crate::paths::clean(path) }
}

/// `path` from `base` on, cleaned; `path` itself if it is absolute.
pub(super) fn join(base: &FilePath, path: &str) -> String {
    if path.starts_with('/') {
        return clean(path);
    }
    let base = base.to_string_lossy();
    if base.is_empty() { clean(path) } else { clean(&format!("{base}/{path}")) }
}

/// How to get from directory `base` to `target`; both absolute.
pub(super) fn relative(base: &FilePath, target: &FilePath) -> PathBuf {
    let names = |path: &FilePath| {
        path.components().filter(|part| matches!(part, Component::Normal(_))).map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>()
    };
    let (base, target) = (names(base), names(target));
    let shared = base.iter().zip(&target).take_while(|(one, two)| one == two).count();
    let up = base[shared..].iter().map(|_| "..".into());
    let path: PathBuf = up.chain(target[shared..].iter().cloned()).collect();
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path }
}

/// What paths are resolved with.
pub(super) struct Resolver<'a> {
    base: &'a FilePath,
    home: Option<&'a str>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(session: &'a Session<'_>, base: &'a FilePath) -> Resolver<'a> {
        Resolver { base, home: session.surroundings.variables.get("HOME").map(String::as_str) }
    }

    /// Makes the paths of a project in its long form relative to where the base is, or absolute.
    pub(super) fn resolve(&self, project: &mut Map) {
        for (_, entry) in project.get_mut("services").and_then(Node::as_map_mut).into_iter().flat_map(Map::iter_mut) {
            if let Some(service) = entry.node.as_map_mut() {
                self.service(service);
            }
        }
        for section in ["configs", "secrets"] {
            for (_, entry) in project.get_mut(section).and_then(Node::as_map_mut).into_iter().flat_map(Map::iter_mut) {
                self.at(entry.node.as_map_mut(), "file", Resolver::any_system);
            }
        }
        for (_, entry) in project.get_mut("volumes").and_then(Node::as_map_mut).into_iter().flat_map(Map::iter_mut) {
            if let Some(volume) = entry.node.as_map_mut() {
                self.bound_volume(volume);
            }
        }
    }

    fn service(&self, service: &mut Map) {
        if let Some(build) = reach(service, &["build"]) {
            self.at(Some(build), "context", Resolver::context);
            for (_, entry) in reach(build, &["additional_contexts"]).into_iter().flat_map(Map::iter_mut) {
                self.change(&mut entry.node, Resolver::context);
            }
            for (_, entry) in reach(build, &["ssh"]).into_iter().flat_map(Map::iter_mut) {
                self.change(&mut entry.node, Resolver::any_system);
            }
        }
        self.at(reach(service, &["extends"]), "file", Resolver::absolute);
        items(service, "env_file").for_each(|file| self.at(file.as_map_mut(), "path", Resolver::absolute));
        items(service, "label_file").for_each(|file| self.change(file, Resolver::absolute));
        for volume in items(service, "volumes").filter_map(Node::as_map_mut) {
            if volume.text("type") == Some("bind") {
                self.at(Some(volume), "source", Resolver::any_system);
            }
        }
        if let Some(develop) = reach(service, &["develop"]) {
            items(develop, "watch").for_each(|trigger| self.at(trigger.as_map_mut(), "path", Resolver::without_links));
        }
    }

    /// A volume of the local driver that is really a bind mount.
    fn bound_volume(&self, volume: &mut Map) {
        if volume.text("driver") == Some("local")
            && let Some(options) = reach(volume, &["driver_opts"])
            && options.text("o") == Some("bind")
        {
            self.at(Some(options), "device", Resolver::any_system);
        }
    }

    fn at(&self, map: Option<&mut Map>, key: &str, how: fn(&Self, &str) -> String) {
        if let Some(node) = map.and_then(|map| map.get_mut(key)) {
            self.change(node, how);
        }
    }

    fn change(&self, node: &mut Node, how: fn(&Self, &str) -> String) {
        if let Value::Text(text) = &node.value {
            node.value = Value::Text(how(self, text).into());
        }
    }

    fn at_home(&self, path: &str) -> String {
        match (path.strip_prefix('~'), self.home) {
            (Some(rest), Some(home)) => clean(&format!("{home}/{rest}")),
            _ => path.to_owned(),
        }
    }

    fn absolute(&self, path: &str) -> String {
        let path = self.at_home(path);
        if path.is_empty() || path.starts_with('/') { path } else { join(self.base, &path) }
    }

    /// As `absolute`, but a path of Windows stays, and nothing is the base itself.
    fn any_system(&self, path: &str) -> String {
        let path = self.at_home(path);
        if path.starts_with('/') || is_of_windows(&path) { path } else { join(self.base, if path.is_empty() { "." } else { &path }) }
    }

    fn context(&self, path: &str) -> String {
        const ELSEWHERE: [&str; 7] = ["service:", "https://", "http://", "git://", "ssh://", "github.com/", "git@"];
        if path.contains("://") || ELSEWHERE.iter().any(|prefix| path.starts_with(prefix)) { path.to_owned() } else { self.absolute(path) }
    }

    /// As `absolute`, and the first symbolic link on the way is followed.
    fn without_links(&self, path: &str) -> String {
        let path = self.absolute(path);
        let mut here = PathBuf::from(if path.starts_with('/') { "/" } else { "" });
        for part in path.split('/').filter(|part| !part.is_empty()) {
            here.push(part);
            if here.is_symlink()
                && let Ok(target) = fs::canonicalize(&here)
            {
                return path.replacen(&*here.to_string_lossy(), &target.to_string_lossy(), 1);
            }
        }
        path
    }
}

/// `C:\x`, `C:/x`, `\\host\share`
fn is_of_windows(path: &str) -> bool {
    let bytes = path.as_bytes();
    let slash = |byte: Option<&u8>| matches!(byte, Some(b'\\' | b'/'));
    let drive = bytes.first().is_some_and(u8::is_ascii_alphabetic) && bytes.get(1) == Some(&b':') && slash(bytes.get(2));
    drive || path.starts_with("\\\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_and_related() {
        for (path, expected) in [("a/../b", "b"), ("", "")] {
            assert_eq!(clean(path), expected, "{path}");
        }
        for (base, target, expected) in [("/a/b", "/a/b/c", "c"), ("/a/b", "/a/x", "../x"), ("/a", "/a", ".")] {
            assert_eq!(relative(FilePath::new(base), FilePath::new(target)), PathBuf::from(expected));
        }
    }
}
