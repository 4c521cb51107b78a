//! One more process in a running container.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use oci_spec::runtime::Process as ProcessSpec;
use oci_spec::runtime::Spec;
use rustix::process::Pid;
use rustix::process::PidfdFlags;

use super::Cgroup;
use super::Process;
use super::Stdio;
use super::create::Waiting;
use super::create::let_go;
use super::namespaces;
use super::namespaces::Namespaces;
use super::namespaces::with_children_in;
use super::steps;
use super::steps::More;
use super::talk;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::sys;

/// Runs one more process in a running container: namespaces by pidfd, cgroup, capabilities, seccomp as the container's.
///
/// The caller must have one thread; the process is the caller's child and to be reaped by it.
///
/// # Errors
/// As [`super::Created::start`].
pub fn exec(container_pid: i32, cgroup: &Cgroup, spec: &Spec, process: &ProcessSpec, stdio: Stdio) -> Result<Process> {
    let command = process.args().as_ref().and_then(|arguments| arguments.first()).map_or("", String::as_str);
    let what = format!("cannot execute `{command}` in the container");
    let container = open_container(container_pid).map_err(|failure| failure.within(&what).exit(125))?;
    let kinds = Namespaces::of(spec).all();
    let container_again = container.try_clone().doing(|| &what)?;
    let mut doors = cgroup.doors().map_err(|failure| failure.within(&what).exit(125))?;
    let unified = doors.unified.take();
    let more = More { process, spec, stdio, doors, container, namespaces: kinds & !namespaces::PID };
    let (maker, child) = talk::pair().doing(|| &what)?;
    let heard = &maker;
    let run = move || {
        heard.forget();
        steps::carry_out(&child, |child| steps::more(more, child))
    };
    let pids = (kinds & namespaces::PID != 0).then_some(&container_again);
    let cloned = with_children_in(pids, || sys::clone::clone3(0, unified.as_ref().map(AsFd::as_fd), run));
    let (pid, pidfd) = cloned.doing(|| &what).map_err(|failure| failure.exit(125))?;
    let_go(pid, Waiting { maker, pidfd }, &what)
}

fn open_container(pid: i32) -> Result<OwnedFd> {
    let gone = || Failure::new(format!("process {pid} of the container is gone"));
    let number = Pid::from_raw(pid).filter(|_| pid > 0).ok_or_else(gone)?;
    match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => Err(gone()),
        outcome => outcome.map_err(io::Error::from).doing(|| format!("cannot open process {pid} of the container")),
    }
}
