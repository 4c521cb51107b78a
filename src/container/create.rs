//! Making and removing containers: all or nothing.
//!
//! A container is made in `making/`, claims its name, and is renamed into place; what a killed maker leaves is never seen,
//! and a name that points to nothing is free.

use std::fs;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::image::Hold;
use crate::making;
use crate::making::Draft;
use crate::place::Home;
use crate::state;
use crate::units;
use crate::volume;
use crate::volume::Origin;

use super::Container;
use super::Mount;
use super::MountSource;
use super::Volumes;
use super::Wanted;
use super::client;
use super::names;
use super::notes;
use super::record;
use super::volumes;

/// Docker's exit status for a container that could not be made.
const ENGINE: u8 = 125;

/// Claims the name, makes anonymous volumes and writes the record; nothing runs yet.
///
/// # Errors
/// The name is taken (by which container); a bad mount; nothing is left.
pub fn create(home: &Home, wanted: Wanted) -> Result<Container> {
    let mut undo = Undo { home, volumes: Vec::new() };
    let made = make(home, wanted, &mut undo).map_err(|failure| match failure.status() {
        1 => failure.exit(ENGINE),
        _ => failure,
    })?;
    undo.disarm();
    Ok(made)
}

/// What goes if the container does not come to be.
struct Undo<'a> {
    home: &'a Home,
    volumes: Vec<String>,
}

impl Undo<'_> {
    fn disarm(&mut self) {
        self.volumes.clear();
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        for name in &self.volumes {
            let _ = volume::remove(self.home, name);
        }
    }
}

fn make(home: &Home, mut wanted: Wanted, undo: &mut Undo<'_>) -> Result<Container> {
    if wanted.args.is_empty() {
        return Err(Failure::new(format!("cannot create a container of `{}`", wanted.image))
            .because("the image says no command, and none is given")
            .hint("write a command after the image"));
    }
    wanted.mounts = check_mounts(std::mem::take(&mut wanted.mounts))?;
    if let Some(name) = &wanted.name {
        // Early, for a better order of the messages and before any work; claimed for good below.
        drop(names::claim(home, Some(name), &state::random_hex())?);
    }
    let id = state::random_hex();
    prepare_mounts(home, &mut wanted, undo)?;
    let draft = Draft::begin(home, making::PLAIN)?;
    make_directories(draft.path())?;
    volumes::fill(home, &wanted)?;
    let claim = names::claim(home, wanted.name.as_deref(), &id)?;
    wanted.name = Some(claim.name.clone());
    let mut container = Container { version: record::VERSION, id, name: claim.name.clone(), created: units::now(), wanted };
    let bytes = serde_json::to_vec(&container).doing(|| format!("cannot write the record of `{}`", container.name))?;
    fs::write(draft.path().join("record.json"), bytes).doing(|| format!("cannot write the record of `{}`", container.name))?;
    make_private(&home.containers())?;
    let place = home.container(&container.id);
    fs::rename(draft.path(), &place).doing(|| format!("cannot make {}", place.display()))?;
    claim.keep();
    container.wanted.hold = Hold::default();
    notes::note(home, &container, "create", &[]);
    Ok(container)
}

/// The container's own directories. Nobody but us may look inside: the record may hold secrets, the layers set-uid files.
fn make_directories(draft: &Path) -> Result<()> {
    for directory in [draft.join("upper"), draft.join("work")] {
        let mode = if directory.ends_with("upper") { 0o755 } else { 0o700 };
        DirBuilder::new().mode(mode).create(&directory).doing(|| format!("cannot make {}", directory.display()))?;
    }
    Ok(())
}

fn make_private(directory: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory).doing(|| format!("cannot make {}", directory.display()))
}

/// Checks the mounts' targets and keeps the last one of each target, in the order in which they must be made.
fn check_mounts(mounts: Vec<Mount>) -> Result<Vec<Mount>> {
    let mut checked: Vec<Mount> = Vec::with_capacity(mounts.len());
    for mut mount in mounts {
        mount.target = tidy_target(&mount.target)?;
        checked.retain(|other| other.target != mount.target);
        checked.push(mount);
    }
    checked.sort_by_key(|mount| mount.target.matches('/').count()); // stable: /data before /data/cache
    Ok(checked)
}

fn tidy_target(target: &str) -> Result<String> {
    let refuse = |reason: &str| Err(Failure::new(format!("cannot mount at `{target}`")).because(reason.to_owned()));
    if !target.starts_with('/') {
        return refuse("the path in the container is not absolute");
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return refuse("the root of a container cannot be mounted over");
    }
    Ok(format!("/{}", parts.join("/")))
}

