//! One more process in a running container. No supervisor has a part in it: it is our child, and its streams are joined to ours here.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use oci_spec::runtime::Process as ProcessSpec;
use oci_spec::runtime::Spec;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;
use rustix::process::WaitId;
use rustix::process::WaitIdOptions;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::runtime;
use crate::runtime::Cgroup;
use crate::runtime::Process;
use crate::runtime::Stdio;
use crate::state;
use crate::sys::child;
use crate::sys::child::Fork;
use crate::units;

use super::Container;
use super::Exec;
use super::Status;
use super::checks;
use super::client;
use super::input::Heard;
use super::input::Input;
use super::input::Keys;
use super::notes;
use super::record;
use super::spec;
use super::streams;
use super::terminal;
use super::terminal::Raw;
use super::terminal::Signals;

/// Runs a process in a container, joined to our own standard streams (and terminal), and returns its exit code.
///
/// # Errors
/// The container does not run; 126, 127 as Docker's.
pub fn exec(home: &Home, id: &str, exec: &Exec) -> Result<i32> {
    let container = client::running(home, id, "run a command in")?;
    let state = record::recorded_state(home, id)?;
    let refuse =
        |reason: &str| Err(Failure::new(format!("cannot run a command in container `{}`", container.name)).because(reason.to_owned()));
    match state.status {
        Status::Running => {}
        Status::Paused => return refuse("it is paused"),
        _ => return refuse("it is between two runs"),
    }
    let entry = Entry::prepare(&container, state.pid, exec)?;
    let number = ("execID", state::random_hex());
    let command = exec.args.join(" ");
    notes::note(home, &container, &format!("exec_create: {command}"), std::slice::from_ref(&number));
    notes::note(home, &container, &format!("exec_start: {command}"), std::slice::from_ref(&number));
    if exec.detach {
        entry.run(null_streams().doing(|| "cannot open /dev/null")?)?;
        return Ok(0);
    }
    let code = if exec.tty { run_on_terminal(&entry, exec) } else { run_on_pipes(&entry, exec) }?;
    notes::note(home, &container, "exec_die", &[number, ("exitCode", code.to_string())]);
    Ok(code)
}

/// Runs a health check's test; returns its exit code and what it has said, -1 if it could not be run or took too long.
pub(super) fn probe(container: &Container, pid: i32, test: Vec<String>, limit: Duration) -> (i32, Vec<u8>) {
    let wanted = Exec { args: test, ..Exec::default() };
    let begun: Result<_> = (|| {
        let (output, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from).doing(|| "cannot make a pipe")?;
        rustix::io::ioctl_fionbio(&output, true).map_err(io::Error::from).doing(|| "cannot read the output")?;
        let stdin = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(io::Error::from);
        let stderr = theirs.try_clone().doing(|| "cannot make a pipe")?;
        let stdio = Stdio::Files { stdin: stdin.doing(|| "cannot open /dev/null")?, stdout: theirs, stderr };
        Ok((Entry::prepare(container, pid, &wanted)?.run(stdio)?, output))
    })();
    let (process, output) = match begun {
        Ok(begun) => begun,
        Err(failure) => return (-1, failure.to_string().into_bytes()),
    };
    let mut said = Vec::new();
    let ended = listen(&process, &output, (Instant::now() + limit, &mut said));
    if !ended {
        let _ = child::send_signal(process.pidfd.as_fd(), libc::SIGKILL);
    }
    match wait_for(&process) {
        Ok(code) if ended => (code, said),
        _ => {
            let mut words = format!("Health check exceeded timeout ({})", units::duration_text(limit)).into_bytes();
            if !said.is_empty() {
                words.extend_from_slice(b": ");
            }
            words.extend(said);
            (-1, words)
        }
    }
}

/// Takes in what a test says until it ends; false if that is too late. What is left behind and still says something is not heard.
fn listen(process: &Process, output: &OwnedFd, (end, said): (Instant, &mut Vec<u8>)) -> bool {
    let mut is_open = true;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let limit = Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(left.subsec_nanos()) };
        let mut sources = vec![PollFd::new(&process.pidfd, PollFlags::IN)];
        if is_open {
            sources.push(PollFd::new(output, PollFlags::IN));
        }
        let happened = rustix::event::poll(&mut sources, Some(&limit)).unwrap_or(0);
        let ended = !sources[0].revents().is_empty();
        is_open = is_open && hear(output, said);
        if ended || happened == 0 && left.is_zero() {
            return ended;
        }
    }
}

