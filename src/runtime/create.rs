//! A container's first process: made, held, let go; and found again.

use std::fs;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use oci_spec::runtime::LinuxIdMapping;
use oci_spec::runtime::Spec;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::Signal;
use rustix::process::WaitId;
use rustix::process::WaitIdOptions;

use super::Create;
use super::Process;
use super::hooks::Hooks;
use super::hooks::Moment;
use super::namespaces;
use super::namespaces::Namespaces;
use super::namespaces::with_children_in;
use super::steps;
use super::steps::Entry;
use super::steps::First;
use super::talk;
use super::talk::Trouble;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::sys;

/// A process that stands in its namespaces and cgroup and waits for [`Created::start`]; dropping it ends it.
#[derive(Debug)]
pub struct Created {
    pub pid: i32,
    /// The network namespace it is in, to be furnished before the start.
    pub netns: OwnedFd,
    /// The first line of a failure.
    what: String,
    hooks: Option<Hooks>,
    /// Gone once it has been let go.
    waiting: Option<Waiting>,
}

/// The channel to a waiting process, and its pidfd.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) maker: talk::Maker,
    pub(super) pidfd: OwnedFd,
}

/// Clones a process into all the namespaces of the spec at once and into its cgroup, and stops it before it changes anything.
///
/// The caller must have one thread. The child is the caller's, to be reaped by the caller.
///
/// # Errors
/// What could not be made; nothing is left.
pub fn create(create: Create<'_>) -> Result<Created> {
    let what = format!("cannot create container `{}`", create.id);
    let start = format!("cannot start container `{}`", create.id);
    let spec = create.spec;
    let namespaces = Namespaces::of(spec);
    if namespaces.new & namespaces::MOUNT == 0 {
        // Else its root would be laid over the host's.
        return Err(Failure::new(what).because("the spec gives it no mount namespace of its own").exit(125));
    }
    let (pid, waiting) = clone_first(create, &namespaces).map_err(|failure| failure.within(&what).exit(125))?;
    let mut created = Created {
        pid,
        netns: File::open("/dev/null").doing(|| &what)?.into(),
        what: start,
        hooks: Hooks::of(spec),
        waiting: Some(waiting),
    };
    // From here on an error drops `created`, which ends the process.
    if namespaces.new & namespaces::USER != 0 {
        write_user_maps(pid, spec).doing(|| &what).map_err(|failure| failure.exit(125))?;
    }
    let network = match namespaces.path_of(namespaces::NETWORK) {
        Some(path) => path.clone(),
        None => format!("/proc/{pid}/ns/net").into(),
    };
    created.netns =
        File::open(network).doing(|| "cannot open its network namespace").map_err(|failure| failure.within(&what).exit(125))?.into();
    Ok(created)
}

fn clone_first(create: Create<'_>, namespaces: &Namespaces) -> Result<(i32, Waiting)> {
    let Create { spec, root, cgroup, stdio, .. } = create;
    let process = spec.process().as_ref().ok_or_else(|| Failure::new("the spec has no process"))?;
    let joined = namespaces.open_joined().doing(|| "cannot open a namespace to join")?;
    let mut doors = cgroup.doors()?;
    let unified = doors.unified.take();
    // A cgroup namespace has the maker's cgroup as its root if it is made by the clone: the child makes it, once it is inside.
    let new_cgroup_namespace = namespaces.new & namespaces::CGROUP != 0;
    let entry = Entry { doors, joined, new_cgroup_namespace };
    let first = First { spec, process, root, stdio, entry, hierarchies: cgroup.version_1() };
    let (maker, child) = talk::pair().doing(|| "cannot make a channel to the new process")?;
    let shared_pids = match namespaces.path_of(namespaces::PID) {
        Some(path) => Some(File::open(path).doing(|| "cannot open the PID namespace to join")?.into()),
        None => None,
    };
    let heard = &maker;
    let run = move || {
        heard.forget();
        steps::carry_out(&child, |child| steps::first(first, child))
    };
    let kinds = namespaces.new & !namespaces::CGROUP;
    let cloned = with_children_in(shared_pids.as_ref(), || sys::clone::clone3(kinds, unified.as_ref().map(AsFd::as_fd), run));
    let (pid, pidfd) = cloned.doing(|| "cannot make its namespaces: clone3")?;
    Ok((pid, Waiting { maker, pidfd }))
}

