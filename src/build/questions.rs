//! What can be asked of a Dockerfile without building it: `--check`, `--call=outline`, `--call=targets`.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;

use crate::build::Wanted;
use crate::build::Warning;
use crate::build::Watch;
use crate::build::agent::Agents;
use crate::build::dockerfile;
use crate::build::dockerfile::Dockerfile;
use crate::build::dockerfile::expand::NoValues;
use crate::build::dockerfile::expand::Rules;
use crate::build::dockerfile::expand::expand_text;
use crate::build::dockerfile::instruction::Instruction;
use crate::build::dockerfile::instruction::Kind;
use crate::build::dockerfile::mounts::MountKind;
use crate::build::graph::Graph;
use crate::build::ground::Ground;
use crate::build::lint::Recorded;
use crate::build::plan::Plan;
use crate::build::remote::Remotes;
use crate::build::steps::Work;
use crate::build::whole::Aim;
use crate::build::whole::Scene;
use crate::build::whole::platforms;
use crate::build::whole::several;
use crate::build::whole::with_plan;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    pub warnings: Vec<Warning>,
    /// What makes a build impossible.
    pub fault: Option<Failure>,
    /// The Dockerfile's name and text.
    pub source: (String, String),
}

/// What a build can be given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// The stage's name; empty if it has none.
    pub name: String,
    pub description: String,
    pub arguments: Vec<Argument>,
    pub secrets: Vec<Asked>,
    pub agents: Vec<Asked>,
    /// The Dockerfile's text.
    pub text: String,
}

/// A secret or an agent that a RUN asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    pub id: String,
    pub is_required: bool,
    /// The line of the first RUN that does.
    pub line: usize,
}

/// A build argument.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Argument {
    pub name: String,
    pub value: String,
    pub description: String,
    /// The line it is declared in.
    pub line: usize,
}

/// A stage that can be built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// Empty if it has none.
    pub name: String,
    pub description: String,
    pub base: String,
    pub platform: String,
    pub is_default: bool,
    pub line: usize,
}

