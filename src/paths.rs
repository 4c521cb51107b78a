//! Paths by their letters alone: nothing here asks a file system.

use std::ffi::OsStr;
use std::io;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

/// Shortens a path as Go's `filepath.Clean` does: no `.`, no `..` that can be resolved, no double slash; `.` for nothing.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, rest) => format!("/{rest}"),
        (false, rest) if rest.is_empty() => ".".to_owned(),
        (false, rest) => rest,
    }
}

/// A name in an archive as a path below the archive's root.
///
/// # Errors
/// `..` leads above that root.
pub fn inside(name: &OsStr) -> io::Result<PathBuf> {
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::ParentDir if !path.pop() => {
                return Err(io::Error::other(format!("`{}` leads out of the archive", Path::new(name).display())));
            }
            _ => {}
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, cleaned) in [
            ("a/./b//c/", "a/b/c"),
            ("/a//b/./c/", "/a/b/c"),
            ("", "."),
            ("/../a", "/a"),
            ("../a", "../a"),
            ("a/../..", ".."),
            ("/", "/"),
            ("/..", "/"),
            ("a/..", "."),
            ("a/../b", "b"),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }

    #[test]
    fn an_archive_cannot_leave_its_root() {
        assert_eq!(inside(OsStr::new("/abs/./f")).unwrap(), Path::new("abs/f"));
        assert_eq!(inside(OsStr::new("a/../b")).unwrap(), Path::new("b"));
        assert!(inside(OsStr::new("../evil")).is_err());
        assert!(inside(OsStr::new("a/../../evil")).is_err());
    }
}
