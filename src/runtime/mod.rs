//! Processes: an OCI runtime configuration and a root become a running, limited, fenced-in process.
//!
//! ```text
//! open_root, Cgroup::create -> create: clone3, the child waits -> Created::start: the child builds its root and executes
//! ```
//!
//! What a child does, and in what order, is in `steps`; what it and its maker say to each other is drawn in `talk`. Nothing of a
//! container is found by a name that the container could have prepared: see `path`.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use oci_spec::runtime::Spec;
use serde::Deserialize;
use serde::Serialize;

mod cgroup;
mod cgroup_mount;
mod create;
mod devices;
mod exec;
mod fence;
mod hooks;
mod identity;
mod kernel_settings;
mod mounts;
mod namespaces;
mod options;
mod path;
mod program;
mod root;
mod seccomp;
mod spec;
mod steps;
mod talk;
mod terminal;
#[cfg(test)]
mod tests;
mod trust;
mod users;

pub use cgroup::Cgroup;
pub use cgroup::Usage;
pub use create::Created;
pub use create::adopt;
pub use create::create;
pub use exec::exec;
pub use identity::take_more_descriptors;
pub use mounts::CONTENT;
pub use path::make_in_root;
pub use path::open_in_root;
pub use root::open_root;
pub use spec::default_spec;
pub use trust::SeccompChoice;
pub use trust::Trust;
pub use trust::apply_trust;
pub use users::User;
pub use users::resolve_user;

/// An annotation of a spec with hooks: the directory, on the host, that they are told is the container's bundle.
pub const BUNDLE_ANNOTATION: &str = "coracle.bundle";

/// The file system that a container sees as `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// Layers (the lowest first) under a writable directory; `work` must be on the file system of `upper`.
    Overlay { layers: Vec<PathBuf>, upper: PathBuf, work: PathBuf },
    /// As [`Root::Overlay`], for what is thrown away in the end: nothing of it is brought to the disk, neither by fsync(2) inside nor when
    /// the container ends. An overlay that is unmounted otherwise waits for the whole file system of `upper` to be written out.
    Scratch { layers: Vec<PathBuf>, upper: PathBuf, work: PathBuf },
    /// Layers (the lowest first), nothing writable.
    Layers(Vec<PathBuf>),
    /// A plain directory.
    Directory(PathBuf),
}

/// Where a new process gets its standard streams.
#[derive(Debug)]
pub enum Stdio {
    /// These three.
    Files { stdin: OwnedFd, stdout: OwnedFd, stderr: OwnedFd },
    /// A new pseudoterminal of the container's own devpts; [`Process::terminal`] is its master.
    Terminal { rows: u16, columns: u16 },
}

/// What [`create()`] needs.
#[derive(Debug)]
pub struct Create<'a> {
    /// The container's id; only for messages.
    pub id: &'a str,
    /// The runtime configuration, OCI runtime-spec 1.3. `root` in it is not read except for `readonly`.
    pub spec: &'a Spec,
    /// From [`open_root`].
    pub root: OwnedFd,
    /// From [`Cgroup::create`].
    pub cgroup: &'a Cgroup,
    pub stdio: Stdio,
}

/// A process that runs.
#[derive(Debug)]
pub struct Process {
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// Field 22 of /proc/PID/stat, in clock ticks since boot: with the pid it names a process for good.
    pub start_time: u64,
    /// The master of its terminal, if it was started with one.
    pub terminal: Option<OwnedFd>,
    /// What this machine could not do of what the spec asks for, each naming the setting it costs.
    pub warnings: Vec<String>,
}
