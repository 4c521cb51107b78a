//! A service becomes what a container is wanted to be.
//!
//! Looks at the files of configs, secrets and seccomp profiles, changes nothing. What cannot be carried out is refused,
//! what is left out is named by [`uncarried()`].

mod limits;
mod mounts;
mod namespaces;
mod network;
mod plugs;
mod uncarried;

#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::compose::labels;
use crate::compose::model::Project;
use crate::compose::model::Service;
use crate::compose::model::ServiceHealthcheck;
use crate::compose::model::ServiceHook;
use crate::compose::short;
use crate::container;
use crate::container::Hook;
use crate::container::Mount;
use crate::container::Restart;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image::Healthcheck;
use crate::image::Image;
use crate::runtime::Trust;
use crate::units;

pub use limits::ulimit;
pub use network::Candidates;
pub use network::port_candidates;
pub use uncarried::uncarried;

/// Where a container's network and namespaces come from when they are another container's.
pub trait Peers {
    /// The id of the first container of a service.
    fn of_service(&self, service: &str) -> Option<String>;
    /// The id of any container of this engine.
    fn of_name(&self, name: &str) -> Option<String>;
    /// What a container has mounted.
    fn mounts_of(&self, id: &str) -> Vec<Mount>;
    /// An image, by name.
    fn image(&self, name: &str) -> Option<Image>;
}

/// What a container of a service is to be; its name, number, hash and published ports are the caller's to set.
///
/// # Errors
/// What the service asks for and cannot be done, under the service's name.
pub fn wanted(project: &Project, service: (&str, &Service), image: &Image, peers: &dyn Peers) -> Result<container::Wanted> {
    convert(project, service, image, peers).map_err(|failure| failure.within(format!("cannot make a container of service `{}`", service.0)))
}

fn convert(project: &Project, (name, service): (&str, &Service), image: &Image, peers: &dyn Peers) -> Result<container::Wanted> {
    let image_name = labels::image_name(project, (name, service));
    let mut wanted = container::from_image(image, &image_name, service.entrypoint.clone(), service.command.clone());
    if wanted.args.is_empty() {
        return Err(Failure::new("neither the service nor its image says which command to run").hint("set `command:`"));
    }
    environment(service, &mut wanted.env);
    wanted.labels.extend(labels::of_service(project, (name, service)));
    wanted.labels.insert(labels::IMAGE.to_owned(), image.id.clone());
    wanted.user = service.user.clone().unwrap_or(wanted.user);
    wanted.working_dir = service.working_dir.clone().unwrap_or(wanted.working_dir);
    wanted.group_add = service.group_add.clone();
    wanted.hostname = service.hostname.clone();
    wanted.domainname = service.domainname.clone();
    wanted.tty = service.tty;
    wanted.stdin = service.stdin_open;
    wanted.read_only = service.read_only;
    wanted.init = service.init.unwrap_or(false);
    wanted.sysctls = service.sysctls.clone();
    wanted.annotations = service.annotations.clone();
    namespaces::apply(service, &mut wanted, peers)?;
    wanted.stop_signal = service.stop_signal.clone().or(wanted.stop_signal);
    let at = |key: &str| project.places.spot(&format!("{name}.{key}"));
    let placed = |key: &'static str| move |failure: Failure| at(key).map_or(failure.clone(), |spot| failure.at(spot));
    wanted.stop_timeout = service.stop_grace_period.as_deref().map(seconds).transpose().map_err(placed("stop_grace_period"))?;
    wanted.restart = restart(service).map_err(placed(if has_restart_policy(service) { "deploy" } else { "restart" }))?;
    wanted.healthcheck = healthcheck(service.healthcheck.as_ref(), wanted.healthcheck.take())?;
    if let Some(logging) = &service.logging {
        let read = container::logging(&logging.driver, &logging.texts());
        wanted.logging = read.map_err(|reason| placed("logging")(Failure::new("cannot understand `logging`").because(reason)))?.0;
    }
    runtime(service).map_err(placed("runtime"))?;
    cannot_be(service).map_err(|(key, failure)| placed(key)(failure))?;
    wanted.post_start = service.post_start.iter().map(hook).collect();
    wanted.pre_stop = service.pre_stop.iter().map(hook).collect();
    wanted.trust = trust(project, service)?;
    wanted.supervisor = Some(project.name.clone());
    limits::apply(service, &mut wanted)?;
    mounts::apply(project, service, &mut wanted, peers)?;
    network::apply(project, (name, service), &mut wanted, peers)?;
    Ok(wanted)
}

/// Puts the service's variables over the image's; a name without a value takes the image's away.
fn environment(service: &Service, env: &mut Vec<String>) {
    for (name, value) in &service.environment {
        let start = format!("{name}=");
        env.retain(|known| !known.starts_with(&start));
        env.extend(value.as_ref().map(|value| format!("{name}={value}")));
    }
}

