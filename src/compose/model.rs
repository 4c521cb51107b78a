//! A project in normal form: what `config --format json` prints, typed.
//!
//! Every key of the Compose Specification that a step of `up` carries out has a field here; the normal form as a
//! whole is kept in [`Project::normal`], so that nothing is lost and what is not carried out can be named.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Map;
use serde_json::Value;

use crate::compose::load::Places;

/// A project, loaded, merged, checked and with profiles applied.
#[derive(Debug, Clone)]
pub struct Project {
    pub name: String,
    /// Between the parts of a name that we give: `-`, or `_` with `--compatibility`.
    pub separator: char,
    /// Relative paths are relative to this.
    pub directory: PathBuf,
    /// The files it was loaded from, absolute, in order.
    pub files: Vec<PathBuf>,
    /// In the order of the names, as docker compose prints them.
    pub services: BTreeMap<String, Service>,
    /// Services that no active profile enables.
    pub disabled: BTreeMap<String, Service>,
    pub networks: BTreeMap<String, Network>,
    pub volumes: BTreeMap<String, Volume>,
    pub configs: BTreeMap<String, FileObject>,
    pub secrets: BTreeMap<String, FileObject>,
    /// The variables that interpolation saw: `.env`, `--env-file` and the process's own.
    pub environment: BTreeMap<String, String>,
    /// What `compose.lock` says of images, if it shall be kept to: their names, as services have them, to digests.
    pub pins: BTreeMap<String, String>,
    /// What `config --format json` prints.
    pub normal: Value,
    /// Where the attributes of services stand, as `web.restart`.
    pub places: Places,
    /// To be shown on standard error: unset variables, obsolete keys, attributes that are not carried out yet (by name).
    pub warnings: Vec<String>,
}

impl Project {
    /// A service in normal form.
    pub fn normal_of(&self, service: &str) -> Option<&Map<String, Value>> {
        self.normal.get("services")?.get(service)?.as_object()
    }

    /// These services and all that they depend on.
    pub fn needs(&self, services: &[String]) -> BTreeSet<String> {
        let mut needed = BTreeSet::new();
        let mut open: Vec<&String> = services.iter().collect();
        while let Some(name) = open.pop() {
            if needed.insert(name.clone()) {
                open.extend(self.services.get(name).into_iter().flat_map(|service| service.depends_on.keys()));
            }
        }
        needed
    }
}

/// A service. Durations are as written in normal form (`1m30s`), sizes are bytes in decimal text.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Service {
    pub image: Option<String>,
    pub build: Option<Build>,
    pub command: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub container_name: Option<String>,
    pub environment: BTreeMap<String, Option<String>>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub depends_on: BTreeMap<String, Dependency>,
    pub networks: BTreeMap<String, Option<ServiceNetwork>>,
    /// For the first network.
    pub mac_address: Option<String>,
    pub links: Vec<String>,
    pub external_links: Vec<String>,
    pub network_mode: Option<String>,
    pub ports: Vec<ServicePort>,
    pub expose: Vec<String>,
    pub volumes: Vec<ServiceVolume>,
    pub tmpfs: Vec<String>,
    pub configs: Vec<Grant>,
    pub secrets: Vec<Grant>,
    pub user: Option<String>,
    pub group_add: Vec<String>,
    pub working_dir: Option<String>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub tty: bool,
    pub stdin_open: bool,
    pub restart: Option<String>,
    pub stop_signal: Option<String>,
    pub stop_grace_period: Option<String>,
    pub healthcheck: Option<ServiceHealthcheck>,
    /// Each is run to its end in a container of its own.
    pub pre_start: Vec<ServiceHook>,
    pub post_start: Vec<ServiceHook>,
    pub pre_stop: Vec<ServiceHook>,
    /// Something else than a container.
    pub provider: Option<Provider>,
    pub runtime: Option<String>,
    pub logging: Option<ServiceLogging>,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub privileged: bool,
    pub security_opt: Vec<String>,
    pub read_only: bool,
    pub init: Option<bool>,
    pub extra_hosts: Vec<String>,
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_opt: Vec<String>,
    pub sysctls: BTreeMap<String, String>,
    pub ulimits: BTreeMap<String, Value>,
    pub devices: Vec<Value>,
    /// Requests: `driver`, `count` (-1 is all), `device_ids`, `capabilities`.
    pub gpus: Vec<Value>,
    pub shm_size: Option<String>,
    pub pid: Option<String>,
    pub ipc: Option<String>,
    pub uts: Option<String>,
    pub userns_mode: Option<String>,
    pub cgroup: Option<String>,
    pub cgroup_parent: Option<String>,
    pub device_cgroup_rules: Vec<String>,
    pub volumes_from: Vec<String>,
    pub mem_limit: Option<String>,
    pub mem_reservation: Option<String>,
    pub memswap_limit: Option<String>,
    pub cpus: Option<f64>,
    pub cpu_shares: Option<u64>,
    pub cpu_period: Option<u64>,
    pub cpu_quota: Option<i64>,
    pub cpu_rt_period: Option<u64>,
    pub cpu_rt_runtime: Option<i64>,
    pub cpuset: Option<String>,
    /// A number, in text or not.
    pub mem_swappiness: Option<Value>,
    pub oom_kill_disable: bool,
    pub blkio_config: Option<BlockIo>,
    pub pids_limit: Option<i64>,
    pub oom_score_adj: Option<i32>,
    pub pull_policy: Option<String>,
    pub platform: Option<String>,
    pub scale: Option<u32>,
    pub deploy: Option<Value>,
    pub profiles: Vec<String>,
    pub attach: Option<bool>,
    /// Every other key, so that `up` can name what it does not carry out.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Service {
    /// Images that are needed besides the one that its containers run: those that are mounted, and those of its first steps.
    pub fn further_images(&self) -> impl Iterator<Item = &String> {
        let mounted = self.volumes.iter().filter(|volume| volume.kind == "image").filter_map(|volume| volume.source.as_ref());
        let of_steps = self.pre_start.iter().filter_map(|step| step.image.as_ref());
        mounted.chain(of_steps).filter(|image| self.image.as_ref() != Some(*image))
    }
}

