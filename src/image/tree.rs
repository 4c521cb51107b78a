//! A directory that is being filled by strangers: no name can lead out of it.
//!
//! Parents are opened by openat2(2) with `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`, so that symbolic links,
//! absolute names and `..` stay inside whatever the archive does; the last part of a name is never followed.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::io::Errno;

use super::pax::malformed;

/// How many parents are kept open.
const KEPT: usize = 64;
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// The directory and the parents that were used last.
pub(super) struct Tree {
    root: Rc<OwnedFd>,
    /// By cleaned name; emptied whenever something is removed, so none is ever out of date.
    parents: HashMap<Vec<u8>, Rc<OwnedFd>>,
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
}

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Directory,
    /// A character device 0:0; no archive can make one, so it is a whiteout of ours.
    Whiteout,
    Other,
}

impl Tree {
    /// Opens the directory.
    pub(super) fn open(path: &Path) -> io::Result<Tree> {
        let root = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Tree { root: Rc::new(root), parents: HashMap::new(), last: None })
    }

    pub(super) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Opens the directory a cleaned name leads to.
    pub(super) fn parent(&mut self, name: &[u8]) -> io::Result<Rc<OwnedFd>> {
        if name.is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        if let Some((last, parent)) = &self.last
            && last == name
        {
            return Ok(Rc::clone(parent));
        }
        let parent = match self.parents.get(name) {
            Some(parent) => Rc::clone(parent),
            None => Rc::new(self.resolve(name, OFlags::PATH | OFlags::DIRECTORY)?),
        };
        self.keep(name, &parent);
        Ok(parent)
    }

    fn keep(&mut self, name: &[u8], parent: &Rc<OwnedFd>) {
        if self.parents.len() >= KEPT {
            self.parents.clear();
        }
        self.parents.insert(name.to_vec(), Rc::clone(parent));
        self.last = Some((name.to_vec(), Rc::clone(parent)));
    }

    /// Opens what a name leads to, symbolic links resolved inside the tree.
    pub(super) fn resolve(&self, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        loop {
            match rustix::fs::openat2(&*self.root, name, flags | OFlags::CLOEXEC, Mode::empty(), INSIDE) {
                // The kernel gives up when something is renamed meanwhile anywhere; openat2(2) says to try again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return Ok(opened?),
            }
        }
    }

    /// Removes whatever stands under `name` in `parent`, trees included.
    pub(super) fn remove(&mut self, parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
        self.parents.clear();
        self.last = None;
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => {}
            outcome => return Ok(outcome?),
        }
        empty(parent, name)?;
        Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
    }
}

/// Looks at `name` in `parent` without following it.
pub(super) fn look(parent: &OwnedFd, name: &[u8]) -> io::Result<Found> {
    let found = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        found => found?,
    };
    Ok(match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => Found::Directory,
        FileType::CharacterDevice if found.st_rdev == 0 => Found::Whiteout,
        _ => Found::Other,
    })
}

/// A path for the calls that have no form with a descriptor; the last part must not be followed by the call.
pub(super) fn beside(parent: &impl AsFd, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", parent.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}

/// Empties a directory, depth first and without recursion: an archive may nest as deep as it likes.
fn empty(parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
    let open = |parent: &OwnedFd, name: &[u8]| {
        rustix::fs::openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
    };
    let mut stack = vec![(name.to_vec(), open(parent, name)?)];
    while let Some((_, directory)) = stack.last() {
        let mut deeper = None;
        for child in rustix::fs::Dir::read_from(directory)? {
            let child = child?;
            let name = child.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
                Err(Errno::ISDIR | Errno::PERM) => {
                    deeper = Some((name.to_vec(), open(directory, name)?));
                    break;
                }
                outcome => outcome?,
            }
        }
        if let Some(deeper) = deeper {
            stack.push(deeper);
            continue;
        }
        let Some((name, done)) = stack.pop() else { break };
        drop(done);
        if let Some((_, above)) = stack.last() {
            rustix::fs::unlinkat(above, &name, AtFlags::REMOVEDIR)?;
        }
    }
    Ok(())
}

/// Brings a name of an archive into its one form: no leading or doubled slashes, no `.`, no `..`; the root is empty.
pub(super) fn clean(raw: &[u8]) -> io::Result<Vec<u8>> {
    if raw.contains(&0) {
        return Err(malformed("a name with a NUL in it"));
    }
    let mut name = Vec::with_capacity(raw.len());
    for part in raw.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                if name.is_empty() {
                    return Err(malformed(format!("the name `{}` leads out of the layer", raw.escape_ascii())));
                }
                name.truncate(name.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
            }
            part => {
                if !name.is_empty() {
                    name.push(b'/');
                }
                name.extend_from_slice(part);
            }
        }
    }
    Ok(name)
}

/// Splits a cleaned name into its parent's and its last part.
pub(super) fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&name[..slash], &name[slash + 1..]),
        None => (&[], name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_and_cannot_leave() {
        for (raw, cleaned) in [("./a", "a"), ("/a//b/./c/", "a/b/c"), ("a/../b", "b"), ("./", ""), ("a/b/..", "a"), ("..x", "..x")] {
            assert_eq!(clean(raw.as_bytes()).unwrap(), cleaned.as_bytes(), "{raw}");
        }
        for raw in ["..", "../a", "a/../../b", "/..", "a\0b"] {
            assert!(clean(raw.as_bytes()).is_err(), "{raw}");
        }
    }

    #[test]
    fn a_link_out_of_the_tree_leads_back_into_it() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc", directory.path().join("out")).unwrap();
        let mut tree = Tree::open(directory.path()).unwrap();
        let parent = tree.parent(b"out").unwrap();
        assert_eq!(look(&parent, b"passwd").unwrap(), Found::Nothing);
        std::fs::write(directory.path().join("etc/passwd"), "x").unwrap();
        assert_eq!(look(&parent, b"passwd").unwrap(), Found::Other);
    }

    #[test]
    fn a_deep_tree_is_removed_whole() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join(["d"; 300].join("/"));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("f"), "x").unwrap();
        let mut tree = Tree::open(directory.path()).unwrap();
        let root = tree.parent(b"").unwrap();
        tree.remove(&root, b"d").unwrap();
        assert_eq!(look(&root, b"d").unwrap(), Found::Nothing);
    }
}
