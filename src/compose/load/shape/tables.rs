//! The attributes of every kind of resource in the order in which they are printed, and how each is printed.

use super::Fields;
use super::Kind;

pub(super) static SERVICE: Fields = &[
    ("profiles", Kind::Texts),
    ("annotations", Kind::Pairs),
    ("attach", Kind::Switch),
    ("build", Kind::Maybe(BUILD)),
    ("develop", Kind::Maybe(DEVELOP)),
    ("blkio_config", Kind::Maybe(BLKIO)),
    ("cap_add", Kind::Texts),
    ("cap_drop", Kind::Texts),
    ("cgroup_parent", Kind::Text),
    ("cgroup", Kind::Text),
    ("cpu_count", Kind::Whole),
    ("cpu_percent", Kind::Number),
    ("cpu_period", Kind::Whole),
    ("cpu_quota", Kind::Whole),
    ("cpu_rt_period", Kind::Whole),
    ("cpu_rt_runtime", Kind::Whole),
    ("cpus", Kind::Number),
    ("cpuset", Kind::Text),
    ("cpu_shares", Kind::Whole),
    ("command", Kind::Command),
    ("configs", Kind::List(FILE_REFERENCE)),
    ("container_name", Kind::Text),
    ("credential_spec", Kind::Maybe(&[("config", Kind::Text), ("file", Kind::Text), ("registry", Kind::Text)])),
    ("depends_on", Kind::Each(DEPENDENCY)),
    ("deploy", Kind::Maybe(DEPLOY)),
    ("device_cgroup_rules", Kind::Texts),
    ("devices", Kind::List(&[("source", Kind::Text), ("target", Kind::Text), ("permissions", Kind::Text)])),
    ("dns", Kind::Texts),
    ("dns_opt", Kind::Texts),
    ("dns_search", Kind::Texts),
    ("domainname", Kind::Text),
    ("entrypoint", Kind::Command),
    ("provider", Kind::Maybe(&[("type", Kind::Text), ("options", Kind::ManyOptions)])),
    ("environment", Kind::Variables),
    ("env_file", Kind::List(&[("path", Kind::Text), ("required", Kind::Switch), ("format", Kind::Text)])),
    ("expose", Kind::Texts),
    ("extends", Kind::Maybe(&[("file", Kind::Text), ("service", Kind::Text)])),
    ("external_links", Kind::Texts),
    ("extra_hosts", Kind::Hosts),
    ("group_add", Kind::Texts),
    ("gpus", Kind::List(DEVICE_REQUEST)),
    ("hostname", Kind::Text),
    ("healthcheck", Kind::Maybe(HEALTHCHECK)),
    ("image", Kind::Text),
    ("init", Kind::Switch),
    ("ipc", Kind::Text),
    ("isolation", Kind::Text),
    ("labels", Kind::Pairs),
    ("label_file", Kind::Texts),
    ("links", Kind::Texts),
    ("logging", Kind::Maybe(&[("driver", Kind::Text), ("options", Kind::Pairs)])),
    ("mem_limit", Kind::Bytes),
    ("mem_reservation", Kind::Bytes),
    ("memswap_limit", Kind::Bytes),
    ("mem_swappiness", Kind::Bytes),
    ("mac_address", Kind::Text),
    ("models", Kind::Each(&[("endpoint_var", Kind::Text), ("model_var", Kind::Text)])),
    ("network_mode", Kind::Text),
    ("networks", Kind::Each(SERVICE_NETWORK)),
    ("oom_kill_disable", Kind::Flag),
    ("oom_score_adj", Kind::Whole),
    ("pid", Kind::Text),
    ("pids_limit", Kind::Whole),
    ("platform", Kind::Text),
    ("ports", Kind::List(PORT)),
    ("privileged", Kind::Flag),
    ("pull_policy", Kind::Text),
    ("read_only", Kind::Flag),
    ("restart", Kind::Text),
    ("runtime", Kind::Text),
    ("scale", Kind::OptionalWhole),
    ("secrets", Kind::List(FILE_REFERENCE)),
    ("security_opt", Kind::Texts),
    ("shm_size", Kind::Bytes),
    ("stdin_open", Kind::Flag),
    ("stop_grace_period", Kind::OptionalDuration),
    ("stop_signal", Kind::Text),
    ("storage_opt", Kind::Words),
    ("sysctls", Kind::Pairs),
    ("tmpfs", Kind::Texts),
    ("tty", Kind::Flag),
    ("ulimits", Kind::Limits),
    ("use_api_socket", Kind::Flag),
    ("user", Kind::Text),
    ("userns_mode", Kind::Text),
    ("uts", Kind::Text),
    ("volumes", Kind::List(VOLUME_MOUNT)),
    ("volumes_from", Kind::Texts),
    ("working_dir", Kind::Text),
    ("pre_start", Kind::List(PRE_START)),
    ("post_start", Kind::List(HOOK)),
    ("pre_stop", Kind::List(HOOK)),
];

