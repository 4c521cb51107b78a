//! Which stages there are, what each stands on, and which of them the target needs.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::build::Wanted;
use crate::build::dockerfile;
use crate::build::dockerfile::Dockerfile;
use crate::build::dockerfile::Stage;
use crate::build::dockerfile::Word;
use crate::build::dockerfile::expand::NoValues;
use crate::build::dockerfile::expand::Rules;
use crate::build::dockerfile::expand::expand_text;
use crate::build::dockerfile::instruction::From;
use crate::build::dockerfile::instruction::Instruction;
use crate::build::dockerfile::instruction::Kind;
use crate::build::dockerfile::lines::Logical;
use crate::build::dockerfile::mounts;
use crate::build::dockerfile::source::Place;
use crate::build::dockerfile::source::Source;
use crate::build::dockerfile::source::nearest;
use crate::build::lint;
use crate::build::lint::Lint;
use crate::build::lint::Recorded;
use crate::build::lint::rules as lint_rules;
use crate::build::platform::Platform;
use crate::build::remote;
use crate::build::remote::Reading;
use crate::build::values::Variables;
use crate::build::whole;
use crate::failure::Failure;

/// A stage, or an image or directory that a COPY or a mount reads from.
#[derive(Debug)]
pub(super) struct Node {
    /// As the user knows it: `builder`, or `stage-1`.
    pub name: String,
    pub base: Base,
    /// Of its FROM, or of the instruction that names it.
    pub place: Place,
    /// Its FROM.
    pub line: Option<Logical>,
    /// Its comment and what else its FROM says.
    pub from: Option<From>,
    pub platform: Option<Platform>,
    pub commands: Vec<Instruction>,
    /// The other nodes that each command reads from, by command and, for RUN, mount.
    pub sources: BTreeMap<(usize, usize), usize>,
    /// Where each of its reads stands, for the check that stages come before what reads them.
    reads: Vec<(usize, Place)>,
}

impl Node {
    fn read_only(name: String, base: Base, place: Place) -> Node {
        let (commands, sources, reads) = (Vec::new(), BTreeMap::new(), Vec::new());
        Node { name, base, place, line: None, from: None, platform: None, commands, sources, reads }
    }
}

/// Stands for the node beside a stage on a directory until it is known.
const FILES: &str = "files";

/// What a stage stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    Scratch,
    Node(usize),
    /// As the user wrote it, variables replaced.
    Image(String),
    /// A named context.
    Directory(PathBuf),
    /// A named context that is elsewhere, by its address.
    Remote(String),
    /// An image layout on the disk: its directory, and behind it perhaps `:tag` or `@digest`.
    Layout(String),
    /// Layers in our own hands, by their name.
    Held(String),
}

/// All stages of a Dockerfile.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    pub nodes: Vec<Node>,
    /// So many of the nodes are stages; the others are only read from.
    pub stages: usize,
    names: BTreeMap<String, usize>,
    /// Directories and images that stand in for names.
    contexts: &'a BTreeMap<String, String>,
    source: &'a Source,
}

