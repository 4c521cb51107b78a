//! Turns an overlay upper directory into a layer: hashes the tar stream that it stands for and moves it into the store.
//!
//! The stream is never stored: [`super::tar_writer`] makes it again from the directory when somebody needs it.

use std::path::Path;

use sha2::Digest as _;
use sha2::Sha256;

use super::Layer;
use super::digest::Digest;
use super::layer_records::LayerRecord;
use super::layers::place;
use super::tar_writer::Writer;
use crate::failure::Doing;
use crate::failure::Result;
use crate::place::Home;

/// See [`super::commit_layer`].
pub(super) fn commit_layer(home: &Home, upper: &Path) -> Result<Layer> {
    let cannot = || format!("cannot read {}", upper.display());
    let mut hasher = Sha256::new();
    let mut writer = Writer::new(|bytes| {
        hasher.update(bytes);
        Ok(())
    });
    writer.tree(upper).doing(cannot)?;
    let (tar_size, size) = writer.finish().doing(cannot)?;
    let diff_id = Digest::finish(hasher);
    place(home, upper, diff_id.hex(), &LayerRecord::new(&diff_id, size, tar_size), None)?;
    Ok(Layer { diff_id: diff_id.to_string(), size: tar_size })
}

#[cfg(test)]
mod tests;
