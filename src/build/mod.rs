//! Builds: a Dockerfile becomes an image, each step run only if what it reads has changed.
//!
//! ```text
//! dockerfile   text -> stages of typed instructions, with places; every fault at once
//! graph        which stages there are, what each stands on, which the target needs
//! evaluate     (transfer) instructions -> steps, configuration, history; pure
//! solve        stages side by side: a key for each step, its record or its work
//!   context, tree, ignore, digests     what COPY reads
//!   perform, copy, unpack, owner       COPY, ADD, WORKDIR into an overlay's upper directory
//!   command, job │ worker, stubs       RUN │ in a process of its own
//! finish       dates, the image, its names
//! ```

mod agent;
mod chain;
mod changes;
mod command;
mod config;
mod context;
mod copy;
mod digests;
mod dockerfile;
mod draft;
mod evaluate;
mod finish;
mod glob;
mod graph;
mod ignore;
mod job;
mod mode;
#[cfg(test)]
mod oracle;
mod owner;
mod perform;
mod platform;
mod records;
mod remote;
mod root;
mod solve;
mod steps;
mod stubs;
mod supplies;
mod transfer;
mod tree;
mod unpack;
mod values;
mod whole;
mod worker;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::failure::Doing;
use crate::failure::Result;
use crate::image::Image;
use crate::image::ImageConfig;
use crate::place::Home;

/// What to build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The directory whose files COPY and ADD may read.
    pub context: PathBuf,
    /// `Dockerfile` of the context if None; a path is relative to where the user stands.
    pub dockerfile: Option<PathBuf>,
    /// The Dockerfile's own text (`dockerfile_inline`, `-f -`).
    pub dockerfile_text: Option<String>,
    /// Names for the image.
    pub tags: Vec<String>,
    /// The last stage if None.
    pub target: Option<String>,
    /// `--build-arg`; a None value takes the environment's.
    pub args: BTreeMap<String, Option<String>>,
    pub labels: BTreeMap<String, String>,
    pub no_cache: bool,
    /// Asks the registry for newer base images.
    pub pull: bool,
    /// `linux/amd64`; ours if None.
    pub platform: Option<String>,
    /// `host`, `none`, `default` or the name of a network, for RUN.
    pub network: Option<String>,
    pub extra_hosts: Vec<(String, String)>,
    /// `--build-context`: a name to a directory or to `docker-image://NAME`.
    pub contexts: BTreeMap<String, String>,
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// `--ssh`, by id: an agent's socket, or keys; without any, the agent that SSH_AUTH_SOCK names.
    pub ssh: BTreeMap<String, Vec<PathBuf>>,
    /// `--allow`: `network.host`, `security.insecure`.
    pub allow: BTreeSet<String>,
    /// Of /dev/shm in RUN, in bytes.
    pub shm_size: Option<u64>,
    /// Name, soft, hard.
    pub ulimits: Vec<(String, u64, u64)>,
    /// The cgroup that RUNs are put below.
    pub cgroup_parent: Option<String>,
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    File(PathBuf),
    /// A variable of our environment.
    Env(String),
}

impl Secret {
    /// What it is now; None if the variable is not set.
    ///
    /// # Errors
    /// A file that cannot be read; `id` is what the user calls it.
    fn value(&self, id: &str) -> Result<Option<Vec<u8>>> {
        match self {
            Secret::File(path) => {
                let read = std::fs::read(path).doing(|| format!("cannot read the secret `{id}` from {}", path.display()));
                read.map(Some)
            }
            Secret::Env(name) => Ok(std::env::var_os(name).map(std::os::unix::ffi::OsStringExt::into_vec)),
        }
    }
}

/// What is seen of a build. Called from several threads.
pub trait Watch: crate::image::Watch {
    /// Step `number` of `of` begins: `[web 2/7] RUN pip install …`.
    fn step(&self, number: usize, of: usize, text: &str);
    /// It was answered from the cache.
    fn cached(&self, number: usize);
    /// What a RUN writes, by lines.
    fn output(&self, number: usize, line: &[u8]);
    /// It ended well.
    fn ended(&self, number: usize);
}

/// Builds an image; an unchanged build runs nothing.
///
/// # Errors
/// All faults of the Dockerfile at their lines; a RUN that failed, with its line and exit status; a missing COPY source.
/// Nothing is tagged then.
pub fn build(home: &Home, wanted: &Wanted, watch: &dyn Watch) -> Result<Image> {
    whole::build(home, wanted, watch)
}

/// The configuration after `--change` of `commit` and `import`: instructions of a Dockerfile that make no layer.
///
/// # Errors
/// Every one that cannot be understood, or that may not stand there.
pub fn changed(config: &ImageConfig, changes: &[String]) -> Result<ImageConfig> {
    changes::changed(config, changes)
}

/// Plays the role of a RUN's own process if the command line (`coracle @build-run`) says so; None if it does not.
pub fn role(args: &[OsString]) -> Option<ExitCode> {
    (args.get(1)? == job::ROLE).then(worker::main)
}
