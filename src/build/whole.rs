//! From a Dockerfile to an image: read, understand, pull, decide, carry out, commit.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

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
use crate::build::graph::Base;
use crate::build::graph::Graph;
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

/// See [`super::build`].
pub(super) fn build(home: &Home, wanted: &Wanted, watch: &dyn Watch) -> Result<Image> {
    let (source, text) = read(wanted)?;
    let file = dockerfile::read(&source, &text).map_err(|faults| several(&source, faults))?;
    let target_platform = match &wanted.platform {
        None => Platform::ours(),
        Some(text) => Platform::parse(text).map_err(|what| {
            Failure::new(format!("cannot build for the platform `{text}`")).because(what).hint("write it as `linux/amd64`")
        })?,
    };
    let build_args = values::build_args(wanted);
    let globals = globals(&file, &source, &build_args, (&target_platform, wanted)).map_err(|faults| several(&source, faults))?;
    let epoch = finish::epoch(build_args.get("SOURCE_DATE_EPOCH").map(String::as_str).or(globals.find("SOURCE_DATE_EPOCH")))?;
    let (escape, stages) = (file.escape, file.stages.len());
    let mut graph = Graph::new(file, &source, wanted, &globals).map_err(|faults| several(&source, faults))?;
    let target = graph.target(wanted.target.as_deref(), stages)?;
    let setting = Setting {
        source: &source,
        escape,
        build_args: &build_args,
        globals: &globals,
        proxies: values::proxies(&build_args),
        host_network: wanted.network.as_deref() == Some("host") || wanted.allow.contains("network.host"),
        insecure: wanted.allow.contains("security.insecure"),
    };
    draft::sweep(home, |id, files| {
        // It is only rubbish that is taken away here; what resists is met again by the next build.
        let _ = worker::clean(home, id, files);
    });
    let agents = Agents::begin(home, &wanted.ssh)?;
    let remotes = Remotes::new(home, wanted, agents.socket("default").map(Path::to_owned));
    let mut plan = Plan {
        home,
        wanted,
        watch,
        setting: &setting,
        platform: &target_platform,
        remotes: &remotes,
        agents: &agents,
        images: BTreeMap::new(),
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
            Attempt::Done(image) => return Ok(*image),
            Attempt::Failed(failure) | Attempt::Lost(failure) => return Err(failure),
        }
    }
}

/// An `rmi` beside us may take away layers that we found in the cache; then we begin again, but not for ever.
const ATTEMPTS: usize = 4;

/// How one attempt ended.
enum Attempt {
    Done(Box<Image>),
    Failed(Failure),
    /// Layers had gone meanwhile.
    Lost(Failure),
}

/// Finds and reads the Dockerfile.
fn read(wanted: &Wanted) -> Result<(Source, String)> {
    if let Some(text) = &wanted.dockerfile_text {
        return Ok((Source::new("Dockerfile", text), text.clone()));
    }
    let path = wanted.dockerfile.clone().unwrap_or_else(|| wanted.context.join("Dockerfile"));
    let shown = path.strip_prefix("./").unwrap_or(&path).to_owned();
    let bytes = match fs::read(&path) {
        // Docker takes `dockerfile` too.
        Err(error) if error.kind() == io::ErrorKind::NotFound && wanted.dockerfile.is_none() => {
            fs::read(wanted.context.join("dockerfile")).map_err(|_| error)
        }
        read => read,
    };
    let bytes = bytes.map_err(|error| {
        let failure = Failure::new(format!("cannot read the Dockerfile `{}`", shown.display())).because(&error);
        match error.kind() {
            io::ErrorKind::NotFound => failure.hint("name it with `-f FILE`, or write one there"),
            _ => failure,
        }
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let failure = Failure::new(format!("cannot read the Dockerfile `{}`", shown.display()));
        failure.because(format!("it is not UTF-8: {}", error.utf8_error())).hint("save it as UTF-8")
    })?;
    Ok((Source::new(shown, &text), text))
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
    home: &'a Home,
    wanted: &'a Wanted,
    watch: &'a dyn Watch,
    setting: &'a Setting<'a>,
    platform: &'a Platform,
    remotes: &'a Remotes<'a>,
    agents: &'a Agents,
    /// Base images, by node.
    images: BTreeMap<usize, Image>,
    /// The nodes that have their base's triggers.
    triggered: Vec<usize>,
    /// `SOURCE_DATE_EPOCH`.
    epoch: Option<String>,
}