impl<'a> Graph<'a> {
    /// Builds the graph; `globals` are the variables that FROM sees.
    ///
    /// # Errors
    /// Every fault in the FROMs and `--from`s.
    pub(super) fn new(
        file: Dockerfile,
        wanted: &'a Wanted,
        globals: &Variables,
        (source, lint): (&'a Source, &Lint<'_>),
    ) -> Result<Graph<'a>, Vec<Failure>> {
        let mut graph = Graph { nodes: Vec::new(), stages: file.stages.len(), names: BTreeMap::new(), contexts: &wanted.contexts, source };
        let mut faults = Vec::new();
        let rules = Rules::new(file.escape);
        let declared = declared(&file);
        for stage in file.stages {
            check_from(lint, &stage, rules, (globals, &declared));
            if let Err(fault) = graph.add_stage(stage, rules, globals) {
                faults.push(fault);
            }
        }
        // The numbers of stages are only right if all of them are there.
        if faults.is_empty() {
            graph.fill();
            (0..graph.stages).for_each(|index| graph.link(index, &mut faults));
        }
        if faults.is_empty() { Ok(graph) } else { Err(faults) }
    }

    fn add_stage(&mut self, stage: Stage, rules: Rules, globals: &Variables) -> Result<(), Failure> {
        let index = self.nodes.len();
        let expand = |word: &Word| {
            let text = expand_text(&word.text, rules, globals);
            text.map_err(|what| self.source.fault(stage.instruction.place(word), what))
        };
        let base = expand(&stage.from.base)?;
        if base.is_empty() {
            let what = format!("base name ({}) should not be blank", stage.from.base.text);
            let fault = self.source.fault(stage.instruction.place(&stage.from.base), what);
            return Err(fault.hint("declare the variable with `ARG name=default` before the first FROM, or give `--build-arg`"));
        }
        let platform = match &stage.from.platform {
            None => None,
            Some(word) => {
                let place = stage.instruction.place(word);
                let text = expand(word)?;
                let parsed = if text.is_empty() {
                    Err(format!("empty platform value from expression {}", word.text))
                } else {
                    Platform::parse(&text)
                };
                Some(parsed.map_err(|what| self.source.fault(place, what).hint("write it as `linux/amd64`"))?)
            }
        };
        let named = stage.from.name.as_ref().and_then(|name| self.context(name));
        let commands = if named.is_some() { Vec::new() } else { stage.commands };
        let base = named.unwrap_or_else(|| self.base_of(&base));
        let name = stage.from.name.clone().unwrap_or_else(|| format!("stage-{index}"));
        let place = stage.instruction.place(&stage.from.base);
        if let Some(name) = &stage.from.name {
            self.names.insert(name.clone(), index);
        }
        let (line, from) = (Some(stage.instruction.line.clone()), Some(stage.from));
        self.nodes.push(Node { name, base, place, line, from, platform, commands, sources: BTreeMap::new(), reads: Vec::new() });
        Ok(())
    }

    /// A stage on a directory begins with its files: it copies them from a node beside it.
    fn fill(&mut self) {
        for index in 0..self.stages {
            let node = &mut self.nodes[index];
            if !matches!(node.base, Base::Directory(_) | Base::Remote(_)) {
                continue;
            }
            let base = std::mem::replace(&mut node.base, Base::Scratch);
            // No name has a blank in it that somebody could write.
            let (name, place) = (format!("{} files", node.name), node.place);
            let copy = dockerfile::trigger(&format!("COPY --from={FILES} / /"), self.source, place);
            let Ok(mut copy) = copy else { continue };
            if let Kind::Transfer(transfer) = &mut copy.kind
                && let Some(from) = &mut transfer.from
            {
                from.text.clone_from(&name);
            }
            node.commands.insert(0, copy);
            self.names.insert(name.to_lowercase(), self.nodes.len());
            self.nodes.push(Node::read_only(name, base, place));
        }
    }

    /// An earlier stage, a named context or an image. Names of stages in FROM are exact; those in `--from` are not.
    fn base_of(&self, name: &str) -> Base {
        if let Some(index) = self.names.get(name) {
            return Base::Node(*index);
        }
        if name == "scratch" {
            return Base::Scratch;
        }
        self.context(name).unwrap_or_else(|| Base::Image(name.to_owned()))
    }

    /// What `--build-context` puts in the place of a name.
    fn context(&self, name: &str) -> Option<Base> {
        let wanted = familiar(name);
        let (_, value) = self.contexts.iter().find(|(known, _)| familiar(known) == wanted)?;
        if let Some(image) = value.strip_prefix("docker-image://") {
            return Some(Base::Image(image.to_owned()));
        }
        if let Some(layout) = value.strip_prefix("oci-layout://") {
            return Some(Base::Layout(layout.to_owned()));
        }
        if let Some(held) = value.strip_prefix(whole::HELD) {
            return Some(Base::Held(held.to_owned()));
        }
        let is_address = value.starts_with("http://") || value.starts_with("https://");
        let is_git = matches!(remote::read_reference(value), Reading::Git(reference) if !reference.looks_local);
        Some(if is_git || is_address { Base::Remote(value.clone()) } else { Base::Directory(PathBuf::from(value)) })
    }

    /// Finds what the commands of a node, from the `first` on, read from.
    fn link(&mut self, index: usize, faults: &mut Vec<Failure>) {
        let commands = std::mem::take(&mut self.nodes[index].commands);
        self.nodes[index].sources.clear();
        self.nodes[index].reads.clear();
        for (number, command) in commands.iter().enumerate() {
            let may_count = matches!(command.kind, Kind::Transfer(_));
            for (mount, from, place) in reads_of(command) {
                let found = if may_count { self.find_or_count(&from, place) } else { Ok(self.find_or_add(&from, place)) };
                match found {
                    Ok(source) => {
                        self.nodes[index].sources.insert((number, mount), source);
                        self.nodes[index].reads.push((source, place));
                    }
                    Err(fault) => faults.push(fault),
                }
            }
        }
        self.nodes[index].commands = commands;
    }

    /// What a `--from` means: a mount's is a name, a COPY's may be a stage's number.
    fn find_or_count(&mut self, from: &str, place: Place) -> Result<usize, Failure> {
        let literal = expand_text(from, Rules::new('\\'), &NoValues);
        if literal.as_deref() != Ok(from) {
            let what = "variable expansion is not supported for --from";
            let hint = "define a new stage with FROM, using an ARG from global scope, and copy from it";
            return Err(self.source.fault(place, what).hint(hint));
        }
        if let Ok(number) = from.parse::<i64>() {
            let found = usize::try_from(number).ok().filter(|number| *number < self.nodes.len());
            return found.ok_or_else(|| self.source.fault(place, format!("invalid stage index {from}")).hint("stages are counted from 0"));
        }
        Ok(self.find_or_add(from, place))
    }

    fn find_or_add(&mut self, from: &str, place: Place) -> usize {
        if let Some(index) = self.names.get(&from.to_lowercase()) {
            return *index;
        }
        let base = self.base_of(from);
        let same = |node: &Node| node.commands.is_empty() && node.base == base && node.name == from;
        if let Some(index) = self.nodes.iter().position(same) {
            return index;
        }
        self.nodes.push(Node::read_only(from.to_owned(), base, place));
        self.nodes.len() - 1
    }

    /// Puts a base image's triggers before a stage's own commands.
    ///
    /// # Errors
    /// What is wrong with the triggers' own `--from`s.
    pub(super) fn prepend(&mut self, index: usize, triggers: Vec<Instruction>) -> Result<(), Vec<Failure>> {
        self.nodes[index].commands.splice(0..0, triggers);
        let mut faults = Vec::new();
        self.link(index, &mut faults);
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// The stage that is wanted.
    ///
    /// # Errors
    /// There is no such stage.
    pub(super) fn target(&self, name: Option<&str>, stages: usize) -> Result<usize, Failure> {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(stages - 1) };
        self.names.get(&name.to_lowercase()).copied().ok_or_else(|| {
            let failure = Failure::new(format!("cannot build the stage `{name}`"));
            let failure = failure.because(format!("target stage {name:?} could not be found in {}", self.source.file.display()));
            let names: Vec<&str> = self.names.keys().map(String::as_str).filter(|name| !name.contains(' ')).collect();
            match nearest(name, names.iter().copied()) {
                Some(meant) => failure.hint(format!("did you mean `{meant}`?")),
                None if names.is_empty() => failure.hint("give a stage a name with `FROM … AS name`"),
                None => failure.hint(format!("the stages are {}", names.join(", "))),
            }
        })
    }

    /// The nodes that some nodes need, themselves among them, each after all that it needs.
    ///
    /// # Errors
    /// A stage that needs itself, or one that comes later.
    pub(super) fn needed(&self, targets: &[usize]) -> Result<Vec<usize>, Failure> {
        let mut order = Vec::new();
        for target in targets {
            self.visit(*target, &mut BTreeSet::new(), &mut order)?;
        }
        Ok(order)
    }

    fn visit(&self, index: usize, open: &mut BTreeSet<usize>, order: &mut Vec<usize>) -> Result<(), Failure> {
        if order.contains(&index) {
            return Ok(());
        }
        open.insert(index);
        let node = &self.nodes[index];
        if let Base::Node(base) = node.base {
            self.visit(base, open, order)?;
        }
        for (source, place) in &node.reads {
            if open.contains(source) {
                let what = format!("circular dependency detected on stage: {}", self.nodes[*source].name);
                return Err(self.source.fault(*place, what).hint("copy from an earlier stage"));
            }
            if *source > index && !self.nodes[*source].commands.is_empty() {
                let what = format!(
                    "cannot copy from stage {:?}, it needs to be defined before current stage {:?}",
                    self.nodes[*source].name, node.name
                );
                return Err(self.source.fault(*place, what).hint("move that stage up"));
            }
            self.visit(*source, open, order)?;
        }
        open.remove(&index);
        order.push(index);
        Ok(())
    }
}

