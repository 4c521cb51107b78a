//! A stage's instructions become steps, a configuration and a history. Pure.
//!
//! What each instruction does to the configuration, and the words of the history, follow
//! <https://github.com/moby/buildkit/blob/v0.26.0/frontend/dockerfile/dockerfile2llb/convert.go>.

use std::collections::BTreeMap;

use serde_json::Map;
use serde_json::Value;

use crate::build::config;
use crate::build::dockerfile::Fault;
use crate::build::dockerfile::Word;
use crate::build::dockerfile::expand::Rules;
use crate::build::dockerfile::expand::expand;
use crate::build::dockerfile::expand::expand_text;
use crate::build::dockerfile::health::go_duration_text;
use crate::build::dockerfile::instruction::Argument;
use crate::build::dockerfile::instruction::CommandLine;
use crate::build::dockerfile::instruction::Form;
use crate::build::dockerfile::instruction::Instruction;
use crate::build::dockerfile::instruction::Kind;
use crate::build::dockerfile::instruction::Pair;
use crate::build::dockerfile::lines::Logical;
use crate::build::dockerfile::source::Source;
use crate::build::ignore::Patterns;
use crate::build::lint;
use crate::build::lint::Lint;
use crate::build::lint::Recorded;
use crate::build::lint::Rule;
use crate::build::lint::rules;
use crate::build::platform::Platform;
use crate::build::steps::DirectoryWork;
use crate::build::steps::Origin;
use crate::build::steps::Step;
use crate::build::steps::Work;
use crate::build::values::Variables;
use crate::failure::Failure;
use crate::image::Healthcheck;
use crate::image::History;
use crate::image::ImageConfig;
use crate::paths;

/// What BuildKit writes as each line's comment; tools look for it.
const COMMENT: &str = "buildkit.dockerfile.v0";

/// Where programs are looked for in an image that does not say.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is the same for all stages.
pub(super) struct Setting<'a> {
    pub source: &'a Source,
    pub escape: char,
    pub build_args: &'a BTreeMap<String, String>,
    pub globals: &'a Variables,
    /// Variables for RUN that are no part of the cache key.
    pub proxies: Vec<String>,
    /// The build's own `--network`.
    pub host_network: bool,
    /// `--allow security.insecure`.
    pub insecure: bool,
    pub lint: &'a Lint<'a>,
    /// What `.dockerignore` excludes, where that is known.
    pub ignored: Option<&'a Patterns>,
}

/// A stage after all its instructions.
#[derive(Debug, Clone, Default)]
pub(super) struct Evaluated {
    pub steps: Vec<Step>,
    /// With the base's history and a line for each instruction, not yet dated.
    pub config: ImageConfig,
    /// The triggers it leaves to stages built on it.
    pub triggers: Vec<String>,
    pub(super) variables: Variables,
    pub(super) arguments: Vec<(String, Option<String>)>,
    command_set: bool,
    /// A WORKDIR of the Dockerfile was carried out.
    workdir_set: bool,
}

impl Evaluated {
    /// What a stage on scratch begins with.
    pub(super) fn scratch(platform: &Platform) -> Evaluated {
        let (os, architecture) = (platform.os.clone(), platform.architecture.clone());
        let variant = Some(platform.variant.clone()).filter(|variant| !variant.is_empty());
        let mut config = ImageConfig { os, architecture, variant, ..ImageConfig::default() };
        config.rootfs.kind = "layers".to_owned();
        config.config.working_dir = "/".to_owned();
        Evaluated { config, ..Evaluated::default() }
    }

    /// What a stage on an image begins with.
    pub(super) fn image(config: &ImageConfig) -> Evaluated {
        let mut config = config.clone();
        config.created = None;
        Evaluated { triggers: config.config.on_build.take().unwrap_or_default(), config, ..Evaluated::default() }
    }

    /// What a stage on another stage begins with.
    pub(super) fn based_on(base: &Evaluated) -> Evaluated {
        let mut config = base.config.clone();
        config.config.on_build = None;
        let (variables, arguments) = (base.variables.clone(), base.arguments.clone());
        Evaluated { config, variables, arguments, workdir_set: base.workdir_set, ..Evaluated::default() }
    }
}

