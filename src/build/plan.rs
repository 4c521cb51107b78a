//! A build before anything is carried out: bases brought, triggers put in, stages evaluated, steps numbered.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use serde_json::Value;

use crate::build::chain::Chain;
use crate::build::dockerfile;
use crate::build::dockerfile::instruction::Kind;
use crate::build::evaluate;
use crate::build::evaluate::Evaluated;
use crate::build::evaluate::Setting;
use crate::build::finish;
use crate::build::finish::Finished;
use crate::build::graph::Base;
use crate::build::graph::Graph;
use crate::build::graph::Node;
use crate::build::ground;
use crate::build::ground::Place;
use crate::build::lint::rules;
use crate::build::platform::Platform;
use crate::build::provenance::Material;
use crate::build::sbom;
use crate::build::sbom::Extra;
use crate::build::sbom::Scanned;
use crate::build::solve::Begin;
use crate::build::solve::Solver;
use crate::build::solve::Task;
use crate::build::steps::Step;
use crate::build::whole::Aim;
use crate::build::whole::Scene;
use crate::build::whole::several;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::image::Image;
use crate::image::ImageConfig;
use crate::image::Policy;
use crate::image::elsewhere;

/// How one attempt ended.
pub(super) enum Attempt {
    Done(Box<Finished>),
    Failed(Failure),
    /// Layers had gone meanwhile.
    Lost(Failure),
}

/// A build before anything is carried out.
pub(super) struct Plan<'a> {
    pub scene: &'a Scene<'a>,
    pub setting: &'a Setting<'a>,
    pub platform: &'a Platform,
    /// The same, if the user named it.
    pub chosen: Option<&'a Platform>,
    pub aim: Aim,
    /// Base images, by node.
    pub images: BTreeMap<usize, Image>,
    /// Directories that nodes are, by node.
    pub places: BTreeMap<usize, Place>,
    /// The nodes that have their base's triggers.
    pub triggered: Vec<usize>,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch: Option<i64>,
    /// RFC 3339.
    pub begun: String,
}

