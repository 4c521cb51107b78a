//! Containers of one service: which are made, made anew, started, removed.

use std::collections::BTreeSet;

use crate::compose::labels;
use crate::compose::model::Service;
use crate::compose::observe::FoundContainer;
use crate::compose::plan::Action;
use crate::compose::plan::Condition;
use crate::compose::plan::Dependencies;
use crate::compose::plan::Providers;
use crate::compose::plan::Recreate;
use crate::compose::plan::Start;
use crate::compose::plan::Steps;
use crate::compose::plan::up::Planner;
use crate::compose::plan::up::joined_services;
use crate::compose::recipe::Recipe;
use crate::container::Status;
use crate::failure::Failure;
use crate::failure::Result;

/// A service by its name.
type Named<'a> = (&'a str, &'a Service);

impl<'a> Planner<'a> {
    pub(super) fn service(&mut self, service: Named<'_>) -> Result<()> {
        if service.1.provider.is_some() {
            self.provided(service);
            return Ok(()); // it has no containers
        }
        let found = self.containers.remove(service.0).unwrap_or_default();
        let wanted = self.count(service)?;
        let kept = found.len().min(wanted);
        for surplus in &found[kept..] {
            let cause = format!("only {wanted} wanted");
            self.plan.add(Action::RemoveContainer { name: surplus.name.clone() }, Vec::new(), cause);
        }
        let mut started = Vec::new();
        for container in &found[..kept] {
            let step = self.existing(service, container);
            started.extend(step);
        }
        let taken: BTreeSet<u32> = found[..kept].iter().map(|found| found.number).collect();
        for number in (1..).filter(|number| !taken.contains(number)).take(wanted - kept) {
            started.extend(self.missing(service, number));
        }
        self.started.insert(service.0.to_owned(), started);
        Ok(())
    }

    /// A service that another program provides comes when its turn does.
    fn provided(&mut self, service: Named<'_>) {
        match &self.options.providers {
            Providers::Wanted => {
                let after = self.dependencies(service);
                let step = self.plan.add(Action::BringUpProvider { service: service.0.to_owned() }, after, None);
                self.started.insert(service.0.to_owned(), vec![step]);
            }
            Providers::Next(name) if name == service.0 => drop(self.dependencies(service)),
            Providers::Next(_) | Providers::Settled => {}
        }
    }

