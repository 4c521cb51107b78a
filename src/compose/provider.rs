//! Services that something else provides: a program that speaks docker compose's provider protocol.
//!
//! ```text
//! PROGRAM compose --project-name=NAME up --OPTION=VALUE SERVICE
//!
//! program                                     we
//!   | -- {"type": "info", "message": …} ----> |   shown
//!   | -- {"type": "setenv", "A=b"} ---------> |   SERVICE_A=b for who depends on the service
//!   | -- {"type": "rawsetenv", "A=b"} ------> |   A=b for them
//!   | -- {"type": "get-service-config"} ----> |
//!   | <- the service as `config` prints it -- |   on its standard input
//!   | -- {"type": "error", …}, or its end --> |   the outcome
//! ```
//!
//! See docs/extension.md of docker/compose. A provider comes when what it depends on is ready; what depends on it is made with its
//! variables.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;

use serde::Deserialize;
use serde_json::Value;

use crate::compose::apply::Kind;
use crate::compose::apply::Phase;
use crate::compose::apply::Watch;
use crate::compose::model::Project;
use crate::compose::model::Provider;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;

/// Where Docker's plugins lie, below `~/.docker` first.
const PLUGINS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// One message of a provider.
#[derive(Debug, Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    message: String,
}

/// What a provider says of the options it takes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    description: String,
    up: Option<Parameters>,
    down: Option<Parameters>,
    stop: Option<Parameters>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parameters {
    parameters: Vec<Parameter>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parameter {
    name: String,
    required: bool,
}

/// What is asked of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    Up,
    Down,
    Stop,
}

/// Brings up a provided service and gives its variables to those that depend on it.
///
/// # Errors
/// What its provider says; one that is not there.
pub(super) fn up(project: &mut Project, service: &str, watch: &dyn Watch) -> Result<()> {
    let Some(provider) = project.services.get(service).and_then(|service| service.provider.clone()) else { return Ok(()) };
    let variables = run(project, (service, &provider), Errand::Up, watch)?;
    give(project, service, &variables, watch);
    Ok(())
}

/// Takes down, or stops, the provided ones of these services; all if none is named. Goes on after a fault.
///
/// # Errors
/// What the providers say.
pub fn release(project: &Project, services: &[String], errand: Errand, watch: &dyn Watch) -> Result<()> {
    let named = |name: &String| services.is_empty() || services.contains(name);
    let mut faults = Vec::new();
    for (name, service) in project.services.iter().rev().filter(|(name, _)| named(name)) {
        if let Some(provider) = &service.provider {
            faults.extend(run(project, (name, provider), errand, watch).err());
        }
    }
    match faults.len() {
        0 => Ok(()),
        1 => Err(faults.remove(0)),
        _ => Err(Failure::several(format!("cannot release what is provided for project `{}`", project.name), faults)),
    }
}

/// A provider's variables: with the service's name before them, or as they are.
#[derive(Debug, Default)]
struct Variables {
    prefixed: BTreeMap<String, String>,
    raw: BTreeMap<String, String>,
}

fn give(project: &mut Project, provider: &str, variables: &Variables, watch: &dyn Watch) {
    let prefix = provider.to_uppercase();
    let prefixed = variables.prefixed.iter().map(|(name, value)| (format!("{prefix}_{name}"), value));
    let all: Vec<(String, &String)> = prefixed.chain(variables.raw.iter().map(|(name, value)| (name.clone(), value))).collect();
    for (name, service) in project.services.iter_mut().filter(|(_, service)| service.depends_on.contains_key(provider)) {
        for (variable, value) in &all {
            let before = service.environment.insert(variable.clone(), Some((*value).clone()));
            if variables.raw.contains_key(variable) && before.is_some_and(|before| before.as_ref() != Some(value)) {
                watch.warn(&format!("the provider of `{provider}` overrides the variable `{variable}` of service `{name}`"));
            }
            // What is applied later is compared with this.
            if let Some(normal) =
                project.normal.get_mut("services").and_then(|services| services.get_mut(name)).and_then(Value::as_object_mut)
            {
                normal.entry("environment").or_insert_with(|| Value::Object(serde_json::Map::new()))[variable] = (*value).clone().into();
            }
        }
    }
}

fn run(project: &Project, (service, provider): (&str, &Provider), errand: Errand, watch: &dyn Watch) -> Result<Variables> {
    let (word, doing, before, after) = match errand {
        Errand::Up => ("up", "bring up", Phase::Creating, Phase::Created),
        Errand::Down => ("down", "take down", Phase::Removing, Phase::Removed),
        Errand::Stop => ("stop", "stop", Phase::Stopping, Phase::Stopped),
    };
    let what = || format!("cannot {doing} service `{service}`");
    let program = program(&provider.kind).map_err(|failure| failure.within(what()))?;
    let metadata = metadata(&program, project);
    let known = match errand {
        Errand::Up => metadata.up.as_ref(),
        Errand::Down => metadata.down.as_ref(),
        // Only who says so can be stopped.
        Errand::Stop if metadata.stop.is_none() => return Ok(Variables::default()),
        Errand::Stop => metadata.stop.as_ref(),
    };
    let known = known.filter(|_| !metadata.description.is_empty() || metadata.up.is_some() || metadata.down.is_some());
    let options = options(provider, known).map_err(|failure| failure.within(what()))?;
    watch.event(Kind::Service, service, before);
    let mut command = shell_out(&program, project);
    command.args(["compose", &format!("--project-name={}", project.name), word]).args(options).arg(service);
    let outcome = talk(command, service, project, watch).map_err(|failure| failure.within(what()));
    watch.event(Kind::Service, service, if outcome.is_ok() { after } else { Phase::Failed });
    outcome
}

