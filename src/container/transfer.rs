//! Files into a container and out of it: `cp`, `export`.

use std::io::Read;
use std::io::Write;
use std::os::fd::OwnedFd;

use rustix::fs::Mode;
use rustix::fs::OFlags;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

use super::Container;
use super::archives;
use super::copy;
use super::copy::Links;
use super::copy::Owners;
use super::record;
use super::view;
use super::view::Mounts;

/// Copies a file or tree of a container to the host; returns how many bytes of files.
///
/// The ends of the paths mean what they mean to Docker: `dir/.` is what is in the directory. `to` is absolute.
///
/// # Errors
/// The source is not there, or the directory that it is to go to.
pub fn copy_out(home: &Home, id: &str, (from, to): (&str, &str), (links, owners): (Links, Owners)) -> Result<u64> {
    let container = load(home, id)?;
    let what = || format!("cannot copy `{from}` of container `{}` to `{to}`", container.name);
    view::look_inside(home, &container, Mounts::Shown, |root| copy::copy((root, from), (&host_root()?, to), (links, owners)).doing(what))
}

/// Copies a file or tree of the host into a container; returns how many bytes of files. `from` is absolute.
///
/// # Errors
/// As [`copy_out`]; the container's file system is read-only.
pub fn copy_in(home: &Home, id: &str, (from, to): (&str, &str), links: Links) -> Result<u64> {
    let container = load(home, id)?;
    let what = || format!("cannot copy `{from}` to `{to}` of container `{}`", container.name);
    view::look_inside(home, &container, Mounts::Shown, |root| {
        copy::copy((&host_root()?, from), (root, to), (links, Owners::Kept)).doing(what)
    })
}

/// Writes a file or tree of a container as a tar stream.
///
/// # Errors
/// The source is not there; what the sink says.
pub fn pack(home: &Home, id: &str, (from, links): (&str, Links), sink: &mut (dyn Write + Send)) -> Result<()> {
    let container = load(home, id)?;
    let what = || format!("cannot read `{from}` of container `{}`", container.name);
    view::look_inside(home, &container, Mounts::Shown, |root| archives::pack(root, (from, links), sink).doing(what))
}

/// Unpacks a tar stream into a directory of a container.
///
/// # Errors
/// The directory is not there; a stream that is no archive.
pub fn unpack(home: &Home, id: &str, to: &str, stream: &mut (dyn Read + Send)) -> Result<()> {
    let container = load(home, id)?;
    let what = || format!("cannot unpack the archive into `{to}` of container `{}`", container.name);
    view::look_inside(home, &container, Mounts::Shown, |root| archives::unpack(root, to, stream).doing(what))
}

/// Writes the whole file system of a container as a tar stream, without what is mounted into it.
///
/// # Errors
/// What the sink says.
pub fn export(home: &Home, id: &str, sink: &mut (dyn Write + Send)) -> Result<()> {
    let container = load(home, id)?;
    let what = || format!("cannot export container `{}`", container.name);
    view::look_inside(home, &container, Mounts::Hidden, |root| archives::pack_all(root, sink).doing(what))
}

/// The host's `/`, as the thread that asks sees it.
fn host_root() -> Result<OwnedFd> {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    root.map_err(std::io::Error::from).doing(|| "cannot open the host's root directory")
}

pub(super) fn load(home: &Home, id: &str) -> Result<Container> {
    record::load(home, id)?.ok_or_else(|| Failure::new(format!("no such container: {id}")))
}