fn write_user_maps(pid: i32, spec: &Spec) -> io::Result<()> {
    let Some(linux) = spec.linux() else { return Ok(()) };
    let text = |mappings: &Option<Vec<LinuxIdMapping>>| -> String {
        let line = |map: &LinuxIdMapping| format!("{} {} {}\n", map.container_id(), map.host_id(), map.size());
        mappings.iter().flatten().map(line).collect()
    };
    // Without the right to set groups a group map may only be written once they can no longer be set, see user_namespaces(7).
    if !nix::unistd::geteuid().is_root() {
        fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
    }
    fs::write(format!("/proc/{pid}/uid_map"), text(linux.uid_mappings()))?;
    fs::write(format!("/proc/{pid}/gid_map"), text(linux.gid_mappings()))
}

impl Created {
    /// Lets it build its root and execute the program.
    ///
    /// # Errors
    /// [`Failure::status`] is 127 if the program is not there, 126 if it cannot be executed, 125 for all else.
    pub fn start(mut self) -> Result<Process> {
        let what = std::mem::take(&mut self.what);
        let hooks = self.hooks.take();
        if let Some(hooks) = &hooks {
            // Dropped with an error, the process ends.
            hooks.run(Moment::CreateRuntime, self.pid).map_err(|reason| Failure::new(&what).because(reason).exit(125))?;
        }
        let Some(waiting) = self.waiting.take() else { return Err(Failure::new(what).because("it has been started").exit(125)) };
        let mut process = let_go(self.pid, waiting, &what)?;
        process.warnings.extend(hooks.and_then(|hooks| hooks.run(Moment::PostStart, process.pid).err()));
        Ok(process)
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        if let Some(waiting) = &self.waiting {
            end(&waiting.pidfd);
        }
    }
}

/// Lets a waiting process go on to its program.
pub(super) fn let_go(pid: i32, waiting: Waiting, what: &str) -> Result<Process> {
    let Waiting { maker, pidfd } = waiting;
    let refuse = |trouble: Trouble| {
        end(&pidfd);
        Failure::new(what).because(trouble.words).exit(trouble.status)
    };
    let outcome = maker.go().map_err(refuse)?;
    // A program that has ended already has its line in /proc until it is reaped.
    let start_time = start_time(pid).doing(|| what)?;
    Ok(Process { pid, pidfd, start_time, terminal: outcome.terminal, warnings: outcome.warnings })
}

/// Kills and reaps a process of ours.
fn end(pidfd: &OwnedFd) {
    let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
    let _ = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
}

/// Field 22 of /proc/PID/stat.
fn start_time(pid: i32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_start_time(&text).ok_or_else(|| io::Error::other("/proc/PID/stat has no start time"))
}

/// The name in field 2 may hold blanks and parentheses: fields are counted from the last `)`.
fn parse_start_time(text: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// Finds a process again by pid and start time.
///
/// # Errors
/// What the kernel says; a process that is gone, or another one under its pid, is `Ok(None)`.
pub fn adopt(pid: i32, start: u64) -> Result<Option<OwnedFd>> {
    let Some(number) = Pid::from_raw(pid).filter(|_| pid > 0) else { return Ok(None) };
    let pidfd = match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(error) => return Err(io::Error::from(error)).doing(|| format!("cannot adopt process {pid}")),
    };
    // With the descriptor open the pid can no longer pass to another process without the two disagreeing.
    match start_time(pid) {
        Ok(found) if found == start => Ok(Some(pidfd)),
        Ok(_) => Ok(None),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(None),
        Err(error) => Err(error).doing(|| format!("cannot adopt process {pid}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let line = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3";
        assert_eq!(parse_start_time(line), Some(987_654));
        assert_eq!(parse_start_time("42 (sh"), None);
    }

    #[test]
    fn a_process_is_adopted_only_if_it_is_the_same() {
        let own = std::process::id() as i32;
        let start = start_time(own).unwrap();
        assert!(adopt(own, start).unwrap().is_some());
        assert!(adopt(own, start + 1).unwrap().is_none());
        assert!(adopt(0, 0).unwrap().is_none());
        assert!(adopt(i32::MAX, 1).unwrap().is_none());
    }
}
