//! What a build does, as data: the steps that make layers, with every variable replaced.

use serde::Deserialize;
use serde::Serialize;

use crate::build::dockerfile::devices::Device;
use crate::build::dockerfile::instruction::RunNetwork;
use crate::build::dockerfile::mounts::RunMount;
use crate::build::dockerfile::source::Place;
use crate::build::job::Rights;
use crate::build::mode::Mode;
use crate::build::platform::Platform;
use crate::build::remote::GitReference;
use crate::build::remote::WebSource;

/// One step; its result is a layer.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Where its instruction stands.
    pub place: Place,
    /// The instruction as it is shown: `RUN pip install …`.
    pub shown: String,
    pub work: Work,
}

impl Step {
    /// What it needs from other machines.
    pub(super) fn remote_sources(&self) -> impl Iterator<Item = &SourceKind> {
        let sources = match &self.work {
            Work::Transfer(work) => work.sources.as_slice(),
            _ => &[],
        };
        sources.iter().map(|source| &source.kind).filter(|kind| !matches!(kind, SourceKind::Files(_)))
    }
}

#[derive(Debug, Clone)]
pub(super) enum Work {
    Run(RunWork),
    Transfer(TransferWork),
    /// WORKDIR makes its directory.
    Directory(DirectoryWork),
}

/// A command in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunWork {
    pub args: Vec<String>,
    /// `NAME=value`, ARGs among them.
    pub env: Vec<String>,
    /// Proxy variables: given to the command, no part of the cache key.
    pub proxies: Vec<String>,
    pub directory: String,
    pub user: String,
    /// Whose programs are run.
    pub platform: Platform,
    pub network: RunNetwork,
    pub rights: Rights,
    pub mounts: Vec<PlacedMount>,
    pub devices: Vec<Device>,
    /// A heredoc that begins with `#!`: its file name and text, to be executed itself.
    pub script: Option<(String, String)>,
}

/// A mount of a RUN with its target made absolute and its source known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlacedMount {
    pub mount: RunMount,
    pub from: Origin,
    /// Absolute.
    pub target: String,
}

/// Where files are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Origin {
    Context,
    /// Another stage, by its number in the graph.
    Stage(usize),
    Nothing,
}

/// COPY and ADD.
#[derive(Debug, Clone)]
pub(super) struct TransferWork {
    pub from: Origin,
    pub sources: Vec<TransferSource>,
    /// Files whose text stands in the Dockerfile: name and text.
    pub documents: Vec<(String, String)>,
    /// Absolute; ends in `/` or `/.` as written.
    pub dest: String,
    pub chown: Option<String>,
    pub chmod: Option<Mode>,
    pub excludes: Vec<String>,
    /// The layer does not depend on what is below it.
    pub link: bool,
    /// Archives among the files are unpacked.
    pub unpack: bool,
}

/// A source of COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TransferSource {
    /// Where it stands.
    pub place: Place,
    pub kind: SourceKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SourceKind {
    Files(FileSource),
    /// A file behind an address, and the name it gets.
    Web {
        source: WebSource,
        name: String,
        unpack: bool,
    },
    Git(GitReference),
}

/// Files of the context or of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileSource {
    /// Absolute and clean.
    pub path: String,
    /// With `--parents`: only what matches this, below `path`.
    pub include: Option<String>,
    /// With `--parents`: what must be there.
    pub required: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct DirectoryWork {
    pub path: String,
    /// Empty: root.
    pub user: String,
}
