//! What the Compose Specification allows where: every attribute, its types and its words.
//!
//! A flat list, after the specification's `compose-spec.json`; names follow the path of the attribute. The attributes
//! of a service are in [`super::service`].

use super::Extensions;
use super::Mapping;
use super::Others;
use super::Repeats;
use super::Rule;
use super::Type;
use super::service::SERVICE;
use super::service::SERVICE_BUILD_LONG_ENTITLEMENTS;
use super::service::SERVICE_CAP_ADD;
use super::service::SERVICE_HOOK;
use super::service::SERVICE_NETWORKS_LONG_EACH_LONG_DRIVER_OPTS;

/// A whole file.
pub(super) static FILE: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("version", &TEXT),
        ("name", &TEXT),
        ("include", &FILE_INCLUDE),
        ("services", &FILE_SERVICES),
        ("models", &FILE_MODELS),
        ("networks", &FILE_NETWORKS),
        ("volumes", &FILE_VOLUMES),
        ("secrets", &FILE_SECRETS),
        ("configs", &FILE_CONFIGS),
    ],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static FILE_CONFIGS: Rule =
    Rule::Mapping(Mapping { keys: &[], required: &[], others: Others::Named(&CONFIG), extensions: Extensions::Refused });
static FILE_SECRETS: Rule =
    Rule::Mapping(Mapping { keys: &[], required: &[], others: Others::Named(&SECRET), extensions: Extensions::Refused });
static FILE_VOLUMES: Rule =
    Rule::Mapping(Mapping { keys: &[], required: &[], others: Others::Named(&VOLUME), extensions: Extensions::Refused });
static FILE_NETWORKS: Rule =
    Rule::Mapping(Mapping { keys: &[], required: &[], others: Others::NamedOrAny(&NETWORK), extensions: Extensions::Refused });
static FILE_MODELS: Rule =
    Rule::Mapping(Mapping { keys: &[], required: &[], others: Others::NamedOrAny(&MODEL), extensions: Extensions::Refused });
static FILE_SERVICES: Rule =
    Rule::Mapping(Mapping { keys: &[], required: &[], others: Others::Named(&SERVICE), extensions: Extensions::Refused });
static FILE_INCLUDE: Rule = Rule::List(&INCLUDE, Repeats::Allowed);
pub(super) static ULIMITS: Rule =
    Rule::Mapping(Mapping { keys: &[], required: &[], others: Others::LettersOrAny(&ULIMITS_EACH), extensions: Extensions::Refused });
