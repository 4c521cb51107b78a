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

mod chain;
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
mod root;
mod solve;
mod steps;
mod stubs;
mod transfer;
mod tree;
mod unpack;
mod values;
mod whole;
mod worker;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::failure::Result;
use crate::image::Image;
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
    /// `host`, `none` or `default`, for RUN.
    pub network: Option<String>,
    pub extra_hosts: Vec<(String, String)>,
    /// `--build-context`: a name to a directory or to `docker-image://NAME`.
    pub contexts: BTreeMap<String, String>,
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, Secret>,
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    File(PathBuf),
    /// A variable of our environment.
    Env(String),
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

/// Plays the role of a RUN's own process if the command line (`coracle @build-run`) says so; None if it does not.
pub fn role(args: &[OsString]) -> Option<ExitCode> {
    (args.get(1)? == job::ROLE).then(worker::main)
}
