//! A container's life: record, create, start, stop, exec, logs, health, restart; and the supervisor that watches it.

mod amend;
mod archives;
mod attach;
mod cdi;
mod changes;
mod checks;
mod client;
mod copy;
mod create;
mod exec;
mod files;
mod from_image;
mod hook;
mod init;
mod input;
mod log_files;
mod log_options;
mod logs;
mod names;
mod notes;
mod process;
mod protocol;
mod record;
mod sending;
mod signals;
mod spec;
mod streams;
mod supervisor;
mod terminal;
mod transfer;
mod usage;
mod view;
mod volumes;
mod wanted;

use std::ffi::OsString;
use std::process::ExitCode;

use serde::Deserialize;
use serde::Serialize;

use crate::net::Plugged;
use crate::net::Port;

pub use amend::Amendment;
pub use amend::connect;
pub use amend::disconnect;
pub use amend::rename;
pub use amend::update;
pub use attach::attach;
pub use cdi::MeantDevice;
pub use cdi::check_cdi_devices;
pub use cdi::give_cdi_devices;
pub use cdi::is_cdi_device;
pub use cdi::meant_cdi_devices;
pub use changes::Change;
pub use changes::changes;
pub use changes::commit;
pub use changes::config_of;
pub use checks::CheckResult;
pub use checks::CheckResults;
pub use checks::checks;
pub use client::halt;
pub use client::kill;
pub use client::pause;
pub use client::restart;
pub use client::revive;
pub use client::start;
pub use client::stop;
pub use client::stop_by;
pub use client::wait;
pub use copy::Links;
pub use copy::Owners;
pub use create::create;
pub use create::remove;
pub use exec::exec;
pub use from_image::from_image;
pub use hook::run_hook;
pub use input::DetachKeys;
pub use log_options::logging;
pub use logs::check_logs;
pub use logs::logs;
pub use record::find;
pub use record::image_uses;
pub use record::list;
pub use record::state;
pub use sending::attributes;
pub use spec::check_device_rule;
pub use spec::ulimit;
pub use transfer::copy_in;
pub use transfer::copy_out;
pub use transfer::export;
pub use transfer::pack;
pub use transfer::sync;
pub use transfer::unpack;
pub use usage::Usage;
pub use usage::usage;
pub use wanted::Below;
pub use wanted::BlockIo;
pub use wanted::Hook;
pub use wanted::Ipc;
pub use wanted::Limits;
pub use wanted::LogDriver;
pub use wanted::Logging;
pub use wanted::Mount;
pub use wanted::MountSource;
pub use wanted::NetworkMode;
pub use wanted::Restart;
pub use wanted::Share;
pub use wanted::Wanted;

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
    /// Standard output, and standard error, that are not shown.
    pub hidden: [bool; 2],
}

/// How an [`attach()`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attached {
    Exited(i32),
    Detached,
}

/// Plays the roles of guardian, supervisor, init and hook if the command line (`coracle @guardian …`) says so; None if it does not.
pub fn role(args: &[OsString]) -> Option<ExitCode> {
    supervisor::role(args).or_else(|| init::role(args)).or_else(|| hook::role(args))
}
