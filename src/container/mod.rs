//! A container's life: record, create, start, stop, exec, logs, health, restart; and the supervisor that watches it.

mod amend;
mod attach;
mod client;
mod create;
mod exec;
mod files;
mod from_image;
mod init;
mod input;
mod log_files;
mod logs;
mod names;
mod notes;
mod process;
mod protocol;
mod record;
mod signals;
mod spec;
mod streams;
mod supervisor;
mod terminal;
mod usage;
mod volumes;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Deserialize;
use serde::Serialize;

use crate::image::Healthcheck;
use crate::net::Plug;
use crate::net::Plugged;
use crate::net::Port;
use crate::runtime::Trust;

pub use amend::Amendment;
pub use amend::rename;
pub use amend::update;
pub use attach::attach;
pub use client::kill;
pub use client::pause;
pub use client::restart;
pub use client::revive;
pub use client::start;
pub use client::stop;
pub use client::wait;
pub use create::create;
pub use create::remove;
pub use exec::exec;
pub use from_image::from_image;
pub use input::DetachKeys;
pub use logs::logs;
pub use record::find;
pub use record::list;
pub use record::state;
pub use spec::ulimit;
pub use usage::Usage;
pub use usage::usage;

/// What a container is made of, as its record says: all that a start needs, so that a restart needs nobody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    /// Docker's random adjective and surname if None.
    pub name: Option<String>,
    /// The image as the user named it.
    pub image: String,
    /// `sha256:<hex>`.
    pub image_id: String,
    /// The image's layers, the lowest first.
    pub layers: Vec<PathBuf>,
    /// Entrypoint and command, already merged with the image's.
    pub args: Vec<String>,
    /// `NAME=value`, already merged with the image's; HOSTNAME, HOME, PATH and TERM are added at the start as Docker does.
    pub env: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// `user[:group]`; empty is root.
    pub user: String,
    pub group_add: Vec<String>,
    /// Empty is `/`; made if it is not there.
    pub working_dir: String,
    /// The short id if None.
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub tty: bool,
    /// Keeps standard input open.
    pub stdin: bool,
    pub mounts: Vec<Mount>,
    pub network: NetworkMode,
    pub ports: Vec<Port>,
    /// `80/tcp`, for `ps`.
    pub exposed: Vec<String>,
    /// `name`, `address`: lines of /etc/hosts; the address may be `host-gateway`.
    pub extra_hosts: Vec<(String, String)>,
    /// For /etc/resolv.conf instead of the host's.
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_options: Vec<String>,
    pub limits: Limits,
    pub trust: Trust,
    pub read_only: bool,
    /// Puts a tiny init before the program, as `--init`.
    pub init: bool,
    pub sysctls: BTreeMap<String, String>,
    /// Name (`nofile`), soft, hard.
    pub ulimits: Vec<(String, u64, u64)>,
    /// `host path`, `container path`, `rwm`.
    pub devices: Vec<(String, String, String)>,
    /// Bytes; Docker's 64 MiB if None.
    pub shm_size: Option<u64>,
    pub pid_host: bool,
    pub ipc_host: bool,
    pub restart: Restart,
    /// `SIGTERM`, `15`; the image's or SIGTERM if None.
    pub stop_signal: Option<String>,
    /// Seconds between stop signal and SIGKILL; 10 if None.
    pub stop_timeout: Option<u64>,
    pub healthcheck: Option<Healthcheck>,
    /// Removes the container, and its anonymous volumes, when it ends.
    pub auto_remove: bool,
    /// Which supervisor watches it: the Compose project's name, or None for one of its own.
    pub supervisor: Option<String>,
}

/// Something mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// An absolute path in the container.
    pub target: String,
    pub read_only: bool,
    pub source: MountSource,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or directory of the host, with all mounts below it. Propagation as `rprivate`, `rslave` …
    Bind {
        path: PathBuf,
        create: bool,
        propagation: Option<String>,
    },
    /// A volume, by name; filled from the image when first used, unless `nocopy`.
    Volume {
        name: String,
        nocopy: bool,
        subpath: Option<String>,
    },
    /// A new volume of this container alone.
    Anonymous,
    Tmpfs {
        size: Option<u64>,
        mode: Option<u32>,
    },
    /// A file with this content (a config or secret): on a tmpfs, never on disk.
    Content {
        bytes: Vec<u8>,
        uid: u32,
        gid: u32,
        mode: u32,
    },
}