/// The options as flags; those that the provider does not know are left out.
fn options(provider: &Provider, known: Option<&Parameters>) -> Result<Vec<String>> {
    let missing =
        known.iter().flat_map(|known| &known.parameters).find(|known| known.required && !provider.options.contains_key(&known.name));
    if let Some(missing) = missing {
        return Err(Failure::new(format!("its provider `{}` needs the option `{}`", provider.kind, missing.name)));
    }
    let is_known = |name: &String| known.is_none_or(|known| known.parameters.iter().any(|parameter| parameter.name == *name));
    let pairs =
        provider.options.iter().filter(|(name, _)| is_known(name)).flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    Ok(pairs.map(|(name, value)| format!("--{name}={value}")).collect())
}

/// A plugin of Docker's of that name, or a program on the search path.
fn program(kind: &str) -> Result<PathBuf> {
    if kind == "compose" || kind.is_empty() {
        return Err(Failure::new(format!("`{kind}` is no provider")));
    }
    let own = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".docker")));
    let plugins = own.map(|config| config.join("cli-plugins")).into_iter().chain(PLUGINS.map(PathBuf::from));
    let search = std::env::var_os("PATH").unwrap_or_default();
    let places = if kind.contains('/') {
        vec![PathBuf::from(kind)]
    } else {
        let plugins = plugins.map(|directory| directory.join(format!("docker-{kind}")));
        plugins.chain(std::env::split_paths(&search).map(|directory| directory.join(kind))).collect()
    };
    let found = places.into_iter().find(|path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file());
    found.ok_or_else(|| {
        Failure::new(format!("there is no provider `{kind}`"))
            .because(format!("neither a plugin `docker-{kind}` nor a program `{kind}` is there"))
            .hint("install it, or put it on your PATH")
    })
}

fn shell_out(program: &Path, project: &Project) -> Command {
    let mut command = Command::new(program);
    command.envs(&project.environment).stderr(Stdio::inherit());
    command
}

/// What the provider says of itself; nothing if it does not.
fn metadata(program: &Path, project: &Project) -> Metadata {
    let asked = shell_out(program, project).args(["compose", "metadata"]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    asked.ok().filter(|told| told.status.success()).and_then(|told| serde_json::from_slice(&told.stdout).ok()).unwrap_or_default()
}

fn talk(mut command: Command, service: &str, project: &Project, watch: &dyn Watch) -> Result<Variables> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().doing(|| "cannot start its provider")?;
    let heard = listen(&mut child, service, project, watch);
    if heard.is_err() {
        let _ = child.kill(); // it may be waiting for us
    }
    drop(child.stdin.take());
    let status = child.wait().doing(|| "cannot wait for its provider")?;
    let variables = heard?;
    match status.success() {
        true => Ok(variables),
        false => Err(Failure::new(format!("its provider ended with {status}"))),
    }
}

fn listen(child: &mut Child, service: &str, project: &Project, watch: &dyn Watch) -> Result<Variables> {
    let mut variables = Variables::default();
    let Some(stdout) = child.stdout.take() else { return Ok(variables) };
    for line in BufReader::new(stdout).lines() {
        let line = line.doing(|| "cannot hear its provider")?;
        if line.trim().is_empty() {
            continue;
        }
        let refuse = || Failure::new("its provider says what we do not understand").because(line.clone());
        let Message { kind, message } = serde_json::from_str(&line).map_err(|_| refuse())?;
        let variable = || message.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(refuse);
        match kind.as_str() {
            "info" => watch.note(&format!("{service}: {}", message.lines().next().unwrap_or_default())),
            "debug" => {}
            "error" => return Err(Failure::new(message)),
            "setenv" => variables.prefixed.extend([variable()?]),
            "rawsetenv" => variables.raw.extend([variable()?]),
            "get-service-config" => answer(child, service, project),
            _ => return Err(refuse()),
        }
    }
    Ok(variables)
}

/// Writes the service's configuration to the provider, which may read it when it likes.
fn answer(child: &mut Child, service: &str, project: &Project) {
    let normal = project.normal.get("services").and_then(|services| services.get(service));
    let line = format!("{}\n", normal.unwrap_or(&Value::Null));
    let copy = child.stdin.as_ref().and_then(|stdin| std::os::fd::AsFd::as_fd(stdin).try_clone_to_owned().ok());
    if let Some(copy) = copy {
        // Of a provider that does not read, only this thread is kept waiting.
        thread::spawn(move || std::fs::File::from(copy).write_all(line.as_bytes()));
    }
}