/// A command that is run in a container after its start or before its stop, or in one of its own before the start.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ServiceHook {
    pub command: Vec<String>,
    pub user: Option<String>,
    pub privileged: bool,
    pub working_dir: Option<String>,
    pub environment: BTreeMap<String, Option<String>>,
    /// Of a container of its own; the service's if None.
    pub image: Option<String>,
    /// Before each of the service's containers, not only before the first.
    pub per_replica: bool,
}

/// Who provides a service, and with which options.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Provider {
    #[serde(rename = "type")]
    pub kind: String,
    pub options: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ServiceLogging {
    pub driver: String,
    /// Text or numbers.
    pub options: BTreeMap<String, Value>,
}

impl ServiceLogging {
    /// The options as text.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.options.iter().map(|(name, value)| (name.clone(), text(value))).collect()
    }
}

/// Limits of block devices.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct BlockIo {
    pub weight: Option<u16>,
    pub weight_device: Vec<DeviceWeight>,
    pub device_read_bps: Vec<DeviceRate>,
    pub device_write_bps: Vec<DeviceRate>,
    pub device_read_iops: Vec<DeviceRate>,
    pub device_write_iops: Vec<DeviceRate>,
}

/// Docker compose prints the keys of these two as Go names them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct DeviceWeight {
    #[serde(alias = "Path")]
    pub path: String,
    #[serde(alias = "Weight", default)]
    pub weight: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct DeviceRate {
    #[serde(alias = "Path")]
    pub path: String,
    /// A number, in text or not.
    #[serde(alias = "Rate", default)]
    pub rate: Value,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Build {
    pub context: Option<String>,
    pub dockerfile: Option<String>,
    pub dockerfile_inline: Option<String>,
    pub args: BTreeMap<String, Option<String>>,
    pub labels: BTreeMap<String, String>,
    pub target: Option<String>,
    pub tags: Vec<String>,
    pub no_cache: bool,
    /// Stages.
    pub no_cache_filter: Vec<String>,
    pub pull: bool,
    pub network: Option<String>,
    /// A directory, an address, `docker-image://NAME`, `service:NAME`.
    pub additional_contexts: BTreeMap<String, String>,
    pub cache_from: Vec<String>,
    pub cache_to: Vec<String>,
    pub entitlements: Vec<String>,
    /// `name=address`.
    pub extra_hosts: Vec<String>,
    pub isolation: Option<String>,
    pub platforms: Vec<String>,
    pub privileged: bool,
    pub provenance: Option<String>,
    pub sbom: Option<String>,
    pub secrets: Vec<Grant>,
    /// Bytes.
    pub shm_size: Option<String>,
    /// `default` or `id=path`.
    pub ssh: Vec<String>,
    pub ulimits: BTreeMap<String, Value>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Build {
    /// The services whose images this build reads.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.additional_contexts.values().filter_map(|context| context.strip_prefix("service:"))
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Dependency {
    /// `service_started`, `service_healthy`, `service_completed_successfully`.
    pub condition: String,
    pub required: bool,
    pub restart: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ServiceNetwork {
    pub aliases: Vec<String>,
    pub ipv4_address: Option<String>,
    pub link_local_ips: Vec<String>,
    pub mac_address: Option<String>,
    pub interface_name: Option<String>,
    pub priority: Option<i64>,
    pub gw_priority: Option<i64>,
    pub driver_opts: BTreeMap<String, Value>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ServicePort {
    pub target: u16,
    /// One port or a range, `8000` or `8000-8010`.
    pub published: Option<String>,
    pub host_ip: Option<String>,
    pub protocol: Option<String>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ServiceVolume {
    /// `bind`, `volume`, `tmpfs` …
    #[serde(rename = "type")]
    pub kind: String,
    pub source: Option<String>,
    pub target: String,
    pub read_only: bool,
    pub bind: Option<Map<String, Value>>,
    pub volume: Option<Map<String, Value>>,
    pub tmpfs: Option<Map<String, Value>>,
    pub image: Option<Map<String, Value>>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A config or secret granted to a service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Grant {
    pub source: String,
    pub target: Option<String>,
    pub uid: Option<String>,
    pub gid: Option<String>,
    /// Octal in text (`"0440"`) or a number.
    pub mode: Option<Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ServiceHealthcheck {
    pub test: Option<Vec<String>>,
    pub interval: Option<String>,
    pub timeout: Option<String>,
    pub start_period: Option<String>,
    pub start_interval: Option<String>,
    pub retries: Option<u64>,
    pub disable: bool,
}

/// A top-level network.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Network {
    /// With the project's prefix unless the file names it.
    pub name: String,
    pub driver: Option<String>,
    pub external: bool,
    pub internal: bool,
    pub labels: BTreeMap<String, String>,
    pub ipam: Option<Value>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A top-level volume.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Volume {
    pub name: String,
    pub driver: Option<String>,
    pub external: bool,
    pub labels: BTreeMap<String, String>,
    pub driver_opts: BTreeMap<String, String>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A top-level config or secret.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct FileObject {
    pub name: String,
    /// Absolute.
    pub file: Option<String>,
    /// The name of a variable of [`Project::environment`].
    pub environment: Option<String>,
    pub content: Option<String>,
    pub external: bool,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}
