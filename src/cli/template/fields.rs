//! Which of Docker's values are Go's structs, whose fields are known, and which are maps, that may have any key.

use serde_json::Value;
use serde_json::json;

use super::eval::Maybe;

/// Fields that are maps: a key that is not there is no value, and no failure.
const MAPS: &[&str] = &[
    "Annotations",
    "Attributes",
    "AuxiliaryAddresses",
    "Containers",
    "Data",
    "Details",
    "DriverOpts",
    "ExposedPorts",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];

/// Fields that Docker leaves out of its JSON when they have nothing to say, and its templates know all the same.
fn left_out(name: &str) -> Option<Value> {
    match name {
        "Health" | "SizeRw" | "SizeRootFs" | "Healthcheck" | "StopTimeout" | "Init" | "ImageManifestDescriptor" => Some(Value::Null),
        "Cmd" | "Entrypoint" | "Env" | "OnBuild" | "ExposedPorts" | "Labels" | "Volumes" => Some(Value::Null),
        "StopSignal" | "User" | "WorkingDir" | "OsVersion" | "Variant" | "Runtime" | "MacAddress" | "ResolvConfPath" => Some("".into()),
        "Annotations" | "Sysctls" | "Tmpfs" | "StorageOpt" => Some(json!({})),
        "Shell" => Some(Value::Null),
        "Mounts" => Some(json!([])),
        "NetworkDisabled" | "ArgsEscaped" => Some(false.into()),
        _ => None,
    }
}

/// What an empty field prints: Go writes a list or a map that nobody has made as an empty one.
pub(super) fn empty_text(name: &str) -> &'static str {
    match name {
        "Aliases"
        | "Binds"
        | "CapAdd"
        | "CapDrop"
        | "Cmd"
        | "DNSNames"
        | "DeviceCgroupRules"
        | "DeviceRequests"
        | "Dns"
        | "DnsOptions"
        | "DnsSearch"
        | "Entrypoint"
        | "Env"
        | "ExecIDs"
        | "ExtraHosts"
        | "GroupAdd"
        | "Links"
        | "OnBuild"
        | "SecondaryIPAddresses"
        | "Shell"
        | "SecondaryIPv6Addresses"
        | "SecurityOpt"
        | "Ulimits"
        | "VolumesFrom"
        | "RepoTags"
        | "RepoDigests" => "[]",
        name if MAPS.contains(&name) => "map[]",
        _ => "<nil>",
    }
}

/// Follows a path from a struct.
///
/// # Errors
/// A field that the struct has not, or something of nothing.
pub(super) fn walk(root: &Value, path: &[String]) -> Result<Maybe, String> {
    let mut here: Maybe = Some(root.clone());
    let mut names: Vec<&str> = Vec::new();
    for name in path {
        let is_map = match names.as_slice() {
            [.., "LogConfig", "Config"] => true,
            [.., last] => MAPS.contains(last),
            [] => false,
        };
        here = match here {
            None => return Err(format!("nil data; no entry for key {:?}", names.last().copied().unwrap_or_default())),
            Some(Value::Object(fields)) => match fields.get(name).cloned().or_else(|| left_out(name).filter(|_| !is_map)) {
                None if !is_map => return Err(format!("can't evaluate field {name}")),
                found => found,
            },
            Some(Value::Null) if is_map => None,
            Some(Value::Null) => return Err(format!("nil pointer evaluating field {name}")),
            Some(_) => return Err(format!("can't evaluate field {name}")),
        };
        names.push(name);
    }
    Ok(here)
}
