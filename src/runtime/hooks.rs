//! Hooks of a spec: programs that are run at certain moments of a container's making (OCI runtime specification,
//! "POSIX-platform Hooks"). Each reads the container's state on its standard input, and each failure ends the start.
//!
//! ```text
//! prestart, createRuntime   by the maker, in its namespaces: the new process stands and waits
//! createContainer           by the new process, which has built its root and not yet entered it; paths are the host's
//! startContainer            by the new process in its root; paths are the container's
//! poststart                 by the maker, when the program runs; a failure is a warning
//! ```

use std::fs;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use oci_spec::runtime::Hook;
use oci_spec::runtime::Spec;
use serde_json::json;

/// A hook that does not say how long it may take.
const LONGEST: Duration = Duration::from_secs(60);

const GLANCE: Duration = Duration::from_millis(5);

/// Which hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    CreateRuntime,
    CreateContainer,
    StartContainer,
    PostStart,
}

/// The hooks of a spec and what they are told.
#[derive(Debug, Clone)]
pub(super) struct Hooks {
    before: Vec<Hook>,
    create_container: Vec<Hook>,
    start_container: Vec<Hook>,
    after: Vec<Hook>,
    /// Where the configuration lies for hooks that look into it.
    bundle: PathBuf,
    spec: Box<Spec>,
}

impl Hooks {
    /// The hooks of a spec; None if it has none that are run here.
    pub(super) fn of(spec: &Spec) -> Option<Hooks> {
        let hooks = spec.hooks().as_ref()?;
        let list = |hooks: &Option<Vec<Hook>>| hooks.clone().unwrap_or_default();
        // The older name of the same moment is still in use.
        #[allow(deprecated, reason = "there are specs that have them")]
        let mut before = list(hooks.prestart());
        before.extend(list(hooks.create_runtime()));
        let bundle = spec.annotations().as_ref().and_then(|annotations| annotations.get(super::BUNDLE_ANNOTATION));
        Some(Hooks {
            before,
            create_container: list(hooks.create_container()),
            start_container: list(hooks.start_container()),
            after: list(hooks.poststart()),
            bundle: bundle.map_or_else(|| PathBuf::from("/"), PathBuf::from),
            spec: Box::new(spec.clone()),
        })
    }

    /// Writes the configuration where hooks look for it; in it, the root has a name that leads there from everywhere on the host.
    pub(super) fn write_bundle(&self, root: &OwnedFd) -> io::Result<()> {
        let own = fs::read_link("/proc/self")?;
        let mut spec = self.spec.clone();
        let mut place = spec.root().clone().unwrap_or_default();
        place.set_path(Path::new("/proc").join(own).join("fd").join(root.as_raw_fd().to_string()));
        spec.set_root(Some(place));
        fs::write(self.bundle.join("config.json"), serde_json::to_vec(&spec)?)
    }

    /// Runs the hooks of a moment; `pid` is the container's first process.
    pub(super) fn run(&self, moment: Moment, pid: i32) -> Result<(), String> {
        let (hooks, status) = match moment {
            Moment::CreateRuntime => (&self.before, "creating"),
            Moment::CreateContainer => (&self.create_container, "creating"),
            Moment::StartContainer => (&self.start_container, "created"),
            Moment::PostStart => (&self.after, "running"),
        };
        let id = self.bundle.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let state = json!({
            "ociVersion": self.spec.version(), "id": id, "status": status, "pid": pid, "bundle": self.bundle,
            "annotations": self.spec.annotations().clone().unwrap_or_default(),
        });
        hooks.iter().try_for_each(|hook| {
            run(hook, &state.to_string()).map_err(|reason| format!("run the hook {}: {reason}", hook.path().display()))
        })
    }

    /// Whether there is any at this moment.
    pub(super) fn has(&self, moment: Moment) -> bool {
        match moment {
            Moment::CreateRuntime => !self.before.is_empty(),
            Moment::CreateContainer => !self.create_container.is_empty(),
            Moment::StartContainer => !self.start_container.is_empty(),
            Moment::PostStart => !self.after.is_empty(),
        }
    }
}

/// The number of the calling process on the host, whose /proc is in reach.
pub(super) fn own_pid() -> i32 {
    let own = fs::read_link("/proc/self").ok();
    own.and_then(|own| own.to_str().and_then(|text| text.parse().ok())).unwrap_or(0)
}

fn run(hook: &Hook, state: &str) -> Result<(), String> {
    let mut command = Command::new(hook.path());
    let mut args = hook.args().iter().flatten();
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    let variables = hook.env().iter().flatten().filter_map(|variable| variable.split_once('='));
    command.args(args).env_clear().envs(variables).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not want to know ends before it is told.
        let _ = stdin.write_all(state.as_bytes());
    }
    let limit = hook.timeout().and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    let deadline = Instant::now() + limit.map_or(LONGEST, Duration::from_secs);
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                let _ = child.kill();
                let _ = child.wait();
                return Err("it has not ended in time".to_owned());
            }
            None => std::thread::sleep(GLANCE),
        }
    };
    match status.success() {
        true => Ok(()),
        false => Err(format!("it ended with {status}{}", complaint(&mut child))),
    }
}

/// The last line that it wrote on its standard error, if it wrote one.
fn complaint(child: &mut Child) -> String {
    let mut text = Vec::new();
    let _ = child.stderr.take().map(|stderr| stderr.take(4096).read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    text.trim_end().lines().last().map_or_else(String::new, |line| format!(": {line}"))
}
