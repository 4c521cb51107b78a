//! Files into a container and out of it: `cp`, `export`.

use std::io;
use std::io::Read;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::Mode;
use rustix::fs::OFlags;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::runtime;

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

/// Makes paths in a container what paths of the host are: files are copied, directories made, what is not there is removed.
/// The copies are the container's user's.
///
/// # Errors
/// What could not be copied or removed.
pub fn sync(home: &Home, id: &str, paths: &[(PathBuf, String)]) -> Result<()> {
    let container = load(home, id)?;
    view::look_inside(home, &container, Mounts::Shown, |root| {
        let user = runtime::resolve_user(root, &container.wanted.user, &[])?;
        let owners = Owners::These(user.uid, user.gid);
        for (from, to) in paths {
            sync_one(root, (from, to), owners).doing(|| format!("cannot copy `{}` to `{to}` of `{}`", from.display(), container.name))?;
        }
        Ok(())
    })
}

fn sync_one(root: &OwnedFd, (from, to): (&Path, &str), owners: Owners) -> io::Result<()> {
    let above = Path::new(to).parent().unwrap_or(Path::new("/"));
    match std::fs::symlink_metadata(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => copy::remove(root, Path::new(to)),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => runtime::make_in_root(root, Path::new(to)).map(drop),
        Ok(_) => {
            drop(runtime::make_in_root(root, above)?);
            let host = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            copy::copy((&host, &from.to_string_lossy()), (root, to), (Links::Kept, owners)).map(drop)
        }
    }
}

/// The host's `/`, as the thread that asks sees it.
fn host_root() -> Result<OwnedFd> {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    root.map_err(std::io::Error::from).doing(|| "cannot open the host's root directory")
}

pub(super) fn load(home: &Home, id: &str) -> Result<Container> {
    record::load(home, id)?.ok_or_else(|| Failure::new(format!("no such container: {id}")))
}
