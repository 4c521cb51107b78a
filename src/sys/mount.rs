//! mount_setattr(2), which rustix does not have yet.

use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;

use super::check;

/// Which mounts a change is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The mount itself.
    One,
    /// The mount and all below it.
    Tree,
}

/// `struct mount_attr` of linux/mount.h: `MOUNT_ATTR_*` bits to set and to clear, `MS_*` propagation, 0 for no change.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MountAttributes {
    pub set: u64,
    pub clear: u64,
    pub propagation: u64,
    pub user_namespace: u64,
}

/// Changes the attributes of the mount that `mount` is the root of.
///
/// `mount_setattr(mount, "", AT_EMPTY_PATH [| AT_RECURSIVE], attributes, size)`, see mount_setattr(2); Linux 5.12.
pub fn mount_setattr(mount: BorrowedFd<'_>, reach: Reach, attributes: &MountAttributes) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if reach == Reach::Tree { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string constant, the structure has the kernel's layout, is only read, and its own size is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<MountAttributes>(),
        )
    };
    check(result).map(drop)
}