const BUILD: Fields = &[
    ("context", Kind::Text),
    ("dockerfile", Kind::Text),
    ("dockerfile_inline", Kind::Text),
    ("entitlements", Kind::Texts),
    ("args", Kind::Variables),
    ("provenance", Kind::Text),
    ("sbom", Kind::Text),
    ("ssh", Kind::Ssh),
    ("labels", Kind::Pairs),
    ("cache_from", Kind::Texts),
    ("cache_to", Kind::Texts),
    ("no_cache", Kind::Flag),
    ("no_cache_filter", Kind::Texts),
    ("additional_contexts", Kind::Pairs),
    ("pull", Kind::Flag),
    ("extra_hosts", Kind::Hosts),
    ("isolation", Kind::Text),
    ("network", Kind::Text),
    ("target", Kind::Text),
    ("secrets", Kind::List(FILE_REFERENCE)),
    ("shm_size", Kind::Bytes),
    ("tags", Kind::Texts),
    ("ulimits", Kind::Limits),
    ("platforms", Kind::Texts),
    ("privileged", Kind::Flag),
];

const DEVELOP: Fields = &[("watch", Kind::List(TRIGGER))];

const TRIGGER: Fields = &[
    ("path", Kind::TextAlways),
    ("action", Kind::TextAlways),
    ("target", Kind::Text),
    ("exec", Kind::Always(HOOK)),
    ("include", Kind::Texts),
    ("ignore", Kind::Texts),
    ("initial_sync", Kind::Flag),
];

const HOOK: Fields = &[
    ("command", Kind::Command),
    ("user", Kind::Text),
    ("privileged", Kind::Flag),
    ("working_dir", Kind::Text),
    ("environment", Kind::Variables),
];

const PRE_START: Fields = &[
    ("command", Kind::Command),
    ("image", Kind::Text),
    ("user", Kind::Text),
    ("privileged", Kind::Flag),
    ("working_dir", Kind::Text),
    ("environment", Kind::Variables),
    ("per_replica", Kind::Flag),
];

const BLKIO: Fields = &[
    ("weight", Kind::PlainCount),
    ("weight_device", Kind::List(&[("path", Kind::TextTitled), ("weight", Kind::PlainCountTitled)])),
    ("device_read_bps", Kind::List(THROTTLE)),
    ("device_read_iops", Kind::List(THROTTLE)),
    ("device_write_bps", Kind::List(THROTTLE)),
    ("device_write_iops", Kind::List(THROTTLE)),
];

const THROTTLE: Fields = &[("path", Kind::TextTitled), ("rate", Kind::BytesTitled)];

const FILE_REFERENCE: Fields =
    &[("source", Kind::Text), ("target", Kind::Text), ("uid", Kind::Text), ("gid", Kind::Text), ("mode", Kind::Mode)];

const DEPENDENCY: Fields = &[("condition", Kind::Text), ("restart", Kind::Flag), ("required", Kind::FlagAlways)];

const DEPLOY: Fields = &[
    ("mode", Kind::Text),
    ("replicas", Kind::OptionalWhole),
    ("labels", Kind::Pairs),
    ("update_config", Kind::Maybe(UPDATE)),
    ("rollback_config", Kind::Maybe(UPDATE)),
    ("resources", Kind::Always(&[("limits", Kind::Maybe(RESOURCE)), ("reservations", Kind::Maybe(RESOURCE))])),
    (
        "restart_policy",
        Kind::Maybe(&[
            ("condition", Kind::Text),
            ("delay", Kind::OptionalDuration),
            ("max_attempts", Kind::OptionalCount),
            ("window", Kind::OptionalDuration),
        ]),
    ),
    (
        "placement",
        Kind::Always(&[
            ("constraints", Kind::Texts),
            ("preferences", Kind::List(&[("spread", Kind::Text)])),
            ("max_replicas_per_node", Kind::Count),
        ]),
    ),
    ("endpoint_mode", Kind::Text),
];

