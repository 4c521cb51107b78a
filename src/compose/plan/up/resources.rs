//! Networks and volumes.

use std::collections::BTreeSet;

use crate::compose::labels;
use crate::compose::model::Network;
use crate::compose::plan::Action;
use crate::compose::plan::Resources;
use crate::compose::plan::up::Planner;
use crate::compose::resource;
use crate::failure::Failure;
use crate::failure::Result;

impl Planner<'_> {
    pub(super) fn networks(&mut self, services: &[String]) -> Result<()> {
        let used = services.iter().flat_map(|name| self.project.services[name].networks.keys());
        let all = self.project.networks.keys().filter(|_| self.options.resources == Resources::All);
        let keys: BTreeSet<&String> = used.chain(all).collect();
        for key in keys {
            let Some(network) = self.project.networks.get(key) else { continue };
            let found = self.found.networks.get(&network.name);
            if network.external {
                // The engine's own networks are always there.
                if found.is_none() && !matches!(network.name.as_str(), "bridge" | "host" | "none") {
                    return Err(external_missing("network", &network.name, "coracle network create"));
                }
                continue;
            }
            let Some(found) = found else {
                self.create_network(key, network, (Vec::new(), "not found".to_owned()));
                continue;
            };
            if found.labels.get(labels::NETWORK) != Some(key) || !found.is_of(&self.project.name) {
                return Err(Failure::new(format!("cannot use network `{}` of the project `{}`", network.name, self.project.name))
                    .because("a network of that name was made by something else")
                    .hint("say `external: true` to use it as it is, or give yours another `name:`"));
            }
            if found.labels.get(labels::CONFIG_HASH).is_some_and(|hash| *hash != resource::network_hash(network)) {
                self.renew_network(key, network);
            }
        }
        Ok(())
    }

    fn create_network(&mut self, key: &str, network: &Network, (after, cause): (Vec<usize>, String)) {
        let step = self.plan.add(Action::CreateNetwork { key: key.to_owned(), name: network.name.clone() }, after, cause);
        self.made.insert(format!("network {key}"), step);
    }

    /// Containers must be off a network before it goes: they are removed, and made anew later.
    fn renew_network(&mut self, key: &str, network: &Network) {
        let on_it = self.found.containers.iter().filter(|found| found.networks.contains(&network.name));
        let cause = format!("network {key} changed");
        let removals: Vec<usize> = on_it
            .map(|found| {
                // It may be on another one that is made anew.
                if let Some(step) = self.made.get(&format!("removal {}", found.name)) {
                    return *step;
                }
                let step = self.plan.add(Action::RemoveContainer { name: found.name.clone() }, Vec::new(), cause.clone());
                self.made.insert(format!("removal {}", found.name), step);
                step
            })
            .collect();
        let removed = self.plan.add(Action::RemoveNetwork { name: network.name.clone() }, removals, "settings changed".to_owned());
        self.create_network(key, network, (vec![removed], "settings changed".to_owned()));
        self.renewed_networks.insert(key.to_owned());
    }

    pub(super) fn volumes(&mut self, services: &[String]) -> Result<()> {
        let volumes = services.iter().flat_map(|name| &self.project.services[name].volumes);
        let used = volumes.filter(|volume| volume.kind == "volume").filter_map(|volume| volume.source.as_ref());
        let all = self.project.volumes.keys().filter(|_| self.options.resources == Resources::All);
        let keys: BTreeSet<&String> = used.chain(all).collect();
        for key in keys {
            let Some(volume) = self.project.volumes.get(key) else { continue };
            match self.found.volumes.get(&volume.name) {
                None if volume.external => return Err(external_missing("volume", &volume.name, "coracle volume create")),
                None => {
                    let action = Action::CreateVolume { key: key.clone(), name: volume.name.clone() };
                    let step = self.plan.add(action, Vec::new(), "not found".to_owned());
                    self.made.insert(format!("volume {key}"), step);
                }
                Some(found) if !volume.external && !found.is_of(&self.project.name) => {
                    let note = format!("volume `{}` was not made by this project: say `external: true` if that is meant", volume.name);
                    self.plan.warnings.push(note);
                }
                Some(found)
                    if !volume.external
                        && found.labels.get(labels::CONFIG_HASH).is_some_and(|hash| *hash != resource::volume_hash(volume)) =>
                {
                    let note = format!("volume `{}` was made with other settings than the files have now, and keeps them", volume.name);
                    self.plan.warnings.push(format!("{note}: to have the new ones, remove it, with all that is in it"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

fn external_missing(kind: &str, name: &str, make: &str) -> Failure {
    Failure::new(format!("{kind} {name} declared as external, but could not be found")).hint(format!("make it with `{make} {name}`"))
}
