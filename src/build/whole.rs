//! From a Dockerfile to an image: read, understand, pull, decide, carry out, put together.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use serde_json::Value;

use crate::build::Built;
use crate::build::Wanted;
use crate::build::Watch;
use crate::build::agent::Agents;
use crate::build::chain::Chain;
use crate::build::dockerfile;
use crate::build::dockerfile::Dockerfile;
use crate::build::dockerfile::expand::Rules;
use crate::build::dockerfile::expand::expand_text;
use crate::build::dockerfile::instruction::Kind;
use crate::build::dockerfile::source::Source;
use crate::build::draft;
use crate::build::evaluate;
use crate::build::evaluate::Evaluated;
use crate::build::evaluate::Setting;
use crate::build::finish;
use crate::build::finish::Finished;
use crate::build::graph::Base;
use crate::build::graph::Graph;
use crate::build::ground;
use crate::build::ground::Ground;
use crate::build::ground::Place;
use crate::build::platform::Platform;
use crate::build::remote::Remotes;
use crate::build::solve::Begin;
use crate::build::solve::Solver;
use crate::build::solve::Task;
use crate::build::values;
use crate::build::values::Variables;
use crate::build::worker;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::image::Image;
use crate::image::ImageConfig;
use crate::image::Policy;
use crate::place::Home;

/// Faults of a Dockerfile as one failure.
fn several(source: &Source, mut faults: Vec<Failure>) -> Failure {
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
    numbered: AtomicUsize,
}

/// See [`super::build`].
pub(super) fn build(home: &Home, wanted: &Wanted, watch: &dyn Watch) -> Result<Built> {
    let platforms = platforms(wanted)?;
    draft::sweep(home, |id, files| {
        // It is only rubbish that is taken away here; what resists is met again by the next build.
        let _ = worker::clean(home, id, files);
    });
    let agents = Agents::begin(home, &wanted.ssh)?;
    let remotes = Remotes::new(home, wanted, agents.socket("default").map(Path::to_owned));
    let ground = Ground::prepare(home, wanted, &remotes)?;
    let scene = Scene { home, wanted, watch, ground: &ground, remotes: &remotes, agents: &agents, numbered: AtomicUsize::new(0) };
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

fn platforms(wanted: &Wanted) -> Result<Vec<Platform>> {
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
    let (wanted, source) = (scene.wanted, &scene.ground.source);
    let file = dockerfile::read(source, &scene.ground.text).map_err(|faults| several(source, faults))?;
    let platform = chosen.cloned().unwrap_or_else(Platform::ours);
    let build_args = values::build_args(wanted);
    let globals = globals(&file, source, &build_args, (&platform, wanted)).map_err(|faults| several(source, faults))?;
    let epoch = finish::epoch(build_args.get("SOURCE_DATE_EPOCH").map(String::as_str).or(globals.find("SOURCE_DATE_EPOCH")))?;
    let (escape, stages) = (file.escape, file.stages.len());
    let mut graph = Graph::new(file, source, wanted, &globals).map_err(|faults| several(source, faults))?;
    let target = graph.target(wanted.target.as_deref(), stages)?;
    let setting = Setting {
        source,
        escape,
        build_args: &build_args,
        globals: &globals,
        proxies: values::proxies(&build_args),
        host_network: wanted.network.as_deref() == Some("host") || wanted.allow.contains("network.host"),
        insecure: wanted.allow.contains("security.insecure"),
    };
    let mut plan = Plan {
        scene,
        setting: &setting,
        platform: &platform,
        chosen,
        images: BTreeMap::new(),
        places: BTreeMap::new(),
        triggered: Vec::new(),
        epoch,
    };
    let mut attempt = 1;
    loop {
        let order = plan.settle(&mut graph, target)?;
        match plan.attempt(&graph, target, &order) {
            Attempt::Lost(_) if attempt < ATTEMPTS => {
                attempt += 1;
                plan.images.clear();
            }
            Attempt::Done(finished) => return Ok(*finished),
            Attempt::Failed(failure) | Attempt::Lost(failure) => return Err(failure),
        }
    }
}

/// An `rmi` beside us may take away layers that we found in the cache; then we begin again, but not for ever.
const ATTEMPTS: usize = 4;

/// How one attempt ended.
enum Attempt {
    Done(Box<Finished>),
    Failed(Failure),
    /// Layers had gone meanwhile.
    Lost(Failure),
}

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

/// A build before anything is carried out.
struct Plan<'a> {
    scene: &'a Scene<'a>,
    setting: &'a Setting<'a>,
    platform: &'a Platform,
    /// The same, if the user named it.
    chosen: Option<&'a Platform>,
    /// Base images, by node.
    images: BTreeMap<usize, Image>,
    /// Directories that nodes are, by node.
    places: BTreeMap<usize, Place>,
    /// The nodes that have their base's triggers.
    triggered: Vec<usize>,
    /// `SOURCE_DATE_EPOCH`.
    epoch: Option<i64>,
}

