//! Joins our standard streams to a container's. What it says comes out of its log, what we say goes into its FIFO or its terminal.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::fs::Mode;
use rustix::fs::OFlags;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

use super::Attach;
use super::Attached;
use super::Container;
use super::Logs;
use super::client;
use super::input::DetachKeys;
use super::input::Heard;
use super::input::Input;
use super::input::Keys;
use super::logs;
use super::protocol::Reply;
use super::protocol::Request;
use super::protocol::Talk;
use super::record;
use super::record::UNSEEN_EXIT;
use super::streams;
use super::terminal;
use super::terminal::Raw;
use super::terminal::Signals;

/// Docker: so many requests to stop, and we leave the container alone.
const IMPATIENT: u32 = 3;

/// How long a supervisor that died may be away before we ask for another one.
const BREATH: Duration = Duration::from_millis(20);

/// Joins our standard streams to a container's and returns its exit code when it ends.
///
/// Output is what the log gets, so nothing is lost if the supervisor dies meanwhile. With a terminal: raw mode, window
/// size, detach keys ctrl-p ctrl-q. What a start warns of goes to standard error.
///
/// # Errors
/// As [`super::start`].
pub fn attach(home: &Home, id: &str, attach: Attach) -> Result<Attached> {
    let container = record::load(home, id)?.ok_or_else(|| Failure::new(format!("no such container: {id}")))?;
    if !attach.start {
        client::running(home, id, "attach to")?;
    }
    let log = logs::logs_from_now(home, id)?; // before the start: not a byte is missed
    let talk = if attach.start { start(home, &container)? } else { ask_for_end(home, &container)? };
    let signals = Signals::catch().doing(|| "cannot catch signals")?;
    let (raw, terminal) = match container.wanted.tty {
        true => join_terminal(home, &container)?,
        false => (None, None),
    };
    let input = match attach.stdin && container.wanted.stdin {
        true => open_input(home, &container, terminal.as_ref(), attach.detach_keys)?,
        false => None,
    };
    let mut joint = Joint { home, container: &container, attach, log, talk, follows: false, signals, input, terminal, requests_to_stop: 0 };
    let outcome = joint.stay();
    drop(raw);
    outcome
}

fn start(home: &Home, container: &Container) -> Result<Talk> {
    client::check_log(home, container)?;
    // Both at once: a container that ends at once and removes itself cannot be asked about later.
    let id = || container.id.clone();
    let (talk, reply, _) = client::ask_all(home, client::key(container), &[&Request::Start { id: id() }, &Request::Wait { id: id() }])?;
    let Reply::Started { warnings } = reply else { return Err(client::unexpected(&reply)) };
    for warning in warnings {
        let _ = streams::write(2, format!("warning: {warning}\n").as_bytes());
    }
    Ok(talk)
}

fn ask_for_end(home: &Home, container: &Container) -> Result<Talk> {
    client::say(home, client::key(container), &Request::Wait { id: container.id.clone() })
}

/// The container's terminal, and ours in raw mode.
fn join_terminal(home: &Home, container: &Container) -> Result<(Option<Raw>, Option<OwnedFd>)> {
    let asked = client::ask(home, client::key(container), &Request::Terminal { id: container.id.clone() });
    // One that has ended already has no terminal any more; its last words are in the log.
    let Ok((_, _, Some(terminal))) = asked else { return Ok((None, None)) };
    terminal::pass_size(&terminal);
    let raw = Raw::enter().doing(|| "cannot change the terminal's mode")?;
    Ok((raw, Some(terminal)))
}

fn open_input(home: &Home, container: &Container, terminal: Option<&OwnedFd>, keys: DetachKeys) -> Result<Option<Input>> {
    let (to, keys) = match terminal {
        Some(terminal) => (terminal.try_clone().doing(|| "cannot use the container's terminal")?, Keys::Detach(keys)),
        None => {
            let path = home.container_run(&container.id).join("in");
            match rustix::fs::open(&path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
                Ok(fifo) => (fifo, Keys::Plain),
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::NXIO) => return Ok(None), // it has ended already
                Err(error) => return Err(Failure::new("cannot open the container's standard input").because(error)),
            }
        }
    };
    Input::new(to, keys).map(Some).doing(|| "cannot use the container's standard input")
}

/// What joins us to a container.
struct Joint<'a> {
    home: &'a Home,
    container: &'a Container,
    attach: Attach,
    log: Logs,
    talk: Talk,
    /// Its supervisor will say when there is more in the log. (The kernel could too, but it takes fifteen milliseconds to end an inotify,
    /// and our end would wait for that.)
    follows: bool,
    signals: Signals,
    input: Option<Input>,
    terminal: Option<OwnedFd>,
    requests_to_stop: u32,
}

/// Why we stop being joined.
type Parting = Option<Attached>;

