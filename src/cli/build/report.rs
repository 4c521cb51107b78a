//! `--metadata-file`: what was made, for programs.

use std::path::Path;

use base64::Engine;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::build::Built;
use crate::build::Detail;
use crate::build::Provenance;
use crate::build::ProvenanceForm;
use crate::build::Warning;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::state;

/// What the file shall say of the build itself, by buildx's variable; None if nothing.
///
/// # Errors
/// The variable has another value than buildx knows.
pub fn told(wanted: Option<&Provenance>) -> Result<Option<Provenance>> {
    let usual = Provenance { detail: Detail::Min, form: ProvenanceForm::V02, builder: String::new(), is_reproducible: false };
    let said = wanted.cloned().unwrap_or(usual);
    let word = std::env::var("BUILDX_METADATA_PROVENANCE").unwrap_or_default();
    match word.as_str() {
        "" | "min" | "true" | "1" => Ok(Some(Provenance { detail: Detail::Min, ..said })),
        "max" => Ok(Some(Provenance { detail: Detail::Max, ..said })),
        "disabled" | "false" | "0" => Ok(None),
        _ => {
            let failure = Failure::new("cannot understand BUILDX_METADATA_PROVENANCE").because(format!("it is `{word}`"));
            Err(failure.hint("set it to `min`, `max` or `disabled`"))
        }
    }
}

/// Writes the keys that `buildx` writes, as far as they mean something here.
///
/// # Errors
/// The file cannot be written.
pub fn write(file: &Path, built: &Built) -> Result<()> {
    let text = serde_json::to_string_pretty(&Value::Object(keys(built))).doing(|| "cannot describe what was made")?;
    std::fs::write(file, text + "\n").doing(|| format!("cannot write `{}`", file.display()))
}

fn keys(built: &Built) -> Map<String, Value> {
    let mut keys = Map::new();
    let suffix = |platform: &str| if built.images.len() > 1 { format!("/{platform}") } else { String::new() };
    for (platform, predicate) in &built.told {
        keys.insert(format!("buildx.build.provenance{}", suffix(platform)), brief(predicate));
    }
    keys.insert("buildx.build.ref".to_owned(), json!(format!("default/default/{}", &state::random_hex()[..25])));
    let asked = std::env::var("BUILDX_METADATA_WARNINGS").is_ok_and(|word| matches!(word.as_str(), "1" | "true"));
    if asked && !built.warnings.is_empty() {
        keys.insert("buildx.build.warnings".to_owned(), built.warnings.iter().map(warning).collect());
    }
    if !built.is_image {
        return keys;
    }
    for image in &built.images {
        let suffix = suffix(&image.platform);
        keys.insert(format!("containerimage.config.digest{suffix}"), json!(image.id));
        if built.written.is_none() {
            keys.insert(format!("containerimage.digest{suffix}"), json!(image.id));
        }
    }
    if let Some(written) = &built.written {
        let descriptor = json!({ "mediaType": written.media_type, "digest": written.digest, "size": written.size });
        keys.insert("containerimage.digest".to_owned(), json!(written.digest));
        keys.insert("containerimage.descriptor".to_owned(), descriptor);
    }
    if !built.names.is_empty() {
        keys.insert("image.name".to_owned(), json!(built.names.join(",")));
    }
    keys
}

/// The short form says nothing of when and how.
fn brief(predicate: &Value) -> Value {
    let mut predicate = predicate.clone();
    let word = std::env::var("BUILDX_METADATA_PROVENANCE").unwrap_or_default();
    if word != "max"
        && let Some(map) = predicate.as_object_mut()
    {
        map.remove("metadata");
        if let Some(details) = map.get_mut("runDetails").and_then(Value::as_object_mut) {
            details.remove("metadata");
        }
    }
    predicate
}

fn warning(warning: &Warning) -> Value {
    let encoded = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let line = |line: usize| json!({ "line": line });
    json!({
        "level": 1,
        "short": encoded(&format!("{}: {} (line {})", warning.rule, warning.detail, warning.lines.0)),
        "detail": [encoded(warning.description)],
        "url": warning.url,
        "range": [{ "start": line(warning.lines.0), "end": line(warning.lines.1) }],
    })
}
