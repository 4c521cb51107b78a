//! From a Dockerfile to an image: read, understand, pull, decide, carry out, put together.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicUsize;

use crate::build::Built;
use crate::build::Wanted;
use crate::build::Watch;
use crate::build::agent::Agents;
use crate::build::chain::Chain;
use crate::build::context;
use crate::build::dockerfile;
use crate::build::dockerfile::Dockerfile;
use crate::build::dockerfile::expand::Rules;
use crate::build::dockerfile::expand::expand_text;
use crate::build::dockerfile::instruction::Kind;
use crate::build::dockerfile::source::Source;
use crate::build::draft;
use crate::build::evaluate::Setting;
use crate::build::finish;
use crate::build::finish::Finished;
use crate::build::graph::Graph;
use crate::build::ground::Ground;
use crate::build::lint;
use crate::build::lint::Lint;
use crate::build::lint::rules;
use crate::build::plan::Attempt;
use crate::build::plan::Plan;
use crate::build::platform::Platform;
use crate::build::refusals;
use crate::build::remote::Remotes;
use crate::build::values;
use crate::build::values::Variables;
use crate::build::worker;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::place::Home;
use crate::units;

/// Faults of a Dockerfile as one failure.
pub(super) fn several(source: &Source, mut faults: Vec<Failure>) -> Failure {
    let what = format!("cannot build from `{}`", source.file.display());
    if faults.len() == 1
        && let Some(only) = faults.pop()
    {
        return only.within(what);
    }
    Failure::several(format!("{what}: {} faults", faults.len()), faults)
}

/// What is the same for all platforms of a build.
pub(super) struct Scene<'a> {
    pub home: &'a Home,
    pub wanted: &'a Wanted,
    pub watch: &'a dyn Watch,
    pub ground: &'a Ground<'a>,
    pub remotes: &'a Remotes<'a>,
    pub agents: &'a Agents,
    /// How many steps have been given a number.
    pub numbered: &'a AtomicUsize,
    /// Layers that contexts are, by what is after [`HELD`].
    pub held: BTreeMap<String, Chain>,
}

/// How a context is named that is layers in our own hands.
pub(super) const HELD: &str = "layers://";

/// See [`super::build`].
pub(super) fn build(home: &Home, wanted: &Wanted, watch: &dyn Watch) -> Result<Built> {
    build_upon(home, wanted, watch, (BTreeMap::new(), &AtomicUsize::new(0)))
}

