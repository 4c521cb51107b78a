//! Which files of the context are there for a build: those that one of its COPYs, ADDs and mounts names.
//!
//! BuildKit is sent only these. It shows where a COPY looks into a directory of which nothing was named, and in names
//! that are read as patterns. Follows
//! <https://github.com/tonistiigi/fsutil/blob/586307ad452f/filter.go>.

use std::io;
use std::path::Path;

use crate::build::dockerfile::mounts::MountKind;
use crate::build::glob;
use crate::build::ignore::Patterns;
use crate::build::steps::FileSource;
use crate::build::steps::Origin;
use crate::build::steps::SourceKind;
use crate::build::steps::Step;
use crate::build::steps::Work;
use crate::build::tree::Tree;
use crate::paths;

/// What is named, without `/` in front; None if that is everything.
#[derive(Debug)]
pub(super) struct Sent(Option<Vec<String>>);

impl Sent {
    /// Collects what the steps of a build name.
    pub(super) fn of<'a>(steps: impl Iterator<Item = &'a Step>) -> Sent {
        let mut named: Vec<String> = steps.flat_map(named).collect();
        named.sort();
        Sent(Some(named).filter(|named| !named.is_empty() && !named.iter().any(String::is_empty)))
    }

    /// Whether everything is there.
    pub(super) fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a path without wildcards is there.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub(super) fn holds(&self, tree: &Tree, path: &str) -> io::Result<bool> {
        let path = path.trim_start_matches('/');
        if !tree.holds(Path::new(path))? {
            return Ok(false);
        }
        let Some(named) = self.0.as_ref().filter(|_| !path.is_empty()) else { return Ok(true) };
        if Patterns::new(named).is_ok_and(|patterns| patterns.matches(path)) {
            return Ok(true);
        }
        for name in named {
            let found = if glob::has_wildcard(name) {
                tree.expand(name)?.iter().any(|found| found.starts_with(path))
            } else {
                Path::new(name).starts_with(path) && tree.holds(Path::new(name))?
            };
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn named(step: &Step) -> Vec<String> {
    let bare = |path: &str| paths::clean(&format!("/{path}")).trim_start_matches('/').to_owned();
    match &step.work {
        Work::Transfer(work) if work.from == Origin::Context => {
            let files = work.sources.iter().filter_map(|source| match &source.kind {
                SourceKind::Files(source) => Some(bare(&whole(source))),
                _ => None,
            });
            files.collect()
        }
        Work::Run(work) => {
            let from_context = work.mounts.iter().filter_map(|placed| match placed.mount.kind {
                MountKind::Bind if placed.from == Origin::Context => Some(bare(&placed.mount.source)),
                // It reads nothing, but names no other place either.
                MountKind::Tmpfs => Some(String::new()),
                _ => None,
            });
            from_context.collect()
        }
        _ => Vec::new(),
    }
}

fn whole(source: &FileSource) -> String {
    format!("{}/{}", source.path, source.include.as_deref().unwrap_or_default())
}

/// The directories before the first wildcard of a path.
pub(super) fn base(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').take_while(|part| !glob::has_wildcard(part)).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::build::root::Root;
    use crate::build::tree::Owners;

    #[test]
    fn a_directory_is_there_if_something_in_it_is_named() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("empty")).unwrap();
        fs::create_dir_all(directory.path().join("dir/sub")).unwrap();
        fs::write(directory.path().join("dir/sub/one"), "").unwrap();
        let tree = Tree { root: Root::at(directory.path()).unwrap(), owners: Owners::Root, ignore: Patterns::default() };
        let holds = |named: &[&str], path: &str| {
            let named = named.iter().map(|name| (*name).to_owned()).collect();
            Sent(Some(named)).holds(&tree, path).unwrap()
        };
        assert!(!holds(&["empty/*"], "/empty") && !holds(&["dir/*.md"], "/dir"));
        assert!(holds(&["empty/*", "empty"], "/empty") && holds(&["dir/*/o*"], "/dir/sub") && holds(&["dir/sub/one"], "/dir"));
        assert!(Sent(None).holds(&tree, "/empty").unwrap() && !Sent(None).holds(&tree, "/nope").unwrap());
        assert_eq!((base("/dir/s*/x"), base("/*")), ("/dir".to_owned(), String::new()));
    }
}