impl Plan<'_> {
    /// Decides, then carries out, then commits.
    fn attempt(&self, graph: &Graph<'_>, target: usize, order: &[usize]) -> Attempt {
        let evaluated = match self.evaluate(graph, order) {
            Ok(evaluated) => evaluated,
            Err(failure) => return Attempt::Failed(failure),
        };
        let tasks = self.tasks(graph, order, &evaluated);
        let solver = Solver::new((self.home, self.wanted), self.watch, self.setting.source, (self.remotes, self.agents)).with(tasks);
        let done = solver.missing_sources().and_then(|missing| match missing.is_empty() {
            true => solver.solve(target),
            false => Err(several(self.setting.source, missing)),
        });
        let config = self.labelled(&evaluated[&target].config);
        let committed = done.and_then(|outcome| finish::commit(self.home, self.wanted, config, (&outcome, self.epoch.clone())));
        match committed {
            Ok(image) => Attempt::Done(Box::new(image)),
            Err(failure) if solver.has_lost_layers() => Attempt::Lost(failure),
            Err(failure) => Attempt::Failed(failure),
        }
    }

    /// With what the command line adds.
    fn labelled(&self, config: &ImageConfig) -> ImageConfig {
        let mut config = config.clone();
        if !self.wanted.labels.is_empty() {
            let labels = config.config.labels.get_or_insert_default();
            labels.extend(self.wanted.labels.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))));
        }
        if self.wanted.platform.is_some() {
            config.os = self.platform.os.clone();
            config.architecture = self.platform.architecture.clone();
            config.variant = Some(self.platform.variant.clone()).filter(|variant| !variant.is_empty());
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

    /// Pulls the images that are not pulled yet, side by side.
    fn pull(&mut self, graph: &Graph<'_>, order: &[usize]) -> Result<()> {
        let mut missing: BTreeMap<(&str, Option<String>), Vec<usize>> = BTreeMap::new();
        for index in order {
            let node = &graph.nodes[*index];
            if let (Base::Image(name), false) = (&node.base, self.images.contains_key(index)) {
                let platform = node.platform.as_ref().map(Platform::text).or_else(|| self.wanted.platform.clone());
                missing.entry((name, platform)).or_default().push(*index);
            }
        }
        let policy = if self.wanted.pull { Policy::Always } else { Policy::Missing };
        let one = |name: &str, platform: Option<&str>, index: usize| {
            image::pull(self.home, name, platform, policy, self.watch).map_err(|failure| {
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
            Base::Scratch | Base::Directory(_) => Vec::new(),
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
                Base::Scratch | Base::Directory(_) => Some(Evaluated::scratch(node.platform.as_ref().unwrap_or(self.platform))),
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
        let mut number = 0;
        let mut tasks: Vec<Option<Task>> = Vec::new();
        tasks.resize_with(graph.nodes.len(), || None);
        for index in order {
            let node = &graph.nodes[*index];
            let begin = match &node.base {
                Base::Image(_) => Begin::Layers(self.images.get(index).map(Chain::of).unwrap_or_default()),
                Base::Node(base) => Begin::Stage(*base),
                Base::Scratch => Begin::Nothing,
                Base::Directory(path) => Begin::Directory(absolute(path)),
            };
            let steps = evaluated[index].steps.iter().cloned().map(|mut step| {
                number += 1;
                if busy > 1 {
                    step.shown = format!("[{}] {}", node.name, step.shown);
                }
                (number, step)
            });
            tasks[*index] = Some(Task { begin, steps: steps.collect() });
        }
        tasks
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
