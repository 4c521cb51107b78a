//! Requests for GPUs become names of devices, as the vendors' specs have them: `nvidia.com/gpu=all`.

use serde_json::Value;
use serde_json::json;

use crate::container;

/// All that there are.
const ALL: i64 = -1;

/// Reads one request of `gpus:` or of `deploy.resources.reservations.devices`.
///
/// # Errors
/// A driver or a capability that no device here has; a count that is none.
pub fn devices(request: &Value) -> Result<Vec<String>, String> {
    let texts = |key: &str| -> Vec<String> {
        let list = request.get(key).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|item| item.as_str().map(str::to_owned).or_else(|| Some(item.as_i64()?.to_string()))).collect()
    };
    let driver = request.get("driver").and_then(Value::as_str).unwrap_or_default();
    let (ids, capabilities) = (texts("device_ids"), texts("capabilities"));
    let kind = match driver {
        "cdi" => {
            let wrong = ids.iter().find(|id| !container::is_cdi_device(id));
            return wrong.map_or(Ok(ids.clone()), |id| Err(format!("`{id}` is not VENDOR/CLASS=NAME")));
        }
        "" | "nvidia" => "nvidia.com/gpu",
        "amd" => "amd.com/gpu",
        other => return Err(format!("there is no device driver `{other}`: known are nvidia, amd and cdi")),
    };
    if let Some(other) = capabilities.iter().find(|capability| !is_of_gpu(capability)) {
        return Err(format!("no device has the capability `{other}`"));
    }
    if !ids.is_empty() {
        return Ok(ids.iter().map(|id| format!("{kind}={id}")).collect());
    }
    let count = match request.get("count") {
        None | Some(Value::Null) => ALL,
        Some(Value::String(text)) if text == "all" => ALL,
        Some(count) => {
            count.as_i64().or_else(|| count.as_str()?.parse().ok()).ok_or_else(|| format!("`{count}` is no number of devices"))?
        }
    };
    Ok(match count {
        0 | ALL => vec![format!("{kind}=all")],
        count => (0..count).map(|number| format!("{kind}={number}")).collect(),
    })
}

/// What a GPU can do, by Docker's and NVIDIA's words.
fn is_of_gpu(capability: &str) -> bool {
    matches!(capability, "gpu" | "nvidia" | "compute" | "utility" | "graphics" | "video" | "display" | "compat32" | "ngx" | "all")
}

/// Reads one `--gpus`: `all`, `2`, `device=0`, `"device=0,1",capabilities=utility`.
///
/// # Errors
/// Not of that form; as [`devices`].
pub fn flag(text: &str) -> Result<Vec<String>, String> {
    let mut request = json!({});
    for word in words(text) {
        let (key, value) = word.split_once('=').unwrap_or(("count", &word));
        match key {
            "count" => request["count"] = value.into(),
            "device" => request["device_ids"] = value.split(',').collect(),
            "driver" => request["driver"] = value.into(),
            "capabilities" => request["capabilities"] = value.split(',').collect(),
            _ => return Err(format!("`{key}` is none of count, device, driver, capabilities")),
        }
    }
    devices(&request)
}

/// Parts between commas; quotes hold a part together.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => words.push(String::new()),
            _ => words.iter_mut().last().into_iter().for_each(|word| word.push(letter)),
        }
    }
    words
}

/// The devices that `NVIDIA_VISIBLE_DEVICES` names, which is how NVIDIA's own runtime is told.
pub fn of_environment(environment: &[String]) -> Vec<String> {
    let value = environment.iter().rev().find_map(|variable| variable.strip_prefix("NVIDIA_VISIBLE_DEVICES=")).unwrap_or_default();
    match value {
        "" | "none" | "void" => Vec::new(),
        list => list.split(',').map(|id| format!("nvidia.com/gpu={id}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_names_of_devices() {
        let names = |request: Value| devices(&request).unwrap().join(" ");
        assert_eq!(names(json!({"count": -1})), "nvidia.com/gpu=all");
        assert_eq!(names(json!({"capabilities": ["gpu"], "driver": "nvidia", "count": 2})), "nvidia.com/gpu=0 nvidia.com/gpu=1");
        assert_eq!(names(json!({"capabilities": ["gpu"], "device_ids": ["0", "GPU-ab"]})), "nvidia.com/gpu=0 nvidia.com/gpu=GPU-ab");
        assert_eq!(names(json!({"driver": "cdi", "device_ids": ["x.org/y=z"]})), "x.org/y=z");
        assert_eq!(names(json!({"driver": "amd", "count": "all"})), "amd.com/gpu=all");
        for wrong in [
            json!({"capabilities": ["tpu"]}),
            json!({"driver": "x"}),
            json!({"count": "many"}),
            json!({"driver": "cdi", "device_ids": ["0"]}),
        ] {
            assert!(devices(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_flag_has_dockers_forms() {
        let names = |text: &str| flag(text).unwrap().join(" ");
        assert_eq!(names("all"), "nvidia.com/gpu=all");
        assert_eq!(names("2"), "nvidia.com/gpu=0 nvidia.com/gpu=1");
        assert_eq!(names("device=1"), "nvidia.com/gpu=1");
        assert_eq!(names("\"device=0,2\",\"capabilities=gpu,utility\""), "nvidia.com/gpu=0 nvidia.com/gpu=2");
        assert!(flag("colour=red").is_err() && flag("x").is_err());
    }

    #[test]
    fn nvidias_variable_names_devices() {
        let of = |text: &str| of_environment(&["A=1".to_owned(), text.to_owned()]).len();
        assert_eq!(
            (of("NVIDIA_VISIBLE_DEVICES=all"), of("NVIDIA_VISIBLE_DEVICES=0,1"), of("NVIDIA_VISIBLE_DEVICES=void"), of("B=2")),
            (1, 2, 0, 0)
        );
    }
}