static ULIMITS_EACH: Rule = Rule::OneOf(&[&WHOLE_OR_TEXT, &ULIMITS_EACH_LONG]);
static ULIMITS_EACH_LONG: Rule = Rule::Mapping(Mapping {
    keys: &[("hard", &WHOLE_OR_TEXT), ("soft", &WHOLE_OR_TEXT)],
    required: &["soft", "hard"],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
pub(super) static BLKIO_WEIGHT: Rule = Rule::Mapping(Mapping {
    keys: &[("path", &TEXT), ("weight", &WHOLE_OR_TEXT)],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Refused,
});
pub(super) static BLKIO_LIMIT: Rule = Rule::Mapping(Mapping {
    keys: &[("path", &TEXT), ("rate", &WHOLE_OR_TEXT)],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Refused,
});
pub(super) static EXTRA_HOSTS: Rule = Rule::OneOf(&[&EXTRA_HOSTS_LONG, &SERVICE_CAP_ADD]);
static EXTRA_HOSTS_LONG: Rule =
    Rule::Mapping(Mapping { keys: &[], required: &[], others: Others::Each(&HEALTHCHECK_TEST), extensions: Extensions::Refused });
pub(super) static LIST_OR_DICT: Rule = Rule::OneOf(&[&LIST_OR_DICT_LONG, &SERVICE_CAP_ADD]);
static LIST_OR_DICT_LONG: Rule = Rule::Mapping(Mapping {
    keys: &[],
    required: &[],
    others: Others::Each(&BOOLEAN_OR_NUMBER_OR_TEXT_OR_NOTHING),
    extensions: Extensions::Refused,
});
pub(super) static LIST_OF_STRINGS: Rule = Rule::List(&TEXT, Repeats::Refused);
pub(super) static STRING_OR_LIST: Rule = Rule::OneOf(&[&TEXT, &LIST_OF_STRINGS]);
pub(super) static LABEL_FILE: Rule = Rule::OneOf(&[&TEXT, &SERVICE_BUILD_LONG_ENTITLEMENTS]);
pub(super) static ENV_FILE: Rule = Rule::OneOf(&[&TEXT, &ENV_FILE_LIST]);
static ENV_FILE_LIST: Rule = Rule::List(&ENV_FILE_LIST_ITEM, Repeats::Allowed);
static ENV_FILE_LIST_ITEM: Rule = Rule::OneOf(&[&TEXT, &ENV_FILE_LIST_ITEM_LONG]);
static ENV_FILE_LIST_ITEM_LONG: Rule = Rule::Mapping(Mapping {
    keys: &[("path", &TEXT), ("format", &TEXT), ("required", &BOOLEAN_OR_TEXT)],
    required: &["path"],
    others: Others::Refused,
    extensions: Extensions::Refused,
});
pub(super) static PRE_START_HOOK: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("command", &COMMAND),
        ("image", &TEXT),
        ("user", &TEXT),
        ("privileged", &BOOLEAN_OR_TEXT),
        ("working_dir", &TEXT),
        ("environment", &LIST_OR_DICT),
        ("per_replica", &BOOLEAN_OR_TEXT),
    ],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
pub(super) static COMMAND: Rule = Rule::OneOf(&[&NOTHING, &TEXT, &SERVICE_BUILD_LONG_ENTITLEMENTS]);
static MODEL: Rule = Rule::Mapping(Mapping {
    keys: &[("name", &TEXT), ("model", &TEXT), ("context_size", &WHOLE), ("runtime_flags", &SERVICE_BUILD_LONG_ENTITLEMENTS)],
    required: &["model"],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static CONFIG: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("name", &TEXT),
        ("content", &TEXT),
        ("environment", &TEXT),
        ("file", &TEXT),
        ("external", &SECRET_EXTERNAL),
        ("labels", &LIST_OR_DICT),
        ("template_driver", &TEXT),
    ],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static SECRET: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("name", &TEXT),
        ("environment", &TEXT),
        ("file", &TEXT),
        ("external", &SECRET_EXTERNAL),
        ("labels", &LIST_OR_DICT),
        ("driver", &TEXT),
        ("driver_opts", &SERVICE_NETWORKS_LONG_EACH_LONG_DRIVER_OPTS),
        ("template_driver", &TEXT),
    ],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static SECRET_EXTERNAL: Rule = Rule::OneOf(&[&SECRET_EXTERNAL_LONG, &BOOLEAN_OR_TEXT]);
static SECRET_EXTERNAL_LONG: Rule =
    Rule::Mapping(Mapping { keys: &[("name", &TEXT)], required: &[], others: Others::Ignored, extensions: Extensions::Refused });
static VOLUME: Rule = Rule::OneOf(&[&VOLUME_LONG, &NOTHING]);
static VOLUME_LONG: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("name", &TEXT),
        ("driver", &TEXT),
        ("driver_opts", &SERVICE_NETWORKS_LONG_EACH_LONG_DRIVER_OPTS),
        ("external", &NETWORK_EXTERNAL),
        ("labels", &LIST_OR_DICT),
    ],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static NETWORK: Rule = Rule::OneOf(&[&NETWORK_LONG, &NOTHING]);
static NETWORK_LONG: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("name", &TEXT),
        ("driver", &TEXT),
        ("driver_opts", &SERVICE_NETWORKS_LONG_EACH_LONG_DRIVER_OPTS),
        ("ipam", &NETWORK_IPAM),
        ("external", &NETWORK_EXTERNAL),
        ("internal", &BOOLEAN_OR_TEXT),
        ("enable_ipv4", &BOOLEAN_OR_TEXT),
        ("enable_ipv6", &BOOLEAN_OR_TEXT),
        ("attachable", &BOOLEAN_OR_TEXT),
        ("labels", &LIST_OR_DICT),
    ],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static NETWORK_EXTERNAL: Rule = Rule::OneOf(&[&NETWORK_EXTERNAL_LONG, &BOOLEAN_OR_TEXT]);
static NETWORK_EXTERNAL_LONG: Rule =
    Rule::Mapping(Mapping { keys: &[("name", &TEXT)], required: &[], others: Others::Refused, extensions: Extensions::Allowed });