/// Reads what is there, keeps the beginning of it; false if there will be no more.
fn hear(output: &OwnedFd, said: &mut Vec<u8>) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match rustix::io::read(output, &mut bytes) {
            Ok(0) => return false,
            Ok(count) => said.extend_from_slice(&bytes[..count.min(checks::LONGEST.saturating_sub(said.len()))]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return error == rustix::io::Errno::AGAIN,
        }
    }
}

/// The way into a container.
struct Entry {
    pid: i32,
    cgroup: Cgroup,
    spec: Spec,
    process: ProcessSpec,
}

impl Entry {
    fn prepare(container: &Container, pid: i32, exec: &Exec) -> Result<Entry> {
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&root, flags, Mode::empty()).map_err(io::Error::from).doing(|| "cannot look into the container")?;
        let user = exec.user.as_deref().unwrap_or(&container.wanted.user);
        let user = runtime::resolve_user(&root, user, &container.wanted.group_add)?;
        let mut inside = container.clone();
        inside.wanted.tty = exec.tty;
        inside.wanted.trust.privileged |= exec.privileged;
        let spec = spec::build_for_exec(&inside, &user)?;
        let mut process = spec.process().clone().unwrap_or_default();
        let mut environment = spec::environment(&inside, &user);
        exec.env.iter().for_each(|variable| spec::set_variable(&mut environment, variable));
        process.set_args(Some(exec.args.clone())).set_env(Some(environment)).set_terminal(Some(exec.tty));
        process.set_cwd(spec::working_dir(exec.working_dir.as_deref().unwrap_or(&container.wanted.working_dir)));
        let cgroup = Cgroup { path: spec::cgroup_path(container) };
        Ok(Entry { pid, cgroup, spec, process })
    }

    fn run(&self, stdio: Stdio) -> Result<Process> {
        runtime::exec(self.pid, &self.cgroup, &self.spec, &self.process, stdio)
    }
}

fn null_streams() -> io::Result<Stdio> {
    let null = || rustix::fs::open(Path::new("/dev/null"), OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    Ok(Stdio::Files { stdin: null()?, stdout: null()?, stderr: null()? })
}

/// Reaps a process of ours; 128+n after signal n.
fn wait_for(process: &Process) -> Result<i32> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(process.pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => {
                return Ok(status
                    .exit_status()
                    .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
                    .unwrap_or(record::UNSEEN_EXIT));
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Failure::new("cannot wait for the command").because(error)),
        }
    }
}

fn run_on_terminal(entry: &Entry, exec: &Exec) -> Result<i32> {
    let (rows, columns) = terminal::size().map_or((24, 80), |size| (size.ws_row, size.ws_col));
    let mut process = entry.run(Stdio::Terminal { rows, columns })?;
    let master = process.terminal.take().ok_or_else(|| Failure::new("cannot find the command's terminal"))?;
    let raw = Raw::enter().doing(|| "cannot change the terminal's mode")?;
    let copy = || master.try_clone().doing(|| "cannot use the command's terminal");
    let keys = Keys::Detach(exec.detach_keys);
    let input = if exec.stdin { Some(Input::new(copy()?, keys).doing(|| "cannot use the command's terminal")?) } else { None };
    let outputs = vec![(1, copy()?)];
    let code = Joint { process, outputs, input, terminal: Some(master) }.stay();
    drop(raw);
    code
}

fn run_on_pipes(entry: &Entry, exec: &Exec) -> Result<i32> {
    let opened = (|| {
        let (stdout, their_stdout) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, their_stderr) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let (their_stdin, stdin) = match exec.stdin {
            true => {
                let (theirs, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
                (theirs, Some(ours))
            }
            false => (rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?, None),
        };
        let input = stdin.map(|stdin| Input::new(stdin, Keys::Plain)).transpose()?;
        let stdio = Stdio::Files { stdin: their_stdin, stdout: their_stdout, stderr: their_stderr };
        io::Result::Ok((stdio, vec![(1, stdout), (2, stderr)], input))
    })();
    let (stdio, outputs, input) = opened.doing(|| "cannot make the command's standard streams")?;
    let process = entry.run(stdio)?;
    Joint { process, outputs, input, terminal: None }.stay()
}