impl Plan<'_> {
    /// Decides, then carries out, then puts together.
    pub(super) fn attempt(&self, graph: &Graph<'_>, target: usize, order: &[usize]) -> Attempt {
        let evaluated = match self.evaluate(graph, order) {
            Ok(evaluated) => evaluated,
            Err(failure) => return Attempt::Failed(failure),
        };
        if let Err(failure) = self.refuse_warnings() {
            return Attempt::Failed(failure);
        }
        let tasks = self.tasks(graph, order, &evaluated);
        let solver = Solver::new(self.scene, (self.platform, self.epoch)).with(tasks);
        let done = solver.missing_sources().and_then(|missing| match missing.is_empty() {
            true => solver.solve(target),
            false => Err(several(self.setting.source, missing)),
        });
        let config = self.labelled(&evaluated[&target].config);
        let finished = done.and_then(|outcome| finish::complete(self.scene, config, (outcome, self.epoch)));
        match finished {
            Ok(finished) => Attempt::Done(Box::new(Finished {
                warnings: self.setting.lint.warnings(),
                materials: self.materials(graph, order, &evaluated),
                begun: self.begun.clone(),
                all_steps: solver.all_steps(),
                extras: self.extras(graph, (order, target), (&evaluated, &solver)),
                ..finished
            })),
            Err(failure) if solver.has_lost_layers() => Attempt::Lost(failure),
            Err(failure) => Attempt::Failed(failure),
        }
    }

    /// What a scanner shall look at beside the result: other stages and the context, as two arguments say.
    fn extras(
        &self,
        graph: &Graph<'_>,
        (order, target): (&[usize], usize),
        (evaluated, solver): (&BTreeMap<usize, Evaluated>, &Solver<'_>),
    ) -> Vec<Extra> {
        let is_wanted = |name: &str, index: usize| {
            let own = evaluated[&index].arguments.iter().rev().find(|(known, value)| known == name && value.is_some());
            let value = own.and_then(|(_, value)| value.as_deref()).or_else(|| self.setting.globals.find(name));
            value.is_some_and(|value| sbom::is_enabled(&graph.nodes[index].name, value))
        };
        let mut extras = Vec::new();
        if is_wanted("BUILDKIT_SBOM_SCAN_CONTEXT", target) {
            let directory = self.scene.ground.place.directory.clone();
            extras.push(Extra { name: "context".to_owned(), files: Scanned::Directory(directory) });
        }
        for index in order.iter().copied().filter(|index| *index != target && *index < graph.stages) {
            if let Some(outcome) = solver.outcome(index).filter(|_| is_wanted("BUILDKIT_SBOM_SCAN_STAGE", index)) {
                extras.push(Extra { name: graph.nodes[index].name.clone(), files: Scanned::Layers(outcome.chain) });
            }
        }
        extras
    }

    /// All that comes from elsewhere, and what it was this time.
    fn materials(&self, graph: &Graph<'_>, order: &[usize], evaluated: &BTreeMap<usize, Evaluated>) -> Vec<Material> {
        let remotes = self.scene.remotes;
        let mut materials: BTreeSet<Material> = BTreeSet::new();
        for index in order {
            if let (Base::Image(name), Some(image)) = (&graph.nodes[*index].base, self.images.get(index)) {
                let digest = image.manifest_digest.as_ref().and_then(|digest| digest.strip_prefix("sha256:"));
                let uri = image::package_url(name, &Platform::of(&image.config).text());
                materials.insert(Material { uri, digest: digest.map(|digest| ("sha256", digest.to_owned())) });
            }
            let sources = evaluated[index].steps.iter().flat_map(Step::remote_sources);
            materials.extend(sources.filter_map(|source| remotes.material(source)));
        }
        materials.into_iter().collect()
    }

    /// `# check=error=true`
    pub(super) fn refuse_warnings(&self) -> Result<()> {
        let warnings = self.setting.lint.warnings();
        if !self.setting.lint.config.is_strict || warnings.is_empty() {
            return Ok(());
        }
        let names: BTreeSet<&str> = warnings.iter().map(|warning| warning.rule).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let faults = warnings.iter().map(|warning| Failure::new(format!("{}: {}", warning.rule, warning.detail)).at(warning.spot.clone()));
        Err(Failure::several(format!("lint violation found for rules: {}", names.join(", ")), faults.collect()))
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
    pub(super) fn settle(&mut self, graph: &mut Graph<'_>, targets: &[usize]) -> Result<Vec<usize>> {
        loop {
            let order = graph.needed(targets)?;
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
            if let (Base::Layout(place), false) = (&node.base, self.images.contains_key(index)) {
                let image = self.layout(node, place)?;
                self.images.insert(*index, image);
            }
            if let (Base::Image(name), false) = (&node.base, self.images.contains_key(index)) {
                let platform = node.platform.as_ref().or(self.chosen).map(Platform::text);
                missing.entry((name, platform)).or_default().push(*index);
            }
        }
        let policy = if self.scene.wanted.pull { Policy::Always } else { Policy::Missing };
        let one = |name: &str, platform: Option<&str>, index: usize| {
            let policy = if self.scene.wanted.own_images.contains(name) { Policy::Never } else { policy };
            let pulled = match self.aim {
                Aim::Build => image::pull(self.scene.home, name, platform, policy, self.scene.watch),
                Aim::Look => image::peek(self.scene.home, name, platform, self.scene.watch),
            };
            pulled.map_err(|failure| {
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

    /// The image of a layout on the disk.
    fn layout(&self, node: &Node, place: &str) -> Result<Image> {
        let platform = node.platform.as_ref().or(self.chosen).map(Platform::text);
        let (directory, version) = cut_version(place);
        let found = elsewhere::in_layout(&absolute(Path::new(directory)), version, platform.as_deref());
        let brought = found.and_then(|image| match self.aim {
            Aim::Build => image.admit(self.scene.home, self.scene.watch),
            Aim::Look => Ok(image.looked_at()),
        });
        brought
            .map_err(|failure| failure.within(format!("cannot use the context `{}`", node.name)).at(self.setting.source.spot(node.place)))
    }

    /// The triggers that a node's base leaves to it.
    fn triggers(&self, graph: &Graph<'_>, index: usize) -> Result<Vec<dockerfile::instruction::Instruction>> {
        let node = &graph.nodes[index];
        // What is only read from triggers nothing.
        if index >= graph.stages {
            return Ok(Vec::new());
        }
        let texts: Vec<String> = match &node.base {
            Base::Image(_) | Base::Layout(_) => {
                self.images.get(&index).and_then(|image| image.config.config.on_build.clone()).unwrap_or_default()
            }
            Base::Node(base) => graph.nodes[*base]
                .commands
                .iter()
                .filter_map(|command| match &command.kind {
                    Kind::Onbuild(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
            Base::Scratch | Base::Directory(_) | Base::Remote(_) | Base::Held(_) => Vec::new(),
        };
        texts.iter().map(|text| dockerfile::trigger(text, self.setting.source, node.place)).collect()
    }

    pub(super) fn evaluate(&self, graph: &Graph<'_>, order: &[usize]) -> Result<BTreeMap<usize, Evaluated>> {
        let mut evaluated: BTreeMap<usize, Evaluated> = BTreeMap::new();
        let mut faults = Vec::new();
        for index in order {
            let node = &graph.nodes[*index];
            self.check_platform(node, self.images.get(index));
            let begin = match &node.base {
                Base::Image(_) | Base::Layout(_) => self.images.get(index).map(|image| Evaluated::image(&image.config)),
                Base::Node(base) => evaluated.get(base).map(Evaluated::based_on),
                Base::Scratch | Base::Directory(_) | Base::Remote(_) | Base::Held(_) => {
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

    /// Warns of a base image that is for another machine than the stage.
    fn check_platform(&self, node: &Node, image: Option<&Image>) {
        let (Some(image), Some(line)) = (image, &node.line) else { return };
        let expected = node.platform.as_ref().unwrap_or(self.platform).normalized();
        let actual = Platform::of(&image.config).normalized();
        if (&expected.os, &expected.architecture) != (&actual.os, &actual.architecture) && !actual.architecture.is_empty() {
            let name = match &node.base {
                Base::Image(name) => name.as_str(),
                _ => &node.name,
            };
            let (expected, actual) = (expected.text(), actual.text());
            let detail = format!("Base image {name} was pulled with platform {actual:?}, expected {expected:?} for current build");
            self.setting.lint.warn(&rules::INVALID_BASE_IMAGE_PLATFORM, line, detail);
        }
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
            self.check_platform(node, self.images.get(index));
            let begin = match &node.base {
                Base::Image(_) | Base::Layout(_) => Begin::Layers(self.images.get(index).map(Chain::of).unwrap_or_default()),
                Base::Held(name) => Begin::Layers(self.scene.held.get(name).cloned().unwrap_or_default()),
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

/// The directory of a layout and the tag or digest behind it.
fn cut_version(place: &str) -> (&str, Option<&str>) {
    if let Some((directory, digest)) = place.split_once('@') {
        let directory = directory.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(directory, |(directory, _)| directory);
        return (directory, Some(digest));
    }
    match place.rsplit_once(':') {
        Some((directory, tag)) if !tag.contains('/') => (directory, Some(tag)),
        _ => (place, None),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
