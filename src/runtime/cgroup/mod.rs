//! A container's cgroup: made, limited, entered, emptied, measured and removed.
//!
//! libcgroups translates and applies the limits (the files and formats of v1 and v2); life and death of the directories
//! are ours, because entering and removing are on the path of every start and stop.

mod block_io;
mod devices;
mod hierarchy;
mod limits;
mod real_time;
mod usage;

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::ErrorKind;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use oci_spec::runtime::LinuxResources;
use serde::Deserialize;
use serde::Serialize;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;

pub use usage::Usage;

use hierarchy::Hierarchies;

/// How long a kill may take until everything inside is gone; a process in an uninterruptible sleep takes longer.
const LONGEST_KILL: Duration = Duration::from_secs(10);

/// What the cgroups begin with that ours are made in, unless the user chose another.
const OURS: &str = "coracle";

/// The attribute of a parent that we have made.
const MARK: &str = "trusted.coracle.made";

/// A container's cgroup: one directory on v2, one for each hierarchy that is needed on v1 and hybrid hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Below every hierarchy's mount, e.g. `coracle/<id>`.
    pub path: PathBuf,
}

/// A directory of a cgroup in version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// The controllers, joined by commas.
    pub name: String,
    pub directory: PathBuf,
}

/// The open ways into a cgroup, for a process about to be cloned.
#[derive(Debug)]
pub(super) struct Doors {
    /// The directory in the v2 hierarchy, for `CLONE_INTO_CGROUP`.
    pub unified: Option<OwnedFd>,
    /// `tasks` in each v1 hierarchy.
    tasks: Vec<File>,
}

impl Doors {
    /// Moves the calling thread, which must be the only one of its process, into the v1 hierarchies.
    ///
    /// A task that moves itself through `tasks` needs no lock over all forks of the machine; a parent that writes
    /// the pid into `cgroup.procs` waits 10 ms for it (`cgroup_procs_write_start` in kernel/cgroup/cgroup.c).
    ///
    /// # Errors
    /// As write(2).
    pub fn enter(&mut self) -> io::Result<()> {
        self.tasks.iter_mut().try_for_each(|door| door.write_all(b"0"))
    }
}

impl Cgroup {
    /// Makes the cgroup and applies the limits; what this machine lacks is a warning in the returned list, naming the setting it costs.
    ///
    /// # Errors
    /// The directory cannot be made, a limit the kernel has is refused; then nothing is left.
    pub fn create(path: &Path, resources: &LinuxResources) -> Result<(Cgroup, Vec<String>)> {
        let cgroup = Cgroup { path: path.strip_prefix("/").unwrap_or(path).to_path_buf() };
        let hierarchies = Hierarchies::find();
        let made = cgroup.make(&hierarchies, resources);
        if made.is_err() {
            let _ = cgroup.remove();
        }
        Ok((cgroup, made?))
    }

