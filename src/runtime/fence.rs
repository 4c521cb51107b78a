//! Paths of /proc and /sys that a container may not read, or not change.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::FileType;
use rustix::fs::OFlags;
use rustix::mount::MountAttrFlags;

use super::mounts::attach_at;
use super::mounts::clone_mount;
use super::mounts::filesystem;
use super::options::Options;
use super::path::open_in_root;
use super::talk::During;
use super::talk::Step;
use crate::sys::mount::MountAttributes;
use crate::sys::mount::Reach;
use crate::sys::mount::mount_setattr;

/// Lays `/dev/null` over files and an empty read-only directory over directories; what is not there needs no cover.
pub(super) fn mask(root: &OwnedFd, paths: &[String]) -> Step {
    let mut covers = Covers::default();
    paths.iter().try_for_each(|path| covers.lay(root, Path::new(path)).during(|| format!("mask {path}")))
}

/// What is laid over; made when first needed, and then copied.
#[derive(Default)]
struct Covers {
    null: Option<OwnedFd>,
    empty: Option<OwnedFd>,
}

impl Covers {
    fn lay(&mut self, root: &OwnedFd, path: &Path) -> io::Result<()> {
        let place = match open_in_root(root, path, OFlags::PATH) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
            outcome => outcome?,
        };
        let is_directory = FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode) == FileType::Directory;
        if !is_directory {
            return attach_at(&place, &clone_mount(self.null(root)?, Reach::One)?);
        }
        match &self.empty {
            Some(empty) => attach_at(&place, &clone_mount(empty, Reach::One)?),
            // Before Linux 6.15 a mount that is nowhere yet cannot be copied: the first is laid itself.
            None => attach_at(&place, self.empty.insert(empty()?)),
        }
    }

    fn null(&mut self, root: &OwnedFd) -> io::Result<&OwnedFd> {
        if self.null.is_none() {
            let null = open_in_root(root, Path::new("/dev/null"), OFlags::PATH)?;
            // Anything else under this name would be shown, perhaps writable, where nothing is to be seen.
            if rustix::fs::fstat(&null)?.st_rdev != rustix::fs::makedev(1, 3) {
                return Err(io::Error::other("/dev/null of the container is not the null device"));
            }
            self.null = Some(null);
        }
        Ok(self.null.as_ref().expect("it was set just above"))
    }
}

fn empty() -> io::Result<OwnedFd> {
    filesystem("tmpfs", &Options::parse(["ro", "nosuid", "nodev", "noexec", "nr_blocks=1", "nr_inodes=1"]))
}

/// Makes the paths read-only where they are: each is mounted over itself.
pub(super) fn protect(root: &OwnedFd, paths: &[String]) -> Step {
    paths.iter().try_for_each(|path| protect_one(root, Path::new(path)).during(|| format!("make {path} read-only")))
}

fn protect_one(root: &OwnedFd, path: &Path) -> io::Result<()> {
    let place = match open_in_root(root, path, OFlags::PATH) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        outcome => outcome?,
    };
    let copy = clone_mount(&place, Reach::Tree)?;
    let attributes = MountAttributes { set: u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits()), ..MountAttributes::default() };
    mount_setattr(copy.as_fd(), Reach::Tree, &attributes)?;
    attach_at(&place, &copy)
}
