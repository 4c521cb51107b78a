//! Where things lie on disk: the only room that joins path names of ours.

use std::env;
use std::path::Path;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::failure::Result;

/// The two directories that hold everything Coracle knows: one that stays, one that a reboot clears.
///
/// `/var/lib/coracle` and `/run/coracle` as root. `--root DIR` or `CORACLE_ROOT` moves both: then the
/// second is `DIR/run`, so two roots never meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
    run: PathBuf,
}

impl Home {
    /// Finds the directories from `--root`, the environment and the user we are; makes nothing.
    ///
    /// # Errors
    /// No home directory is known for a user that is not root.
    pub fn find(root_flag: Option<&Path>) -> Result<Home> {
        if let Some(root) = root_flag.map(Path::to_path_buf).or_else(|| env::var_os("CORACLE_ROOT").map(PathBuf::from)) {
            let root = std::path::absolute(&root).unwrap_or(root);
            return Ok(Home { run: root.join("run"), root });
        }
        if rustix::process::geteuid().is_root() {
            return Ok(Home { root: "/var/lib/coracle".into(), run: "/run/coracle".into() });
        }
        let data = env::var_os("XDG_DATA_HOME")
            .map(PathBuf::from)
            .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")))
            .ok_or_else(|| {
                Failure::new("cannot find a directory for Coracle's data")
                    .because("neither HOME nor XDG_DATA_HOME is set")
                    .hint("name one with `--root DIR`")
            })?;
        let uid = rustix::process::geteuid().as_raw();
        let run = env::var_os("XDG_RUNTIME_DIR").map_or_else(|| PathBuf::from(format!("/tmp/coracle-{uid}")), PathBuf::from);
        Ok(Home { root: data.join("coracle"), run: run.join("coracle") })
    }

    /// The home whose two directories are these; for a supervisor that was told them.
    pub fn at(root: impl Into<PathBuf>, run: impl Into<PathBuf>) -> Home {
        Home { root: root.into(), run: run.into() }
    }

    /// What stays over a reboot.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What a reboot clears: sockets, FIFOs, locks, the state of the host before us.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// Manifests and image configurations, by digest: `blobs/sha256/<hex>`.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// References to manifest digests.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Unpacked layers: `layers/<hex of the diff id>/`.
    pub fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// The build cache's records.
    pub fn build(&self) -> PathBuf {
        self.root.join("build")
    }

    /// All containers.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// One container: record, OCI configuration, upper and work directories, logs.
    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }

    /// Container names, each a link claimed with `O_EXCL`: `names/<name>` holds the id.
    pub fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    /// What was last applied, by project.
    pub fn projects(&self) -> PathBuf {
        self.root.join("projects")
    }

    /// Networks: `networks/<name>/{record.json,leases/<address>}`.
    pub fn networks(&self) -> PathBuf {
        self.root.join("networks")
    }

    /// Volumes: `volumes/<name>/{record.json,_data}`.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// What has happened.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// Removed trees, deleted later.
    pub fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    /// The same for what lies in the run directory, which may be another file system.
    pub fn run_trash(&self) -> PathBuf {
        self.run.join("trash")
    }

    /// Things in the making; whatever is left here when its maker is gone is rubbish.
    pub fn making(&self) -> PathBuf {
        self.root.join("making")
    }

    /// Files whose only use is to be locked.
    pub fn locks(&self) -> PathBuf {
        self.run.join("locks")
    }

    /// What lives only while a container runs: FIFOs, pid and start time, hosts and resolv.conf.
    pub fn container_run(&self, id: &str) -> PathBuf {
        self.run.join("containers").join(id)
    }

    /// What lives only while a step of a build runs: its secrets.
    pub fn build_run(&self, id: &str) -> PathBuf {
        self.builds_run().join(id)
    }

    /// The directories of all steps that run.
    pub fn builds_run(&self) -> PathBuf {
        self.run.join("builds")
    }

    /// A supervisor's directory: its socket, its lock.
    pub fn supervisor(&self, key: &str) -> PathBuf {
        self.run.join("supervisors").join(key)
    }

    /// Who can be found by name on which network now: one file for each running container, under its id.
    pub fn known_names(&self) -> PathBuf {
        self.run.join("known-names")
    }

    /// Stands for [`of_namespace`] where we may not write there.
    pub fn host(&self) -> PathBuf {
        self.run.join("host")
    }
}

/// What all homes share that use one network namespace, by its number: what it was like before us, to be put back.
pub fn of_namespace(number: u64) -> PathBuf {
    PathBuf::from(format!("/run/coracle/namespaces/{number}"))
}
