//! Published ports: chosen and tried for all containers before any of them starts.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::compose::apply::Job;
use crate::compose::convert;
use crate::compose::convert::Candidates;
use crate::compose::observe::FoundContainer;
use crate::compose::plan::Action;
use crate::compose::plan::Plan;
use crate::failure::Failure;
use crate::failure::Result;
use crate::net;
use crate::net::Port;
use crate::net::Reservation;

/// Chooses the host ports of every container that will be made, and tries them all: they are held together and
/// then let go, so that two services that want one port are noticed like a port that somebody else has.
pub(super) fn check(job: &Job<'_>, plan: &Plan) -> Result<BTreeMap<String, Vec<Port>>> {
    let going = going(job, plan);
    let freed = freed(&going);
    let mut trial = Trial { job, going, freed, held: BTreeMap::new(), holders: BTreeSet::new(), faults: Vec::new() };
    let mut chosen = BTreeMap::new();
    for step in &plan.steps {
        let (service, name) = match &step.action {
            Action::CreateContainer { service, name, .. } | Action::RecreateContainer { service, name, .. } => (service, name),
            _ => continue,
        };
        let Some(model) = job.project.and_then(|project| project.services.get(service)) else { continue };
        let mut ports = Vec::new();
        for candidates in convert::port_candidates(model)? {
            ports.extend(trial.choose((service, name), &candidates));
        }
        chosen.insert(name.clone(), ports);
    }
    let found = job.found.containers.iter().filter(|found| !found.is_up()).map(|found| (found.name.as_str(), found)).collect();
    for step in &plan.steps {
        if let Action::StartContainer { name } = &step.action {
            trial.try_existing(&found, name);
        }
    }
    match trial.faults.len() {
        0 => Ok(chosen),
        1 => Err(trial.faults.remove(0)),
        _ => Err(Failure::several(format!("cannot bring up project `{}`", job.name), trial.faults)),
    }
}

/// Containers that this plan will stop first.
fn going<'a>(job: &'a Job<'_>, plan: &Plan) -> Vec<&'a FoundContainer> {
    let goes: BTreeSet<&String> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::RecreateContainer { old: name, .. } | Action::StopContainer { name } | Action::RemoveContainer { name } => Some(name),
            _ => None,
        })
        .collect();
    job.found.containers.iter().filter(|found| goes.contains(&found.name)).collect()
}

/// Ports that these containers hold.
fn freed(going: &[&FoundContainer]) -> BTreeMap<u16, Vec<Port>> {
    let mut freed: BTreeMap<u16, Vec<Port>> = BTreeMap::new();
    let up = going.iter().filter(|found| found.is_up());
    up.flat_map(|found| &found.ports).for_each(|port| freed.entry(port.host_port).or_default().push(*port));
    freed
}

struct Trial<'a> {
    job: &'a Job<'a>,
    /// What will be stopped first.
    going: Vec<&'a FoundContainer>,
    /// By number.
    freed: BTreeMap<u16, Vec<Port>>,
    /// Which container holds what, by number; dropped at the end of the check.
    held: BTreeMap<u16, Vec<(String, Port, Option<Reservation>)>>,
    /// The containers that hold something.
    holders: BTreeSet<String>,
    faults: Vec<Failure>,
}

impl Trial<'_> {
    /// The first candidate that is free; None, with a fault noted, if there is none.
    fn choose(&mut self, (service, name): (&str, &str), candidates: &Candidates) -> Option<Port> {
        let mut refusal = None;
        for port in candidates.ports() {
            match self.hold((name, None), port) {
                Ok(()) => return Some(port),
                Err(failure) => refusal = refusal.or(Some(failure)),
            }
        }
        self.faults.extend(refusal.map(|failure| failure.within(format!("cannot start service `{service}`"))));
        None
    }

    /// A container that is there and does not run wants what its record says.
    fn try_existing(&mut self, found: &BTreeMap<&str, &FoundContainer>, name: &str) {
        let Some(found) = found.get(name) else { return };
        if self.holders.contains(name) {
            return;
        }
        for port in found.wanted_ports.clone() {
            if let Err(failure) = self.hold((name, Some(&found.id)), port) {
                self.faults.push(failure.within(format!("cannot start container `{name}`")));
            }
        }
    }

    /// Holds a port for a container, of which there may be one already.
    fn hold(&mut self, (name, id): (&str, Option<&str>), port: Port) -> Result<()> {
        if port.host_port == 0 {
            return Ok(());
        }
        let held = self.held.entry(port.host_port).or_default();
        if let Some((holder, ..)) = held.iter().find(|(_, other, _)| other.clashes_with(&port)) {
            return Err(Failure::new(format!("cannot publish port {}", port.host_port))
                .because(format!("container `{holder}` of this project publishes it too"))
                .hint("choose another host port in `ports:`, or a range of as many ports as containers"));
        }
        let is_freed = self.freed.get(&port.host_port).is_some_and(|freed| freed.iter().any(|other| other.clashes_with(&port)));
        let reservation = if is_freed { None } else { reserve(self.job, (&self.going, id), port)? };
        held.push((name.to_owned(), port, reservation));
        self.holders.insert(name.to_owned());
        Ok(())
    }
}

/// Reserves a port. None if the container that is to have it, or one that goes, has it by now: a command that was killed had asked
/// for its start, and its supervisor carried that out after we had looked.
fn reserve(job: &Job<'_>, (going, id): (&[&FoundContainer], Option<&str>), port: Port) -> Result<Option<Reservation>> {
    net::reserve(job.home, &[port]).map(Some).or_else(|failure| match net::publisher(job.home, &port) {
        Some(publisher) if id == Some(&publisher) || going.iter().any(|found| found.id == publisher) => Ok(None),
        _ => Err(failure),
    })
}