/// Makes what the mounts need: bind sources, named and anonymous volumes.
fn prepare_mounts(home: &Home, wanted: &mut Wanted, undo: &mut Undo<'_>) -> Result<()> {
    for mount in &mut wanted.mounts {
        match &mut mount.source {
            MountSource::Bind { path, create, .. } => prepare_bind(path, *create)?,
            MountSource::Volume { name, .. } => {
                volume::create(home, &named(name))?;
                if let Origin::Bind { path, .. } = volume::origin(home, name)? {
                    prepare_bind(&path, false).map_err(|failure| failure.within(format!("cannot mount volume `{name}`")))?;
                }
            }
            MountSource::Anonymous { labels } => {
                let made = volume::create(home, &volume::Wanted { labels: std::mem::take(labels), ..volume::Wanted::default() })?;
                undo.volumes.push(made.name.clone());
                mount.source = MountSource::Volume { name: made.name, nocopy: false, subpath: None };
            }
            MountSource::Image { .. } | MountSource::Tmpfs { .. } | MountSource::Content { .. } => {}
        }
    }
    Ok(())
}

fn named(name: &str) -> volume::Wanted {
    volume::Wanted { name: Some(name.to_owned()), ..volume::Wanted::default() }
}

fn prepare_bind(path: &Path, create: bool) -> Result<()> {
    let what = || format!("cannot mount `{}`", path.display());
    if !path.is_absolute() {
        return Err(Failure::new(what()).because("the path on the host is not absolute"));
    }
    match fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && create => fs::create_dir_all(path).doing(what),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::new(what()).because("there is no such file or directory on the host").hint("make it, or check the path"))
        }
        Err(error) => Err(Failure::new(what()).because(error)),
    }
}

/// Removes a container that does not run, its anonymous volumes with `volumes`; waits for a stopping one.
///
/// # Errors
/// It runs (hint: stop it, or `-f`).
pub fn remove(home: &Home, id: &str, volumes: Volumes) -> Result<()> {
    let Some(container) = record::load(home, id)? else { return Ok(()) };
    let state = record::state(home, id)?;
    if state.is_up() {
        return Err(Failure::new(format!("cannot remove container `{}`", container.name))
            .because("it is running")
            .hint(format!("stop it first with `coracle stop {}`, or add `-f`", container.name)));
    }
    // Its supervisor may still be taking down what the container had: it answers when that is done.
    client::tell_removed(home, &container)?;
    erase(home, &container, volumes)?;
    let _ = fs::remove_dir_all(home.container_run(id));
    // An image that was only kept for it; what cannot be removed now is met again by a sweep.
    let _ = image::remove_orphans(home, Some(&container.wanted.images()), &|| record::image_uses(home));
    if !client::leave_trash_to_supervisor(home, &container) {
        state::empty_trash(home);
    }
    Ok(())
}

/// Takes a container that is down out of the store; its files are left to whoever empties the trash.
pub(super) fn erase(home: &Home, container: &Container, volumes: Volumes) -> Result<()> {
    state::discard(home, &home.container(&container.id))?; // from here on it is gone; the rest is tidying
    notes::note(home, container, "destroy", &[]);
    names::release(home, &container.name, &container.id)?;
    if volumes == Volumes::Remove {
        for name in anonymous_volumes(home, container) {
            volume::remove(home, &name)?;
        }
    }
    Ok(())
}

fn anonymous_volumes(home: &Home, container: &Container) -> Vec<String> {
    let names = container.wanted.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => Some(name.clone()),
        _ => None,
    });
    names.filter(|name| volume::find(home, name).ok().flatten().is_some_and(|volume| volume.anonymous)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tmpfs(target: &str) -> Mount {
        Mount { target: target.into(), read_only: false, source: MountSource::Tmpfs { size: None, mode: None, options: Vec::new() } }
    }

    #[test]
    fn mounts_are_ordered_and_the_last_of_a_target_wins() {
        let mut last = tmpfs("/data/");
        last.read_only = true;
        let checked = check_mounts(vec![tmpfs("/data/cache"), tmpfs("/data"), tmpfs("/a/../b"), last]).unwrap();
        let targets: Vec<(&str, bool)> = checked.iter().map(|mount| (mount.target.as_str(), mount.read_only)).collect();
        assert_eq!(targets, [("/b", false), ("/data", true), ("/data/cache", false)]);
    }

    #[test]
    fn a_target_must_be_absolute_and_not_the_root() {
        assert!(check_mounts(vec![tmpfs("data")]).is_err());
        assert!(check_mounts(vec![tmpfs("/.")]).is_err());
    }
}