/// Which network namespace a container is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// Its own, plugged into these.
    Plugs(Vec<Plug>),
    /// Its own, with `lo` only.
    None,
    Host,
    /// That of another container, by id.
    Container(String),
}

/// Resource limits; None and 0 mean no limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Bytes.
    pub memory_reservation: Option<u64>,
    /// Memory and swap together, in bytes; -1 for no limit.
    pub memory_swap: Option<i64>,
    /// CPUs, such as 1.5.
    pub cpus: Option<f64>,
    pub cpu_shares: Option<u64>,
    /// `0-3,7`.
    pub cpuset: Option<String>,
    pub pids: Option<i64>,
    pub oom_score_adj: Option<i32>,
}

/// What happens when a container's program ends by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    #[default]
    No,
    Always,
    UnlessStopped,
    /// If the exit status is not 0; at most so many times in a row, 0 without end.
    OnFailure(u32),
}

/// A container as it is on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub version: u32,
    /// 64 hexadecimal digits.
    pub id: String,
    pub name: String,
    /// RFC 3339 with nanoseconds.
    pub created: String,
    pub wanted: Wanted,
}

/// What a container is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub status: Status,
    /// On the host; 0 unless running.
    pub pid: i32,
    /// Field 22 of /proc/PID/stat.
    pub start_time: u64,
    /// Of the last run; 128+n after signal n.
    pub exit_code: i32,
    pub oom_killed: bool,
    /// What kept it from starting.
    pub error: String,
    /// RFC 3339 with nanoseconds, or empty.
    pub started: String,
    pub finished: String,
    /// How often its supervisor has restarted it since it was last started by hand.
    pub restarts: u32,
    /// Somebody asked it to stop: no restart policy but `always` (after a revival) brings it back.
    pub stopped_by_hand: bool,
    pub health: Option<Health>,
    pub plugged: Vec<Plugged>,
    /// With chosen host ports filled in.
    pub ports: Vec<Port>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Created,
    Running,
    Paused,
    /// Between two runs, waiting for its turn.
    Restarting,
    Exited,
    Dead,
}

/// What the health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Starting,
    Healthy,
    Unhealthy,
}

/// How long a stop waits before SIGKILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grace {
    /// As the container's record says.
    AsMade,
    Seconds(u64),
    /// No limit.
    Forever,
}

/// What becomes of a removed container's anonymous volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volumes {
    Keep,
    Remove,
}

/// One stretch of output, at most a line, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// 1 or 2.
    pub stream: u8,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// With its line break, if it had one.
    pub bytes: Vec<u8>,
}

/// Reads a container's log; see [`Logs::next`].
#[derive(Debug)]
pub struct Logs {
    reader: logs::Reader,
}

/// Which lines of a log are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogRange {
    /// Nanoseconds since 1970.
    pub since: Option<u64>,
    pub until: Option<u64>,
    /// Only the last so many lines.
    pub tail: Option<usize>,
}

/// How a process is run in a running container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exec {
    pub args: Vec<String>,
    /// Added to the container's own.
    pub env: Vec<String>,
    pub user: Option<String>,
    pub working_dir: Option<String>,
    pub tty: bool,
    pub stdin: bool,
    pub privileged: bool,
    pub detach: bool,
    pub detach_keys: DetachKeys,
}

/// How a foreground `run`, `start -a` or `attach` is joined to a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attach {
    pub stdin: bool,
    /// Passes signals that we get (SIGINT, SIGTERM …) to the container.
    pub signals: bool,
    /// Starts the container once we are joined; else it must run.
    pub start: bool,
    /// Typed on a terminal, they leave the container alone.
    pub detach_keys: DetachKeys,
}

/// How an [`attach()`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attached {
    Exited(i32),
    Detached,
}

/// Plays the roles of guardian, supervisor and init if the command line (`coracle @guardian …`) says so; None if it does not.
pub fn role(args: &[OsString]) -> Option<ExitCode> {
    supervisor::role(args).or_else(|| init::role(args))
}
