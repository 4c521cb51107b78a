//! What the Compose Specification allows in a service. The rest is in [`super::data`].

use super::Extensions;
use super::Mapping;
use super::Others;
use super::Repeats;
use super::Rule;
use super::data::BLKIO_LIMIT;
use super::data::BLKIO_WEIGHT;
use super::data::BOOLEAN;
use super::data::BOOLEAN_OR_NUMBER_OR_TEXT;
use super::data::BOOLEAN_OR_TEXT;
use super::data::COMMAND;
use super::data::DEPLOYMENT;
use super::data::DEVELOPMENT;
use super::data::ENV_FILE;
use super::data::EXTRA_HOSTS;
use super::data::GPUS;
use super::data::HEALTHCHECK;
use super::data::LABEL_FILE;
use super::data::LIST_OF_STRINGS;
use super::data::LIST_OR_DICT;
use super::data::NOTHING;
use super::data::NUMBER;
use super::data::NUMBER_OR_TEXT;
use super::data::NUMBER_OR_TEXT_OR_NOTHING;
use super::data::PRE_START_HOOK;
use super::data::STRING_OR_LIST;
use super::data::TEXT;
use super::data::TEXT_OR_NOTHING;
use super::data::ULIMITS;
use super::data::WHOLE_OR_TEXT;
use super::is_container_name;
use super::is_pull_policy;

