//! The supervisor: one process for the containers of a project (or one container), one thread, one loop around poll(2).
//!
//! It starts containers, moves their output into logs, answers their questions for names, checks their health, notes their ends
//! and starts them again. It can be killed at any moment: the [`guardian`] forks another one, which reads records and states,
//! finds the processes by pid and start time, and inherits what cannot be opened again.
//!
//! What is polled is listed anew each time from what there is, so nothing registered can be stale, not after a fork either.

mod exits;
mod guardian;
mod health;
mod idle;
mod leisure;
mod load;
mod names;
mod nest;
mod output;
mod relays;
mod replug;
mod requests;
mod senders;
mod shorten;
mod start;
mod stop;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::WaitOptions;

use crate::net::Reservation;
use crate::place::Home;
use crate::runtime::Cgroup;
use crate::sys::child;
use crate::sys::child::Fork;
use crate::sys::memory;
use crate::units;

use super::Container;
use super::State;
use super::protocol;
use super::streams;

use guardian::Guardian;
use guardian::Keeping;
use guardian::LISTENER;
use guardian::Notice;
use guardian::Turn;
use health::Checks;
use idle::Duty;
use leisure::Root;
use nest::Nest;
use nest::Store;
use output::Output;
use relays::Relays;
use requests::Connection;

pub(super) use guardian::role;

/// So long after a start we are held to be quiet.
const QUIET: Duration = Duration::from_secs(1);

/// The process that watches containers.
#[derive(Debug)]
struct Supervisor {
    nest: Nest,
    home: Home,
    /// What the guardian has too.
    store: Store,
    /// The talk with the guardian; its end is the guardian's death.
    guardian: OwnedFd,
    watched: BTreeMap<String, Watched>,
    connections: Vec<Connection>,
    jobs: Vec<Job>,
    /// The root file systems of containers that run or have just ended.
    roots: BTreeMap<String, Root>,
    /// When what was removed is to be deleted.
    tidy_at: Option<Instant>,
    /// If it is we who look after idle networks.
    duty: Option<Duty>,
    /// When we have been quiet for long enough to let go of what we do not need for being so.
    rest_at: Option<Instant>,
    names: names::Directory,
}

/// A process that we forked for something short.
#[derive(Debug)]
struct Job {
    pid: Pid,
    pidfd: OwnedFd,
    errand: Errand,
}

/// What a [`Job`] is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Errand {
    /// This container is down when it has ended.
    TakeDown(String),
    /// This container's root file system is unmounted then.
    CloseRoot(String),
    RemoveIdle,
    Tidy,
    Probe,
    /// This container's output is sent where its log driver says.
    Send(String),
}

/// A container that is looked after.
#[derive(Debug)]
struct Watched {
    container: Container,
    state: State,
    /// While it has a process.
    run: Option<Run>,
    /// Its host ports, from the start until it is down for good: a restart must find them free.
    reservation: Option<Reservation>,
    /// When it is to be started again.
    restart_at: Option<Instant>,
    /// How long the last restart waited.
    delay: Duration,
}

/// What belongs to a container's process.
#[derive(Debug)]
struct Run {
    pidfd: OwnedFd,
    cgroup: Cgroup,
    since: Instant,
    output: Output,
    /// The master of its terminal.
    terminal: Option<Rc<OwnedFd>>,
    checks: Option<Checks>,
    relays: Relays,
    /// What tells the process that sends its output elsewhere that it has ended.
    sender: Option<OwnedFd>,
    /// When a stop loses its patience.
    kill_at: Option<Instant>,
    /// It has ended, and somebody else has to reap it; until when we wait for that.
    reaped_by: Option<Instant>,
}

/// Where something has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Guardian,
    Listener,
    Names,
    Connection(usize),
    Process(String),
    Output(String),
    Questions(usize),
    Probe(String),
    Relays(String),
    Job(usize),
}

