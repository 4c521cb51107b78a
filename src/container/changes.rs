//! What a container has changed in its root: `diff`, and the layer of `commit`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::fs::Permissions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::OFlags;
use rustix::fs::Stat;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::image::History;
use crate::image::Image;
use crate::image::ImageConfig;
use crate::making;
use crate::making::Draft;
use crate::place::Home;
use crate::runtime;
use crate::runtime::Root;

use super::Container;
use super::copy;

/// What has become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Changed,
    Added,
    Deleted,
}

/// Overlayfs' mark on a directory that hides all that is below it.
const OPAQUE: &str = "trusted.overlay.opaque";

/// Files that are there only so that ours can be mounted over them.
const PLACES: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// What a container has changed in the files of its image, by path.
///
/// # Errors
/// Its files cannot be read.
pub fn changes(home: &Home, container: &Container) -> Result<Vec<(Change, String)>> {
    let lower = runtime::open_root(&Root::Layers(container.wanted.layers.clone())).map_err(|failure| failure.exit(1))?;
    let upper = home.container(&container.id).join("upper");
    let mut found = Vec::new();
    compare((&upper, Some(&lower)), Path::new("/"), &mut found).doing(|| format!("cannot compare the files of `{}`", container.name))?;
    found.sort_by(|one: &(Change, String), other| one.1.cmp(&other.1));
    Ok(found)
}

/// Compares a directory of the container's own layer with that of the layers below, if they have it.
fn compare((upper, lower): (&Path, Option<&OwnedFd>), path: &Path, found: &mut Vec<(Change, String)>) -> io::Result<()> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(upper)? {
        let entry = entry?;
        let (name, own) = (entry.file_name(), entry.metadata()?);
        let inside = path.join(&name);
        let below = lower.map(|lower| stat_of(lower, &name)).transpose()?.flatten();
        names.insert(name.clone());
        if is_place(&inside, own.size()) {
            continue;
        }
        let text = inside.display().to_string();
        let kind = FileType::from_raw_mode(own.mode());
        if kind == FileType::CharacterDevice && own.rdev() == 0 {
            found.extend(below.map(|_| (Change::Deleted, text)));
        } else if kind == FileType::Directory {
            let was_directory = below.filter(|below| FileType::from_raw_mode(below.st_mode) == FileType::Directory);
            let there = found.len();
            let lower = match (lower, was_directory) {
                (Some(lower), Some(_)) => Some(copy::open_directory(lower, &name)?),
                _ => None,
            };
            compare((&entry.path(), lower.as_ref()), &inside, found)?;
            let is_same =
                was_directory.is_some_and(|below| (below.st_mode, below.st_uid, below.st_gid) == (own.mode(), own.uid(), own.gid()));
            // One that holds nothing changed has only been looked at, or a place was made in it.
            if !is_same || found.len() > there {
                found.push((if below.is_some() { Change::Changed } else { Change::Added }, text));
            }
        } else {
            found.push((if below.is_some() { Change::Changed } else { Change::Added }, text));
        }
    }
    if let Some(lower) = lower.filter(|_| is_opaque(upper)) {
        let listed = copy::open_directory(lower, OsStr::new("."))?;
        let gone = copy::names_in(&listed)?.into_iter().filter(|name| !names.contains(name));
        found.extend(gone.map(|name| (Change::Deleted, path.join(name).display().to_string())));
    }
    Ok(())
}

fn stat_of(directory: &OwnedFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => Ok(None),
        found => Ok(Some(found?)),
    }
}

fn is_opaque(directory: &Path) -> bool {
    let mut value = [0u8; 8];
    rustix::fs::getxattr(directory, OPAQUE, &mut value[..]).is_ok_and(|length| &value[..length] == b"y")
}

/// Whether a path is one that we have made, not the container.
fn is_place(path: &Path, size: u64) -> bool {
    let is_kernels = ["/dev", "/proc", "/sys"].iter().any(|place| path.starts_with(place));
    is_kernels || (size == 0 && PLACES.iter().any(|place| path == Path::new(place)))
}

/// The configuration of an image made of a container: its image's, with what the container was made with.
///
/// # Errors
/// Its image is not there any more.
pub fn config_of(home: &Home, container: &Container) -> Result<ImageConfig> {
    let wanted = &container.wanted;
    let image = image::find(home, &wanted.image_id)?.ok_or_else(|| {
        Failure::new(format!("cannot make an image of container `{}`", container.name))
            .because(format!("its own image `{}` is not there any more", wanted.image))
    })?;
    let mut config = image.config;
    let run = &mut config.config;
    let (entrypoint, command) = (run.entrypoint.clone().unwrap_or_default(), run.cmd.clone().unwrap_or_default());
    if [entrypoint.clone(), command].concat() != wanted.args {
        match wanted.args.strip_prefix(entrypoint.as_slice()) {
            Some(rest) => run.cmd = Some(rest.to_vec()),
            None => (run.entrypoint, run.cmd) = (None, Some(wanted.args.clone())),
        }
    }
    run.env = Some(wanted.env.clone()).filter(|env| !env.is_empty());
    run.user.clone_from(&wanted.user);
    run.working_dir.clone_from(&wanted.working_dir);
    run.healthcheck.clone_from(&wanted.healthcheck);
    run.stop_signal.clone_from(&wanted.stop_signal);
    let object = |names: &mut dyn Iterator<Item = String>| names.map(|name| (name, serde_json::json!({}))).collect();
    let ports: serde_json::Map<_, _> = object(&mut wanted.exposed.iter().cloned());
    run.exposed_ports = Some(ports).filter(|ports| !ports.is_empty());
    let labels: serde_json::Map<_, _> = wanted.labels.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    run.labels = Some(labels).filter(|labels| !labels.is_empty());
    Ok(config)
}

/// Makes an image of what a container has changed, with this configuration; the line is the history's.
///
/// # Errors
/// Its files cannot be read; a store that cannot be written.
pub fn commit(home: &Home, container: &Container, (mut config, line): (ImageConfig, History)) -> Result<Image> {
    let draft = Draft::begin(home, making::PLAIN)?;
    take(home, container, draft.path()).doing(|| format!("cannot copy the files of `{}`", container.name))?;
    let layer = image::commit_layer(home, draft.path())?;
    config.rootfs.kind = "layers".to_owned();
    config.rootfs.diff_ids.push(layer.diff_id);
    config.created.clone_from(&line.created);
    config.history.push(line);
    image::commit_image(home, &config)
}

/// Copies what a container has changed, whiteouts included.
fn take(home: &Home, container: &Container, draft: &Path) -> io::Result<()> {
    fs::set_permissions(draft, Permissions::from_mode(0o755))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path: PathBuf| rustix::fs::open(path, flags, rustix::fs::Mode::empty());
    copy::fill_layer(&open(home.container(&container.id).join("upper"))?, &open(draft.to_owned())?)?;
    for place in PLACES.iter().map(|place| draft.join(place.trim_start_matches('/'))) {
        if fs::symlink_metadata(&place).is_ok_and(|found| found.is_file() && found.len() == 0) {
            fs::remove_file(place)?;
        }
    }
    Ok(())
}