static SERVICE_CONFIG_OR_SECRET: Rule = Rule::List(&SERVICE_CONFIG_OR_SECRET_ITEM, Repeats::Allowed);
static SERVICE_CONFIG_OR_SECRET_ITEM: Rule = Rule::OneOf(&[&TEXT, &SERVICE_CONFIG_OR_SECRET_ITEM_LONG]);
static SERVICE_CONFIG_OR_SECRET_ITEM_LONG: Rule = Rule::Mapping(Mapping {
    keys: &[("source", &TEXT), ("target", &TEXT), ("uid", &TEXT), ("gid", &TEXT), ("mode", &NUMBER_OR_TEXT)],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
pub(super) static SERVICE_HOOK: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("command", &COMMAND),
        ("user", &TEXT),
        ("privileged", &BOOLEAN_OR_TEXT),
        ("working_dir", &TEXT),
        ("environment", &LIST_OR_DICT),
    ],
    required: &["command"],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
pub(super) static SERVICE: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("develop", &DEVELOPMENT),
        ("deploy", &DEPLOYMENT),
        ("annotations", &LIST_OR_DICT),
        ("attach", &BOOLEAN_OR_TEXT),
        ("build", &SERVICE_BUILD),
        ("blkio_config", &SERVICE_BLKIO_CONFIG),
        ("cap_add", &SERVICE_CAP_ADD),
        ("cap_drop", &SERVICE_CAP_ADD),
        ("cgroup", &SERVICE_CGROUP),
        ("cgroup_parent", &TEXT),
        ("command", &COMMAND),
        ("configs", &SERVICE_CONFIG_OR_SECRET),
        ("container_name", &SERVICE_CONTAINER_NAME),
        ("cpu_count", &SERVICE_CPU_COUNT),
        ("cpu_percent", &SERVICE_CPU_PERCENT),
        ("cpu_shares", &NUMBER_OR_TEXT),
        ("cpu_quota", &NUMBER_OR_TEXT),
        ("cpu_period", &NUMBER_OR_TEXT),
        ("cpu_rt_period", &NUMBER_OR_TEXT),
        ("cpu_rt_runtime", &NUMBER_OR_TEXT),
        ("cpus", &NUMBER_OR_TEXT),
        ("cpuset", &TEXT),
        ("credential_spec", &SERVICE_CREDENTIAL_SPEC),
        ("depends_on", &SERVICE_DEPENDS_ON),
        ("device_cgroup_rules", &LIST_OF_STRINGS),
        ("devices", &SERVICE_DEVICES),
        ("dns", &STRING_OR_LIST),
        ("dns_opt", &SERVICE_CAP_ADD),
        ("dns_search", &STRING_OR_LIST),
        ("domainname", &TEXT),
        ("entrypoint", &COMMAND),
        ("env_file", &ENV_FILE),
        ("label_file", &LABEL_FILE),
        ("environment", &LIST_OR_DICT),
        ("expose", &SERVICE_EXPOSE),
        ("extends", &SERVICE_EXTENDS),
        ("provider", &SERVICE_PROVIDER),
        ("external_links", &SERVICE_CAP_ADD),
        ("extra_hosts", &EXTRA_HOSTS),
        ("gpus", &GPUS),
        ("group_add", &SERVICE_EXPOSE),
        ("healthcheck", &HEALTHCHECK),
        ("hostname", &TEXT),
        ("image", &TEXT),
        ("init", &BOOLEAN_OR_TEXT),
        ("ipc", &TEXT),
        ("isolation", &TEXT),
        ("labels", &LIST_OR_DICT),
        ("links", &SERVICE_CAP_ADD),
        ("logging", &SERVICE_LOGGING),
        ("mac_address", &TEXT),
        ("mem_limit", &NUMBER_OR_TEXT),
        ("mem_reservation", &WHOLE_OR_TEXT),
        ("mem_swappiness", &WHOLE_OR_TEXT),
        ("memswap_limit", &NUMBER_OR_TEXT),
        ("network_mode", &TEXT),
        ("models", &SERVICE_MODELS),
        ("networks", &SERVICE_NETWORKS),
        ("oom_kill_disable", &BOOLEAN_OR_TEXT),
        ("oom_score_adj", &SERVICE_OOM_SCORE_ADJ),
        ("pid", &TEXT_OR_NOTHING),
        ("pids_limit", &NUMBER_OR_TEXT),
        ("platform", &TEXT),
        ("ports", &SERVICE_PORTS),
        ("pre_start", &SERVICE_PRE_START),
        ("post_start", &SERVICE_POST_START),
        ("pre_stop", &SERVICE_POST_START),
        ("privileged", &BOOLEAN_OR_TEXT),
        ("profiles", &LIST_OF_STRINGS),
        ("pull_policy", &SERVICE_PULL_POLICY),
        ("pull_refresh_after", &TEXT),
        ("read_only", &BOOLEAN_OR_TEXT),
        ("restart", &TEXT),
        ("runtime", &TEXT),
        ("scale", &WHOLE_OR_TEXT),
        ("security_opt", &SERVICE_CAP_ADD),
        ("shm_size", &NUMBER_OR_TEXT),
        ("secrets", &SERVICE_CONFIG_OR_SECRET),
        ("sysctls", &LIST_OR_DICT),
        ("stdin_open", &BOOLEAN_OR_TEXT),
        ("stop_grace_period", &TEXT),
        ("stop_signal", &TEXT),
        ("storage_opt", &SERVICE_STORAGE_OPT),
        ("tmpfs", &STRING_OR_LIST),
        ("tty", &BOOLEAN_OR_TEXT),
        ("ulimits", &ULIMITS),
        ("use_api_socket", &BOOLEAN),
        ("user", &TEXT),
        ("uts", &TEXT),
        ("userns_mode", &TEXT),
        ("volumes", &SERVICE_VOLUMES),
        ("volumes_from", &SERVICE_CAP_ADD),
        ("working_dir", &TEXT),
    ],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static SERVICE_VOLUMES: Rule = Rule::List(&SERVICE_VOLUMES_ITEM, Repeats::Refused);
static SERVICE_VOLUMES_ITEM: Rule = Rule::OneOf(&[&TEXT, &SERVICE_VOLUMES_ITEM_LONG]);
static SERVICE_VOLUMES_ITEM_LONG: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("type", &SERVICE_VOLUMES_ITEM_LONG_TYPE),
        ("source", &TEXT),
        ("target", &TEXT),
        ("read_only", &BOOLEAN_OR_TEXT),
        ("consistency", &TEXT),
        ("bind", &SERVICE_VOLUMES_ITEM_LONG_BIND),
        ("volume", &SERVICE_VOLUMES_ITEM_LONG_VOLUME),
        ("tmpfs", &SERVICE_VOLUMES_ITEM_LONG_TMPFS),
        ("image", &SERVICE_VOLUMES_ITEM_LONG_IMAGE),
    ],
    required: &["type"],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static SERVICE_VOLUMES_ITEM_LONG_IMAGE: Rule =
    Rule::Mapping(Mapping { keys: &[("subpath", &TEXT)], required: &[], others: Others::Refused, extensions: Extensions::Allowed });
