//! What commands ask for; see [`crate::container::protocol`].

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use crate::container::client;
use crate::container::protocol;
use crate::container::protocol::Reply;
use crate::container::protocol::Request;
use crate::container::record;
use crate::failure::Failure;
use crate::failure::Result;

use super::Supervisor;
use super::complain;
use super::guardian::LISTENER;
use super::start::By;
use super::stop;

/// A command that talks to us.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    /// What it waits for, in the order in which it asked.
    parked: Vec<Parked>,
    over: bool,
}

/// An answer that comes later.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Parked {
    /// The exit code of this container.
    Wait(String),
    /// That it is down.
    Stop(String),
    /// That there is more in its log.
    More(String),
}

impl Connection {
    pub(super) fn new(socket: OwnedFd) -> Connection {
        Connection { socket, parked: Vec::new(), over: false }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    fn answer(&mut self, reply: &Reply, descriptor: Option<BorrowedFd<'_>>) {
        if protocol::send(self.socket.as_fd(), reply, descriptor).is_err() {
            self.over = true; // who asked is gone
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Supervisor {
    pub(super) fn accept(&mut self) {
        let Some(listener) = self.store.get(LISTENER) else { return };
        match rustix::net::accept_with(listener, rustix::net::SocketFlags::CLOEXEC) {
            Ok(socket) => self.connections.push(Connection::new(socket)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => {}
            Err(error) => complain("cannot accept a command", std::io::Error::from(error)),
        }
    }

    /// Hears one request and does what it says.
    pub(super) fn hear(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number).filter(|connection| !connection.over) else { return };
        match protocol::receive::<Request>(connection.socket.as_fd()) {
            Ok(Some((request, _))) => self.do_as_asked(number, &request),
            Ok(None) => connection.over = true,
            Err(error) => {
                connection.answer(&Reply::Failed(Failure::new("cannot understand the request").because(error)), None);
                connection.over = true;
            }
        }
    }

    fn do_as_asked(&mut self, number: usize, request: &Request) {
        let outcome = match request {
            Request::Start { id } => self.start(id, By::Hand).map(|warnings| Some(Reply::Started { warnings })),
            Request::Wait { id } => Ok(self.ended(id).or_else(|| self.park(number, Parked::Wait(id.clone())))),
            Request::Follow { id, seen } => Ok(match self.has_more_than(id, *seen) {
                true => Some(Reply::More),
                false => self.park(number, Parked::More(id.clone())),
            }),
            Request::Stop { id, grace, signal } => self.stop(id, *grace, signal.as_deref()).map(|()| match self.is_down(id) {
                true => Some(Reply::Done),
                false => self.park(number, Parked::Stop(id.clone())),
            }),
            Request::Kill { id, signal } => self.kill(id, signal).map(|signal| match signal {
                // Docker: who kills a container finds it dead.
                libc::SIGKILL => self.ended(id).or_else(|| self.park(number, Parked::Wait(id.clone()))),
                _ => Some(Reply::Done),
            }),
            Request::Pause { id, paused } => self.pause(id, *paused).map(|()| Some(Reply::Done)),
            Request::Terminal { id } => self.hand_over_terminal(number, id).map(|()| None),
            Request::CloseStdin { id } => {
                self.forget(id, |name| name.starts_with("in:"));
                Ok(Some(Reply::Done))
            }
            Request::Removed { id } => self.let_go(id).map(|()| match self.is_being_taken_down(id) {
                true => self.park(number, Parked::Stop(id.clone())),
                false => Some(Reply::Done),
            }),
            Request::Amended { id } => self.read_again(id).map(|()| Some(Reply::Done)),
            Request::Tidy => {
                self.tidy_soon();
                Ok(Some(Reply::Done))
            }
            Request::Booted => {
                self.sweep();
                self.start_after_boot();
                Ok(Some(Reply::Done))
            }
            Request::Revived => {
                self.sweep();
                Ok(Some(Reply::Done))
            }
        };
        let reply = outcome.unwrap_or_else(|failure| Some(Reply::Failed(failure)));
        if let (Some(reply), Some(connection)) = (reply, self.connections.get_mut(number)) {
            connection.answer(&reply, None);
        }
    }

    /// Keeps a question for later; there is no answer yet.
    fn park(&mut self, number: usize, parked: Parked) -> Option<Reply> {
        if let Some(connection) = self.connections.get_mut(number) {
            connection.parked.push(parked);
        }
        None
    }

    fn ended(&self, id: &str) -> Option<Reply> {
        match self.watched.get(id) {
            Some(watched) if watched.state.is_up() => None,
            Some(watched) => Some(Reply::Ended { code: watched.state.exit_code }),
            None => {
                let state = crate::container::record::recorded_state(&self.home, id);
                Some(state.map_or_else(Reply::Failed, |state| Reply::Ended { code: state.exit_code }))
            }
        }
    }

    /// Tells a container's exit code to everybody who has waited for it.
    pub(super) fn announce_end(&mut self, id: &str, code: i32) {
        self.answer_parked(&Parked::Wait(id.to_owned()), &Reply::Ended { code });
    }

    /// Tells everybody who has waited for it that nothing of a container's run is left.
    pub(super) fn announce_down(&mut self, id: &str) {
        self.answer_parked(&Parked::Stop(id.to_owned()), &Reply::Done);
    }

    /// Tells everybody who has waited for it that there is more in a container's log.
    pub(super) fn announce_more(&mut self, id: &str) {
        self.answer_parked(&Parked::More(id.to_owned()), &Reply::More);
    }

    fn has_more_than(&self, id: &str, seen: u64) -> bool {
        let run = self.watched.get(id).and_then(|watched| watched.run.as_ref());
        run.is_some_and(|run| run.output.records() > seen)
    }

    fn answer_parked(&mut self, question: &Parked, reply: &Reply) {
        for connection in &mut self.connections {
            while let Some(place) = connection.parked.iter().position(|parked| parked == question) {
                connection.parked.remove(place);
                connection.answer(reply, None);
            }
        }
    }

    fn hand_over_terminal(&mut self, number: usize, id: &str) -> Result<()> {
        let run = self.watched.get(id).and_then(|watched| watched.run.as_ref()).ok_or_else(|| stop::not_running(id))?;
        let terminal = run.terminal.clone().ok_or_else(|| Failure::new("the container has no terminal"))?;
        if let Some(connection) = self.connections.get_mut(number) {
            connection.answer(&Reply::Done, Some(terminal.as_fd()));
        }
        Ok(())
    }

    /// Forgets a container that is about to be removed.
    fn let_go(&mut self, id: &str) -> Result<()> {
        // Who asks has seen its process gone, perhaps before us.
        self.look_after_process(id);
        if self.watched.get(id).is_some_and(|watched| watched.state.is_up()) {
            return Err(Failure::new("cannot remove a container that is running").hint("stop it first, or add `-f`"));
        }
        self.watched.remove(id);
        Ok(())
    }

    /// Takes in what has changed of a container's record; its names are told anew.
    fn read_again(&mut self, id: &str) -> Result<()> {
        let Some(watched) = self.watched.get_mut(id) else { return Ok(()) };
        let Some(container) = record::load(&self.home, id)? else { return Ok(()) };
        let is_renamed = watched.container.name != container.name;
        watched.container = container;
        if is_renamed && watched.run.is_some() {
            self.names.announce(&self.home, &watched.container, &watched.state.plugged)?;
        }
        self.replug(id)
    }

    fn start_after_boot(&mut self) {
        let ids: Vec<String> = self
            .watched
            .values()
            .filter(|watched| client::starts_with_the_machine(&watched.container, &watched.state))
            .map(|watched| watched.container.id.clone())
            .collect();
        for id in ids {
            if let Err(failure) = self.start(&id, By::Hand) {
                complain("cannot start a container after the boot", failure);
            }
        }
    }
}