impl Supervisor {
    fn new(nest: Nest, store: Store, guardian: OwnedFd, first: Option<OwnedFd>) -> Supervisor {
        let home = nest.home.clone();
        let connections = first.into_iter().map(Connection::new).collect();
        let names = names::Directory::default();
        Supervisor {
            nest,
            home,
            store,
            guardian,
            watched: BTreeMap::new(),
            connections,
            jobs: Vec::new(),
            roots: BTreeMap::new(),
            tidy_at: None,
            duty: None,
            rest_at: Some(Instant::now() + QUIET),
            names,
        }
    }

    /// Looks after the containers until none is left to look after.
    fn supervise(mut self: Box<Self>) -> Turn {
        if self.watched.is_empty() {
            self.load();
        }
        if self.connections.is_empty() {
            self.sweep(); // nobody has begun us, so one before us was killed
        }
        self.mind_what_was_left();
        loop {
            if self.is_idle() {
                self.leave();
                return Turn::End;
            }
            for source in self.wait() {
                if source == Source::Guardian && !self.hear_guardian() {
                    match self.replace_guardian() {
                        Ok(Some(guardian)) => return Turn::Guard(guardian),
                        Ok(None) => {}
                        Err(error) => complain("cannot replace the guardian", error),
                    }
                    break;
                }
                self.handle(&source);
            }
            self.keep_time();
            self.reap_jobs();
        }
    }

    /// Nothing runs, nothing is to run, nobody waits for an answer.
    fn is_idle(&self) -> bool {
        self.connections.is_empty()
            && self.jobs.is_empty()
            && self.duty.is_none()
            && !self.watched.values().any(|watched| watched.state.is_up())
    }

    fn leave(&mut self) {
        self.nest.hide();
        // Whoever connected before that hears our end, and begins another supervisor.
        self.nest.clear();
        self.leave_leisure();
    }

