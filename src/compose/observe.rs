//! What is there of a project: containers by their labels, networks, volumes, images.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::time::Duration;

use crate::compose::labels;
use crate::compose::model::Project;
use crate::compose::recipe::Recipe;
use crate::container;
use crate::container::Container;
use crate::container::Health;
use crate::container::MountSource;
use crate::container::NetworkMode;
use crate::container::State;
use crate::container::Status;
use crate::failure::Result;
use crate::image;
use crate::net;
use crate::net::Port;
use crate::place::Home;
use crate::state;
use crate::volume;

/// What is there. Plain data: a plan needs nothing else.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// The project's containers, by service and number.
    pub containers: Vec<FoundContainer>,
    /// All networks, by name.
    pub networks: BTreeMap<String, FoundResource>,
    /// All volumes, by name.
    pub volumes: BTreeMap<String, FoundResource>,
    /// The images of the services that were asked for, by name; None is not there, or is not the one it must be.
    pub images: BTreeMap<String, Option<String>>,
    /// How long ago those that are there were pulled, built or named last.
    pub image_ages: BTreeMap<String, Duration>,
}

/// A network or volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundResource {
    pub labels: BTreeMap<String, String>,
}

/// A container of the project.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundContainer {
    pub id: String,
    pub name: String,
    pub service: String,
    pub number: u32,
    /// Made by `compose run`.
    pub one_off: bool,
    pub hash: String,
    pub image: String,
    pub image_id: String,
    pub depends_on: Vec<String>,
    /// The services with whose restart it restarts too.
    pub restarts_with: Vec<String>,
    pub status: Status,
    pub health: Option<Health>,
    pub exit_code: i32,
    /// Names of the networks it is on.
    pub networks: Vec<String>,
    /// The container whose network it shares, by id.
    pub shares_network_of: Option<String>,
    /// Host ports it holds now.
    pub ports: Vec<Port>,
    /// Host ports it asks for when it starts.
    pub wanted_ports: Vec<Port>,
    /// Names of the volumes it has.
    pub volumes: Vec<String>,
    /// Its anonymous volumes: where they are mounted, and their names.
    pub anonymous: BTreeMap<String, String>,
    /// What it was made from, if that is known.
    pub recipe: Option<Recipe>,
}

impl FoundContainer {
    /// Whether its program runs, paused and between two runs included.
    pub fn is_up(&self) -> bool {
        matches!(self.status, Status::Running | Status::Paused | Status::Restarting)
    }
}

impl FoundResource {
    /// Whether this project made it.
    pub fn is_of(&self, project: &str) -> bool {
        self.labels.get(labels::PROJECT).is_some_and(|owner| owner == project)
    }
}

/// Looks at everything a plan for this project needs.
///
/// # Errors
/// A store that cannot be read.
pub fn observe(home: &Home, project: &Project) -> Result<Found> {
    let mut found = observe_by_name(home, &project.name)?;
    for (name, service) in &project.services {
        for name in std::iter::once(labels::image_name(project, (name, service))).chain(service.further_images().cloned()) {
            if let Entry::Vacant(place) = found.images.entry(name.clone()) {
                let id = image::find(home, place.key())?.map(|image| image.id);
                let is_right = match project.pins.get(&name) {
                    Some(pin) => image::digest_of(home, &name)?.as_ref() == Some(pin),
                    None => true,
                };
                place.insert(id.filter(|_| is_right));
                found.image_ages.extend(image::age(home, &name).map(|age| (name, age)));
            }
        }
    }
    Ok(found)
}

/// Looks at what a project of this name has, without knowing its files.
///
/// # Errors
/// A store that cannot be read.
pub fn observe_by_name(home: &Home, project: &str) -> Result<Found> {
    found(home, &records(home, project)?)
}

/// The records of a project's containers, with what they do now.
///
/// # Errors
/// A store that cannot be read.
pub fn records(home: &Home, project: &str) -> Result<Vec<(Container, State)>> {
    let is_of_project = |container: &Container| container.wanted.labels.get(labels::PROJECT).is_some_and(|owner| owner == project);
    let containers = container::list(home)?.into_iter().filter(is_of_project);
    // One that is removed meanwhile has no state any more.
    Ok(containers.filter_map(|container| container::state(home, &container.id).ok().map(|state| (container, state))).collect())
}

/// What there is of a project with these containers.
///
/// # Errors
/// A store that cannot be read.
pub fn found(home: &Home, records: &[(Container, State)]) -> Result<Found> {
    let volumes = volume::list(home)?;
    let anonymous: BTreeSet<String> = volumes.iter().filter(|volume| volume.anonymous).map(|volume| volume.name.clone()).collect();
    let containers = records.iter().map(|(container, state)| found_container(home, (container, state), &anonymous));
    let mut containers: Vec<FoundContainer> = containers.collect();
    containers.sort_by(|a, b| (&a.service, a.number, &a.name).cmp(&(&b.service, b.number, &b.name)));
    let networks = net::list(home)?.into_iter().map(|network| (network.name, FoundResource { labels: network.labels }));
    let networks = networks.collect();
    let volumes = volumes.into_iter().map(|volume| (volume.name, FoundResource { labels: volume.labels })).collect();
    Ok(Found { containers, networks, volumes, ..Found::default() })
}

fn found_container(home: &Home, (container, state): (&Container, &State), anonymous: &BTreeSet<String>) -> FoundContainer {
    let wanted = &container.wanted;
    let label = |name: &str| wanted.labels.get(name).cloned().unwrap_or_default();
    let is_anonymous = |mount: &container::Mount| match &mount.source {
        MountSource::Volume { name, .. } if anonymous.contains(name) => Some((mount.target.clone(), name.clone())),
        _ => None,
    };
    let (networks, shares_network_of) = match &wanted.network {
        NetworkMode::Plugs(plugs) => (plugs.iter().map(|plug| plug.network.clone()).collect(), None),
        NetworkMode::Container(id) => (Vec::new(), Some(id.clone())),
        _ => (Vec::new(), None),
    };
    FoundContainer {
        id: container.id.clone(),
        name: container.name.clone(),
        service: label(labels::SERVICE),
        number: label(labels::NUMBER).parse().unwrap_or(1),
        one_off: label(labels::ONE_OFF).eq_ignore_ascii_case("true"),
        hash: label(labels::CONFIG_HASH),
        image: wanted.image.clone(),
        image_id: wanted.image_id.clone(),
        depends_on: labels::depended_on(&label(labels::DEPENDS_ON)),
        restarts_with: labels::restarted_with(&label(labels::DEPENDS_ON)),
        status: state.status,
        health: state.health,
        exit_code: state.exit_code,
        networks,
        shares_network_of,
        ports: state.ports.clone(),
        wanted_ports: wanted.ports.clone(),
        volumes: wanted.mounts.iter().filter_map(volume_of).collect(),
        anonymous: wanted.mounts.iter().filter_map(is_anonymous).collect(),
        // A recipe that cannot be read only costs the words about what changed.
        recipe: state::find_json(&recipe_path(home, &container.id)).ok().flatten(),
    }
}

fn volume_of(mount: &container::Mount) -> Option<String> {
    match &mount.source {
        MountSource::Volume { name, .. } => Some(name.clone()),
        _ => None,
    }
}

/// Where the recipe of a container is kept: beside its record, so that it goes with it.
pub fn recipe_path(home: &Home, id: &str) -> PathBuf {
    home.container(id).join("recipe.json")
}
