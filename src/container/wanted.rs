//! What a container is wanted to be: all that a start needs, so that a restart needs nobody.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::image::Healthcheck;
use crate::image::Hold;
use crate::net::Plug;
use crate::net::Port;
use crate::runtime::Trust;

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
    /// Keeps the image from being removed until the container's record does.
    #[serde(skip)]
    pub hold: Hold,
    /// Entrypoint and command, already merged with the image's.
    pub args: Vec<String>,
    /// How many of them are the entrypoint's.
    #[serde(default)]
    pub entrypoint: usize,
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
    /// Devices by the names that their vendors' specs have for them: `vendor.com/class=name`.
    #[serde(default)]
    pub cdi_devices: Vec<String>,
    /// Bytes; Docker's 64 MiB if None.
    pub shm_size: Option<u64>,
    #[serde(default)]
    pub pid: Share,
    #[serde(default)]
    pub ipc: Ipc,
    /// Has the host's name.
    #[serde(default)]
    pub uts_host: bool,
    /// Sees the host's control groups under their own names.
    #[serde(default)]
    pub cgroup_host: bool,
    /// Its control group is made below this one; below ours if None.
    #[serde(default)]
    pub cgroup_parent: Option<String>,
    /// Rules of the devices controller: `c 1:3 mr`.
    #[serde(default)]
    pub device_rules: Vec<String>,
    /// Of the OCI runtime configuration.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub logging: Logging,
    pub restart: Restart,
    /// `SIGTERM`, `15`; the image's or SIGTERM if None.
    pub stop_signal: Option<String>,
    /// Seconds between stop signal and SIGKILL; 10 if None.
    pub stop_timeout: Option<u64>,
    pub healthcheck: Option<Healthcheck>,
    /// Run in the container after it has been started by hand, in order.
    #[serde(default)]
    pub post_start: Vec<Hook>,
    /// The same before it is stopped by hand.
    #[serde(default)]
    pub pre_stop: Vec<Hook>,
    /// Removes the container, and its anonymous volumes, when it ends.
    pub auto_remove: bool,
    /// Which supervisor watches it: the Compose project's name, or None for one of its own.
    pub supervisor: Option<String>,
}

impl Wanted {
    /// The ids of the images whose files it uses.
    pub fn images(&self) -> Vec<String> {
        let mounted = self.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Image { id, .. } => Some(id.clone()),
            _ => None,
        });
        std::iter::once(self.image_id.clone()).chain(mounted).collect()
    }
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
    /// A file or directory of the host. Propagation as `rprivate`, `rslave` …
    Bind {
        path: PathBuf,
        create: bool,
        propagation: Option<String>,
        #[serde(default)]
        below: Below,
    },
    /// A volume, by name; filled from the image when first used, unless `nocopy`.
    Volume { name: String, nocopy: bool, subpath: Option<String> },
    /// A new volume of this container alone.
    Anonymous {
        #[serde(default)]
        labels: BTreeMap<String, String>,
    },
    /// The files of an image, or a part of them; nobody writes there.
    Image {
        /// As the user named it.
        name: String,
        /// `sha256:<hex>`.
        id: String,
        /// The lowest first.
        layers: Vec<PathBuf>,
        subpath: Option<String>,
    },
    Tmpfs {
        size: Option<u64>,
        mode: Option<u32>,
        /// More of them: `exec`, `uid=1000`.
        #[serde(default)]
        options: Vec<String>,
    },
    /// A file with this content (a config or secret): on a tmpfs, never on disk.
    Content { bytes: Vec<u8>, uid: u32, gid: u32, mode: u32 },
}

/// What becomes of the mounts below a directory that is bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Below {
    /// They are there too, and read-only if the directory is.
    #[default]
    Shown,
    /// They are there too, and stay writable.
    ShownWritable,
    Hidden,
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
    /// Microseconds in which [`Limits::cpu_quota`] may be used; not together with [`Limits::cpus`].
    #[serde(default)]
    pub cpu_period: Option<u64>,
    /// Microseconds of a CPU's time.
    #[serde(default)]
    pub cpu_quota: Option<i64>,
    /// The same for programs that are scheduled in real time.
    #[serde(default)]
    pub cpu_rt_period: Option<u64>,
    #[serde(default)]
    pub cpu_rt_runtime: Option<i64>,
    /// `0-3,7`.
    pub cpuset: Option<String>,
    /// Memory nodes, in the same notation.
    #[serde(default)]
    pub cpuset_mems: Option<String>,
    /// 0 to 100.
    #[serde(default)]
    pub swappiness: Option<u64>,
    /// Programs that want too much memory wait instead of being killed.
    #[serde(default)]
    pub oom_kill_disable: bool,
    pub pids: Option<i64>,
    pub oom_score_adj: Option<i32>,
    #[serde(default)]
    pub block_io: BlockIo,
}

/// Limits of block devices, by the paths of the devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockIo {
    /// 10 to 1000.
    pub weight: Option<u16>,
    pub weight_device: Vec<(String, u16)>,
    /// Bytes a second.
    pub read_bps: Vec<(String, u64)>,
    pub write_bps: Vec<(String, u64)>,
    /// Operations a second.
    pub read_iops: Vec<(String, u64)>,
    pub write_iops: Vec<(String, u64)>,
}

/// A command that goes with a container's start or stop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    pub command: Vec<String>,
    /// The container's own if None.
    pub user: Option<String>,
    pub privileged: bool,
    pub working_dir: Option<String>,
    /// Over the container's own.
    pub env: Vec<String>,
}

/// Whose namespace of a kind a container is in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Share {
    #[default]
    Own,
    Host,
    /// That of another container, by id.
    Container(String),
}

/// Whose System V objects, message queues and /dev/shm a container has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ipc {
    /// Its own, for itself.
    #[default]
    Private,
    /// Its own, which others may join.
    Shareable,
    /// Its own, and no /dev/shm.
    None,
    Host,
    /// Those of another container, by id.
    Container(String),
}

/// What becomes of a container's output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    pub driver: LogDriver,
    /// The bytes that a file of the log may have; no limit if None.
    pub max_size: Option<u64>,
    /// How many such files there may be. We have one, as long as they are together.
    pub max_files: u32,
    /// What may wait for a log that is slow before more of it is lost; if None, the container waits.
    #[serde(default)]
    pub buffer: Option<u64>,
    /// Nothing of what is sent elsewhere is kept to be read here.
    #[serde(default)]
    pub unreadable: bool,
    /// As they were written, for `inspect`.
    pub options: BTreeMap<String, String>,
}

/// Where output goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    #[default]
    JsonFile,
    Local,
    /// Nowhere: only who is attached sees it.
    None,
    /// To a syslog.
    Syslog,
    /// To the journal of systemd.
    Journald,
}

impl LogDriver {
    /// As it is called in options and files.
    pub fn name(self) -> &'static str {
        match self {
            LogDriver::JsonFile => "json-file",
            LogDriver::Local => "local",
            LogDriver::None => "none",
            LogDriver::Syslog => "syslog",
            LogDriver::Journald => "journald",
        }
    }

    /// Whether output is sent elsewhere.
    pub fn sends(self) -> bool {
        matches!(self, LogDriver::Syslog | LogDriver::Journald)
    }
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