/// The names of the ARGs before the first FROM.
fn declared(file: &Dockerfile) -> Vec<String> {
    let names = |instruction: &Instruction| match &instruction.kind {
        Kind::Arg(arguments) => arguments.iter().map(|argument| argument.name.text.clone()).collect(),
        _ => Vec::new(),
    };
    file.globals.iter().flat_map(names).collect()
}

/// Warns of variables in a FROM that nobody has declared, and of platforms that say too much or too little.
fn check_from(lint: &Lint<'_>, stage: &Stage, rules: Rules, (globals, declared): (&Variables, &[String])) {
    let line = &stage.instruction.line;
    let look_up = |word: &Word| {
        let values = Recorded::new(globals);
        let text = expand_text(&word.text, rules, &values);
        let known = || globals.names().chain(declared.iter().map(String::as_str));
        for name in values.unmatched().iter().filter(|name| !known().any(|known| known == name.as_str())) {
            let meant = lint::meant(name, known()).map(|meant| format!(" (did you mean {meant}?)")).unwrap_or_default();
            lint.warn(&lint_rules::UNDEFINED_ARG_IN_FROM, line, format!("FROM argument '{name}' is not declared{meant}"));
        }
        (text.unwrap_or_default(), values.matched(), values.unmatched())
    };
    look_up(&stage.from.base);
    let Some(word) = &stage.from.platform else { return };
    let (text, matched, unmatched) = look_up(word);
    let target = globals.find("TARGETPLATFORM").unwrap_or_default();
    if matched.len() == 1 && unmatched.is_empty() && matched.contains("TARGETPLATFORM") && text == target {
        let detail = format!("Setting platform to predefined {} in FROM is redundant as this is the default behavior", word.text);
        lint.warn(&lint_rules::REDUNDANT_TARGET_PLATFORM, line, detail);
    }
    let Ok(platform) = Platform::parse(&text) else { return };
    let name = stage.from.name.clone().unwrap_or_default();
    if matched.is_empty() && unmatched.is_empty() && !name.contains(&platform.os) && !name.contains(&platform.architecture) {
        let detail = format!("FROM --platform flag should not use constant value {text:?}");
        lint.warn(&lint_rules::FROM_PLATFORM_FLAG_CONST_DISALLOWED, line, detail);
    }
}

/// The names a command reads from, with the number of the mount and the place.
fn reads_of(command: &Instruction) -> Vec<(usize, String, Place)> {
    match &command.kind {
        Kind::Transfer(transfer) => transfer.from.iter().map(|from| (0, from.text.clone(), command.place(from))).collect(),
        Kind::Run(run) => {
            let from = |(number, word): (usize, &Word)| Some((number, mounts::from(word)?, command.place(word)));
            run.mounts.iter().enumerate().filter_map(from).collect()
        }
        _ => Vec::new(),
    }
}

/// An image's name without what goes without saying.
fn familiar(name: &str) -> &str {
    let name = name.strip_suffix(":latest").unwrap_or(name);
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}