static SERVICE_VOLUMES_ITEM_LONG_TMPFS: Rule = Rule::Mapping(Mapping {
    keys: &[("size", &SERVICE_VOLUMES_ITEM_LONG_TMPFS_SIZE), ("mode", &NUMBER_OR_TEXT)],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static SERVICE_VOLUMES_ITEM_LONG_TMPFS_SIZE: Rule = Rule::OneOf(&[&SERVICE_CPU_COUNT_SHORT, &TEXT]);
static SERVICE_VOLUMES_ITEM_LONG_VOLUME: Rule = Rule::Mapping(Mapping {
    keys: &[("labels", &LIST_OR_DICT), ("nocopy", &BOOLEAN_OR_TEXT), ("subpath", &TEXT)],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static SERVICE_VOLUMES_ITEM_LONG_BIND: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("propagation", &TEXT),
        ("create_host_path", &BOOLEAN_OR_TEXT),
        ("recursive", &SERVICE_VOLUMES_ITEM_LONG_BIND_RECURSIVE),
        ("selinux", &SERVICE_VOLUMES_ITEM_LONG_BIND_SELINUX),
    ],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static SERVICE_VOLUMES_ITEM_LONG_BIND_SELINUX: Rule = Rule::Word(&["z", "Z"]);
static SERVICE_VOLUMES_ITEM_LONG_BIND_RECURSIVE: Rule = Rule::Word(&["enabled", "disabled", "writable", "readonly"]);
static SERVICE_VOLUMES_ITEM_LONG_TYPE: Rule = Rule::Word(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"]);
static SERVICE_STORAGE_OPT: Rule =
    Rule::Mapping(Mapping { keys: &[], required: &[], others: Others::Ignored, extensions: Extensions::Refused });
static SERVICE_PULL_POLICY: Rule = Rule::Like(is_pull_policy);
static SERVICE_POST_START: Rule = Rule::List(&SERVICE_HOOK, Repeats::Allowed);
static SERVICE_PRE_START: Rule = Rule::List(&PRE_START_HOOK, Repeats::Allowed);
static SERVICE_PORTS: Rule = Rule::List(&SERVICE_PORTS_ITEM, Repeats::Refused);
static SERVICE_PORTS_ITEM: Rule = Rule::OneOf(&[&NUMBER, &TEXT, &SERVICE_PORTS_ITEM_LONG]);
static SERVICE_PORTS_ITEM_LONG: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("name", &TEXT),
        ("mode", &TEXT),
        ("host_ip", &TEXT),
        ("target", &WHOLE_OR_TEXT),
        ("published", &WHOLE_OR_TEXT),
        ("protocol", &TEXT),
        ("app_protocol", &TEXT),
    ],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static SERVICE_OOM_SCORE_ADJ: Rule = Rule::OneOf(&[&TEXT, &SERVICE_OOM_SCORE_ADJ_SHORT]);
static SERVICE_OOM_SCORE_ADJ_SHORT: Rule = Rule::Range(-1000, 1000);
static SERVICE_NETWORKS: Rule = Rule::OneOf(&[&LIST_OF_STRINGS, &SERVICE_NETWORKS_LONG]);
static SERVICE_NETWORKS_LONG: Rule = Rule::Mapping(Mapping {
    keys: &[],
    required: &[],
    others: Others::Named(&SERVICE_NETWORKS_LONG_EACH),
    extensions: Extensions::Refused,
});
static SERVICE_NETWORKS_LONG_EACH: Rule = Rule::OneOf(&[&SERVICE_NETWORKS_LONG_EACH_LONG, &NOTHING]);
static SERVICE_NETWORKS_LONG_EACH_LONG: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("aliases", &LIST_OF_STRINGS),
        ("interface_name", &TEXT),
        ("ipv4_address", &TEXT),
        ("ipv6_address", &TEXT),
        ("link_local_ips", &LIST_OF_STRINGS),
        ("mac_address", &TEXT),
        ("driver_opts", &SERVICE_NETWORKS_LONG_EACH_LONG_DRIVER_OPTS),
        ("priority", &NUMBER),
        ("gw_priority", &NUMBER),
    ],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
pub(super) static SERVICE_NETWORKS_LONG_EACH_LONG_DRIVER_OPTS: Rule =
    Rule::Mapping(Mapping { keys: &[], required: &[], others: Others::Each(&NUMBER_OR_TEXT), extensions: Extensions::Refused });
static SERVICE_MODELS: Rule = Rule::OneOf(&[&LIST_OF_STRINGS, &SERVICE_MODELS_LONG]);
static SERVICE_MODELS_LONG: Rule = Rule::Mapping(Mapping {
    keys: &[],
    required: &[],
    others: Others::NamedOrAny(&SERVICE_MODELS_LONG_EACH),
    extensions: Extensions::Refused,
});
static SERVICE_MODELS_LONG_EACH: Rule = Rule::OneOf(&[&SERVICE_MODELS_LONG_EACH_LONG, &NOTHING]);
static SERVICE_MODELS_LONG_EACH_LONG: Rule = Rule::Mapping(Mapping {
    keys: &[("endpoint_var", &TEXT), ("model_var", &TEXT)],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static SERVICE_LOGGING: Rule = Rule::Mapping(Mapping {
    keys: &[("driver", &TEXT), ("options", &SERVICE_LOGGING_OPTIONS)],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static SERVICE_LOGGING_OPTIONS: Rule =
    Rule::Mapping(Mapping { keys: &[], required: &[], others: Others::Each(&NUMBER_OR_TEXT_OR_NOTHING), extensions: Extensions::Refused });
static SERVICE_PROVIDER: Rule = Rule::Mapping(Mapping {
    keys: &[("type", &TEXT), ("options", &SERVICE_PROVIDER_OPTIONS)],
    required: &["type"],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static SERVICE_PROVIDER_OPTIONS: Rule = Rule::Mapping(Mapping {
    keys: &[],
    required: &[],
    others: Others::Each(&SERVICE_PROVIDER_OPTIONS_EACH),
    extensions: Extensions::Refused,
});
static SERVICE_PROVIDER_OPTIONS_EACH: Rule = Rule::OneOf(&[&BOOLEAN_OR_NUMBER_OR_TEXT, &SERVICE_PROVIDER_OPTIONS_EACH_LIST]);
static SERVICE_PROVIDER_OPTIONS_EACH_LIST: Rule = Rule::List(&BOOLEAN_OR_NUMBER_OR_TEXT, Repeats::Allowed);
static SERVICE_EXTENDS: Rule = Rule::OneOf(&[&TEXT, &SERVICE_EXTENDS_LONG]);
static SERVICE_EXTENDS_LONG: Rule = Rule::Mapping(Mapping {
    keys: &[("service", &TEXT), ("file", &TEXT)],
    required: &["service"],
    others: Others::Refused,
    extensions: Extensions::Refused,
});
static SERVICE_EXPOSE: Rule = Rule::List(&NUMBER_OR_TEXT, Repeats::Refused);
static SERVICE_DEVICES: Rule = Rule::List(&SERVICE_DEVICES_ITEM, Repeats::Allowed);
static SERVICE_DEVICES_ITEM: Rule = Rule::OneOf(&[&TEXT, &SERVICE_DEVICES_ITEM_LONG]);
static SERVICE_DEVICES_ITEM_LONG: Rule = Rule::Mapping(Mapping {
    keys: &[("source", &TEXT), ("target", &TEXT), ("permissions", &TEXT)],
    required: &["source"],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static SERVICE_DEPENDS_ON: Rule = Rule::OneOf(&[&LIST_OF_STRINGS, &SERVICE_DEPENDS_ON_LONG]);
static SERVICE_DEPENDS_ON_LONG: Rule = Rule::Mapping(Mapping {
    keys: &[],
    required: &[],
    others: Others::Named(&SERVICE_DEPENDS_ON_LONG_EACH),
    extensions: Extensions::Refused,
});
static SERVICE_DEPENDS_ON_LONG_EACH: Rule = Rule::Mapping(Mapping {
    keys: &[("restart", &BOOLEAN_OR_TEXT), ("required", &BOOLEAN), ("condition", &SERVICE_DEPENDS_ON_LONG_EACH_CONDITION)],
    required: &["condition"],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static SERVICE_DEPENDS_ON_LONG_EACH_CONDITION: Rule = Rule::Word(&["service_started", "service_healthy", "service_completed_successfully"]);
static SERVICE_CREDENTIAL_SPEC: Rule = Rule::Mapping(Mapping {
    keys: &[("config", &TEXT), ("file", &TEXT), ("registry", &TEXT)],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static SERVICE_CPU_PERCENT: Rule = Rule::OneOf(&[&TEXT, &SERVICE_CPU_PERCENT_SHORT]);
static SERVICE_CPU_PERCENT_SHORT: Rule = Rule::Range(0, 100);
static SERVICE_CPU_COUNT: Rule = Rule::OneOf(&[&TEXT, &SERVICE_CPU_COUNT_SHORT]);
static SERVICE_CPU_COUNT_SHORT: Rule = Rule::Range(0, i64::MAX);
static SERVICE_CONTAINER_NAME: Rule = Rule::Like(is_container_name);
static SERVICE_CGROUP: Rule = Rule::Word(&["host", "private"]);
pub(super) static SERVICE_CAP_ADD: Rule = Rule::List(&TEXT, Repeats::Refused);
static SERVICE_BLKIO_CONFIG: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("device_read_bps", &SERVICE_BLKIO_CONFIG_DEVICE_READ_BPS),
        ("device_read_iops", &SERVICE_BLKIO_CONFIG_DEVICE_READ_BPS),
        ("device_write_bps", &SERVICE_BLKIO_CONFIG_DEVICE_READ_BPS),
        ("device_write_iops", &SERVICE_BLKIO_CONFIG_DEVICE_READ_BPS),
        ("weight", &WHOLE_OR_TEXT),
        ("weight_device", &SERVICE_BLKIO_CONFIG_WEIGHT_DEVICE),
    ],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Refused,
});
static SERVICE_BLKIO_CONFIG_WEIGHT_DEVICE: Rule = Rule::List(&BLKIO_WEIGHT, Repeats::Allowed);
static SERVICE_BLKIO_CONFIG_DEVICE_READ_BPS: Rule = Rule::List(&BLKIO_LIMIT, Repeats::Allowed);
static SERVICE_BUILD: Rule = Rule::OneOf(&[&TEXT, &SERVICE_BUILD_LONG]);
static SERVICE_BUILD_LONG: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("context", &TEXT),
        ("dockerfile", &TEXT),
        ("dockerfile_inline", &TEXT),
        ("entitlements", &SERVICE_BUILD_LONG_ENTITLEMENTS),
        ("args", &LIST_OR_DICT),
        ("ssh", &LIST_OR_DICT),
        ("labels", &LIST_OR_DICT),
        ("cache_from", &SERVICE_BUILD_LONG_ENTITLEMENTS),
        ("cache_to", &SERVICE_BUILD_LONG_ENTITLEMENTS),
        ("no_cache", &BOOLEAN_OR_TEXT),
        ("no_cache_filter", &STRING_OR_LIST),
        ("additional_contexts", &LIST_OR_DICT),
        ("network", &TEXT),
        ("provenance", &BOOLEAN_OR_TEXT),
        ("sbom", &BOOLEAN_OR_TEXT),
        ("pull", &BOOLEAN_OR_TEXT),
        ("target", &TEXT),
        ("shm_size", &WHOLE_OR_TEXT),
        ("extra_hosts", &EXTRA_HOSTS),
        ("isolation", &TEXT),
        ("privileged", &BOOLEAN_OR_TEXT),
        ("secrets", &SERVICE_CONFIG_OR_SECRET),
        ("tags", &SERVICE_BUILD_LONG_ENTITLEMENTS),
        ("ulimits", &ULIMITS),
        ("platforms", &SERVICE_BUILD_LONG_ENTITLEMENTS),
    ],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
pub(super) static SERVICE_BUILD_LONG_ENTITLEMENTS: Rule = Rule::List(&TEXT, Repeats::Allowed);