/// Carries out a stage's instructions on what it begins with; `sources` says what its commands read from.
///
/// # Errors
/// Every fault of the stage.
pub(super) fn evaluate<'a>(
    setting: &'a Setting<'a>,
    begin: Evaluated,
    commands: &'a [Instruction],
    sources: &'a BTreeMap<(usize, usize), usize>,
) -> Result<Evaluated, Vec<Failure>> {
    let mut stage = StageState { setting, done: begin, sources, number: 0, line: None, once: BTreeMap::new() };
    stage.done.triggers = Vec::new();
    stage.done.command_set = false;
    let env = stage.done.config.config.env.get_or_insert_default();
    if !env.iter().any(|line| line.starts_with("PATH=")) {
        env.push(DEFAULT_PATH.to_owned());
    }
    for line in env.clone() {
        let (name, value) = line.split_once('=').unwrap_or((&line, ""));
        stage.done.variables.set(name, value);
    }
    let mut faults = Vec::new();
    for (number, command) in commands.iter().enumerate() {
        stage.number = number;
        stage.line = Some(&command.line);
        if let Err(fault) = stage.carry_out(command) {
            let failure = setting.source.fault(command.place(&fault.word), fault.what);
            faults.push(match fault.hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            });
        }
    }
    if faults.is_empty() { Ok(stage.done) } else { Err(faults) }
}

/// A stage in the middle of its instructions.
pub(super) struct StageState<'a> {
    pub setting: &'a Setting<'a>,
    pub done: Evaluated,
    sources: &'a BTreeMap<(usize, usize), usize>,
    /// Of the command at hand.
    number: usize,
    line: Option<&'a Logical>,
    /// The last one of each kind of which only the last counts.
    once: BTreeMap<&'static str, &'a Logical>,
}

impl<'a> StageState<'a> {
    fn carry_out(&mut self, command: &'a Instruction) -> Result<(), Fault> {
        match &command.kind {
            Kind::From(_) => {}
            Kind::Arg(arguments) => self.arg(arguments)?,
            Kind::Env(pairs) => self.env(command, pairs)?,
            Kind::Label(pairs) => self.label(command, pairs)?,
            Kind::Run(run) => self.run(command, run)?,
            Kind::Transfer(transfer) => self.transfer(command, transfer)?,
            Kind::Cmd(line) => self.cmd(command, line),
            Kind::Entrypoint(line) => self.entrypoint(command, line),
            Kind::Expose(ports) => self.expose(ports)?,
            Kind::Volume(volumes) => self.volume(volumes)?,
            Kind::User(user) => {
                let user = self.word(user)?;
                self.record(format!("USER {user}"));
                self.done.config.config.user = user;
            }
            Kind::Workdir(path) => self.workdir(command, path)?,
            Kind::StopSignal(signal) => self.stop_signal(signal)?,
            Kind::Maintainer(name) => {
                self.record(format!("MAINTAINER {}", name.text));
                self.done.config.author = Some(name.text.clone());
            }
            Kind::Shell(shell) => {
                self.record(format!("SHELL {}", config::go_list(shell)));
                self.done.config.config.shell = Some(shell.clone());
            }
            Kind::Healthcheck(check) => self.healthcheck(command, check),
            Kind::Onbuild(trigger) => {
                self.done.config.config.on_build.get_or_insert_default().push(trigger.clone());
                self.done.triggers.push(trigger.clone());
            }
        }
        Ok(())
    }

    /// Replaces the variables in a word.
    pub(super) fn word(&self, word: &Word) -> Result<String, Fault> {
        let text = self.expanded(&word.text, Rules::new(self.setting.escape));
        text.map_err(|what| Fault::new(word, format!("failed to process {:?}: {what}", word.text)))
    }