/// Lets `act` look at a build of which nothing is carried out.
fn look<T>(home: &Home, wanted: &Wanted, watch: &dyn Watch, act: impl FnOnce(&Scene<'_>) -> Result<T>) -> Result<T> {
    let (agents, remotes) = (Agents::default(), Remotes::new(home, wanted, None));
    let ground = Ground::prepare(home, wanted, &remotes)?;
    let (numbered, held) = (&AtomicUsize::new(0), BTreeMap::new());
    act(&Scene { home, wanted, watch, ground: &ground, remotes: &remotes, agents: &agents, numbered, held })
}

/// See [`super::check`].
pub(super) fn check(home: &Home, wanted: &Wanted, watch: &dyn Watch) -> Result<Checked> {
    let platforms = platforms(wanted)?;
    look(home, wanted, watch, |scene| {
        let mut warnings = Vec::new();
        let outcome = with_plan(scene, (platforms.first(), Aim::Look), |plan, graph, stages| {
            let outcome = evaluated(plan, graph, stages);
            warnings = plan.setting.lint.warnings();
            outcome
        });
        let source = (scene.ground.source.file.display().to_string(), scene.ground.text.clone());
        Ok(Checked { warnings, fault: outcome.err(), source })
    })
}

/// Without a target every stage is looked at.
fn evaluated(plan: &mut Plan<'_>, graph: &mut Graph<'_>, stages: usize) -> Result<()> {
    let targets = match plan.scene.wanted.target.as_deref() {
        None | Some("") => (0..stages).collect(),
        named => vec![graph.target(named, stages)?],
    };
    let order = plan.settle(graph, &targets)?;
    plan.evaluate(graph, &order).map(drop)
}

/// See [`super::outline`].
pub(super) fn outline(home: &Home, wanted: &Wanted, watch: &dyn Watch) -> Result<Outline> {
    let platforms = platforms(wanted)?;
    look(home, wanted, watch, |scene| {
        let source = &scene.ground.source;
        let file = dockerfile::read(source, &scene.ground.text).map_err(|faults| several(source, faults))?;
        with_plan(scene, (platforms.first(), Aim::Look), |plan, graph, stages| {
            let target = graph.target(wanted.target.as_deref(), stages)?;
            let order = plan.settle(graph, &[target])?;
            let evaluated = plan.evaluate(graph, &order)?;
            let from = graph.nodes[target].from.as_ref();
            let name = from.and_then(|from| from.name.clone()).unwrap_or_default();
            let comments = graph.nodes[target].line.as_ref().map(|line| line.comments.clone()).unwrap_or_default();
            let text = scene.ground.text.clone();
            let mut outline = Outline { description: description(&comments, &name), name, text, ..Outline::default() };
            outline.arguments = arguments(plan, graph, &order, &file);
            let runs = order.iter().flat_map(|index| &evaluated[index].steps).filter_map(|step| match &step.work {
                Work::Run(run) => Some((run, step.place.line)),
                _ => None,
            });
            for (mount, line) in runs.flat_map(|(run, line)| run.mounts.iter().map(move |placed| (&placed.mount, line))) {
                let id = mount.id.clone().unwrap_or_else(|| "default".to_owned());
                let list = match mount.kind {
                    MountKind::Secret => &mut outline.secrets,
                    MountKind::Ssh => &mut outline.agents,
                    _ => continue,
                };
                if !list.iter().any(|known| known.id == id) {
                    list.push(Asked { id, is_required: mount.required, line });
                }
            }
            Ok(outline)
        })
    })
}

/// The comment that begins with a name, without it.
fn description(comments: &[String], name: &str) -> String {
    let said = comments.iter().find_map(|comment| comment.strip_prefix(name)?.strip_prefix(' '));
    if name.is_empty() { String::new() } else { said.unwrap_or_default().to_owned() }
}

/// The arguments of the needed stages, and those before the first FROM that these stages use.
fn arguments(plan: &Plan<'_>, graph: &Graph<'_>, order: &[usize], file: &Dockerfile) -> Vec<Argument> {
    let globals: BTreeMap<String, Argument> =
        file.globals.iter().flat_map(|instruction| declared(plan, instruction)).map(|argument| (argument.name.clone(), argument)).collect();
    let mut used: BTreeSet<String> = BTreeSet::new();
    let mut own: BTreeMap<String, Argument> = BTreeMap::new();
    for node in order.iter().map(|index| &graph.nodes[*index]) {
        for word in node.from.iter().flat_map(|from| [Some(&from.base), from.platform.as_ref()]).flatten() {
            used.extend(names_in(&word.text, plan));
        }
        for command in &node.commands {
            for argument in declared(plan, command) {
                let has_default = matches!(&command.kind, Kind::Arg(arguments) if arguments.iter().any(|one| one.name.text == argument.name && one.value.is_some()));
                if !has_default && globals.contains_key(&argument.name) {
                    used.insert(argument.name);
                } else {
                    own.entry(argument.name.clone()).or_insert(argument);
                }
            }
        }
    }
    let mut all: Vec<Argument> = globals.into_values().filter(|argument| used.contains(&argument.name)).chain(own.into_values()).collect();
    all.sort_by_key(|argument| argument.line);
    all
}

/// The names of the variables in a word.
fn names_in(text: &str, plan: &Plan<'_>) -> BTreeSet<String> {
    let values = Recorded::new(&NoValues);
    // A word that cannot be expanded was refused before.
    let _ = expand_text(text, Rules::new(plan.setting.escape), &values);
    values.unmatched()
}

/// What an ARG declares; nothing if it is another instruction.
fn declared(plan: &Plan<'_>, instruction: &Instruction) -> Vec<Argument> {
    let Kind::Arg(arguments) = &instruction.kind else { return Vec::new() };
    let setting = plan.setting;
    let argument = |argument: &dockerfile::instruction::Argument| {
        let name = argument.name.text.clone();
        let default = || {
            let word = argument.value.as_ref()?;
            expand_text(&word.text, Rules::new(setting.escape), setting.globals).ok()
        };
        let value = setting.build_args.get(&name).cloned().or_else(default).unwrap_or_default();
        Argument { description: description(&instruction.line.comments, &name), value, line: instruction.start().line, name }
    };
    arguments.iter().map(argument).collect()
}

/// See [`super::targets`].
pub(super) fn targets(home: &Home, wanted: &Wanted) -> Result<(Vec<Target>, String)> {
    let remotes = Remotes::new(home, wanted, None);
    let ground = Ground::prepare(home, wanted, &remotes)?;
    let file = dockerfile::read(&ground.source, &ground.text).map_err(|faults| several(&ground.source, faults))?;
    let last = file.stages.len().saturating_sub(1);
    let target = |(index, stage): (usize, &dockerfile::Stage)| {
        let name = stage.from.name.clone().unwrap_or_default();
        Target {
            description: description(&stage.instruction.line.comments, &name),
            name,
            base: stage.from.base.text.clone(),
            platform: stage.from.platform.as_ref().map(|word| word.text.clone()).unwrap_or_default(),
            is_default: index == last,
            line: stage.instruction.start().line,
        }
    };
    Ok((file.stages.iter().enumerate().map(target).collect(), ground.text.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::DockerfileAt;
    use crate::image;

    struct Nobody;

    impl image::Watch for Nobody {
        fn layer(&self, _digest: &str, _size: u64, _there: bool) {}
        fn progress(&self, _digest: &str, _bytes: u64) {}
        fn done(&self, _digest: &str) {}
        fn note(&self, _text: &str) {}
    }

    impl Watch for Nobody {
        fn handed_over(&self, _: &str) {}
        fn step(&self, _number: usize, _of: usize, _text: &str) {}
        fn cached(&self, _number: usize) {}
        fn output(&self, _number: usize, _line: &[u8]) {}
        fn ended(&self, _number: usize) {}
        fn broke(&self, _number: usize, _reason: &str) {}
        fn pushing(&self, _name: &str) {}
    }

    fn wanted(text: &str) -> Wanted {
        Wanted { dockerfile: DockerfileAt::Text(text.to_owned()), ..Wanted::default() }
    }

    fn found(text: &str) -> Vec<String> {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path().join("root"), place.path().join("run"));
        let checked = check(&home, &wanted(text), &Nobody).unwrap();
        assert!(checked.fault.is_none(), "{text}: {:?}", checked.fault);
        checked.warnings.iter().map(|warning| format!("{} {}", warning.rule, warning.lines.0)).collect()
    }

    /// Each rule, broken and kept.
    #[test]
    fn rules_are_broken_where_buildkit_says() {
        for (text, expected) in [
            ("FROM scratch\nLABEL a=1\n", vec![]),
            ("frOM scratch\n", vec!["ConsistentInstructionCasing 1"]),
            ("FROM scratch AS Build\n", vec!["StageNameCasing 1"]),
            ("FROM scratch as b\n", vec!["FromAsCasing 1"]),
            ("from scratch AS b\n", vec!["FromAsCasing 1"]),
            ("FROM scratch AS b\nFROM scratch AS B\n", vec!["StageNameCasing 2", "DuplicateStageName 2"]),
            ("FROM scratch AS context\n", vec!["ReservedStageName 1"]),
            ("FROM scratch\nSHELL [\"/bin/bash\"]\nCMD echo\n", vec![]),
            ("FROM scratch\nENTRYPOINT echo\n", vec!["JSONArgsRecommended 2"]),
            ("FROM scratch\nCMD [\"a\"]\nCMD [\"b\"]\n", vec!["MultipleInstructionsDisallowed 2"]),
            ("FROM scratch\nHEALTHCHECK NONE\nHEALTHCHECK CMD x\n", vec!["MultipleInstructionsDisallowed 2"]),
            ("ARG X\nFROM ${Y:-scratch}\n", vec!["UndefinedArgInFrom 2"]),
            ("ARG X\nFROM ${X:-scratch}\n", vec![]),
            ("FROM --platform=$BUILDPLATFORM scratch\n", vec![]),
            ("FROM --platform=$TARGETPLATFORM scratch\n", vec!["RedundantTargetPlatform 1"]),
            ("FROM --platform=linux/amd64 scratch\n", vec!["FromPlatformFlagConstDisallowed 1"]),
            ("FROM --platform=linux/amd64 scratch AS build_amd64\n", vec![]),
            ("FROM scratch\nWORKDIR app\nWORKDIR b\n", vec!["WorkdirRelativePath 2"]),
            ("FROM scratch\nWORKDIR /a\nWORKDIR app\n", vec![]),
            ("FROM scratch\nARG X\nENV A=$X B=$C\n", vec!["UndefinedVar 3"]),
            ("FROM scratch\nENV A b\n", vec!["LegacyKeyValueFormat 2"]),
            ("FROM scratch\nLABEL A b\n", vec!["LegacyKeyValueFormat 2"]),
            ("FROM scratch\nENV AUTH=1 TOKEN_PUBLIC=1 MONKEY=1\n", vec!["SecretsUsedInArgOrEnv 2"]),
            ("FROM scratch\nEXPOSE 80/TCP 90\n", vec!["ExposeProtoCasing 2"]),
            ("FROM scratch\nEXPOSE 8080:80\n", vec!["ExposeInvalidFormat 2"]),
            ("FROM scratch\nLABEL a=1 \\\n\n  b=2\n", vec!["NoEmptyContinuation 4"]),
            ("# check=skip=all\nFROM scratch\nMAINTAINER x\n", vec![]),
            ("# check=skip=MaintainerDeprecated\nFROM scratch as b\nMAINTAINER x\n", vec!["FromAsCasing 2"]),
            ("FROM scratch\n# check=skip=MaintainerDeprecated\nMAINTAINER x\n", vec![]),
            ("# check=experimental=all\n# other\nFROM scratch AS b\n", vec!["InvalidDefinitionDescription 3"]),
            ("# check=experimental=all\n# b is the thing\nFROM scratch AS b\n", vec![]),
            ("FROM scratch AS a\nMAINTAINER x\nFROM scratch\nWORKDIR q\n", vec!["MaintainerDeprecated 2", "WorkdirRelativePath 4"]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn a_fault_is_an_answer_and_a_bad_option_is_a_fault() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path().join("root"), place.path().join("run"));
        let fault = |text: &str| check(&home, &wanted(text), &Nobody).unwrap().fault.unwrap().to_string();
        assert!(fault("FROM scratch\nRUNN x\n").contains("unknown instruction: RUNN"));
        assert!(fault("# check=foo\nFROM scratch\n").contains("invalid check option \"foo\""));
    }

    #[test]
    fn an_outline_has_what_the_target_uses() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path().join("root"), place.path().join("run"));
        let text = "# BASE is what we stand on\nARG BASE=scratch\nARG UNUSED=1\n# web is the page\nFROM $BASE AS web\nARG UNUSED2\n# MODE is fast or slow\nARG MODE=fast\nRUN --mount=type=secret,id=token,required --mount=type=ssh x\nFROM scratch\n";
        let outlined = outline(&home, &Wanted { target: Some("web".to_owned()), ..wanted(text) }, &Nobody).unwrap();
        assert_eq!((outlined.name.as_str(), outlined.description.as_str()), ("web", "is the page"));
        let arguments: Vec<_> =
            outlined.arguments.iter().map(|one| (one.name.as_str(), one.value.as_str(), one.description.as_str())).collect();
        assert_eq!(arguments, [("BASE", "scratch", "is what we stand on"), ("UNUSED2", "", ""), ("MODE", "fast", "is fast or slow")]);
        let asked = |id: &str, is_required: bool| vec![Asked { id: id.to_owned(), is_required, line: 9 }];
        assert_eq!((outlined.secrets, outlined.agents), (asked("token", true), asked("default", false)));
        let (targets, _) = targets(&home, &wanted(text)).unwrap();
        assert_eq!(
            targets.iter().map(|target| (target.name.as_str(), target.is_default)).collect::<Vec<_>>(),
            [("web", false), ("", true)]
        );
    }
}
