//! RUN as its build sees it: what the process in the container is given, what it writes, how it ends.
//!
//! A container is cloned by a process with one thread, and a build has many: so each RUN has a process of its own, this
//! program again in the role `@build-run`.
//!
//! ```text
//! build                                    @build-run
//!   stdin:  one line, the job      ──────►   reads it, starts the container
//!   stdin:  stays open             ──────►   end of file: the build is gone, everything is taken down
//!   stderr: ◄───────────────────────────────  what the command in the container writes
//!   stdout: ◄───────────────────────────────  one line, the report
//! ```

use std::collections::VecDeque;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::PoisonError;

use serde::Deserialize;
use serde::Serialize;

use crate::build::Watch;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;

/// The role's name on the command line.
pub(super) const ROLE: &str = "@build-run";

/// A line longer than this is shown in pieces.
const LONGEST_LINE: u64 = 64 << 10;

/// How much of the output a failure repeats.
const LAST_LINES: usize = 12;

/// What the process in the container is given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Job {
    /// [`crate::place::Home`], in two directories.
    pub home: (PathBuf, PathBuf),
    /// Names the cgroup and the address lease.
    pub id: String,
    /// Discarded if the build dies.
    pub draft: PathBuf,
    pub layers: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
    pub args: Vec<String>,
    pub talk: Talk,
    pub env: Vec<String>,
    pub directory: String,
    pub user: String,
    pub network: Network,
    pub mounts: Vec<JobMount>,
    pub rights: Rights,
    /// `vendor.com/class=name`.
    pub devices: Vec<String>,
    pub limits: Limits,
}

/// Who hears and answers the command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Talk {
    /// The build hears it, nobody answers.
    #[default]
    Heard,
    /// The user, at the terminal.
    Terminal,
}

/// What the command may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Rights {
    /// What any container may.
    #[default]
    Confined,
    /// `--security=insecure`.
    All,
}

/// What the build says for all its RUNs; no part of a key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Limits {
    /// In bytes.
    pub shm_size: Option<u64>,
    /// Name, soft, hard.
    pub ulimits: Vec<(String, u64, u64)>,
    pub cgroup_parent: Option<String>,
}

/// Which network the command sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Network {
    /// A network of ours, by name.
    Plug(String),
    Host,
    None,
}

/// A mount, its source ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum JobMount {
    Bind {
        source: PathBuf,
        target: String,
        access: Access,
    },
    /// A path of a stage's root, attached at `place` first; with a pair of directories to write to, changes are let go.
    Stage {
        layers: Vec<PathBuf>,
        path: String,
        target: String,
        place: PathBuf,
        scratch: Option<(PathBuf, PathBuf)>,
    },
    /// `size` in bytes.
    Tmpfs {
        target: String,
        size: Option<u64>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Access {
    ReadOnly,
    ReadWrite,
}

/// How it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    /// The command's exit status, 128 + n if a signal ended it; None if it never began.
    pub status: Option<i32>,
    /// Why it never began, the widest reason first.
    pub reasons: Vec<String>,
    /// What this machine cannot do.
    pub notes: Vec<String>,
    /// The kernel ended it for want of memory.
    pub out_of_memory: bool,
}

/// The end of a RUN.
pub(super) struct Ended {
    pub report: Report,
    /// The last lines of its output.
    pub last: Vec<String>,
}

/// The open ends of all running jobs; letting them go ends the jobs.
#[derive(Debug)]
pub(super) struct Reins(Mutex<Option<Vec<(u32, ChildStdin)>>>);

impl Default for Reins {
    fn default() -> Reins {
        Reins(Mutex::new(Some(Vec::new())))
    }
}

impl Reins {
    fn hold(&self, pid: u32, rein: ChildStdin) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // After `drop_all` the rein is let go at once.
        if let Some(held) = held.as_mut() {
            held.push((pid, rein));
        }
    }

    fn release(&self, pid: u32) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter_mut().for_each(|held| held.retain(|(known, _)| *known != pid));
    }

    /// Ends all jobs, those that begin later too.
    pub(super) fn drop_all(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Runs a job to its end, passing on its output line by line.
///
/// # Errors
/// The process cannot be started; it died without a report.
pub(super) fn run(job: &Job, reins: &Reins, watch: &dyn Watch, number: usize) -> Result<Ended> {
    let starting = || "cannot start a process for RUN";
    let mut child = Command::new("/proc/self/exe")
        .arg0("coracle")
        .arg(ROLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C is for the build; the job hears of it by the end of its standard input.
        .process_group(0)
        .spawn()
        .doing(starting)?;
    let mut line = serde_json::to_vec(job).doing(starting)?;
    line.push(b'\n');
    let pid = child.id();
    if let Some(mut rein) = child.stdin.take() {
        // A job that is already dead will be known by its missing report.
        let _ = rein.write_all(&line);
        reins.hold(pid, rein);
    }
    let last = follow(&mut child, watch, number);
    let report = report(&mut child);
    reins.release(pid);
    let status = child.wait().doing(starting)?;
    let report = report.ok_or_else(|| Failure::new("cannot carry out RUN").because(format!("its process died ({status})")))?;
    report.notes.iter().for_each(|note| watch.note(note));
    Ok(Ended { report, last })
}

/// Lets the user work in the container of a job whose command is a shell, on our own terminal.
///
/// # Errors
/// The process cannot be started; the shell cannot.
pub(super) fn converse(job: &Job) -> Result<()> {
    let starting = || "cannot start a shell in the root of the failed step";
    let mut command = Command::new("/proc/self/exe");
    // With our group, so that it may use the terminal; a Ctrl-C ends us both.
    let mut child = command.arg0("coracle").arg(ROLE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().doing(starting)?;
    let mut line = serde_json::to_vec(job).doing(starting)?;
    line.push(b'\n');
    let rein = child.stdin.take().map(|mut rein| {
        // A job that is already dead will be known by its missing report.
        let _ = rein.write_all(&line);
        rein
    });
    let report = report(&mut child).unwrap_or_default();
    drop(rein);
    child.wait().doing(starting)?;
    match report.status {
        Some(_) => Ok(()),
        None => Err(Failure::new(starting()).because(report.reasons.join(": "))),
    }
}

/// Passes on the output until the last process that could write has closed it.
fn follow(child: &mut Child, watch: &dyn Watch, number: usize) -> Vec<String> {
    let mut last = VecDeque::new();
    let Some(stderr) = child.stderr.take() else { return Vec::new() };
    let mut output = BufReader::new(stderr);
    loop {
        let mut line = Vec::new();
        match (&mut output).take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(length) if length > 0 => {}
            _ => return last.into(),
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        watch.output(number, &line);
        last.push_back(String::from_utf8_lossy(&line).into_owned());
        if last.len() > LAST_LINES {
            last.pop_front();
        }
    }
}

fn report(child: &mut Child) -> Option<Report> {
    let mut text = String::new();
    child.stdout.take()?.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