    /// Replaces the variables in a text, and warns of those that nobody has declared.
    pub(super) fn expanded(&self, text: &str, rules: Rules) -> Result<String, String> {
        let values = Recorded::new(&self.done.variables);
        let expanded = expand_text(text, rules, &values);
        for name in values.unmatched() {
            let is_declared = self.done.arguments.iter().any(|(declared, _)| *declared == name);
            if !is_declared && !name.starts_with("BUILDKIT_SBOM_SCAN_") {
                let meant = lint::meant(&name, self.done.variables.names()).map(|meant| format!(" (did you mean ${meant}?)"));
                self.warn(&rules::UNDEFINED_VAR, format!("Usage of undefined variable '${name}'{}", meant.unwrap_or_default()));
            }
        }
        expanded
    }

    /// Says that the command at hand breaks a rule.
    pub(super) fn warn(&self, rule: &Rule, detail: impl Into<String>) {
        if let Some(line) = self.line {
            self.setting.lint.warn(rule, line, detail);
        }
    }

    /// Warns of the command before this one if only the last of them counts.
    fn only_the_last(&mut self, kind: &'static str, command: &'a Instruction) {
        if let Some(before) = self.once.insert(kind, &command.line) {
            let name = command.command();
            let why = "should not be used in the same stage because only the last one will be used";
            self.setting.lint.warn(&rules::MULTIPLE_INSTRUCTIONS_DISALLOWED, before, format!("Multiple {name} instructions {why}"));
        }
    }

    /// Warns of names that look as if their values should not be seen.
    fn no_secrets(&self, instruction: &str, name: &str) {
        const SECRETS: [&str; 10] =
            ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
        let lower = name.to_lowercase();
        let has = |words: &[&str]| lower.split('_').any(|part| words.contains(&part));
        if has(&SECRETS) && !has(&["public", "file", "version"]) {
            let detail = format!("Do not use ARG or ENV instructions for sensitive data ({instruction} {name:?})");
            self.warn(&rules::SECRETS_USED_IN_ARG_OR_ENV, detail);
        }
    }

    fn no_old_form(&self, command: &Instruction, pairs: &[Pair]) {
        for _ in pairs.iter().filter(|pair| pair.is_old_form) {
            let name = command.command();
            let detail = format!("\"{name} key=value\" should be used instead of legacy \"{name} key value\" format");
            self.warn(&rules::LEGACY_KEY_VALUE_FORMAT, detail);
        }
    }

    /// Writes a line of history for an instruction that makes no layer.
    pub(super) fn record(&mut self, text: String) {
        self.history(text, true);
    }

    /// Writes a line of history for an instruction that makes one.
    pub(super) fn record_layer(&mut self, text: String) {
        self.history(text, false);
    }

    fn history(&mut self, text: String, empty_layer: bool) {
        let line = History { created_by: Some(text), comment: Some(COMMENT.to_owned()), empty_layer, ..History::default() };
        self.done.config.history.push(line);
    }

    /// Where the command at hand (of RUN: its mount) reads from, the context if nothing else is said.
    pub(super) fn origin(&self, mount: usize) -> Origin {
        self.sources.get(&(self.number, mount)).map_or(Origin::Context, |index| Origin::Stage(*index))
    }

    /// A path against the working directory; what it ends in stays.
    pub(super) fn in_working_dir(&self, path: &str) -> String {
        in_directory(&self.done.config.config.working_dir, path)
    }