const UPDATE: Fields = &[
    ("parallelism", Kind::OptionalCount),
    ("delay", Kind::Duration),
    ("failure_action", Kind::Text),
    ("monitor", Kind::Duration),
    ("max_failure_ratio", Kind::Number),
    ("order", Kind::Text),
];

const RESOURCE: Fields = &[
    ("cpus", Kind::Number),
    ("memory", Kind::Bytes),
    ("pids", Kind::Whole),
    ("devices", Kind::List(DEVICE_REQUEST)),
    (
        "generic_resources",
        Kind::List(&[("discrete_resource_spec", Kind::Maybe(&[("kind", Kind::TextAlways), ("value", Kind::WholeAlways)]))]),
    ),
];

const DEVICE_REQUEST: Fields = &[
    ("capabilities", Kind::Texts),
    ("driver", Kind::Text),
    ("count", Kind::DeviceCount),
    ("device_ids", Kind::Texts),
    ("options", Kind::Pairs),
];

const HEALTHCHECK: Fields = &[
    ("test", Kind::Test),
    ("timeout", Kind::OptionalDuration),
    ("interval", Kind::OptionalDuration),
    ("retries", Kind::OptionalCount),
    ("start_period", Kind::OptionalDuration),
    ("start_interval", Kind::OptionalDuration),
    ("disable", Kind::Flag),
];

const SERVICE_NETWORK: Fields = &[
    ("aliases", Kind::Texts),
    ("driver_opts", Kind::Pairs),
    ("gw_priority", Kind::Whole),
    ("interface_name", Kind::Text),
    ("ipv4_address", Kind::Text),
    ("ipv6_address", Kind::Text),
    ("link_local_ips", Kind::Texts),
    ("mac_address", Kind::Text),
    ("priority", Kind::Whole),
];

const PORT: Fields = &[
    ("name", Kind::Text),
    ("mode", Kind::Text),
    ("host_ip", Kind::Text),
    ("target", Kind::Count),
    ("published", Kind::Text),
    ("protocol", Kind::Text),
    ("app_protocol", Kind::Text),
];

const VOLUME_MOUNT: Fields = &[
    ("type", Kind::Text),
    ("source", Kind::Text),
    ("target", Kind::Text),
    ("read_only", Kind::Flag),
    ("consistency", Kind::Text),
    (
        "bind",
        Kind::Maybe(&[("selinux", Kind::Text), ("propagation", Kind::Text), ("create_host_path", Kind::Flag), ("recursive", Kind::Text)]),
    ),
    ("volume", Kind::Maybe(&[("labels", Kind::Pairs), ("nocopy", Kind::Flag), ("subpath", Kind::Text)])),
    ("tmpfs", Kind::Maybe(&[("size", Kind::Bytes), ("mode", Kind::PlainCount)])),
    ("image", Kind::Maybe(&[("subpath", Kind::Text)])),
];

pub(super) static NETWORK: Fields = &[
    ("name", Kind::Text),
    ("driver", Kind::Text),
    ("driver_opts", Kind::Pairs),
    (
        "ipam",
        Kind::Always(&[
            ("driver", Kind::Text),
            (
                "config",
                Kind::List(&[("subnet", Kind::Text), ("gateway", Kind::Text), ("ip_range", Kind::Text), ("aux_addresses", Kind::Pairs)]),
            ),
        ]),
    ),
    ("external", Kind::Flag),
    ("internal", Kind::Flag),
    ("attachable", Kind::Flag),
    ("labels", Kind::Pairs),
    ("enable_ipv4", Kind::Switch),
    ("enable_ipv6", Kind::Switch),
];

pub(super) static VOLUME: Fields =
    &[("name", Kind::Text), ("driver", Kind::Text), ("driver_opts", Kind::Pairs), ("external", Kind::Flag), ("labels", Kind::Pairs)];

pub(super) static FILE_OBJECT: Fields = &[
    ("name", Kind::Text),
    ("file", Kind::Text),
    ("environment", Kind::Text),
    ("content", Kind::Text),
    ("external", Kind::Flag),
    ("labels", Kind::Pairs),
    ("driver", Kind::Text),
    ("driver_opts", Kind::Words),
    ("template_driver", Kind::Text),
];

pub(super) static MODEL: Fields =
    &[("name", Kind::Text), ("model", Kind::Text), ("context_size", Kind::Whole), ("runtime_flags", Kind::Texts)];