    /// How many containers the service is to have.
    fn count(&self, (name, service): Named<'_>) -> Result<usize> {
        let replicas = service.deploy.as_ref().and_then(|deploy| deploy.get("replicas")).and_then(serde_json::Value::as_u64);
        let count = match self.options.scale.get(name) {
            Some(count) => u64::from(*count),
            None => service.scale.map(u64::from).or(replicas).unwrap_or(1),
        };
        if count > 1 && service.container_name.is_some() {
            return Err(Failure::new(format!("cannot scale service `{name}` to {count} containers"))
                .because("it has a `container_name`, and names are unique")
                .hint("leave `container_name` out"));
        }
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn existing(&mut self, service: Named<'_>, container: &'a FoundContainer) -> Option<usize> {
        if let Some(removal) = self.made.get(&format!("removal {}", container.name)).copied() {
            let mut after = self.resources(service);
            after.push(removal);
            return self.create(service, container.number, (after, None));
        }
        if let Some(cause) = self.cause_to_recreate(service, container) {
            let mut after = self.resources(service);
            after.extend(self.dependencies(service));
            self.renewed.insert(service.0.to_owned());
            let name = container.name.clone();
            let action = Action::RecreateContainer {
                service: service.0.to_owned(),
                number: container.number,
                name: labels::container_name(self.project, service, container.number),
                old: name,
            };
            let step = self.plan.add(action, after, cause);
            return self.start(service, container.number, vec![step]);
        }
        if self.restarts_with_dependency(service) && container.is_up() {
            let stop =
                self.plan.add(Action::StopContainer { name: container.name.clone() }, Vec::new(), "a dependency is made anew".to_owned());
            let mut after = self.dependencies(service);
            after.push(stop);
            return self.start(service, container.number, after);
        }
        if container.is_up() {
            self.plan.kept.push(container.name.clone());
            self.running.insert(&container.service);
            return None;
        }
        let after = self.dependencies(service);
        let cause = match container.status {
            Status::Created => "created, not started".to_owned(),
            _ => format!("exited with {}", container.exit_code),
        };
        let step = self.start(service, container.number, after)?;
        self.plan.steps[step].cause = Some(cause);
        Some(step)
    }

    fn missing(&mut self, service: Named<'_>, number: u32) -> Option<usize> {
        let after = self.resources(service);
        self.create(service, number, (after, Some("not found".to_owned())))
    }

    fn create(&mut self, service: Named<'_>, number: u32, (after, cause): (Vec<usize>, Option<String>)) -> Option<usize> {
        self.renewed.insert(service.0.to_owned());
        let name = labels::container_name(self.project, service, number);
        let step = self.plan.add(Action::CreateContainer { service: service.0.to_owned(), number, name }, after, cause);
        let mut after = self.dependencies(service);
        after.push(step);
        self.start(service, number, after)
    }

    fn start(&mut self, service: Named<'_>, number: u32, after: Vec<usize>) -> Option<usize> {
        if self.options.start == Start::No {
            return None;
        }
        let name = labels::container_name(self.project, service, number);
        let after = self.prepare(service, &name, after);
        Some(self.plan.add(Action::StartContainer { name }, after, None))
    }

    /// Adds the steps that go before a start: those that all containers of a service share go before the first.
    fn prepare(&mut self, service: Named<'_>, container: &str, mut after: Vec<usize>) -> Vec<usize> {
        if service.1.pre_start.is_empty() {
            return after;
        }
        let runs_already = self.running.contains(service.0);
        let steps = match self.prepared.get(service.0) {
            Some(prepared) => {
                after.push(*prepared);
                Steps::PerReplica
            }
            None if runs_already => Steps::PerReplica,
            None => Steps::All,
        };
        if steps == Steps::PerReplica && !service.1.pre_start.iter().any(|step| step.per_replica) {
            return after;
        }
        let action = Action::RunPreStart { service: service.0.to_owned(), name: container.to_owned(), steps };
        let step = self.plan.add(action, after.clone(), None);
        if steps == Steps::All {
            self.prepared.insert(service.0.to_owned(), step);
        }
        after.push(step);
        after
    }

    /// Why a container that is there does not do, if it does not.
    fn cause_to_recreate(&self, service: Named<'_>, container: &FoundContainer) -> Option<String> {
        let named = self.named.is_empty() || self.named.contains(service.0);
        let settled = self.options.settled.contains(service.0);
        match if settled {
            Recreate::Changed
        } else if named {
            self.options.recreate
        } else {
            self.options.recreate_dependencies
        } {
            Recreate::Never => return None,
            Recreate::Always => return Some(if named { "--force-recreate" } else { "--always-recreate-deps" }.to_owned()),
            Recreate::Changed => {}
        }
        if let Some(recipe) = self.recipes.get(service.0).filter(|recipe| recipe.hash() != container.hash) {
            return Some(changed(recipe, container.recipe.as_ref()));
        }
        let image = self.found.images.get(&labels::image_name(self.project, service));
        if image.is_some_and(|id| id.as_ref().is_some_and(|id| *id != container.image_id)) {
            return Some("image changed".to_owned());
        }
        let mut joined = joined_services(service.1);
        let renewed = joined.find(|joined| self.renewed.contains(*joined));
        renewed.map(|joined| format!("{joined}, which it is joined to, is made anew"))
    }

    /// Whether `depends_on` asks for a restart because a dependency is made anew.
    fn restarts_with_dependency(&self, (_, service): Named<'_>) -> bool {
        service.depends_on.iter().any(|(name, dependency)| dependency.restart && self.renewed.contains(name))
    }

    /// The steps that bring a service's image, networks and volumes.
    fn resources(&self, (name, service): Named<'_>) -> Vec<usize> {
        let image = format!("image {}", labels::image_name(self.project, (name, service)));
        let networks = service.networks.keys().map(|key| format!("network {key}"));
        let volumes = service.volumes.iter().filter_map(|volume| volume.source.as_ref()).map(|key| format!("volume {key}"));
        let mut steps: Vec<usize> =
            std::iter::once(image).chain(networks).chain(volumes).filter_map(|key| self.made.get(&key).copied()).collect();
        // What shares another's network needs that one's container to be there.
        let joined = joined_services(service).filter_map(|joined| self.started.get(joined));
        steps.extend(joined.flatten());
        // What a provider says goes into the container.
        let provided =
            service.depends_on.keys().filter(|name| self.project.services.get(*name).is_some_and(|service| service.provider.is_some()));
        steps.extend(provided.filter_map(|name| self.started.get(name)).flatten());
        steps
    }

    /// The steps after which what a service depends on is as `depends_on` wants it.
    fn dependencies(&mut self, service: Named<'_>) -> Vec<usize> {
        if self.options.dependencies == Dependencies::Left || self.options.start == Start::No {
            return Vec::new();
        }
        let mut steps = Vec::new();
        for (name, dependency) in &service.1.depends_on {
            let Some(other) = self.project.services.get(name) else { continue };
            let condition = match dependency.condition.as_str() {
                // It is ready when its provider says so.
                _ if other.provider.is_some() => None,
                "service_healthy" => Some(Condition::Healthy),
                "service_completed_successfully" => Some(Condition::Completed),
                _ => None,
            };
            match condition {
                Some(condition) => steps.extend(self.awaiting(name, condition, dependency.required)),
                None => steps.extend(self.started.get(name).into_iter().flatten()),
            }
        }
        steps
    }

    /// The step that waits for a service, if it must be waited for.
    fn awaiting(&mut self, name: &str, condition: Condition, required: bool) -> Option<usize> {
        let word = if condition == Condition::Healthy { "healthy" } else { "completed" };
        let key = (name.to_owned(), word);
        if let Some(step) = self.awaited.get(&key) {
            return Some(*step);
        }
        let service = (name, &self.project.services[name]);
        let count = self.count(service).unwrap_or(1);
        let containers = (1..=u32::try_from(count).unwrap_or(u32::MAX)).map(|number| labels::container_name(self.project, service, number));
        let action = Action::Await { service: name.to_owned(), condition, containers: containers.collect(), required };
        let after = self.started.get(name).cloned().unwrap_or_default();
        let step = self.plan.add(action, after, None);
        self.awaited.insert(key, step);
        Some(step)
    }
}

fn changed(recipe: &Recipe, old: Option<&Recipe>) -> String {
    match old.map(|old| recipe.difference(old)).filter(|difference| !difference.is_empty()) {
        Some(difference) => format!("config changed: {difference}"),
        None => "config changed".to_owned(),
    }
}