    fn arg(&mut self, arguments: &[Argument]) -> Result<(), Fault> {
        let mut texts = Vec::new();
        for argument in arguments {
            let name = &argument.name.text;
            self.no_secrets("ARG", name);
            let value = match (self.setting.build_args.get(name), &argument.value) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(self.word(default)?),
                (None, None) => self.setting.globals.find(name).map(str::to_owned),
            };
            // These two steer the scan of a stage and never are variables.
            if let Some(value) = value.as_ref().filter(|_| !name.starts_with("BUILDKIT_SBOM_SCAN_")) {
                self.done.variables.set(name, value);
            }
            texts.push(value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}={value}")));
            self.done.arguments.push((name.clone(), value));
        }
        self.record(format!("ARG {}", texts.join(" ")));
        Ok(())
    }

    fn pairs(&self, pairs: &[Pair]) -> Result<Vec<(String, String)>, Fault> {
        pairs.iter().map(|pair| Ok((self.word(&pair.name)?, self.word(&pair.value)?))).collect()
    }

    fn env(&mut self, command: &Instruction, pairs: &[Pair]) -> Result<(), Fault> {
        self.no_old_form(command, pairs);
        let mut text = "ENV".to_owned();
        for (name, value) in self.pairs(pairs)? {
            self.no_secrets("ENV", &name);
            self.done.variables.set(&name, &value);
            let line = format!("{name}={value}");
            text.push_str(&format!(" {line}"));
            let env = self.done.config.config.env.get_or_insert_default();
            match env.iter_mut().find(|known| known.split('=').next() == Some(&name)) {
                Some(known) => *known = line,
                None => env.push(line),
            }
        }
        self.record(text);
        Ok(())
    }

    fn label(&mut self, command: &Instruction, pairs: &[Pair]) -> Result<(), Fault> {
        self.no_old_form(command, pairs);
        let mut text = "LABEL".to_owned();
        for (name, value) in self.pairs(pairs)? {
            text.push_str(&format!(" {name}={value}"));
            self.done.config.config.labels.get_or_insert_default().insert(name, Value::String(value));
        }
        self.record(text);
        Ok(())
    }

    /// A command as it is executed: in shell form the shell's last argument.
    pub(super) fn command_line(&self, line: &CommandLine) -> Vec<String> {
        if line.form == Form::Exec {
            return line.args.clone();
        }
        let shell = self.done.config.config.shell.clone().filter(|shell| !shell.is_empty());
        let mut args = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
        args.push(line.args.join(" "));
        args
    }

    /// A shell between the signals and the program is rarely meant, unless one was named.
    fn better_as_json(&self, command: &Instruction, line: &CommandLine) {
        if line.form == Form::Shell && self.done.config.config.shell.as_ref().is_none_or(Vec::is_empty) {
            let name = command.command();
            let why = "to prevent unintended behavior related to OS signals";
            self.warn(&rules::JSON_ARGS_RECOMMENDED, format!("JSON arguments recommended for {name} {why}"));
        }
    }

    fn cmd(&mut self, command: &'a Instruction, line: &CommandLine) {
        self.only_the_last("CMD", command);
        self.better_as_json(command, line);
        let args = self.command_line(line);
        self.record(format!("CMD {}", config::go_quoted_list(&args)));
        self.done.config.config.cmd = Some(args);
        self.done.config.config.rest.insert("ArgsEscaped".to_owned(), Value::Bool(true));
        self.done.command_set = true;
    }

    fn entrypoint(&mut self, command: &'a Instruction, line: &CommandLine) {
        self.only_the_last("ENTRYPOINT", command);
        self.better_as_json(command, line);
        let args = self.command_line(line);
        self.record(format!("ENTRYPOINT {}", config::go_quoted_list(&args)));
        self.done.config.config.entrypoint = Some(args).filter(|args| !args.is_empty());
        // The base's CMD was meant for the base's ENTRYPOINT.
        if !self.done.command_set {
            self.done.config.config.cmd = None;
        }
    }

    fn expose(&mut self, words: &[Word]) -> Result<(), Fault> {
        let mut all = Vec::new();
        for word in words {
            let rules = Rules::new(self.setting.escape);
            let expanded = expand(&word.text, rules, &self.done.variables);
            for text in expanded.map_err(|what| Fault::new(word, what))?.words {
                self.plain_port(&text);
                let ports = config::ports(&text).map_err(|what| Fault::new(word, what));
                all.extend(ports.map_err(|fault| fault.hint("write `80`, `53/udp` or `8000-8010`"))?);
            }
        }
        let exposed = self.done.config.config.exposed_ports.get_or_insert_default();
        all.iter().for_each(|port| insert_empty(exposed, port));
        self.record(format!("EXPOSE {}", config::go_list(&all)));
        Ok(())
    }

    /// EXPOSE says a port of the container, not where it is published.
    fn plain_port(&self, text: &str) {
        let protocol = text.rsplit_once('/').map_or("", |(_, protocol)| protocol);
        if protocol != protocol.to_lowercase() {
            let detail = format!("Defined protocol '{text}' in EXPOSE instruction should be lowercase");
            self.warn(&rules::EXPOSE_PROTO_CASING, detail);
        }
        if text.contains(':') {
            let detail = format!("EXPOSE instruction should not define an IP address or host-port mapping, found '{text}'");
            self.warn(&rules::EXPOSE_INVALID_FORMAT, detail);
        }
    }

    fn volume(&mut self, words: &[Word]) -> Result<(), Fault> {
        let volumes = words.iter().map(|word| self.word(word)).collect::<Result<Vec<_>, _>>()?;
        if let Some(at) = volumes.iter().position(String::is_empty) {
            return Err(Fault::new(&words[at], "VOLUME specified can not be an empty string"));
        }
        let known = self.done.config.config.volumes.get_or_insert_default();
        volumes.iter().for_each(|volume| insert_empty(known, volume));
        self.record(format!("VOLUME {}", config::go_list(&volumes)));
        Ok(())
    }

    fn workdir(&mut self, command: &Instruction, word: &Word) -> Result<(), Fault> {
        let path = self.word(word)?;
        if !self.done.workdir_set && !path.starts_with('/') {
            let detail = format!("Relative workdir {path:?} can have unexpected results if the base image changes");
            self.warn(&rules::WORKDIR_RELATIVE_PATH, detail);
        }
        self.done.workdir_set = true;
        let current = &self.done.config.config.working_dir;
        let path = match path.as_str() {
            "" => current.clone(),
            absolute if absolute.starts_with('/') => absolute.to_owned(),
            relative => paths::clean(&format!("/{current}/{relative}")),
        };
        self.done.config.config.working_dir = path.clone();
        if path == "/" {
            self.record(format!("WORKDIR {path}"));
            return Ok(());
        }
        let work = Work::Directory(DirectoryWork { path: path.clone(), user: self.done.config.config.user.clone() });
        self.done.steps.push(Step { place: command.start(), shown: command.shown(), work });
        self.record_layer(format!("WORKDIR {path}"));
        Ok(())
    }

    fn stop_signal(&mut self, word: &Word) -> Result<(), Fault> {
        let signal = self.word(word)?;
        if !config::is_signal(&signal) {
            return Err(Fault::new(word, format!("invalid signal: {signal}")).hint("write a name as `SIGTERM` or a number"));
        }
        self.record(format!("STOPSIGNAL {signal}"));
        self.done.config.config.stop_signal = Some(signal);
        Ok(())
    }

    fn healthcheck(&mut self, command: &'a Instruction, check: &Healthcheck) {
        self.only_the_last("HEALTHCHECK", command);
        let duration = |nanoseconds: Option<i64>| go_duration_text(nanoseconds.unwrap_or(0));
        self.record(format!(
            "HEALTHCHECK {{Test:{} Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
            config::go_list(&check.test),
            duration(check.interval),
            duration(check.timeout),
            duration(check.start_period),
            duration(check.start_interval),
            check.retries.unwrap_or(0),
        ));
        self.done.config.config.healthcheck = Some(check.clone());
    }
}

fn insert_empty(map: &mut Map<String, Value>, key: &str) {
    map.insert(key.to_owned(), Value::Object(Map::new()));
}

/// A path against a directory, shortened; a `/` or `/.` at its end stays, because COPY looks at it.
fn in_directory(directory: &str, path: &str) -> String {
    let mut joined = paths::clean(&if path.starts_with('/') { path.to_owned() } else { format!("/{directory}/{path}") });
    if (path.ends_with('/') || path == "." || path.is_empty()) && !joined.ends_with('/') {
        joined.push('/');
    } else if path.ends_with("/.") && !joined.ends_with("/.") {
        if joined != "/" {
            joined.push('/');
        }
        joined.push('.');
    }
    joined
}