fn hook(hook: &ServiceHook) -> Hook {
    let variable =
        |(name, value): (&String, &Option<String>)| value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}={value}"));
    Hook {
        command: hook.command.clone(),
        user: hook.user.clone().filter(|user| !user.is_empty()),
        privileged: hook.privileged,
        working_dir: hook.working_dir.clone().filter(|directory| !directory.is_empty()),
        env: hook.environment.iter().map(variable).collect(),
    }
}

/// There is one runtime; these names of others mean no more than that.
fn runtime(service: &Service) -> Result<()> {
    match service.runtime.as_deref() {
        None | Some("" | "runc" | "crun" | "youki" | "coracle" | "io.containerd.runc.v2") => Ok(()),
        Some("nvidia") => Ok(()), // its devices come by name
        Some(other) => Err(Failure::new(format!("there is no runtime `{other}`")).hint("leave `runtime:` out: there is one, our own")),
    }
}

/// What no container can have here, and would be wrong to go without.
fn cannot_be(service: &Service) -> std::result::Result<(), (&'static str, Failure)> {
    let is_asked = |key: &str| service.rest.get(key).is_some_and(|value| value.as_object().is_some_and(|map| !map.is_empty()));
    if is_asked("models") {
        let failure =
            Failure::new("cannot give it a model").because("models come from Docker's model runner, which is not carried out here");
        return Err(("models", failure.hint("run the model as a service, or leave `models:` out")));
    }
    if is_asked("storage_opt") {
        let failure = Failure::new("cannot carry out `storage_opt`");
        return Err(("storage_opt", failure.because("the root of a container is a directory of the host, whose size is not limited")));
    }
    Ok(())
}

fn seconds(text: &str) -> Result<u64> {
    // Half a second is not no time at all.
    Ok(units::duration(text)?.as_secs_f64().ceil() as u64)
}

fn has_restart_policy(service: &Service) -> bool {
    service.deploy.as_ref().is_some_and(|deploy| deploy.get("restart_policy").is_some_and(|policy| !policy.is_null()))
}

/// Docker compose: `deploy.restart_policy` goes over `restart`.
fn restart(service: &Service) -> Result<Restart> {
    let Some(policy) = service.deploy.as_ref().and_then(|deploy| deploy.get("restart_policy")) else {
        let text = service.restart.as_deref().unwrap_or_default();
        return short::restart(text).map_err(|reason| Failure::new(format!("cannot understand `restart: {text}`")).because(reason));
    };
    let attempts = policy.get("max_attempts").and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok());
    match policy.get("condition").and_then(Value::as_str) {
        Some("none" | "no") => Ok(Restart::No),
        Some("on-failure") => Ok(Restart::OnFailure(attempts.unwrap_or(0))),
        Some("unless-stopped") => Ok(Restart::UnlessStopped),
        None | Some("" | "any" | "always") => Ok(Restart::Always),
        Some(other) => Err(Failure::new(format!("cannot understand `deploy.restart_policy.condition: {other}`"))
            .hint("the conditions are none, on-failure and any")),
    }
}

fn healthcheck(wanted: Option<&ServiceHealthcheck>, images: Option<Healthcheck>) -> Result<Option<Healthcheck>> {
    let Some(wanted) = wanted else { return Ok(images) };
    let is_none = |test: &[String]| test.first().is_some_and(|word| word == "NONE");
    if wanted.disable || wanted.test.as_deref().is_some_and(is_none) {
        return Ok(None);
    }
    let mut check = images.unwrap_or_default();
    if let Some(test) = &wanted.test {
        check.test = test.clone();
    }
    let nanoseconds = |text: &Option<String>| -> Result<Option<i64>> {
        let duration = text.as_deref().map(units::duration).transpose()?;
        Ok(duration.and_then(|duration| i64::try_from(duration.as_nanos()).ok()))
    };
    check.interval = nanoseconds(&wanted.interval)?.or(check.interval);
    check.timeout = nanoseconds(&wanted.timeout)?.or(check.timeout);
    check.start_period = nanoseconds(&wanted.start_period)?.or(check.start_period);
    check.start_interval = nanoseconds(&wanted.start_interval)?.or(check.start_interval);
    check.retries = wanted.retries.and_then(|count| i64::try_from(count).ok()).or(check.retries);
    Ok((!check.test.is_empty()).then_some(check))
}

fn trust(project: &Project, service: &Service) -> Result<Trust> {
    let mut trust =
        Trust { privileged: service.privileged, cap_add: service.cap_add.clone(), cap_drop: service.cap_drop.clone(), ..Trust::default() };
    for option in &service.security_opt {
        short::security_option(&mut trust, option, &project.directory)?;
    }
    Ok(trust)
}
