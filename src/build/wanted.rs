//! What a build is asked for.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use crate::build::caches::CacheFrom;
use crate::build::caches::CacheTo;
use crate::build::lint::Warning;
use crate::build::outputs::Annotation;
use crate::build::outputs::Output;
use crate::build::outputs::Provenance;
use crate::build::outputs::Sbom;
use crate::build::remote::Reading;
use crate::build::remote::read_reference;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image::Written;

/// What to build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whose files COPY and ADD may read.
    pub context: Context,
    pub dockerfile: DockerfileAt,
    /// Names for the image.
    pub tags: Vec<String>,
    /// The last stage if None.
    pub target: Option<String>,
    /// `--build-arg`; a None value takes the environment's.
    pub args: BTreeMap<String, Option<String>>,
    pub labels: BTreeMap<String, String>,
    pub no_cache: bool,
    /// Stages whose steps are not taken from the cache.
    pub no_cache_filter: Vec<String>,
    /// Asks the registry for newer base images.
    pub pull: bool,
    /// `linux/amd64`; ours if there is none. For several an image each is made.
    pub platforms: Vec<String>,
    /// `host`, `none`, `default` or the name of a network, for RUN.
    pub network: Option<String>,
    pub extra_hosts: Vec<(String, String)>,
    /// Images that are made here: no registry is asked about them.
    pub own_images: BTreeSet<String>,
    /// `--build-context`, by name: a directory, `docker-image://NAME`, `oci-layout://PATH`, an address.
    pub contexts: BTreeMap<String, String>,
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// `--ssh`, by id: an agent's socket, or keys; without any, the agent that SSH_AUTH_SOCK names.
    pub ssh: BTreeMap<String, Vec<PathBuf>>,
    /// A step that fails opens a shell on our terminal.
    pub debug: bool,
    /// `--allow`: `network.host`, `security.insecure`, `device`, `device=NAME`.
    pub allow: BTreeSet<String>,
    /// Of /dev/shm in RUN, in bytes.
    pub shm_size: Option<u64>,
    /// Name, soft, hard.
    pub ulimits: Vec<(String, u64, u64)>,
    /// The cgroup that RUNs are put below.
    pub cgroup_parent: Option<String>,
    /// What becomes of the result; without any, the store has it.
    pub outputs: Vec<Output>,
    /// Notes on what leaves the store.
    pub annotations: Vec<Annotation>,
    /// The caches of others that are asked for what is not here.
    pub cache_from: Vec<CacheFrom>,
    /// Where what steps came to is written.
    pub cache_to: Vec<CacheTo>,
    /// What is said of the build with what leaves the store.
    pub provenance: Option<Provenance>,
    /// The image that lists what the result is made of, for what leaves the store.
    pub sbom: Option<Sbom>,
    /// With SOURCE_DATE_EPOCH: no file of a new layer is younger than it.
    pub rewrite_timestamps: bool,
    /// What the build shall say of itself to who asked for it, whatever leaves the store.
    pub told: Option<Provenance>,
}

impl Wanted {
    /// Whether the store shall have the image, under its names.
    pub(super) fn is_stored(&self) -> bool {
        self.outputs.is_empty() || self.outputs.iter().any(|output| matches!(output, Output::Store { .. }))
    }

    /// Whether the result is an image anywhere, and not only files.
    pub(super) fn is_image(&self) -> bool {
        let is_files = |output: &Output| matches!(output, Output::Nothing | Output::Directory { .. } | Output::Tar { .. });
        self.outputs.is_empty() || !self.outputs.iter().all(is_files)
    }

    /// The names under which the image leaves the store.
    pub(super) fn sent_names(&self) -> Vec<String> {
        let image = self.outputs.iter().find_map(|output| match output {
            Output::Layout { image, .. } | Output::Registry { image } => Some(image),
            _ => None,
        });
        match image {
            Some(image) if !image.names.is_empty() => image.names.clone(),
            Some(_) => self.tags.clone(),
            None => Vec::new(),
        }
    }

    /// The names that the store gives to the image.
    pub(super) fn stored_names(&self) -> Vec<String> {
        let named = self.outputs.iter().filter_map(|output| match output {
            Output::Store { names } if !names.is_empty() => Some(names.clone()),
            _ => None,
        });
        let named: Vec<String> = named.flatten().collect();
        if named.is_empty() { self.tags.clone() } else { named }
    }
}