static NETWORK_IPAM: Rule = Rule::Mapping(Mapping {
    keys: &[("driver", &TEXT), ("config", &NETWORK_IPAM_CONFIG), ("options", &NETWORK_IPAM_CONFIG_ITEM_AUX_ADDRESSES)],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static NETWORK_IPAM_CONFIG: Rule = Rule::List(&NETWORK_IPAM_CONFIG_ITEM, Repeats::Allowed);
static NETWORK_IPAM_CONFIG_ITEM: Rule = Rule::Mapping(Mapping {
    keys: &[("subnet", &TEXT), ("ip_range", &TEXT), ("gateway", &TEXT), ("aux_addresses", &NETWORK_IPAM_CONFIG_ITEM_AUX_ADDRESSES)],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static NETWORK_IPAM_CONFIG_ITEM_AUX_ADDRESSES: Rule =
    Rule::Mapping(Mapping { keys: &[], required: &[], others: Others::Each(&TEXT), extensions: Extensions::Refused });
static INCLUDE: Rule = Rule::OneOf(&[&TEXT, &INCLUDE_LONG]);
static INCLUDE_LONG: Rule = Rule::Mapping(Mapping {
    keys: &[("path", &STRING_OR_LIST), ("env_file", &STRING_OR_LIST), ("project_directory", &TEXT)],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Refused,
});
pub(super) static GPUS: Rule = Rule::OneOf(&[&GPUS_SHORT, &GPUS_LIST]);
static GPUS_LIST: Rule = Rule::List(&GPUS_LIST_ITEM, Repeats::Allowed);
static GPUS_LIST_ITEM: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("capabilities", &LIST_OF_STRINGS),
        ("count", &WHOLE_OR_TEXT),
        ("device_ids", &LIST_OF_STRINGS),
        ("driver", &TEXT),
        ("options", &LIST_OR_DICT),
    ],
    required: &[],
    others: Others::Ignored,
    extensions: Extensions::Refused,
});
static GPUS_SHORT: Rule = Rule::Word(&["all"]);
static DEVICES: Rule = Rule::List(&DEVICES_ITEM, Repeats::Allowed);
static DEVICES_ITEM: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("capabilities", &LIST_OF_STRINGS),
        ("count", &WHOLE_OR_TEXT),
        ("device_ids", &LIST_OF_STRINGS),
        ("driver", &TEXT),
        ("options", &LIST_OR_DICT),
    ],
    required: &["capabilities"],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static GENERIC_RESOURCES: Rule = Rule::List(&GENERIC_RESOURCES_ITEM, Repeats::Allowed);