/// Builds with layers that contexts are; the steps are counted on from a number.
///
/// # Errors
/// As [`super::build`].
pub(super) fn build_upon(
    home: &Home,
    wanted: &Wanted,
    watch: &dyn Watch,
    (held, numbered): (BTreeMap<String, Chain>, &AtomicUsize),
) -> Result<Built> {
    let platforms = platforms(wanted)?;
    refusals::refuse(home, wanted)?;
    draft::sweep(home, |id, files| {
        // It is only rubbish that is taken away here; what resists is met again by the next build.
        let _ = worker::clean(home, id, files);
    });
    let agents = Agents::begin(home, &wanted.ssh)?;
    let remotes = Remotes::new(home, wanted, agents.socket("default").map(Path::to_owned));
    let ground = Ground::prepare(home, wanted, &remotes)?;
    let scene = Scene { home, wanted, watch, ground: &ground, remotes: &remotes, agents: &agents, numbered, held };
    let finished = match platforms.as_slice() {
        [] => vec![build_for(&scene, None)?],
        [one] => vec![build_for(&scene, Some(one))?],
        several => std::thread::scope(|scope| {
            let threads: Vec<_> = several.iter().map(|platform| scope.spawn(|| build_for(&scene, Some(platform)))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a build does not panic")).collect::<Result<Vec<_>>>()
        })?,
    };
    finish::deliver(&scene, &finished)
}

pub(super) fn platforms(wanted: &Wanted) -> Result<Vec<Platform>> {
    let mut platforms: Vec<Platform> = Vec::new();
    for text in &wanted.platforms {
        let platform = Platform::parse(text).map_err(|what| {
            Failure::new(format!("cannot build for the platform `{text}`")).because(what).hint("write it as `linux/amd64`")
        })?;
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    Ok(platforms)
}

/// Builds for one platform; the machine's own if None is named.
fn build_for(scene: &Scene<'_>, chosen: Option<&Platform>) -> Result<Finished> {
    with_plan(scene, (chosen, Aim::Build), |plan, graph, stages| {
        let target = graph.target(scene.wanted.target.as_deref(), stages)?;
        let mut attempt = 1;
        loop {
            let order = plan.settle(graph, &[target])?;
            match plan.attempt(graph, target, &order) {
                Attempt::Lost(_) if attempt < ATTEMPTS => {
                    attempt += 1;
                    plan.images.clear();
                }
                Attempt::Done(finished) => return Ok(*finished),
                Attempt::Failed(failure) | Attempt::Lost(failure) => return Err(failure),
            }
        }
    })
}

/// Understands the Dockerfile for one platform and lets `act` go on with it.
pub(super) fn with_plan<T>(
    scene: &Scene<'_>,
    (chosen, aim): (Option<&Platform>, Aim),
    act: impl FnOnce(&mut Plan<'_>, &mut Graph<'_>, usize) -> Result<T>,
) -> Result<T> {
    let (wanted, source) = (scene.wanted, &scene.ground.source);
    let file = dockerfile::read(source, &scene.ground.text).map_err(|faults| several(source, faults))?;
    let platform = chosen.cloned().unwrap_or_else(Platform::ours);
    let build_args = values::build_args(wanted);
    let lint = Lint::new(source, lint_config(&file, source, &build_args)?);
    lint::check_file(&lint, &file);
    check_defaults(&lint, &file, source, (&platform, wanted));
    let globals = globals(&file, source, &build_args, (&platform, wanted)).map_err(|faults| several(source, faults))?;
    let epoch = finish::epoch(build_args.get("SOURCE_DATE_EPOCH").map(String::as_str).or(globals.find("SOURCE_DATE_EPOCH")))?;
    let (escape, stages) = (file.escape, file.stages.len());
    let mut graph = Graph::new(file, wanted, &globals, (source, &lint)).map_err(|faults| several(source, faults))?;
    // What cannot be understood of it is a failure as soon as a file is looked for.
    let ignored = context::ignored(&scene.ground.place, scene.ground.dockerfile.as_deref()).ok();
    let setting = Setting {
        source,
        escape,
        build_args: &build_args,
        globals: &globals,
        proxies: values::proxies(&build_args),
        host_network: wanted.network.as_deref() == Some("host") || wanted.allow.contains("network.host"),
        insecure: wanted.allow.contains("security.insecure"),
        lint: &lint,
        ignored: ignored.as_ref(),
    };
    let mut plan = Plan {
        scene,
        setting: &setting,
        platform: &platform,
        chosen,
        aim,
        images: BTreeMap::new(),
        places: BTreeMap::new(),
        triggered: Vec::new(),
        epoch,
        begun: units::now(),
    };
    act(&mut plan, &mut graph, stages)
}

/// What is done with the base images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// Steps are carried out on them.
    Build,
    /// Only their configurations are looked at.
    Look,
}

fn lint_config(file: &Dockerfile, source: &Source, build_args: &BTreeMap<String, String>) -> Result<lint::Config> {
    if let Some(given) = build_args.get("BUILDKIT_DOCKERFILE_CHECK") {
        let config = lint::Config::read(given);
        return config.map_err(|what| Failure::new("cannot check the Dockerfile").because(what).hint("write `skip=Rule,Rule;error=true`"));
    }
    let Some((text, place)) = &file.check else { return Ok(lint::Config::default()) };
    let fault =
        |what| source.fault(*place, format!("failed to parse check options: {what}")).hint("write `# check=skip=Rule,Rule;error=true`");
    lint::Config::read(text).map_err(|what| several(source, vec![fault(what)]))
}

/// Warns of base images that have no name unless somebody gives one.
fn check_defaults(lint: &Lint<'_>, file: &Dockerfile, source: &Source, (platform, wanted): (&Platform, &Wanted)) {
    let Ok(defaults) = globals(file, source, &BTreeMap::new(), (platform, wanted)) else { return };
    for stage in &file.stages {
        let written = &stage.from.base.text;
        let Ok(name) = expand_text(written, Rules::new(file.escape), &defaults) else { return };
        if image::full_name(&name).is_err() {
            let detail = format!("Default value for ARG {written} results in empty or invalid base image name");
            lint.warn(&rules::INVALID_DEFAULT_ARG_IN_FROM, &stage.instruction.line, detail);
        }
    }
}

/// An `rmi` beside us may take away layers that we found in the cache; then we begin again, but not for ever.
const ATTEMPTS: usize = 4;

/// The variables that FROM sees: predefined ones and the ARGs before the first FROM.
fn globals(
    file: &Dockerfile,
    source: &Source,
    build_args: &BTreeMap<String, String>,
    (platform, wanted): (&Platform, &Wanted),
) -> std::result::Result<Variables, Vec<Failure>> {
    let last = file.stages.last().and_then(|stage| stage.from.name.clone());
    let stage = wanted.target.clone().filter(|target| !target.is_empty()).or(last).unwrap_or_default();
    let mut globals = values::predefined(build_args, platform, &stage);
    let mut faults = Vec::new();
    for instruction in &file.globals {
        let Kind::Arg(arguments) = &instruction.kind else { continue };
        for argument in arguments {
            let default = argument.value.as_ref().map(|word| {
                let expanded = expand_text(&word.text, Rules::new(file.escape), &globals);
                expanded.map_err(|what| source.fault(instruction.place(word), what))
            });
            match (build_args.get(&argument.name.text), default) {
                (Some(given), _) => globals.set(&argument.name.text, given),
                (None, Some(Ok(value))) => globals.set(&argument.name.text, &value),
                (None, Some(Err(fault))) => faults.push(fault),
                (None, None) => {}
            }
        }
    }
    if faults.is_empty() { Ok(globals) } else { Err(faults) }
}