/// Where the files of COPY and ADD come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Context {
    /// There are none.
    #[default]
    Nothing,
    /// A directory of this machine.
    Directory(PathBuf),
    /// A git repository; an archive or a Dockerfile behind an address.
    Remote(String),
    /// Our standard input: an archive, or only a Dockerfile.
    Input,
}

impl Context {
    /// Reads the last argument of `build`.
    ///
    /// # Errors
    /// The address of a repository that cannot be; no such directory.
    pub fn read(text: &str) -> Result<Context> {
        let cannot = || format!("cannot build from `{text}`");
        if text == "-" {
            return Ok(Context::Input);
        }
        match read_reference(text) {
            Reading::Wrong(what) => {
                return Err(Failure::new(cannot()).because(what).hint("write it as `https://host/name.git#ref:directory`"));
            }
            Reading::Git(reference) if reference.looks_local && Path::new(text).exists() => {}
            Reading::Git(_) => return Ok(Context::Remote(text.to_owned())),
            Reading::Other if text.starts_with("http://") || text.starts_with("https://") => return Ok(Context::Remote(text.to_owned())),
            Reading::Other => {}
        }
        let found = std::fs::metadata(text).doing(cannot);
        let found = found.map_err(|failure| failure.hint("name the directory that holds the Dockerfile, such as `.`"))?;
        if !found.is_dir() {
            let failure = Failure::new(cannot()).because("the build context is no directory");
            return Err(failure.hint("name the directory that holds the Dockerfile, such as `.`"));
        }
        Ok(Context::Directory(PathBuf::from(text)))
    }
}

/// Where the Dockerfile is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DockerfileAt {
    /// `Dockerfile` of the context.
    #[default]
    Context,
    /// A path relative to where the user stands, or to a context that is elsewhere; or an address.
    Path(PathBuf),
    /// Its own text (`dockerfile_inline`, `-f -`).
    Text(String),
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    File(PathBuf),
    /// A variable of our environment.
    Env(String),
    /// The thing itself.
    Value(Vec<u8>),
}

impl Secret {
    /// What it is now; None if the variable is not set.
    ///
    /// # Errors
    /// A file that cannot be read; `id` is what the user calls it.
    pub(super) fn value(&self, id: &str) -> Result<Option<Vec<u8>>> {
        match self {
            Secret::File(path) => {
                let read = std::fs::read(path).doing(|| format!("cannot read the secret `{id}` from {}", path.display()));
                read.map(Some)
            }
            Secret::Env(name) => Ok(std::env::var_os(name).map(std::os::unix::ffi::OsStringExt::into_vec)),
            Secret::Value(value) => Ok(Some(value.clone())),
        }
    }
}

/// What a build came to.
#[derive(Debug, Clone, Default)]
pub struct Built {
    /// An image for each platform, in the order that was asked for; also those that only an archive has.
    pub images: Vec<BuiltImage>,
    /// The names it has now, in full.
    pub names: Vec<String>,
    /// What is not good about the Dockerfile.
    pub warnings: Vec<Warning>,
    /// The manifest or index that left the store, if one did.
    pub written: Option<Written>,
    /// Whether there is an image somewhere, and not only files.
    pub is_image: bool,
    /// For [`Wanted::told`]: SLSA's predicate, by platform.
    pub told: Vec<(String, serde_json::Value)>,
}

/// The image of one platform.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    /// `linux/amd64`.
    pub platform: String,
    /// `sha256:<hex>` of the configuration.
    pub id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_told_by_its_form() {
        assert_eq!(Context::read("-").unwrap(), Context::Input);
        for remote in ["https://h/x.git#v1:sub", "git@h:x.git", "http://h/context.tar.gz", "github.com/x/y"] {
            assert_eq!(Context::read(remote).unwrap(), Context::Remote(remote.to_owned()), "{remote}");
        }
        assert_eq!(Context::read(".").unwrap(), Context::Directory(".".into()));
        assert!(Context::read("/no/such/place").unwrap_err().to_string().contains("cannot build from `/no/such/place`"));
        assert!(Context::read("https://h/x.git?ref=a#b").unwrap_err().to_string().contains("ref conflicts"));
    }
}
