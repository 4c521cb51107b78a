//! Compose projects: files -> project -> plan -> apply.

mod apply;
mod config;
pub mod convert;
pub mod gpu;
pub mod labels;
mod load;
pub mod lock;
pub mod model;
pub mod observe;
mod one_off;
pub mod plan;
mod project;
mod provider;
pub mod recipe;
pub mod resource;
pub mod short;
mod treatment;
mod up;
pub mod watch;
mod yaml;

use std::path::PathBuf;

use crate::failure::Result;
use model::Project;

pub use apply::AfterFault;
pub use apply::Anonymous;
pub use apply::BuildManner;
pub use apply::Kind;
pub use apply::Manner;
pub use apply::Phase;
pub use apply::Platforms;
pub use apply::Watch;
pub use apply::build_wanted;
pub use apply::check_service;
pub use apply::image_of;
pub use config::ConfigFlags;
pub use config::Pin;
pub use config::Printed;
pub use config::config;
pub use config::config_in;
pub use config::config_pinned;
pub use config::explain;
pub use load::Explained;
pub use load::Surroundings;
pub use one_off::OneOff;
pub use one_off::prepare as prepare_one_off;
pub use one_off::wanted as one_off;
pub use project::is_on;
pub use provider::Errand;
pub use provider::release as release_providers;
pub use up::bring_images;
pub use up::down;
pub use up::operate;
pub use up::plan_down;
pub use up::plan_images;
pub use up::plan_operate;
pub use up::plan_up;
pub use up::up;

/// Which files make the project, as the command line and the environment say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// `-f`, in order; `-` is standard input. Empty: `COMPOSE_FILE`, then the default names here and in the parents.
    pub files: Vec<String>,
    /// `-p`
    pub project_name: Option<String>,
    /// `--project-directory`
    pub project_directory: Option<PathBuf>,
    /// `--env-file`, in order.
    pub env_files: Vec<String>,
    /// `--profile`
    pub profiles: Vec<String>,
    /// `--compatibility`: names as the first Compose gave them.
    pub compatibility: bool,
    /// `--all-resources`: those too that no service uses.
    pub all_resources: bool,
}

/// The words of a command line as a shell splits it; nothing if a quote is left open.
pub fn words(line: &str) -> Option<Vec<String>> {
    load::words_of(line)
}

/// The variables of files in the form of `.env`, by name.
///
/// # Errors
/// A file that cannot be read or understood, at its line.
pub fn variables_of(files: &[PathBuf]) -> Result<std::collections::BTreeMap<String, String>> {
    load::variables_in(&Surroundings::here(), files)
}

/// Loads a project: YAML -> interpolation -> extends and include -> merge -> normal form -> checks -> model.
///
/// # Errors
/// All faults of all files in one failure, each at its line.
pub fn load(sources: &Sources) -> Result<Project> {
    load_in(&Surroundings::here(), sources)
}

/// [`load()`] in surroundings of the caller's choice.
///
/// # Errors
/// As [`load()`].
pub fn load_in(surroundings: &Surroundings, sources: &Sources) -> Result<Project> {
    let mut loaded = load::load_in(surroundings, sources, load::Leave::default(), load::Notation::Json)?;
    if !sources.all_resources {
        loaded.prune();
    }
    project::typed(loaded, sources)
}
