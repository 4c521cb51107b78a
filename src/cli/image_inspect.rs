//! What `inspect` says of an image.

use serde_json::Value;
use serde_json::json;

use crate::failure::Doing;
use crate::failure::Result;
use crate::image;
use crate::image::Image;
use crate::image::Listed;
use crate::image::RunConfig;
use crate::place::Home;

/// All that is known of an image, in Docker's form.
///
/// # Errors
/// The store cannot be read.
pub fn value(home: &Home, found: &Image) -> Result<Value> {
    let listed: Vec<_> = image::list(home)?.into_iter().filter(|listed| listed.id == found.id).collect();
    let named = listed.iter().filter(|listed| listed.repository != "<none>");
    let tags: Vec<_> =
        named.clone().filter(|listed| listed.tag != "<none>").map(|listed| format!("{}:{}", listed.repository, listed.tag)).collect();
    let digest = |listed: &Listed| listed.manifest_digest.as_ref().map(|digest| format!("{}@{digest}", listed.repository));
    let mut digests: Vec<_> = named.filter_map(digest).collect();
    digests.sort();
    digests.dedup();
    let config = &found.config;
    let text = |key: &str| config.rest.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut value = json!({
        "Id": found.id,
        "RepoTags": tags,
        "RepoDigests": digests,
        "Parent": "",
        "Comment": comment(found),
        "Created": config.created,
        "DockerVersion": text("docker_version"),
        "Author": config.author.as_deref().unwrap_or_default(),
        "Config": run_config(&config.config)?,
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": listed.first().map_or(0, |listed| listed.size),
        "GraphDriver": { "Name": "overlay2", "Data": data(found) },
        "RootFS": { "Type": "layers", "Layers": config.rootfs.diff_ids },
        "Metadata": { "LastTagTime": "0001-01-01T00:00:00Z" },
    });
    if let Some(variant) = &config.variant {
        value["Variant"] = json!(variant);
    }
    if !text("os.version").is_empty() {
        value["OsVersion"] = json!(text("os.version"));
    }
    Ok(value)
}

/// How the image is run; what Docker shows of every image is there even if nothing is said of it.
fn run_config(config: &RunConfig) -> Result<Value> {
    let mut value = serde_json::to_value(config).doing(|| "cannot show the image's configuration")?;
    for key in ["Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "User", "Volumes", "WorkingDir"] {
        let empty = if matches!(key, "User" | "WorkingDir") { json!("") } else { Value::Null };
        if let Some(fields) = value.as_object_mut() {
            fields.entry(key).or_insert(empty);
        }
    }
    Ok(value)
}

/// The remark of whoever made the image, or of its last step.
fn comment(found: &Image) -> String {
    let own = found.config.rest.get("comment").and_then(Value::as_str).map(str::to_owned);
    own.or_else(|| found.config.history.last()?.comment.clone()).unwrap_or_default()
}

/// The directories overlayfs is given, as Docker names them.
fn data(found: &Image) -> Value {
    let mut paths: Vec<_> = found.layers.iter().rev().map(|path| path.display().to_string()).collect();
    let upper = if paths.is_empty() { None } else { Some(paths.remove(0)) };
    let mut data = json!({ "UpperDir": upper });
    if !paths.is_empty() {
        data["LowerDir"] = json!(paths.join(":"));
    }
    data
}
