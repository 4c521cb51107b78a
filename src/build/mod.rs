//! Builds: a Dockerfile becomes an image, each step run only if what it reads has changed.
//!
//! ```text
//! dockerfile   text -> stages of typed instructions, with places; every fault at once
//! ground       the context and the Dockerfile, brought here (remote: from other machines)
//! plan         bases brought, triggers put in, steps numbered; lint, questions: looked at, not built
//! graph        which stages there are, what each stands on, which the target needs
//! evaluate     (transfer) instructions -> steps, configuration, history; pure
//! solve        stages side by side: a key for each step, its record or its work
//!   context, tree, sent, ignore, digests   what COPY reads
//!   perform, copy, unpack, owner       COPY, ADD, WORKDIR into an overlay's upper directory
//!   command, job │ worker, stubs       RUN │ in a process of its own
//! finish, export   dates, the image, its names; files, archives, layouts, registries
//!   exchange       caches that are elsewhere; provenance, sbom: what is said of a result
//! inventory, limit, cleaning   what is kept, how much of it may be, how it goes
//! ```

mod agent;
mod arriving;
pub mod builders;
mod caches;
mod chain;
mod changes;
mod cleaning;
mod command;
mod config;
mod context;
mod copy;
mod digests;
mod dockerfile;
mod draft;
mod emulation;
mod evaluate;
mod exchange;
mod export;
mod finish;
mod glob;
mod graph;
mod ground;
mod ignore;
mod inventory;
mod job;
mod limit;
mod lint;
mod mode;
#[cfg(test)]
mod oracle;
mod outputs;
mod owner;
mod perform;
mod plan;
mod platform;
mod provenance;
mod questions;
mod records;
mod refusals;
mod remote;
mod root;
mod sbom;
mod sent;
mod solve;
mod steps;
mod stubs;
mod supplies;
mod transfer;
mod tree;
mod turn;
mod unpack;
mod values;
mod wanted;
mod whole;
mod worker;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::failure::Result;
use crate::image::ImageConfig;
use crate::place::Home;

pub use caches::CacheFrom;
pub use caches::CacheOptions;
pub use caches::CacheTo;
pub use caches::fields;
pub use caches::flag;
pub use cleaning::Pruning;
pub use ignore::Patterns;
pub use ignore::lines as ignore_lines;
pub use inventory::CacheEntry;
pub use inventory::CacheKind;
pub use limit::Limits;
pub use lint::Warning;
pub use outputs::Annotation;
pub use outputs::AnnotationAt;
pub use outputs::Detail;
pub use outputs::ImageOptions;
pub use outputs::LayoutForm;
pub use outputs::Output;
pub use outputs::Provenance;
pub use outputs::ProvenanceForm;
pub use outputs::Sbom;
pub use questions::Argument;
pub use questions::Asked;
pub use questions::Checked;
pub use questions::Outline;
pub use questions::Target;
pub use wanted::Built;
pub use wanted::BuiltImage;
pub use wanted::Context;
pub use wanted::DockerfileAt;
pub use wanted::Secret;
pub use wanted::Wanted;

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
    /// It did not, and this is why, in one line.
    fn broke(&self, number: usize, reason: &str);
    /// A step failed, and the terminal is somebody else's from now on; the text is said before.
    fn handed_over(&self, text: &str);
    /// The result is going to a registry, under this name.
    fn pushing(&self, name: &str);
}

/// Builds an image; an unchanged build runs nothing.
///
/// # Errors
/// All faults of the Dockerfile at their lines; a RUN that failed, with its line and exit status; a missing COPY source.
/// Nothing is tagged then.
pub fn build(home: &Home, wanted: &Wanted, watch: &dyn Watch) -> Result<Built> {
    let arriving = crate::image::arriving(home)?;
    let built = whole::build(home, wanted, watch);
    drop(arriving);
    if let Err(failure) = limit::heed(home) {
        watch.note(&failure.to_string());
    }
    built
}

/// Looks at all that can be known of a Dockerfile without building it.
///
/// # Errors
/// A context or a Dockerfile that cannot be had; faults of the Dockerfile are an answer.
pub fn check(home: &Home, wanted: &Wanted, watch: &dyn Watch) -> Result<Checked> {
    questions::check(home, wanted, watch)
}

/// Tells what a build can be given: arguments, secrets, agents.
///
/// # Errors
/// As [`check`], and the faults of the Dockerfile.
pub fn outline(home: &Home, wanted: &Wanted, watch: &dyn Watch) -> Result<Outline> {
    questions::outline(home, wanted, watch)
}

/// Tells the stages that can be built, with the Dockerfile's text.
///
/// # Errors
/// As [`outline`].
pub fn targets(home: &Home, wanted: &Wanted) -> Result<(Vec<Target>, String)> {
    questions::targets(home, wanted)
}

/// The platforms whose commands a RUN can carry out on this machine, our own first.
pub fn runnable_platforms() -> Vec<String> {
    emulation::platforms()
}

/// What builds keep for the next time.
///
/// # Errors
/// The records cannot be read.
pub fn cache(home: &Home) -> Result<Vec<CacheEntry>> {
    inventory::cache(home)
}

/// Removes what builds keep for the next time, and says what; none if something is being built or pulled.
///
/// # Errors
/// The records cannot be read or written.
pub fn prune(home: &Home, wanted: &Pruning) -> Result<Option<Vec<CacheEntry>>> {
    cleaning::prune(home, wanted)
}

/// The configuration after `--change` of `commit` and `import`: instructions of a Dockerfile that make no layer.
///
/// # Errors
/// Every one that cannot be understood, or that may not stand there.
pub fn changed(config: &ImageConfig, changes: &[String]) -> Result<ImageConfig> {
    changes::changed(config, changes)
}

/// Plays the role of a RUN's own process (`coracle @build-run`), or of the one that keeps the cache small, if the command
/// line says so; None if it does not.
pub fn role(args: &[OsString]) -> Option<ExitCode> {
    if args.get(1)? == job::ROLE { Some(worker::main()) } else { limit::role(args) }
}
