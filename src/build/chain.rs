//! The layers a step stands on.

use std::path::PathBuf;

use crate::image::Image;
use crate::image::Layer;
use crate::place::Home;

/// Layers, the lowest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Chain {
    diff_ids: Vec<String>,
    paths: Vec<PathBuf>,
}

impl Chain {
    /// The layers of a base image.
    pub(super) fn of(image: &Image) -> Chain {
        Chain { diff_ids: image.config.rootfs.diff_ids.clone(), paths: image.layers.clone() }
    }

    /// With one layer more.
    pub(super) fn with(&self, home: &Home, layer: &Layer) -> Chain {
        let mut chain = self.clone();
        let path = layer_path(home, &layer.diff_id);
        // The kernel refuses to stack a directory twice. The upper one says all that the lower one says.
        chain.paths.retain(|known| *known != path);
        chain.paths.push(path);
        chain.diff_ids.push(layer.diff_id.clone());
        chain
    }

    pub(super) fn diff_ids(&self) -> &[String] {
        &self.diff_ids
    }

    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

/// Where a layer we have committed lies.
pub(super) fn layer_path(home: &Home, diff_id: &str) -> PathBuf {
    home.layers().join(diff_id.trim_start_matches("sha256:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two steps that change nothing are the same empty layer.
    #[test]
    fn a_layer_is_stacked_once_and_counted_twice() {
        let home = Home::at("/home", "/run");
        let layer = |hex: &str| Layer { diff_id: format!("sha256:{hex}"), size: 0 };
        let chain = ["aa", "bb", "cc", "bb"].iter().fold(Chain::default(), |chain, hex| chain.with(&home, &layer(hex)));
        assert_eq!(chain.diff_ids().len(), 4);
        assert_eq!(chain.paths(), ["aa", "cc", "bb"].map(|hex| home.layers().join(hex)));
    }
}
