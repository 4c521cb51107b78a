//! `compose run`: one more container of a service, for one command.

use crate::compose::apply;
use crate::compose::apply::Manner;
use crate::compose::apply::Watch;
use crate::compose::convert;
use crate::compose::convert::Peers;
use crate::compose::labels;
use crate::compose::model::Project;
use crate::compose::plan::Action;
use crate::compose::plan::Condition;
use crate::compose::plan::Options;
use crate::compose::resource;
use crate::compose::up;
use crate::container;
use crate::container::Mount;
use crate::failure::Result;
use crate::image;
use crate::image::Image;
use crate::net;
use crate::net::Port;
use crate::place::Home;
use crate::volume;

/// What takes the place of the service's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OneOff {
    pub entrypoint: Option<Vec<String>>,
    pub command: Option<Vec<String>>,
}

/// Makes the networks and volumes of a service, and brings up what it depends on as `dependencies` says.
///
/// # Errors
/// What could not be done.
pub fn prepare(
    home: &Home,
    (project, name): (&Project, &str),
    dependencies: Option<&Options>,
    (manner, watch): (Manner, &dyn Watch),
) -> Result<()> {
    if let Some(options) = dependencies {
        up::up(home, project, options, (manner.clone(), watch))?;
        up::carry_out(home, project, awaited(project, name), (manner, watch))?;
    }
    convert::uncarried(project, name).iter().for_each(|warning| watch.warn(warning));
    let service = &project.services[name];
    for key in service.networks.keys() {
        let Some(network) = project.networks.get(key).filter(|network| !network.external) else { continue };
        if net::find(home, &network.name)?.is_none() {
            net::create(home, &resource::network_wanted(project, key, network)?)?;
        }
    }
    for key in service.volumes.iter().filter(|volume| volume.kind == "volume").filter_map(|volume| volume.source.as_ref()) {
        let Some(volume) = project.volumes.get(key).filter(|volume| !volume.external) else { continue };
        volume::create(home, &resource::volume_wanted(project, key, volume)?)?;
    }
    Ok(())
}

/// What is waited for before the service may run.
fn awaited(project: &Project, name: &str) -> Vec<Action> {
    let conditions = project.services[name].depends_on.iter().filter_map(|(dependency, how)| {
        let condition = match how.condition.as_str() {
            "service_healthy" => Condition::Healthy,
            "service_completed_successfully" => Condition::Completed,
            _ => return None,
        };
        let service = project.services.get(dependency)?;
        let containers = vec![labels::container_name(project, (dependency, service), 1)];
        Some(Action::Await { service: dependency.clone(), condition, containers, required: how.required })
    });
    conditions.collect()
}

/// What a one-off container of a service is to be: the service's own, with another command. Its name is the caller's to set.
///
/// # Errors
/// As [`convert::wanted`].
pub fn wanted(home: &Home, (project, name): (&Project, &str), one_off: OneOff) -> Result<container::Wanted> {
    let image = apply::image_of(home, project, name)?;
    let mut service = project.services[name].clone();
    service.container_name = None;
    if let Some(entrypoint) = one_off.entrypoint {
        // A new entrypoint takes the service's command away, as it takes the image's.
        service.entrypoint = Some(entrypoint);
        service.command = None;
    }
    service.command = one_off.command.or(service.command);
    let mut wanted = convert::wanted(project, (name, &service), &image, &Standing { home, project })?;
    wanted.ports = convert::port_candidates(&service)?.iter().filter_map(|candidates| candidates.ports().next()).collect::<Vec<Port>>();
    // As with docker compose, hooks are for the service itself.
    wanted.post_start.clear();
    wanted.pre_stop.clear();
    wanted.labels.insert(labels::ONE_OFF.to_owned(), "True".to_owned());
    Ok(wanted)
}

/// Containers that are there now.
struct Standing<'a> {
    home: &'a Home,
    project: &'a Project,
}

impl Peers for Standing<'_> {
    fn of_service(&self, service: &str) -> Option<String> {
        let model = self.project.services.get(service)?;
        self.of_name(&labels::container_name(self.project, (service, model), 1))
    }

    fn of_name(&self, name: &str) -> Option<String> {
        container::find(self.home, name).ok().map(|found| found.id)
    }

    fn mounts_of(&self, id: &str) -> Vec<Mount> {
        container::find(self.home, id).map(|found| found.wanted.mounts).unwrap_or_default()
    }

    fn image(&self, name: &str) -> Option<Image> {
        image::find(self.home, name).ok().flatten()
    }
}
