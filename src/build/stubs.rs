//! Files and directories that are only there to be mounted on; they must not end up in a layer.

use std::io;
use std::path::Path;
use std::path::PathBuf;

use oci_spec::runtime::Spec;
use rustix::fs::AtFlags;

use crate::build::copy::set_time;
use crate::build::root::Root;

/// What was not in a root before its mounts were made.
#[derive(Debug, Default)]
pub(super) struct Stubs {
    /// Parents before what is in them.
    missing: Vec<PathBuf>,
    /// Directories that were there and get one of the missing, with their times.
    times: Vec<(PathBuf, i64)>,
}

impl Stubs {
    /// Finds out which of the places to be mounted on are not there.
    ///
    /// # Errors
    /// A root that cannot be read.
    pub(super) fn missing(root: &Root, spec: &Spec) -> io::Result<Stubs> {
        let mut stubs = Stubs::default();
        let targets = spec.mounts().iter().flatten().map(|mount| mount.destination().clone());
        // The working directory is made when it is missing; BuildKit leaves it, as it is meant to be there.
        for target in targets {
            stubs.look(root, &target)?;
        }
        Ok(stubs)
    }

    fn look(&mut self, root: &Root, target: &Path) -> io::Result<()> {
        let resolved = root.resolve(target)?;
        let mut path = PathBuf::new();
        let mut above = None;
        for part in resolved.iter() {
            path.push(part);
            match root.find(&path)? {
                Some(meta) => above = Some((path.clone(), meta.modified)),
                None => {
                    if !self.missing.contains(&path) {
                        self.missing.push(path.clone());
                    }
                    let above = match above.take() {
                        Some(above) => above,
                        None if path.parent() == Some(Path::new("")) => {
                            (PathBuf::new(), root.find(Path::new(""))?.map_or(0, |meta| meta.modified))
                        }
                        None => continue,
                    };
                    if !self.times.iter().any(|(known, _)| *known == above.0) {
                        self.times.push(above);
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes those that are still empty and puts the times back that their coming and going has changed.
    ///
    /// # Errors
    /// As unlinkat(2).
    pub(super) fn remove(&self, root: &Root) -> io::Result<()> {
        let mut removed = Vec::new();
        for path in self.missing.iter().rev() {
            let Some(meta) = root.find(path)? else { continue };
            let (parent, name) = root.parent(path)?;
            let flags = if meta.is_dir() { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            if !meta.is_dir() && (!meta.is_file() || meta.size > 0) {
                continue;
            }
            match rustix::fs::unlinkat(&parent, &name, flags) {
                Ok(()) => removed.push(path.parent().unwrap_or(Path::new("")).to_owned()),
                Err(rustix::io::Errno::NOTEMPTY) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for (path, time) in self.times.iter().filter(|(path, _)| removed.contains(path) && !path.as_os_str().is_empty()) {
            // Only if nothing else was done in it: a listing that differs has its own time.
            if let Ok((parent, name)) = root.parent(path) {
                set_time(&parent, &name, *time)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::MountBuilder;

    use super::*;

    #[test]
    fn only_what_was_made_to_be_mounted_on_goes() {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        std::fs::create_dir(at("etc")).unwrap();
        let root = Root::at(directory.path()).unwrap();
        let mount = |target: &str| MountBuilder::default().destination(target).build().unwrap();
        let mut spec = Spec::default();
        spec.set_mounts(Some(vec![mount("/etc/hosts"), mount("/a/b"), mount("/kept")]));
        let before = root.find(Path::new("etc")).unwrap().unwrap().modified;
        let stubs = Stubs::missing(&root, &spec).unwrap();
        std::fs::write(at("etc/hosts"), "").unwrap();
        std::fs::create_dir_all(at("a/b")).unwrap();
        std::fs::create_dir(at("kept")).unwrap();
        std::fs::write(at("kept/file"), "x").unwrap();
        stubs.remove(&root).unwrap();
        assert!(!at("etc/hosts").exists() && !at("a").exists() && at("kept/file").exists());
        assert_eq!(root.find(Path::new("etc")).unwrap().unwrap().modified, before);
    }
}
