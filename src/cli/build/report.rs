//! `--metadata-file`: what was made, for programs.

use std::path::Path;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::build::Built;
use crate::failure::Doing;
use crate::failure::Result;

/// Writes the keys that `buildx` writes, as far as they mean something here.
///
/// # Errors
/// The file cannot be written.
pub fn write(file: &Path, built: &Built) -> Result<()> {
    let mut keys = Map::new();
    let several = built.images.len() > 1;
    for image in &built.images {
        let suffix = if several { format!("/{}", image.platform) } else { String::new() };
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
    let text = serde_json::to_string_pretty(&Value::Object(keys)).doing(|| "cannot describe what was made")?;
    std::fs::write(file, text + "\n").doing(|| format!("cannot write `{}`", file.display()))
}