static GENERIC_RESOURCES_ITEM: Rule = Rule::Mapping(Mapping {
    keys: &[("discrete_resource_spec", &GENERIC_RESOURCES_ITEM_DISCRETE_RESOURCE_SPEC)],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static GENERIC_RESOURCES_ITEM_DISCRETE_RESOURCE_SPEC: Rule = Rule::Mapping(Mapping {
    keys: &[("kind", &TEXT), ("value", &NUMBER_OR_TEXT)],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
pub(super) static DEPLOYMENT: Rule = Rule::OneOf(&[&DEPLOYMENT_LONG, &NOTHING]);
static DEPLOYMENT_LONG: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("mode", &TEXT),
        ("endpoint_mode", &TEXT),
        ("replicas", &WHOLE_OR_TEXT),
        ("labels", &LIST_OR_DICT),
        ("rollback_config", &DEPLOYMENT_ROLLBACK_CONFIG),
        ("update_config", &DEPLOYMENT_ROLLBACK_CONFIG),
        ("resources", &DEPLOYMENT_RESOURCES),
        ("restart_policy", &DEPLOYMENT_RESTART_POLICY),
        ("placement", &DEPLOYMENT_PLACEMENT),
    ],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static DEPLOYMENT_PLACEMENT: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("constraints", &SERVICE_BUILD_LONG_ENTITLEMENTS),
        ("preferences", &DEPLOYMENT_PLACEMENT_PREFERENCES),
        ("max_replicas_per_node", &WHOLE_OR_TEXT),
    ],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static DEPLOYMENT_PLACEMENT_PREFERENCES: Rule = Rule::List(&DEPLOYMENT_PLACEMENT_PREFERENCES_ITEM, Repeats::Allowed);
static DEPLOYMENT_PLACEMENT_PREFERENCES_ITEM: Rule =
    Rule::Mapping(Mapping { keys: &[("spread", &TEXT)], required: &[], others: Others::Refused, extensions: Extensions::Allowed });
static DEPLOYMENT_RESTART_POLICY: Rule = Rule::Mapping(Mapping {
    keys: &[("condition", &TEXT), ("delay", &TEXT), ("max_attempts", &WHOLE_OR_TEXT), ("window", &TEXT)],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static DEPLOYMENT_RESOURCES: Rule = Rule::Mapping(Mapping {
    keys: &[("limits", &DEPLOYMENT_RESOURCES_LIMITS), ("reservations", &DEPLOYMENT_RESOURCES_RESERVATIONS)],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static DEPLOYMENT_RESOURCES_RESERVATIONS: Rule = Rule::Mapping(Mapping {
    keys: &[("cpus", &NUMBER_OR_TEXT), ("memory", &TEXT), ("generic_resources", &GENERIC_RESOURCES), ("devices", &DEVICES)],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static DEPLOYMENT_RESOURCES_LIMITS: Rule = Rule::Mapping(Mapping {
    keys: &[("cpus", &NUMBER_OR_TEXT), ("memory", &TEXT), ("pids", &WHOLE_OR_TEXT)],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static DEPLOYMENT_ROLLBACK_CONFIG: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("parallelism", &WHOLE_OR_TEXT),
        ("delay", &TEXT),
        ("failure_action", &TEXT),
        ("monitor", &TEXT),
        ("max_failure_ratio", &NUMBER_OR_TEXT),
        ("order", &DEPLOYMENT_ROLLBACK_CONFIG_ORDER),
    ],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static DEPLOYMENT_ROLLBACK_CONFIG_ORDER: Rule = Rule::Word(&["start-first", "stop-first"]);
pub(super) static DEVELOPMENT: Rule = Rule::OneOf(&[&DEVELOPMENT_LONG, &NOTHING]);
static DEVELOPMENT_LONG: Rule = Rule::Mapping(Mapping {
    keys: &[("watch", &DEVELOPMENT_WATCH)],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static DEVELOPMENT_WATCH: Rule = Rule::List(&DEVELOPMENT_WATCH_ITEM, Repeats::Allowed);
static DEVELOPMENT_WATCH_ITEM: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("ignore", &STRING_OR_LIST),
        ("include", &STRING_OR_LIST),
        ("path", &TEXT),
        ("action", &DEVELOPMENT_WATCH_ITEM_ACTION),
        ("target", &TEXT),
        ("exec", &SERVICE_HOOK),
        ("initial_sync", &BOOLEAN),
    ],
    required: &["path", "action"],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static DEVELOPMENT_WATCH_ITEM_ACTION: Rule = Rule::Word(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"]);
pub(super) static HEALTHCHECK: Rule = Rule::Mapping(Mapping {
    keys: &[
        ("disable", &BOOLEAN_OR_TEXT),
        ("interval", &TEXT),
        ("retries", &NUMBER_OR_TEXT),
        ("test", &HEALTHCHECK_TEST),
        ("timeout", &TEXT),
        ("start_period", &TEXT),
        ("start_interval", &TEXT),
    ],
    required: &[],
    others: Others::Refused,
    extensions: Extensions::Allowed,
});
static HEALTHCHECK_TEST: Rule = Rule::OneOf(&[&TEXT, &SERVICE_BUILD_LONG_ENTITLEMENTS]);
pub(super) static BOOLEAN: Rule = Rule::Scalar(&[Type::Boolean]);
pub(super) static BOOLEAN_OR_NUMBER_OR_TEXT: Rule = Rule::Scalar(&[Type::Boolean, Type::Number, Type::Text]);
static BOOLEAN_OR_NUMBER_OR_TEXT_OR_NOTHING: Rule = Rule::Scalar(&[Type::Boolean, Type::Number, Type::Text, Type::Nothing]);
pub(super) static BOOLEAN_OR_TEXT: Rule = Rule::Scalar(&[Type::Boolean, Type::Text]);
pub(super) static NOTHING: Rule = Rule::Scalar(&[Type::Nothing]);
pub(super) static NUMBER: Rule = Rule::Scalar(&[Type::Number]);
pub(super) static NUMBER_OR_TEXT: Rule = Rule::Scalar(&[Type::Number, Type::Text]);
pub(super) static NUMBER_OR_TEXT_OR_NOTHING: Rule = Rule::Scalar(&[Type::Number, Type::Text, Type::Nothing]);
pub(super) static TEXT: Rule = Rule::Scalar(&[Type::Text]);
pub(super) static TEXT_OR_NOTHING: Rule = Rule::Scalar(&[Type::Text, Type::Nothing]);
static WHOLE: Rule = Rule::Scalar(&[Type::Whole]);
pub(super) static WHOLE_OR_TEXT: Rule = Rule::Scalar(&[Type::Whole, Type::Text]);