impl Plan<'_> {
    /// Decides, then carries out, then puts together.
    fn attempt(&self, graph: &Graph<'_>, target: usize, order: &[usize]) -> Attempt {
        let evaluated = match self.evaluate(graph, order) {
            Ok(evaluated) => evaluated,
            Err(failure) => return Attempt::Failed(failure),
        };
        let tasks = self.tasks(graph, order, &evaluated);
        let solver = Solver::new(self.scene).with(tasks);
        let done = solver.missing_sources().and_then(|missing| match missing.is_empty() {
            true => solver.solve(target),
            false => Err(several(self.setting.source, missing)),
        });
        let config = self.labelled(&evaluated[&target].config);
        let finished = done.and_then(|outcome| finish::complete(self.scene, config, (outcome, self.epoch)));
        match finished {
            Ok(finished) => Attempt::Done(Box::new(finished)),
            Err(failure) if solver.has_lost_layers() => Attempt::Lost(failure),
            Err(failure) => Attempt::Failed(failure),
        }
    }

    /// With what the command line adds.
    fn labelled(&self, config: &ImageConfig) -> ImageConfig {
        let mut config = config.clone();
        let wanted = self.scene.wanted;
        if !wanted.labels.is_empty() {
            let labels = config.config.labels.get_or_insert_default();
            labels.extend(wanted.labels.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))));
        }
        if let Some(chosen) = self.chosen {
            config.os = chosen.os.clone();
            config.architecture = chosen.architecture.clone();
            config.variant = Some(chosen.variant.clone()).filter(|variant| !variant.is_empty());
        }
        let given = |text: &Option<String>| text.clone().unwrap_or_default();
        let (os, architecture, variant) = (config.os.clone(), config.architecture.clone(), given(&config.variant));
        config.variant = Some(Platform { os, architecture, variant }.normalized().variant).filter(|variant| !variant.is_empty());
        config
    }

    /// Pulls the base images and adds what their triggers bring, until nothing new is needed.
    fn settle(&mut self, graph: &mut Graph<'_>, target: usize) -> Result<Vec<usize>> {
        loop {
            let order = graph.needed(target)?;
            self.pull(graph, &order)?;
            self.bring(graph, &order)?;
            let mut more = false;
            for index in &order {
                if self.triggered.contains(index) {
                    continue;
                }
                self.triggered.push(*index);
                let triggers = self.triggers(graph, *index)?;
                if !triggers.is_empty() {
                    graph.prepend(*index, triggers).map_err(|faults| several(self.setting.source, faults))?;
                    more = true;
                }
            }
            if !more {
                return Ok(order);
            }
        }
    }

    /// Brings the directories here that nodes are.
    fn bring(&mut self, graph: &Graph<'_>, order: &[usize]) -> Result<()> {
        for index in order {
            let node = &graph.nodes[*index];
            let place = match &node.base {
                Base::Directory(path) if !self.places.contains_key(index) => Place::local(&absolute(path)),
                Base::Remote(address) if !self.places.contains_key(index) => {
                    let spot = self.setting.source.spot(node.place);
                    let brought = ground::bring(self.scene.remotes, address);
                    brought.map_err(|failure| failure.within(format!("cannot use the context `{}`", node.name)).at(spot))?
                }
                _ => continue,
            };
            self.places.insert(*index, place);
        }
        Ok(())
    }

    /// Pulls the images that are not pulled yet, side by side.
    fn pull(&mut self, graph: &Graph<'_>, order: &[usize]) -> Result<()> {
        let mut missing: BTreeMap<(&str, Option<String>), Vec<usize>> = BTreeMap::new();
        for index in order {
            let node = &graph.nodes[*index];
            if let (Base::Image(name), false) = (&node.base, self.images.contains_key(index)) {
                let platform = node.platform.as_ref().or(self.chosen).map(Platform::text);
                missing.entry((name, platform)).or_default().push(*index);
            }
        }
        let policy = if self.scene.wanted.pull { Policy::Always } else { Policy::Missing };
        let one = |name: &str, platform: Option<&str>, index: usize| {
            image::pull(self.scene.home, name, platform, policy, self.scene.watch).map_err(|failure| {
                let spot = self.setting.source.spot(graph.nodes[index].place);
                failure.within(format!("cannot build on the image `{name}`")).at(spot)
            })
        };
        let pulled = std::thread::scope(|scope| {
            let mut rest = missing.iter();
            let first = rest.next();
            let others: Vec<_> =
                rest.map(|((name, platform), indices)| (scope.spawn(|| one(name, platform.as_deref(), indices[0])), indices)).collect();
            let mut pulled = Vec::new();
            pulled.extend(first.map(|((name, platform), indices)| (one(name, platform.as_deref(), indices[0]), indices)));
            pulled.extend(others.into_iter().map(|(thread, indices)| (thread.join().expect("a pull does not panic"), indices)));
            pulled.into_iter().map(|(image, indices)| (image, indices.clone())).collect::<Vec<_>>()
        });
        for (image, indices) in pulled {
            let image = image?;
            self.images.extend(indices.into_iter().map(|index| (index, image.clone())));
        }
        Ok(())
    }

    /// The triggers that a node's base leaves to it.
    fn triggers(&self, graph: &Graph<'_>, index: usize) -> Result<Vec<dockerfile::instruction::Instruction>> {
        let node = &graph.nodes[index];
        // What is only read from triggers nothing.
        if index >= graph.stages {
            return Ok(Vec::new());
        }
        let texts: Vec<String> = match &node.base {
            Base::Image(_) => self.images.get(&index).and_then(|image| image.config.config.on_build.clone()).unwrap_or_default(),
            Base::Node(base) => graph.nodes[*base]
                .commands
                .iter()
                .filter_map(|command| match &command.kind {
                    Kind::Onbuild(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
            Base::Scratch | Base::Directory(_) | Base::Remote(_) => Vec::new(),
        };
        texts.iter().map(|text| dockerfile::trigger(text, self.setting.source, node.place)).collect()
    }

    fn evaluate(&self, graph: &Graph<'_>, order: &[usize]) -> Result<BTreeMap<usize, Evaluated>> {
        let mut evaluated: BTreeMap<usize, Evaluated> = BTreeMap::new();
        let mut faults = Vec::new();
        for index in order {
            let node = &graph.nodes[*index];
            let begin = match &node.base {
                Base::Image(_) => self.images.get(index).map(|image| Evaluated::image(&image.config)),
                Base::Node(base) => evaluated.get(base).map(Evaluated::based_on),
                Base::Scratch | Base::Directory(_) | Base::Remote(_) => {
                    Some(Evaluated::scratch(node.platform.as_ref().unwrap_or(self.platform)))
                }
            };
            // A base that is missing has its own fault.
            let Some(begin) = begin else { continue };
            match evaluate::evaluate(self.setting, begin, &node.commands, &node.sources) {
                Ok(stage) => {
                    evaluated.insert(*index, stage);
                }
                Err(found) => faults.extend(found),
            }
        }
        if faults.is_empty() { Ok(evaluated) } else { Err(several(self.setting.source, faults)) }
    }

    fn tasks(&self, graph: &Graph<'_>, order: &[usize], evaluated: &BTreeMap<usize, Evaluated>) -> Vec<Option<Task>> {
        let busy = order.iter().filter(|index| !evaluated[index].steps.is_empty()).count();
        let total = order.iter().map(|index| evaluated[index].steps.len()).sum();
        let mut number = self.scene.numbered.fetch_add(total, Ordering::Relaxed);
        let several = self.scene.wanted.platforms.len() > 1;
        let mut tasks: Vec<Option<Task>> = Vec::new();
        tasks.resize_with(graph.nodes.len(), || None);
        for index in order {
            let node = &graph.nodes[*index];
            let begin = match &node.base {
                Base::Image(_) => Begin::Layers(self.images.get(index).map(Chain::of).unwrap_or_default()),
                Base::Node(base) => Begin::Stage(*base),
                Base::Scratch => Begin::Nothing,
                Base::Directory(_) | Base::Remote(_) => match self.places.get(index) {
                    Some(place) => Begin::Directory(place.clone()),
                    None => Begin::Nothing,
                },
            };
            let fresh = self.scene.wanted.no_cache_filter.iter().any(|name| name.eq_ignore_ascii_case(&node.name));
            let steps = evaluated[index].steps.iter().cloned().map(|mut step| {
                number += 1;
                match (several, busy > 1) {
                    (true, true) => step.shown = format!("[{} {}] {}", self.platform.text(), node.name, step.shown),
                    (true, false) => step.shown = format!("[{}] {}", self.platform.text(), step.shown),
                    (false, true) => step.shown = format!("[{}] {}", node.name, step.shown),
                    (false, false) => {}
                }
                (number, step)
            });
            let steps = steps.collect();
            tasks[*index] = Some(Task { begin, steps, fresh });
        }
        tasks
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
