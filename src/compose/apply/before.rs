//! The first steps of a service (`pre_start`): each is run to its end, in a container of its own, before the service's container starts.
//!
//! Such a container has the service's attributes but for those that the step names, is on its networks, and sees what the service's
//! container has mounted. One step that fails keeps the service from starting.

use std::time::Duration;

use serde_json::Value;

use crate::compose::apply::Work;
use crate::compose::convert;
use crate::compose::labels;
use crate::compose::model::Service;
use crate::compose::model::ServiceHook;
use crate::compose::plan::Steps;
use crate::container;
use crate::container::LogRange;
use crate::container::MountSource;
use crate::container::Volumes;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;

/// How docker compose marks such containers.
const HOOK: &str = "com.docker.compose.hook";
const HOOK_INDEX: &str = "com.docker.compose.hook.index";

/// So many lines of the output of a step that failed are shown.
const SHOWN: usize = 5;

/// Between two looks at whether the user wants an end.
const GLANCE: Duration = Duration::from_millis(200);

/// The exit status of a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

impl Work<'_> {
    /// Runs a service's first steps, in order, for one of its containers.
    pub(super) fn run_pre_start(&self, service: &str, name: &str, steps: Steps) -> Result<()> {
        let model = &self.project()?.services[service];
        let id = self.id(name)?;
        for (index, step) in model.pre_start.iter().enumerate().filter(|(_, step)| steps == Steps::All || step.per_replica) {
            self.run_step((service, model), (index, step), &id).map_err(|failure| {
                let what = format!("cannot start container `{name}`");
                let status = failure.status();
                failure.within(format!("cannot run its first step `{}`", step.command.join(" "))).within(what).exit(status)
            })?;
        }
        Ok(())
    }

    fn run_step(&self, service: (&str, &Service), step: (usize, &ServiceHook), whose: &str) -> Result<()> {
        let home = self.job.home;
        let wanted = self.step_wanted(service, step, whose)?;
        // One that a killed command has left.
        if let Some(left) = wanted.name.as_deref().and_then(|name| container::find(home, name).ok())
            && left.wanted.labels.contains_key(HOOK)
        {
            self.remove_step(&left.id)?;
        }
        let created = container::create(home, wanted).map_err(|failure| failure.exit(1))?;
        let outcome = container::start(home, &created.id).map_err(|failure| failure.exit(1)).and_then(|warnings| {
            warnings.iter().for_each(|warning| self.job.watch.warn(&format!("container {}: {warning}", created.name)));
            self.end_of_step(&created.id)
        });
        let removed = self.remove_step(&created.id);
        outcome.and(removed)
    }

    fn remove_step(&self, id: &str) -> Result<()> {
        container::halt(self.job.home, id, container::Grace::Seconds(0))?;
        container::remove(self.job.home, id, Volumes::Keep) // the service's own, that is
    }

    /// Waits for the end of a step; what it said is shown if it went wrong.
    fn end_of_step(&self, id: &str) -> Result<()> {
        let home = self.job.home;
        let mut logs = container::logs(home, id, LogRange::default())?;
        let mut last = Vec::new();
        loop {
            let state = container::state(home, id)?; // before the log is read: what was written before an end is then surely seen
            while let Some(line) = logs.next()? {
                last.push(String::from_utf8_lossy(&line.bytes).trim_end().to_owned());
                last.drain(..last.len().saturating_sub(SHOWN));
            }
            if !state.is_up() {
                return match state.exit_code {
                    0 => Ok(()),
                    code => Err(last.into_iter().fold(Failure::new(format!("it ended with status {code}")), Failure::because)),
                };
            }
            if self.job.watch.interrupted() {
                return Err(Failure::new("interrupted").exit(INTERRUPTED));
            }
            logs.wait(GLANCE)?;
        }
    }

    /// What the container of a step is to be.
    fn step_wanted(&self, (name, model): (&str, &Service), (index, step): (usize, &ServiceHook), whose: &str) -> Result<container::Wanted> {
        let project = self.project()?;
        let service = of_step(model, step);
        let image_name = labels::image_name(project, (name, &service));
        let image = image::find(self.job.home, &image_name)?.ok_or_else(|| Failure::new(format!("there is no image `{image_name}`")))?;
        let mut wanted = convert::wanted(project, (name, &service), &image, self)?;
        let record = container::find(self.job.home, whose)?;
        let number = record.wanted.labels.get(labels::NUMBER).filter(|_| step.per_replica);
        let between = project.separator;
        let runner = format!("{}{between}{name}{between}pre_start{between}{index}", project.name);
        wanted.name = Some(number.map_or(runner.clone(), |number| format!("{runner}{between}{number}")));
        wanted.mounts = record.wanted.mounts;
        for mount in &mut wanted.mounts {
            if let MountSource::Volume { nocopy, .. } = &mut mount.source {
                *nocopy = true; // it is filled from the service's image
            }
        }
        wanted.labels.extend([
            (labels::ONE_OFF.to_owned(), "True".to_owned()),
            (HOOK.to_owned(), "pre_start".to_owned()),
            (HOOK_INDEX.to_owned(), index.to_string()),
        ]);
        wanted.healthcheck = None;
        Ok(wanted)
    }
}

/// The service as a step has it: its attributes over the service's, and nothing that is for what stays.
fn of_step(model: &Service, step: &ServiceHook) -> Service {
    let mut service = model.clone();
    let is_own = step.image.is_none() || step.image == model.image;
    service.image = step.image.clone().or(service.image);
    service.command = Some(step.command.clone());
    service.entrypoint = service.entrypoint.filter(|_| is_own);
    service.user = step.user.clone().filter(|user| !user.is_empty()).or(service.user);
    service.working_dir = step.working_dir.clone().filter(|directory| !directory.is_empty()).or(service.working_dir);
    service.privileged |= step.privileged;
    service.environment.extend(step.environment.clone());
    service.container_name = None;
    service.restart = None;
    if let Some(deploy) = service.deploy.as_mut().and_then(Value::as_object_mut) {
        deploy.remove("restart_policy");
    }
    service.logging = None;
    (service.tty, service.stdin_open) = (false, false);
    service.mac_address = None;
    for settings in service.networks.values_mut().flatten() {
        (settings.ipv4_address, settings.mac_address) = (None, None);
        settings.rest.remove("ipv6_address");
        settings.link_local_ips.clear();
    }
    (service.volumes, service.tmpfs, service.volumes_from) = (Vec::new(), Vec::new(), Vec::new());
    (service.configs, service.secrets) = (Vec::new(), Vec::new());
    (service.post_start, service.pre_stop, service.pre_start) = (Vec::new(), Vec::new(), Vec::new());
    service
}
