//! Volumes: directories with a name and a record that outlive containers.

mod options;

use std::collections::BTreeMap;
use std::fs;
use std::fs::DirBuilder;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::journal;
use crate::making;
use crate::making::Draft;
use crate::place::Home;
use crate::state;
use crate::units;

pub use options::Origin;

const VERSION: u32 = 1;

/// A volume as its record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub version: u32,
    pub name: String,
    /// Only `local`.
    pub driver: String,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
    /// RFC 3339.
    pub created: String,
    /// Made without a name by a container: goes with it on `rm -v`, `run --rm` and `down -v`.
    pub anonymous: bool,
}

/// A volume that someone wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Random if None, and then anonymous.
    pub name: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
}

/// Makes a volume, or finds the one that has the name already.
///
/// # Errors
/// A bad name; options that are none; a store that cannot be written.
pub fn create(home: &Home, wanted: &Wanted) -> Result<Volume> {
    let name = match &wanted.name {
        Some(name) => checked(name)?.to_owned(),
        None => state::random_hex(),
    };
    check(wanted)?;
    if let Some(volume) = find(home, &name)? {
        return Ok(volume);
    }
    let volume = Volume {
        version: VERSION,
        name: name.clone(),
        driver: "local".into(),
        labels: wanted.labels.clone(),
        options: wanted.options.clone(),
        created: units::now(),
        anonymous: wanted.name.is_none(),
    };
    let draft = Draft::begin(home, making::PLAIN)?;
    build(draft.path(), &volume)?;
    match place(home, draft.path(), &name)? {
        Placed::Ours => {
            note(home, "create", &volume.name);
            Ok(volume)
        }
        Placed::Lost => {
            find(home, &name)?.ok_or_else(|| Failure::new(format!("cannot create volume `{name}`")).because("its record is missing"))
        }
    }
}

/// Refuses what no volume can be made of, as [`create`] would.
///
/// # Errors
/// Options that contradict each other or that nobody knows.
pub fn check(wanted: &Wanted) -> Result<()> {
    options::check(&wanted.options).map_err(|failure| match &wanted.name {
        Some(name) => failure.within(format!("cannot create volume `{name}`")),
        None => failure,
    })
}

/// Where the content of a volume comes from; one without a record is a directory of the store.
///
/// # Errors
/// A record that cannot be read; a server that cannot be found.
pub fn origin(home: &Home, name: &str) -> Result<Origin> {
    let options = find(home, name)?.map(|volume| volume.options).unwrap_or_default();
    options::origin(&options, directory(home, name))
}

/// Whether our volume got the name, or another one that was made at the same moment.
enum Placed {
    Ours,
    Lost,
}

fn build(draft: &Path, volume: &Volume) -> Result<()> {
    let what = || format!("cannot create volume `{}`", volume.name);
    fs::set_permissions(draft, Permissions::from_mode(0o755)).doing(what)?;
    fs::create_dir(draft.join("_data")).doing(what)?;
    fs::set_permissions(draft.join("_data"), Permissions::from_mode(0o755)).doing(what)?;
    state::write_json(&draft.join("record.json"), volume).doing(what)
}

fn place(home: &Home, draft: &Path, name: &str) -> Result<Placed> {
    let volumes = home.volumes();
    let what = || format!("cannot create volume `{name}`");
    DirBuilder::new().recursive(true).mode(0o711).create(&volumes).doing(what)?;
    // A directory is renamed over nothing or over an empty directory: what stands there with a record stays.
    match fs::rename(draft, volumes.join(name)) {
        Ok(()) => Ok(Placed::Ours),
        Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => Ok(Placed::Lost),
        Err(error) => Err(Failure::new(what()).because(error)),
    }
}

/// Finds a volume by name.
///
/// # Errors
/// A record that cannot be read.
pub fn find(home: &Home, name: &str) -> Result<Option<Volume>> {
    if checked(name).is_err() {
        return Ok(None);
    }
    state::find_json(&home.volumes().join(name).join("record.json"))
}

/// All volumes by name.
///
/// # Errors
/// A record that cannot be read.
pub fn list(home: &Home) -> Result<Vec<Volume>> {
    let directory = home.volumes();
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.doing(|| format!("cannot read {}", directory.display()))?,
    };
    let mut volumes = Vec::new();
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        volumes.extend(find(home, &name)?);
    }
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(volumes)
}

/// Removes a volume and what is in it. Whether a container uses it is the caller's to know.
///
/// # Errors
/// No such volume; a store that cannot be written.
pub fn remove(home: &Home, name: &str) -> Result<()> {
    if find(home, name)?.is_none() {
        return Err(Failure::new(format!("no such volume: {name}")).hint("`coracle volume ls` lists all volumes"));
    }
    state::discard(home, &home.volumes().join(name))?;
    note(home, "destroy", name);
    state::empty_trash(home);
    Ok(())
}

/// Writes down what has happened to a volume.
fn note(home: &Home, action: &str, name: &str) {
    journal::note(home, "volume", action, (name, [("driver".to_owned(), "local".to_owned())].into()));
}

/// The directory that containers see.
pub fn directory(home: &Home, name: &str) -> PathBuf {
    home.volumes().join(name).join("_data")
}

/// Docker's rule for names: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`; a name that keeps it is safe as a path's part.
fn checked(name: &str) -> Result<&str> {
    let mut bytes = name.bytes();
    let good = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.len() <= 255
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    if good {
        return Ok(name);
    }
    Err(Failure::new(format!("cannot name a volume `{name}`"))
        .because("a name has letters, digits, `_`, `.` and `-` and begins with a letter or a digit")
        .hint("for a directory of the host, write its absolute path or one that begins with `./`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Wanted {
        Wanted { name: Some(name.into()), ..Wanted::default() }
    }

    #[test]
    fn a_volume_is_made_once_found_listed_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let home = Home::at(root.path(), root.path().join("run"));
        let made = create(&home, &named("db")).unwrap();
        fs::write(directory(&home, "db").join("kept"), "x").unwrap();
        assert_eq!(create(&home, &named("db")).unwrap(), made);
        assert!(directory(&home, "db").join("kept").exists());
        let anonymous = create(&home, &Wanted::default()).unwrap();
        assert!(anonymous.anonymous && anonymous.name.len() == 64);
        assert_eq!(list(&home).unwrap().len(), 2);
        remove(&home, "db").unwrap();
        assert_eq!(list(&home).unwrap(), [anonymous]);
        assert_eq!(remove(&home, "db").unwrap_err().what(), "no such volume: db");
    }

    #[test]
    fn a_name_cannot_leave_the_store() {
        let root = tempfile::tempdir().unwrap();
        let home = Home::at(root.path(), root.path().join("run"));
        for name in ["", "..", "../x", "a/b", "-a", ".a"] {
            assert!(create(&home, &named(name)).is_err(), "{name}");
            assert_eq!(find(&home, name).unwrap(), None);
        }
    }

    #[test]
    fn makers_of_the_same_volume_get_the_same_one() {
        let root = tempfile::tempdir().unwrap();
        let home = Home::at(root.path(), root.path().join("run"));
        let made: Vec<Volume> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8).map(|_| scope.spawn(|| create(&home, &named("shared")).unwrap())).collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert!(made.windows(2).all(|pair| pair[0].created == pair[1].created), "{made:?}");
        assert_eq!(fs::read_dir(home.making()).unwrap().count(), 0);
    }
}