    /// Sleeps until something happens or is due; returns where.
    fn wait(&self) -> Vec<Source> {
        let mut sources = self.sources();
        let limit = self.next_deadline().map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(left.subsec_nanos()) }
        });
        let mut polled: Vec<PollFd<'_>> = sources.iter().map(|(_, fd, events)| PollFd::from_borrowed_fd(*fd, *events)).collect();
        match rustix::event::poll(&mut polled, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                complain("cannot wait", io::Error::from(error));
                std::thread::sleep(Duration::from_millis(100)); // or a lasting error would take a whole CPU
            }
        }
        let happened: Vec<bool> = polled.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut happened = happened.iter();
        sources.retain(|_| happened.next().is_some_and(|happened| *happened));
        sources.into_iter().map(|(source, ..)| source).collect()
    }

    fn sources(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let mut sources = vec![(Source::Guardian, self.guardian.as_fd(), PollFlags::IN)];
        if let Some(listener) = self.store.get(LISTENER) {
            sources.push((Source::Listener, listener.as_fd(), PollFlags::IN));
        }
        if let Some(watch) = self.names.watch() {
            sources.push((Source::Names, watch, PollFlags::IN));
        }
        sources.extend(self.names.servers().enumerate().map(|(number, server)| (Source::Questions(number), server, PollFlags::IN)));
        for (number, connection) in self.connections.iter().enumerate() {
            sources.push((Source::Connection(number), connection.as_fd(), PollFlags::IN));
        }
        sources.extend(self.jobs.iter().enumerate().map(|(number, job)| (Source::Job(number), job.pidfd.as_fd(), PollFlags::IN)));
        for (id, watched) in &self.watched {
            let Some(run) = &watched.run else { continue };
            // Once it is known to have ended, only its being reaped (POLLHUP) is news.
            let events = if run.reaped_by.is_none() { PollFlags::IN } else { PollFlags::empty() };
            sources.push((Source::Process(id.clone()), run.pidfd.as_fd(), events));
            sources.extend(run.output.sources().map(|fd| (Source::Output(id.clone()), fd, PollFlags::IN)));
            if let Some(probe) = run.checks.as_ref().and_then(Checks::source) {
                sources.push((Source::Probe(id.clone()), probe, PollFlags::IN));
            }
            sources.extend(run.relays.sources().map(|fd| (Source::Relays(id.clone()), fd, PollFlags::IN)));
        }
        sources
    }

    fn next_deadline(&self) -> Option<Instant> {
        let runs = self.watched.values().filter_map(|watched| watched.run.as_ref());
        let of_runs = runs.flat_map(|run| {
            let checks = run.checks.as_ref().and_then(Checks::deadline);
            [run.kill_at, run.reaped_by, run.output.deadline(), checks]
        });
        let of_restarts = self.watched.values().map(|watched| watched.restart_at);
        of_runs.chain(of_restarts).chain([self.rest_at, self.duty.as_ref().map(|duty| duty.due), self.leisure_deadline()]).flatten().min()
    }

    fn handle(&mut self, source: &Source) {
        match source {
            Source::Guardian | Source::Job(_) => {} // jobs are reaped after every round
            Source::Listener => self.accept(),
            Source::Names => self.names.hear(&self.home),
            Source::Connection(number) => self.hear(*number),
            Source::Process(id) => self.look_after_process(id),
            Source::Output(id) => {
                if self.run_of(id).is_some_and(|run| run.output.pump()) {
                    self.announce_more(id);
                }
            }
            Source::Questions(number) => self.names.answer(*number),
            Source::Probe(id) => self.take_probe(id),
            Source::Relays(id) => self.tend_relays(id),
        }
    }

    /// Does what is due.
    fn keep_time(&mut self) {
        self.connections.retain(|connection| !connection.is_over());
        let now = Instant::now();
        if self.rest_at.is_some_and(|due| due <= now) {
            self.rest_at = None;
            let _ = memory::let_go_of_code(); // it is only a courtesy
        }
        if self.duty.as_ref().is_some_and(|duty| duty.due <= now) {
            self.do_duty();
        }
        self.use_leisure(now);
        let ids: Vec<String> = self.watched.keys().cloned().collect();
        for id in ids {
            let Some(watched) = self.watched.get_mut(&id) else { continue };
            if watched.restart_at.is_some_and(|due| due <= now) {
                self.restart(&id);
                continue;
            }
            let Some(run) = &mut watched.run else { continue };
            run.output.wake(now);
            if run.kill_at.is_some_and(|due| due <= now) {
                run.kill_at = None;
                self.kill_all_of(&id);
            } else if run.reaped_by.is_some_and(|due| due <= now) {
                self.look_after_process(&id);
            } else if run.checks.as_ref().and_then(Checks::deadline).is_some_and(|due| due <= now) {
                self.check_health(&id);
            }
        }
    }

    /// False if the guardian is gone.
    fn hear_guardian(&mut self) -> bool {
        if !matches!(protocol::receive::<Notice>(self.guardian.as_fd()), Ok(Some((Notice::Reaped, _)))) {
            return false;
        }
        let waiting = self.watched.iter().filter(|(_, watched)| watched.run.as_ref().is_some_and(|run| run.reaped_by.is_some()));
        let ids: Vec<String> = waiting.map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.look_after_process(&id);
        }
        true
    }

    /// Forks: the parent half, whose children the containers are, returns what the new guardian needs; the child half goes on.
    fn replace_guardian(&mut self) -> io::Result<Option<Guardian>> {
        complain("the guardian has died; taking its place", "");
        let (ours, theirs) = protocol::pair()?;
        match child::fork()? {
            Fork::Parent(pid) => {
                self.watched.clear();
                self.connections.clear();
                self.duty = None; // the other half has it
                self.roots.clear();
                let nest = std::mem::replace(&mut self.nest, Nest::empty(self.home.clone()));
                Ok(Some(Guardian::of(nest, std::mem::take(&mut self.store), pid, ours)))
            }
            Fork::Child => {
                self.guardian = theirs;
                Ok(None)
            }
        }
    }

    /// Keeps a descriptor over our own death.
    fn keep(&mut self, name: &str, descriptor: OwnedFd) -> Rc<OwnedFd> {
        guardian::tell(&self.guardian, &Keeping::Keep(name.to_owned()), Some(&descriptor));
        let kept = Rc::new(descriptor);
        self.store.insert(name.to_owned(), Rc::clone(&kept));
        kept
    }

    /// Lets go of all that was kept for a container; names end with its id.
    fn forget(&mut self, id: &str, which: impl Fn(&str) -> bool) {
        let names: Vec<String> = self.store.keys().filter(|name| name.ends_with(id) && which(name)).cloned().collect();
        for name in names {
            self.store.remove(&name);
            guardian::tell(&self.guardian, &Keeping::Forget(name), None);
        }
    }

    fn run_of(&mut self, id: &str) -> Option<&mut Run> {
        self.watched.get_mut(id).and_then(|watched| watched.run.as_mut())
    }

    /// Runs `work` in a forked process, which ends with it and the status it gives.
    fn fork_job(&mut self, errand: Errand, work: impl FnOnce() -> i32) -> io::Result<()> {
        match child::fork()? {
            Fork::Parent(pid) => {
                let Some(pid) = Pid::from_raw(pid) else { return Ok(()) };
                let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
                self.jobs.push(Job { pid, pidfd, errand });
                Ok(())
            }
            Fork::Child => {
                self.nest.unlock_copy();
                self.store.clear();
                self.connections.clear();
                self.duty = None;
                self.roots.clear();
                self.watched.values_mut().for_each(Watched::let_go_of_ports);
                std::process::exit(work());
            }
        }
    }

    /// Takes in the jobs that have ended.
    fn reap_jobs(&mut self) {
        // Of one that was forked before we took the guardian's place, the guardian is the parent: then its end is in the pidfd alone.
        let (ended, running): (Vec<Job>, Vec<Job>) = std::mem::take(&mut self.jobs).into_iter().partition(|job| has_ended(&job.pidfd));
        self.jobs = running;
        for job in ended {
            let reaped = rustix::process::waitpid(Some(job.pid), WaitOptions::NOHANG);
            let went_well = matches!(reaped, Ok(Some((_, status))) if status.exit_status() == Some(0));
            match job.errand {
                // Where its run directory stands, there is still something to take back: it was killed.
                Errand::TakeDown(id) if self.home.container_run(&id).exists() => self.take_down_again(&id),
                Errand::TakeDown(id) => self.be_down(&id),
                // What cannot be removed is left to the next command, which says why.
                Errand::RemoveIdle if went_well => self.mind_what_was_left(),
                Errand::Send(id) => self.send_on(&id),
                Errand::RemoveIdle | Errand::CloseRoot(_) | Errand::Tidy | Errand::Probe => {}
            }
        }
    }

    /// Waits until what a container had in its last run is taken back, its root unmounted.
    fn wait_until_down(&mut self, id: &str) {
        while let Some(job) = self.jobs.iter().find(|job| job.takes_down(id) || job.closes_root(id)) {
            let _ = rustix::event::poll(&mut [PollFd::new(&job.pidfd, PollFlags::IN)], None);
            self.reap_jobs();
        }
    }

    /// Whether a container's last run is being taken back.
    fn is_being_taken_down(&self, id: &str) -> bool {
        self.jobs.iter().any(|job| job.takes_down(id))
    }
}

impl Watched {
    /// Closes this process' copies of the sockets that hold ports: one is free again when its last socket is closed, and not when
    /// some job, of another container even, has ended.
    fn let_go_of_ports(&mut self) {
        self.reservation = None;
        if let Some(run) = &mut self.run {
            run.relays.let_go();
        }
    }
}

impl Job {
    fn takes_down(&self, container: &str) -> bool {
        matches!(&self.errand, Errand::TakeDown(id) if id == container)
    }

    fn closes_root(&self, container: &str) -> bool {
        matches!(&self.errand, Errand::CloseRoot(id) if id == container)
    }
}

fn has_ended(pidfd: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
}

/// Notes what went wrong where nobody hears us: in `complaints`, which is standard error here.
pub(super) fn complain(what: &str, why: impl Display) {
    let _ = streams::write(2, format!("{} {what}: {why}\n", units::now()).as_bytes());
}