/// What joins us to a command.
struct Joint {
    process: Process,
    /// Which of our streams each goes to.
    outputs: Vec<(u8, OwnedFd)>,
    input: Option<Input>,
    terminal: Option<OwnedFd>,
}

impl Joint {
    fn stay(mut self) -> Result<i32> {
        let signals = Signals::catch().doing(|| "cannot catch signals")?;
        for (_, output) in &self.outputs {
            rustix::io::ioctl_fionbio(output, true).map_err(io::Error::from).doing(|| "cannot use the command's output")?;
        }
        loop {
            let happened = self.sleep(&signals)?;
            while let Some(signal) = signals.next() {
                self.take_signal(signal);
            }
            self.show_output()?;
            if happened.typed
                && let Some(input) = &mut self.input
            {
                match input.pass_on() {
                    Ok(Heard::Bytes) => {}
                    Ok(Heard::Detach) => return self.leave(),
                    Ok(Heard::End) | Err(_) => self.input = None, // closes the pipe: the command sees the end of its input
                }
            }
            if happened.ended {
                self.show_output()?; // what it said with its last breath
                return wait_for(&self.process);
            }
        }
    }

    /// The command goes on without us. A process of ours stays with its terminal, which would hang up with its last holder.
    fn leave(self) -> Result<i32> {
        if let Fork::Parent(_) = child::fork().doing(|| "cannot leave the command alone")? {
            return Ok(0);
        }
        let mut bytes = [0; 32 * 1024];
        let stayed = (|| {
            rustix::process::setsid()?;
            let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
            rustix::stdio::dup2_stdin(&null)?;
            rustix::stdio::dup2_stdout(&null)?;
            rustix::stdio::dup2_stderr(&null)?;
            let Some(terminal) = &self.terminal else { return Ok(()) };
            rustix::io::ioctl_fionbio(terminal, false)?;
            while rustix::io::read(terminal, &mut bytes)? > 0 {}
            rustix::io::Result::Ok(())
        })();
        std::process::exit(i32::from(stayed.is_err()));
    }

    fn sleep(&self, signals: &Signals) -> Result<Happened> {
        let mut sources = vec![
            PollFd::from_borrowed_fd(self.process.pidfd.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        if let Some(input) = &self.input {
            let (source, events) = input.source();
            sources.push(PollFd::from_borrowed_fd(source, events));
        }
        let before_outputs = sources.len();
        sources.extend(self.outputs.iter().map(|(_, output)| PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)));
        match rustix::event::poll(&mut sources, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Failure::new("cannot wait for the command").because(error)),
        }
        let happened = |number: usize| !sources[number].revents().is_empty();
        Ok(Happened { ended: happened(0), typed: before_outputs > 2 && happened(2) })
    }

    fn take_signal(&self, signal: i32) {
        match (&self.terminal, signal) {
            (Some(terminal), libc::SIGWINCH) => terminal::pass_size(terminal),
            (None, libc::SIGWINCH) => {}
            // One that has ended meanwhile needs no signal.
            _ => drop(child::send_signal(self.process.pidfd.as_fd(), signal)),
        }
    }

    /// Writes what the command has said; drops outputs that have ended, and those that nobody reads any more.
    fn show_output(&mut self) -> Result<()> {
        let mut failure = None;
        self.outputs.retain(|(stream, output)| match pass(output.as_fd(), *stream) {
            Ok(open) => open,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => false,
            Err(error) => {
                failure = Some(Failure::new("cannot write the command's output").because(error));
                false
            }
        });
        failure.map_or(Ok(()), Err)
    }
}

/// What a sleep was ended by.
#[derive(Debug, Clone, Copy)]
struct Happened {
    ended: bool,
    typed: bool,
}

/// Writes what is there to one of our streams; false if there will be no more.
fn pass(from: BorrowedFd<'_>, stream: u8) -> io::Result<bool> {
    let mut bytes = [0; 32 * 1024];
    loop {
        match rustix::io::read(from, &mut bytes) {
            Ok(0) | Err(rustix::io::Errno::IO) => return Ok(false), // a terminal that everybody has closed
            Ok(count) => streams::write(stream, &bytes[..count])?,
            Err(rustix::io::Errno::AGAIN) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