    fn make(&self, hierarchies: &Hierarchies, resources: &LinuxResources) -> Result<Vec<String>> {
        if hierarchies.is_empty() {
            return Ok(limits::all_lost(resources, "no cgroup file system is mounted"));
        }
        for directory in self.places(hierarchies, resources) {
            match make_directory(&directory) {
                Err(error) if matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
                    return Ok(limits::all_lost(resources, &format!("{}: {error}", directory.display())));
                }
                made => made.doing(|| format!("cannot make the cgroup {}", directory.display()))?,
            }
        }
        let warnings = limits::apply(hierarchies, &self.path, resources)?;
        devices::apply(hierarchies, &self.path, resources.devices().as_deref().unwrap_or_default())?;
        Ok(warnings)
    }

    /// Changes the limits of a cgroup that is there; what this machine lacks is a warning, as for [`Cgroup::create`].
    ///
    /// # Errors
    /// A limit that the kernel refuses.
    pub fn limit(&self, resources: &LinuxResources) -> Result<Vec<String>> {
        let hierarchies = Hierarchies::find();
        let inside = self.pids()?;
        for directory in self.places(&hierarchies, resources).into_iter().filter(|directory| !directory.exists()) {
            // A hierarchy that was not needed until now.
            make_directory(&directory).doing(|| format!("cannot make the cgroup {}", directory.display()))?;
            for pid in &inside {
                // One that has ended meanwhile need not be moved.
                let _ = fs::write(directory.join("cgroup.procs"), pid.to_string());
            }
        }
        limits::apply(&hierarchies, &self.path, resources)
    }

    /// The directories a container needs: v2, and on v1 what measures, fences or limits it.
    fn places(&self, hierarchies: &Hierarchies, resources: &LinuxResources) -> Vec<PathBuf> {
        let needed = limits::needed_v1(resources, hierarchies.unified().is_none());
        hierarchies.mounts_of(&needed).into_iter().map(|mount| mount.join(&self.path)).collect()
    }

    /// Opens the ways in, before the clone.
    ///
    /// # Errors
    /// As open(2).
    pub(super) fn doors(&self) -> Result<Doors> {
        let hierarchies = Hierarchies::find();
        let opened = (|| {
            let unified = match hierarchies.unified().map(|mount| File::open(mount.join(&self.path))) {
                Some(Err(error)) if error.kind() != ErrorKind::NotFound => return Err(error),
                found => found.and_then(io::Result::ok).map(OwnedFd::from),
            };
            let mut tasks = Vec::new();
            for mount in hierarchies.v1_mounts() {
                match OpenOptions::new().write(true).open(mount.join(&self.path).join("tasks")) {
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    door => tasks.push(door?),
                }
            }
            Ok(Doors { unified, tasks })
        })();
        opened.doing(|| format!("cannot enter the cgroup {}", self.path.display()))
    }

    /// The version 1 directories that there are, with their controllers, to be shown inside the container; none on version 2.
    pub(super) fn version_1(&self) -> Vec<Hierarchy> {
        let hierarchies = Hierarchies::find();
        let shown = hierarchies.v1_named().map(|(name, mount)| Hierarchy { name, directory: mount.join(&self.path) });
        shown.filter(|hierarchy| hierarchy.directory.is_dir()).collect()
    }

    /// Sends SIGKILL to everything inside and waits until it is empty.
    ///
    /// # Errors
    /// Something is still there after ten seconds; what the kernel says.
    pub fn kill(&self) -> Result<()> {
        let hierarchies = Hierarchies::find();
        let switch = hierarchies.unified().map(|mount| mount.join(&self.path).join("cgroup.kill"));
        let deadline = Instant::now() + LONGEST_KILL;
        let mut pause = Duration::from_micros(50);
        loop {
            let inside = self.pids()?;
            if inside.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Failure::new(format!("cannot kill the processes {inside:?} of the cgroup {}", self.path.display())));
            }
            if switch.as_deref().is_none_or(|switch| fs::write(switch, "1").is_err()) {
                kill_each(&inside);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Removes the empty cgroup everywhere; one that is not there is no error. Parents that were made for it go too once they
    /// are empty; those that were there before stay.
    ///
    /// # Errors
    /// Something still lives inside.
    pub fn remove(&self) -> Result<()> {
        for mount in Hierarchies::find().all_mounts() {
            remove_tree(&mount.join(&self.path)).doing(|| format!("cannot remove the cgroup {}", mount.join(&self.path).display()))?;
            for parent in self.path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
                let directory = mount.join(parent);
                let is_ours = parent.as_os_str().as_encoded_bytes().starts_with(OURS.as_bytes()) || is_marked(&directory);
                if !is_ours || fs::remove_dir(directory).is_err() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Every process inside, by host pid.
    ///
    /// # Errors
    /// What the kernel says; a cgroup that is not there has none.
    pub fn pids(&self) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        for mount in Hierarchies::find().all_mounts() {
            let file = mount.join(&self.path).join("cgroup.procs");
            match fs::read_to_string(&file) {
                Err(error) if gone(&error) => {}
                text => pids
                    .extend(text.doing(|| format!("cannot read {}", file.display()))?.lines().filter_map(|line| line.parse::<i32>().ok())),
            }
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Stops or continues everything inside, and waits until it is so.
    ///
    /// # Errors
    /// What the kernel says; neither a v2 hierarchy nor a freezer is there.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        usage::freeze(&Hierarchies::find(), &self.path, frozen)
    }

    /// What it has used so far; what the machine does not measure is 0.
    ///
    /// # Errors
    /// The cgroup is not there.
    pub fn usage(&self) -> Result<Usage> {
        usage::usage(&Hierarchies::find(), &self.path)
    }

    /// How often the kernel's OOM killer struck inside.
    ///
    /// # Errors
    /// What the kernel says; without a memory controller it is 0.
    pub fn oom_kills(&self) -> Result<u64> {
        Ok(usage::oom_kills(&Hierarchies::find(), &self.path))
    }
}

/// Makes a directory and its parents; a parent may be pruned by another process at any moment, so again until it holds.
fn make_directory(directory: &Path) -> io::Result<()> {
    for _ in 0..100 {
        match make_levels(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            made => {
                made?;
                return hierarchy::furnish(directory);
            }
        }
    }
    Err(io::Error::from(ErrorKind::NotFound))
}

/// Makes the levels that are missing, and marks the parents among them as made by us: who removes the last child knows by that
/// whether to remove the parent.
fn make_levels(directory: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|level| !level.exists()).collect();
    for level in missing.iter().rev() {
        match fs::create_dir(level) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => {
                made?;
                if *level != directory {
                    // Without the mark an empty group stays behind, no more.
                    let _ = rustix::fs::setxattr(*level, MARK, b"1", rustix::fs::XattrFlags::empty());
                }
            }
        }
    }
    Ok(())
}

fn is_marked(directory: &Path) -> bool {
    rustix::fs::getxattr(directory, MARK, &mut [0u8; 8][..]).is_ok()
}

/// Removes a cgroup and those that the container made inside it.
fn remove_tree(directory: &Path) -> io::Result<()> {
    match fs::remove_dir(directory) {
        Err(error) if gone(&error) => return Ok(()),
        Err(error) if error.raw_os_error() != Some(libc::EBUSY) => return Err(error),
        Err(_) => {}
        Ok(()) => return Ok(()),
    }
    for entry in fs::read_dir(directory)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}

fn kill_each(pids: &[i32]) {
    for pid in pids.iter().filter_map(|pid| rustix::process::Pid::from_raw(*pid)) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// The cgroup went away, before or while we looked.
fn gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

#[cfg(test)]
mod tests;
