//! A new supervisor looks around: what runs is taken over, what has ended unseen is noted, what was half made is taken down.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use std::time::Instant;

use rustix::fs::OFlags;

use crate::container::Container;
use crate::container::NetworkMode;
use crate::container::State;
use crate::container::Status;
use crate::container::client;
use crate::container::record;
use crate::container::record::UNSEEN_EXIT;
use crate::container::spec;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::net;
use crate::net::NameSockets;
use crate::net::Reservation;
use crate::runtime;
use crate::runtime::Cgroup;
use crate::units;

use super::Run;
use super::Supervisor;
use super::Watched;
use super::complain;
use super::exits::Belongings;
use super::health::Checks;
use super::output::Origin;
use super::output::Output;
use super::relays::Relays;
use super::start;

impl Supervisor {
    /// Loads all containers of this supervisor.
    pub(super) fn load(&mut self) {
        for container in self.own_containers() {
            let id = container.id.clone();
            match record::recorded_state(&self.home, &id) {
                Ok(state) => self.take_in(container, state),
                Err(failure) => complain("cannot read a container's state", failure),
            }
        }
    }

    /// Containers that have removed themselves, and whose supervisor did not live to take back what they had.
    pub(super) fn sweep(&mut self) {
        let directory = self.home.container_run("any").parent().map(Path::to_owned);
        let Some(Ok(entries)) = directory.map(std::fs::read_dir) else { return };
        for id in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
            if !self.home.container(&id).exists() {
                self.mind_idle_networks();
                Belongings::of_unknown(&self.home, &id).give_back(&self.home);
            }
        }
    }

    fn own_containers(&self) -> Vec<Container> {
        // A container of its own is its own key: then the others need not be read.
        if let Ok(Some(container)) = record::load(&self.home, &self.nest.key) {
            return vec![container];
        }
        let containers = record::list(&self.home).unwrap_or_else(|failure| {
            complain("cannot list the containers", failure);
            Vec::new()
        });
        containers.into_iter().filter(|container| client::key(container) == self.nest.key).collect()
    }

    fn take_in(&mut self, container: Container, state: State) {
        let id = container.id.clone();
        let half_made = self.home.container_run(&id).exists();
        let mut watched = Watched { container, state, run: None, reservation: None, restart_at: None, delay: Duration::ZERO };
        match watched.state.status {
            Status::Running | Status::Paused => {
                let adopted = self.adopt(&mut watched);
                self.watched.insert(id.clone(), watched);
                match adopted {
                    Ok(true) => {}
                    Ok(false) => self.end_unseen(&id),
                    Err(failure) => {
                        complain("cannot take over a container", failure);
                        self.end_unseen(&id);
                    }
                }
            }
            Status::Restarting => {
                watched.restart_at = Some(Instant::now());
                self.watched.insert(id, watched);
            }
            Status::Created | Status::Exited | Status::Dead => {
                if half_made {
                    self.take_down(&watched);
                    self.forget(&id, |_| true);
                }
                self.watched.insert(id, watched);
            }
        }
    }

    /// A container that was running is gone: its guardian may have seen how.
    fn end_unseen(&mut self, id: &str) {
        let Some(pid) = self.watched.get(id).map(|watched| watched.state.pid) else { return };
        let code = self.nest.find_exit(pid).map_or(UNSEEN_EXIT, super::exits::exit_code);
        self.end(id, code);
        self.nest.forget_exit(pid);
    }

    /// Takes over a running container; false if its process is gone.
    fn adopt(&mut self, watched: &mut Watched) -> Result<bool> {
        let container = watched.container.clone();
        let id = container.id.clone();
        let origin = self.origin_of(&container)?;
        let mut output = Output::open(&self.home, &id, (origin, &container.wanted.logging)).doing(|| "cannot open the log")?;
        let Some(pidfd) = runtime::adopt(watched.state.pid, watched.state.start_time)? else {
            output.drain(); // its last words lie in its FIFOs
            return Ok(false);
        };
        if let Err(failure) = self.adopt_network(watched) {
            complain("cannot take over a container's network", failure);
        }
        let relays = Relays::of(watched.reservation.as_ref(), &watched.state.plugged)?;
        let sender = self.begin_sending(&container);
        let ran = units::since(&watched.state.started).unwrap_or_default();
        let since = Instant::now().checked_sub(ran).unwrap_or_else(Instant::now);
        let terminal = self.store.get(&format!("terminal:{id}")).cloned();
        let checks = Checks::of(&container.wanted, since, watched.state.health);
        let cgroup = Cgroup { path: spec::cgroup_path(&container) };
        watched.run = Some(Run { pidfd, cgroup, since, output, terminal, checks, relays, sender, kill_at: None, reaped_by: None });
        Ok(true)
    }

    /// The FIFOs that the guardian kept, or those that the container still holds open.
    fn origin_of(&mut self, container: &Container) -> Result<Origin> {
        let stdout = self.kept_fifo("out", &container.id)?;
        if !container.wanted.tty {
            return Ok(Origin::Fifos { stdout, stderr: self.kept_fifo("err", &container.id)? });
        }
        match self.store.get(&format!("terminal:{}", container.id)) {
            Some(master) => Ok(Origin::Terminal { master: Rc::clone(master), fifo: stdout }),
            // Nobody has the terminal any more: the container was hung up when its last holder died.
            None => Ok(Origin::Fifos { stderr: Rc::clone(&stdout), stdout }),
        }
    }

    fn kept_fifo(&mut self, name: &str, id: &str) -> Result<Rc<OwnedFd>> {
        let kept_name = format!("{name}:{id}");
        if let Some(kept) = self.store.get(&kept_name) {
            return Ok(Rc::clone(kept));
        }
        let path = self.home.container_run(id).join(name);
        let opened = start::open(&path, OFlags::RDWR | OFlags::NONBLOCK).doing(|| format!("cannot open {}", path.display()))?;
        Ok(self.keep(&kept_name, opened))
    }

    fn adopt_network(&mut self, watched: &mut Watched) -> Result<()> {
        let container = watched.container.clone();
        if !matches!(container.wanted.network, NetworkMode::Plugs(_)) {
            return Ok(());
        }
        // On a full disk nobody can be told of it; it can still ask for others.
        let announced = self.names.announce(&self.home, &container, &watched.state.plugged);
        match self.kept_name_sockets(&container.id)? {
            Some(sockets) => self.names.serve(&self.home, &container, sockets)?,
            None => {
                let path = format!("/proc/{}/ns/net", watched.state.pid);
                let netns = start::open(Path::new(&path), OFlags::RDONLY).doing(|| "cannot open the container's network namespace")?;
                let sockets = net::open_name_sockets(std::os::fd::AsFd::as_fd(&netns))?;
                self.serve_names(&container, sockets)?;
            }
        }
        watched.reservation = self.adopt_ports(&container, &watched.state.ports)?;
        announced
    }

    fn kept_name_sockets(&self, id: &str) -> Result<Option<NameSockets>> {
        let kept = |name: &str| self.store.get(&format!("{name}:{id}")).map(|socket| socket.try_clone()).transpose();
        let sockets: io::Result<_> = (|| Ok((kept("udp")?, kept("tcp")?)))();
        Ok(match sockets.doing(|| "cannot use a name server's socket")? {
            (Some(udp), Some(tcp)) => Some(NameSockets { udp, tcp }),
            _ => None,
        })
    }

    /// The sockets that the guardian kept hold the ports; without them they are reserved again, as they were chosen then.
    fn adopt_ports(&mut self, container: &Container, ports: &[net::Port]) -> Result<Option<Reservation>> {
        let (id, NetworkMode::Plugs(plugs)) = (&container.id, &container.wanted.network) else { return Ok(None) };
        if ports.is_empty() {
            return Ok(None);
        }
        let mut sockets = Vec::new();
        for number in 0..ports.len() {
            let Some(kept) = self.store.get(&format!("port.{number}:{id}")) else { break };
            sockets.push(kept.try_clone().doing(|| "cannot use a kept port")?);
        }
        if sockets.len() == ports.len() {
            return Ok(Some(Reservation { ports: ports.to_vec(), sockets }));
        }
        let again = net::reserve_for(&self.home, ports, plugs)
            .map_err(|failure: Failure| failure.within("cannot hold the published ports again"))?;
        self.keep_reservation(id, again).map(Some)
    }
}
