//! Caches that others share with us, and ours for them.
//!
//! Such a cache is an image: its layers are what steps came to, and its configuration says under `coracle.build.cache`
//! which step's key each layer belongs to. Keys are made of contents alone, so they are the same on every machine. Of a
//! cache only the layers are brought that a step asks for.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::OnceLock;

use serde::Deserialize;
use serde::Serialize;
use serde_json::json;

use crate::build::caches::CacheFrom;
use crate::build::caches::CacheOptions;
use crate::build::caches::CacheTo;
use crate::build::finish::Finished;
use crate::build::limit;
use crate::build::records;
use crate::build::records::StepRecord;
use crate::build::solve::now;
use crate::build::values;
use crate::build::wanted::Wanted;
use crate::build::whole::Scene;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::image::Bundle;
use crate::image::ImageConfig;
use crate::image::Layout;
use crate::image::Member;
use crate::image::elsewhere;
use crate::image::elsewhere::Elsewhere;

/// The key of a configuration that holds the steps.
const STEPS: &str = "coracle.build.cache";

/// A step as a configuration knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Shared {
    key: String,
    diff_id: String,
    /// RFC 3339; an image that is dated by its sources does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<String>,
}

/// What a step came to, with its key.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub key: String,
    pub record: StepRecord,
}

/// The caches a build may ask, each looked at when the first step is not known here.
pub(super) struct Caches<'a> {
    scene: &'a Scene<'a>,
    platform: String,
    opened: OnceLock<Vec<Open>>,
}

struct Open {
    shown: String,
    image: Elsewhere,
    steps: HashMap<String, Shared>,
}

impl<'a> Caches<'a> {
    pub(super) fn new(scene: &'a Scene<'a>, platform: String) -> Caches<'a> {
        Caches { scene, platform, opened: OnceLock::new() }
    }

    /// Brings what a step came to here, if a cache has it. A cache that fails costs a step, no more.
    pub(super) fn find(&self, key: &str, shown: &str) -> Option<StepRecord> {
        if self.scene.wanted.cache_from.is_empty() {
            return None;
        }
        let scene = self.scene;
        for cache in self.opened.get_or_init(|| scene.wanted.cache_from.iter().filter_map(|from| self.open(from)).collect()) {
            let Some(step) = cache.steps.get(key) else { continue };
            match cache.image.bring(scene.home, &step.diff_id, scene.watch) {
                Ok(layer) => {
                    let record = StepRecord::new(layer, step.created.clone().unwrap_or_else(now), shown);
                    limit::grown(scene.home, record.layer.size);
                    // Without a record the step is asked for again the next time.
                    let _ = image::claim_layer(scene.home, &step.diff_id).and_then(|()| records::store_step(scene.home, key, &record));
                    return Some(record);
                }
                Err(failure) => scene.watch.note(&format!("the cache {} did not help: {}", cache.shown, told(&failure))),
            }
        }
        None
    }

    fn open(&self, from: &CacheFrom) -> Option<Open> {
        let (shown, found) = match from {
            CacheFrom::Registry { name } => {
                (format!("`{name}`"), elsewhere::in_registry(self.scene.home, name, Some(&self.platform), self.scene.watch))
            }
            CacheFrom::Local { directory, version } => {
                (format!("`{}`", directory.display()), elsewhere::in_layout(directory, version.as_deref(), Some(&self.platform)))
            }
        };
        let image = found.map_err(|failure| self.scene.watch.note(&format!("the cache {shown} is left out: {}", told(&failure)))).ok()?;
        let steps: Vec<Shared> =
            image.config.rest.get(STEPS).and_then(|steps| serde_json::from_value(steps.clone()).ok()).unwrap_or_default();
        if steps.is_empty() {
            self.scene.watch.note(&format!("the cache {shown} says nothing of any step"));
        }
        let steps = steps.into_iter().map(|step| (step.key.clone(), step)).collect();
        Some(Open { shown, image, steps })
    }
}

/// A failure on one line.
fn told(failure: &Failure) -> String {
    let text = failure.to_string().replace("\n  because:", ":");
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Whether the image itself shall say which steps its layers are.
fn is_inline(wanted: &Wanted) -> bool {
    wanted.cache_to.contains(&CacheTo::Inline)
        || values::build_args(wanted).get("BUILDKIT_INLINE_CACHE").is_some_and(|value| matches!(value.as_str(), "1" | "true"))
}

/// Lets a configuration say which steps its layers are, if that is wanted, and nothing of its base image's.
pub(super) fn inscribe(wanted: &Wanted, config: &mut ImageConfig, (steps, is_dated): (&[Done], bool)) {
    config.rest.remove(STEPS);
    if is_inline(wanted) {
        config.rest.insert(STEPS.to_owned(), json!(shared(steps, is_dated)));
    }
}

fn shared(steps: &[Done], is_dated: bool) -> Vec<Shared> {
    let one = |done: &Done| Shared {
        key: done.key.clone(),
        diff_id: done.record.layer.diff_id.clone(),
        created: (!is_dated).then(|| done.record.created.clone()),
    };
    steps.iter().map(one).collect()
}

/// Writes the caches that are wanted, with the steps of all platforms.
///
/// # Errors
/// A place that cannot be written; a registry that refuses.
pub(super) fn export(scene: &Scene<'_>, finished: &[Finished]) -> Result<()> {
    for to in &scene.wanted.cache_to {
        let written = match to {
            CacheTo::Inline => continue,
            CacheTo::Registry { name, cache } => {
                scene.watch.pushing(name);
                image::push_bundle(scene.home, &bundle(finished, name, cache), scene.watch).map(drop)
            }
            CacheTo::Local { directory, tag, cache } => {
                let bundle = bundle(finished, &format!("cache:{tag}"), cache);
                image::write_layout(scene.home, &bundle, Layout::Oci, directory).map(drop)
            }
        };
        let (CacheTo::Registry { cache, .. } | CacheTo::Local { cache, .. }) = to else { continue };
        match written {
            Err(failure) if cache.ignores_errors => scene.watch.note(&format!("the cache was not written: {}", told(&failure))),
            written => written.map_err(|failure: Failure| failure.within("cannot write the cache"))?,
        }
    }
    Ok(())
}

fn bundle(finished: &[Finished], name: &str, options: &CacheOptions) -> Bundle {
    let member = |one: &Finished| {
        let steps = if options.is_whole { &one.all_steps } else { &one.steps };
        let mut known = BTreeSet::new();
        let diff_ids = steps.iter().map(|done| &done.record.layer.diff_id).filter(|diff_id| known.insert(*diff_id)).cloned();
        let mut config = ImageConfig {
            os: one.config.os.clone(),
            architecture: one.config.architecture.clone(),
            variant: one.config.variant.clone(),
            ..ImageConfig::default()
        };
        config.rootfs.kind = "layers".to_owned();
        config.rootfs.diff_ids = diff_ids.collect();
        config.rest.insert(STEPS.to_owned(), json!(shared(steps, false)));
        Member { config, ..Member::default() }
    };
    Bundle { members: finished.iter().map(member).collect(), names: vec![name.to_owned()], packing: options.packing, ..Bundle::default() }
}