impl Joint<'_> {
    fn stay(&mut self) -> Result<Attached> {
        loop {
            if let Some(parting) = self.show_output()? {
                return Ok(parting);
            }
            self.follow();
            let [said, signalled, typed] = self.sleep()?;
            if signalled && let Some(parting) = self.take_signals() {
                return Ok(parting);
            }
            if typed && let Some(parting) = self.take_input()? {
                return Ok(parting);
            }
            if said && let Some(code) = self.take_end()? {
                let parting = self.show_output()?; // all of it: the supervisor empties the FIFOs before it says so
                return Ok(parting.unwrap_or(Attached::Exited(code)));
            }
        }
    }

    /// Asks to be told when the log has more than we have shown.
    fn follow(&mut self) {
        if !self.follows {
            // If nobody hears it, that is what we hear next.
            let _ = self.talk.say(&Request::Follow { id: self.container.id.clone(), seen: self.log.seen() });
            self.follows = true;
        }
    }

    /// Sleeps until something happens; says where.
    fn sleep(&mut self) -> Result<[bool; 3]> {
        let mut sources =
            vec![PollFd::from_borrowed_fd(self.talk.as_fd(), PollFlags::IN), PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
        if let Some(input) = &self.input {
            let (source, events) = input.source();
            sources.push(PollFd::from_borrowed_fd(source, events));
        }
        match rustix::event::poll(&mut sources, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Failure::new("cannot wait for the container").because(error)),
        }
        let happened = |number: usize| sources.get(number).is_some_and(|source| !source.revents().is_empty());
        Ok([happened(0), happened(1), happened(2)])
    }

    /// Writes what the log has got; a reader that has gone away parts us from the container.
    fn show_output(&mut self) -> Result<Parting> {
        let mut bytes: Vec<u8> = Vec::new();
        let mut stream = 1;
        loop {
            let line = self.log.next()?;
            let full = bytes.len() > 64 * 1024 || line.as_ref().is_none_or(|line| line.stream != stream);
            if full && !bytes.is_empty() {
                let is_hidden = self.attach.hidden[usize::from(stream != 1)];
                match if is_hidden { Ok(()) } else { streams::write(stream, &bytes) } {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Some(Attached::Detached)),
                    outcome => outcome.doing(|| "cannot write the container's output")?,
                }
                bytes.clear();
            }
            let Some(line) = line else { return Ok(None) };
            stream = line.stream;
            bytes.extend_from_slice(&line.bytes);
        }
    }

    fn take_signals(&mut self) -> Parting {
        while let Some(signal) = self.signals.next() {
            if signal == libc::SIGWINCH {
                self.terminal.iter().for_each(terminal::pass_size);
                continue;
            }
            self.requests_to_stop += u32::from(matches!(signal, libc::SIGINT | libc::SIGTERM));
            if !self.attach.signals || self.requests_to_stop > IMPATIENT {
                return Some(Attached::Detached);
            }
            // One that has ended meanwhile needs no signal.
            let request = Request::Kill { id: self.container.id.clone(), signal: signal.to_string() };
            let _ = client::ask_living(self.home, client::key(self.container), &request);
        }
        None
    }

    fn take_input(&mut self) -> Result<Parting> {
        let Some(input) = &mut self.input else { return Ok(None) };
        match input.pass_on() {
            Ok(Heard::Bytes) => {}
            Ok(Heard::Detach) => return Ok(Some(Attached::Detached)),
            Ok(Heard::End) | Err(_) => {
                // A terminal has no end; a FIFO has when its last writer is gone, and that is the supervisor.
                self.input = None;
                if self.terminal.is_none() {
                    let request = Request::CloseStdin { id: self.container.id.clone() };
                    let asked = client::ask_living(self.home, client::key(self.container), &request);
                    // One that has ended meanwhile, and perhaps removed itself, has nothing to close.
                    if record::recorded_state(self.home, &self.container.id).is_ok_and(|state| state.is_up()) {
                        asked?;
                    }
                }
            }
        }
        Ok(None)
    }

    /// The exit code if the container has ended; a supervisor that has died is replaced.
    fn take_end(&mut self) -> Result<Option<i32>> {
        match self.talk.hear() {
            Ok(Some((Reply::Ended { code }, _))) => return Ok(Some(code)),
            Ok(Some((Reply::Failed(failure), _))) => return Err(failure),
            Ok(Some((Reply::More, _))) => {
                self.follows = false;
                return Ok(None);
            }
            Ok(Some(_)) => return Ok(None),
            Ok(None) | Err(_) => {}
        }
        match record::recorded_state(self.home, &self.container.id) {
            Ok(state) if state.is_up() => {}
            Ok(state) => return Ok(Some(state.exit_code)),
            Err(_) => return Ok(Some(UNSEEN_EXIT)), // it has removed itself, and nobody is left who knows
        }
        std::thread::sleep(BREATH);
        self.talk = ask_for_end(self.home, self.container)?;
        self.follows = false;
        Ok(None)
    }
}
