//! The instructions that read files or run commands: RUN, COPY and ADD become steps.

use crate::build::dockerfile::Fault;
use crate::build::dockerfile::Word;
use crate::build::dockerfile::chomped;
use crate::build::dockerfile::devices;
use crate::build::dockerfile::expand::Rules;
use crate::build::dockerfile::heredoc_of;
use crate::build::dockerfile::instruction::Form;
use crate::build::dockerfile::instruction::Instruction;
use crate::build::dockerfile::instruction::Run;
use crate::build::dockerfile::instruction::RunNetwork;
use crate::build::dockerfile::instruction::Transfer;
use crate::build::dockerfile::instruction::Verb;
use crate::build::dockerfile::mounts;
use crate::build::dockerfile::mounts::MountKind;
use crate::build::dockerfile::mounts::RunMount;
use crate::build::evaluate::StageState;
use crate::build::glob;
use crate::build::job::Rights;
use crate::build::lint::rules;
use crate::build::mode::Mode;
use crate::build::platform::Platform;
use crate::build::remote;
use crate::build::remote::GitReference;
use crate::build::remote::Reading;
use crate::build::remote::WebSource;
use crate::build::steps::FileSource;
use crate::build::steps::Origin;
use crate::build::steps::PlacedMount;
use crate::build::steps::RunWork;
use crate::build::steps::SourceKind;
use crate::build::steps::Step;
use crate::build::steps::TransferSource;
use crate::build::steps::TransferWork;
use crate::build::steps::Work;
use crate::image;
use crate::paths;

/// Where a script given as a heredoc is seen while it runs.
const SCRIPTS: &str = "/dev/pipes";

impl StageState<'_> {
    pub(super) fn run(&mut self, command: &Instruction, run: &Run) -> Result<(), Fault> {
        let rights = self.rights(run)?;
        let (args, script) = self.run_args(command, run)?;
        let mut mounts = Vec::new();
        for (number, word) in run.mounts.iter().enumerate() {
            mounts.push(self.mount(number, word)?);
        }
        let mut env = self.done.variables.lines();
        let agents = mounts.iter_mut().filter(|placed: &&mut PlacedMount| placed.mount.kind == MountKind::Ssh);
        for (number, placed) in agents.enumerate() {
            if placed.target.is_empty() {
                placed.target = format!("/run/buildkit/ssh_agent.{number}");
            }
            if number == 0 && self.done.variables.find("SSH_AUTH_SOCK").is_none() {
                env.push(format!("SSH_AUTH_SOCK={}", placed.target));
            }
        }
        let config = &self.done.config.config;
        let work = RunWork {
            args: args.clone(),
            env,
            proxies: self.setting.proxies.clone(),
            directory: if config.working_dir.is_empty() { "/".to_owned() } else { config.working_dir.clone() },
            user: config.user.clone(),
            platform: Platform::of(&self.done.config),
            network: run.network,
            rights,
            mounts,
            devices: run.devices.iter().map(devices::read).collect::<Result<_, _>>()?,
            script,
        };
        self.done.steps.push(Step { place: command.start(), shown: shown(command, run), work: Work::Run(work) });
        let text = self.run_history(&args);
        self.record_layer(format!("RUN {text} # buildkit"));
        Ok(())
    }

    /// Checks that the build allows what a RUN asks for.
    fn rights(&self, run: &Run) -> Result<Rights, Fault> {
        if let Some(word) = run.insecure.as_ref().filter(|_| !self.setting.insecure) {
            let fault = Fault::new(word, "security.insecure is not allowed");
            return Err(fault.hint("allow it with `--allow security.insecure`, or remove the flag"));
        }
        if run.network == RunNetwork::Host && !self.setting.host_network {
            let word = Word { text: String::new(), at: 0, len: 3 };
            let fault = Fault::new(&word, "network.host is not allowed");
            return Err(fault.hint("allow it with `--allow network.host` or `--network host`, or remove the flag"));
        }
        Ok(if run.insecure.is_some() { Rights::All } else { Rights::Confined })
    }

    /// The arguments of a RUN; heredocs become a shell's text, or a script of their own.
    #[allow(clippy::type_complexity)]
    fn run_args(&self, command: &Instruction, run: &Run) -> Result<(Vec<String>, Option<(String, String)>), Fault> {
        let line = &run.command;
        let Some(first) = line.documents.first() else { return Ok((self.command_line(line), None)) };
        let [text] = line.args.as_slice() else {
            let word = Word { text: String::new(), at: 0, len: command.line.text.len() };
            return Err(Fault::new(&word, "a heredoc needs the shell form of RUN"));
        };
        let mut line = line.clone();
        if line.form == Form::Exec {
            return Ok((line.args, None));
        }
        if heredoc_of(text).ok().flatten().is_some() {
            let script = if first.chomp { chomped(&first.content) } else { first.content.clone() };
            if script.starts_with("#!") {
                let path = format!("{SCRIPTS}/{}", first.name);
                line.args = vec![path.clone()];
                return Ok((self.command_line(&line), Some((path, script))));
            }
            line.args = vec![script];
            return Ok((self.command_line(&line), None));
        }
        let mut whole = text.clone();
        for document in &line.documents {
            whole.push('\n');
            whole.push_str(&document.content);
            whole.push_str(&document.name);
        }
        line.args = vec![whole];
        Ok((self.command_line(&line), None))
    }

    /// `|1 NAME=value /bin/sh -c …`: what Docker writes so that arguments count in its old cache.
    fn run_history(&self, args: &[String]) -> String {
        let mut known: Vec<(String, String)> = Vec::new();
        for (name, value) in &self.done.arguments {
            let value = self.done.variables.find(name).map(str::to_owned).or_else(|| value.clone()).unwrap_or_default();
            match known.iter_mut().find(|(known, _)| known == name) {
                Some(entry) => entry.1 = value,
                None => known.push((name.clone(), value)),
            }
        }
        if known.is_empty() {
            return args.join(" ");
        }
        let pairs: Vec<String> = known.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("|{} {} {}", pairs.len(), pairs.join(" "), args.join(" "))
    }

    fn mount(&self, number: usize, word: &Word) -> Result<PlacedMount, Fault> {
        let rules = Rules::new(self.setting.escape);
        let mut mount = mounts::read(word, &|value| self.expanded(value, rules))?;
        let from = match mount.kind {
            MountKind::Bind | MountKind::Cache if !mount.from.is_empty() => self.origin(number),
            MountKind::Bind => Origin::Context,
            _ => Origin::Nothing,
        };
        if mount.kind == MountKind::Ssh && !mount.source.is_empty() {
            return Err(Fault::new(word, "ssh does not support source").hint("name the agent with `id=`"));
        }
        if matches!(mount.kind, MountKind::Secret | MountKind::Ssh) {
            return Ok(secret(mount, from, self));
        }
        let target = if mount.target.starts_with('/') {
            paths::clean(&mount.target)
        } else {
            paths::clean(&format!("/{}/{}", self.done.config.config.working_dir, mount.target))
        };
        if mount.target.is_empty() || target == "/" {
            let fault = Fault::new(word, format!("invalid mount target {:?}", mount.target));
            return Err(fault.hint("say where in the container with `target=/…`"));
        }
        if mount.kind == MountKind::Cache && mount.id.is_none() {
            mount.id = Some(paths::clean(&mount.target));
        }
        Ok(PlacedMount { mount, from, target })
    }

    pub(super) fn transfer(&mut self, command: &Instruction, transfer: &Transfer) -> Result<(), Fault> {
        let optional = |word: &Option<Word>| word.as_ref().map(|word| self.word(word)).transpose();
        let (chown, chmod, checksum) = (optional(&transfer.chown)?, optional(&transfer.chmod)?, optional(&transfer.checksum)?);
        let chown = chown.filter(|chown| !chown.is_empty());
        let chmod_text = chmod.filter(|chmod| !chmod.is_empty());
        let chmod = match (&chmod_text, &transfer.chmod) {
            (Some(text), Some(word)) => Some(Mode::parse(text).map_err(|what| Fault::new(word, what).hint("write `755` or `u+x`"))?),
            _ => None,
        };
        let dest_text = self.word(&transfer.dest)?;
        let mut texts = Vec::new();
        let mut sources = Vec::new();
        for word in &transfer.sources {
            let text = self.word(word)?;
            let kind = source_of((transfer, word), &text, checksum.as_deref())?;
            if matches!(kind, SourceKind::Files(_)) && self.origin(0) == Origin::Context {
                self.not_ignored(transfer.verb, &text);
            }
            sources.push(TransferSource { place: command.place(word), kind });
            texts.push(text);
        }
        check_checksum(transfer, checksum.as_deref(), &sources)?;
        let mut documents = Vec::new();
        for document in &transfer.documents {
            let content = match document.expand {
                true => self.expanded(&document.content, Rules::heredoc()).map_err(|what| Fault::new(&transfer.dest, what))?,
                false => document.content.clone(),
            };
            documents.push((document.name.clone(), content));
            texts.push(format!("<<{}", document.name));
        }
        let mut text = transfer.verb.name().to_owned();
        text.push_str(if transfer.parents { " --parents" } else { "" });
        for (flag, value) in [("chown", &chown), ("chmod", &chmod_text)] {
            text.push_str(&value.as_ref().map(|value| format!(" --{flag}={value}")).unwrap_or_default());
        }
        let text = format!("{text} {} {dest_text} # buildkit", texts.join(" "));
        let work = TransferWork {
            from: self.origin(0),
            sources,
            documents,
            dest: self.in_working_dir(&dest_text),
            chown,
            chmod,
            excludes: transfer.excludes.iter().map(|word| word.text.clone()).collect(),
            link: transfer.link,
            unpack: transfer.unpack.unwrap_or(transfer.verb == Verb::Add),
        };
        self.done.steps.push(Step { place: command.start(), shown: command.shown(), work: Work::Transfer(work) });
        self.record_layer(text);
        Ok(())
    }
}

impl StageState<'_> {
    /// Warns of a source that `.dockerignore` excludes; where it has exceptions nobody can say so easily.
    fn not_ignored(&self, verb: Verb, source: &str) {
        let Some(ignored) = self.setting.ignored.filter(|ignored| !ignored.is_empty() && !ignored.has_exceptions()) else { return };
        let source = paths::clean(source);
        let is_root = matches!(source.as_str(), "." | "/");
        if is_root && !ignored.excludes_all() || !ignored.matches(&source) {
            return;
        }
        let verb = if verb == Verb::Add { "Add" } else { "Copy" };
        self.warn(&rules::COPY_IGNORED_FILE, format!("Attempting to {verb} file {source:?} that is excluded by .dockerignore"));
    }
}

/// The instruction on one line, with the beginning of its heredoc.
fn shown(command: &Instruction, run: &Run) -> String {
    match run.command.documents.first() {
        None => command.shown(),
        Some(document) => {
            let content = document.content.trim();
            let first = content.lines().next().unwrap_or_default();
            let more = if content.lines().count() > 1 { "..." } else { "" };
            format!("{} ({first}{more})", command.shown())
        }
    }
}

/// A secret's id and target each follow from the other; ssh has a socket of its own.
fn secret(mut mount: RunMount, from: Origin, stage: &StageState<'_>) -> PlacedMount {
    if mount.kind == MountKind::Ssh {
        let target = if mount.target.is_empty() || mount.target.starts_with('/') {
            mount.target.clone()
        } else {
            paths::clean(&format!("/{}/{}", stage.done.config.config.working_dir, mount.target))
        };
        return PlacedMount { mount, from, target };
    }
    let id = mount.id.clone().or(Some(mount.source.clone()).filter(|source| !source.is_empty()));
    let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let id = id.unwrap_or_else(|| base(&mount.target));
    let target = match mount.target.as_str() {
        "" if mount.env.is_some() => String::new(),
        "" => format!("/run/secrets/{}", base(&id)),
        target if target.starts_with('/') => paths::clean(target),
        target => paths::clean(&format!("/{}/{target}", stage.done.config.config.working_dir)),
    };
    mount.env = mount.env.map(|env| if env.is_empty() { id.clone() } else { env });
    mount.id = Some(id);
    PlacedMount { mount, from, target }
}

/// A checksum is that of one file or commit from elsewhere.
fn check_checksum(transfer: &Transfer, checksum: Option<&str>, sources: &[TransferSource]) -> Result<(), Fault> {
    let (Some(word), Some(_)) = (&transfer.checksum, checksum.filter(|checksum| !checksum.is_empty())) else { return Ok(()) };
    if sources.len() + transfer.documents.len() != 1 {
        return Err(Fault::new(word, "checksum can't be specified for multiple sources").hint("give each source an ADD of its own"));
    }
    if sources.iter().any(|source| matches!(source.kind, SourceKind::Files(_))) {
        return Err(Fault::new(word, "checksum requires HTTP(S) or Git sources").hint("remove `--checksum`"));
    }
    Ok(())
}

fn source_of((transfer, word): (&Transfer, &Word), text: &str, checksum: Option<&str>) -> Result<SourceKind, Fault> {
    let is_copy = transfer.verb == Verb::Copy;
    match remote::read_reference(text) {
        Reading::Wrong(what) => return Err(Fault::new(word, what).hint("write it as `https://host/name.git#ref:directory`")),
        Reading::Git(_) if is_copy => return Err(Fault::new(word, "source can't be a git ref for COPY").hint("use ADD")),
        Reading::Git(reference) if !reference.looks_local => return git_source((transfer, word), reference, checksum),
        Reading::Git(_) | Reading::Other => {}
    }
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return Ok(SourceKind::Files(file_source(text, transfer.parents)));
    }
    if is_copy {
        return Err(Fault::new(word, "source can't be a URL for COPY").hint("use ADD"));
    }
    let checksum = checksum.filter(|checksum| !checksum.is_empty()).map(str::to_owned);
    if let (Some(text), Some(word)) = (&checksum, &transfer.checksum) {
        image::check_digest(text).map_err(|what| Fault::new(word, what).hint("write it as `sha256:` and 64 hexadecimal digits"))?;
    }
    let source = WebSource { url: text.to_owned(), checksum };
    Ok(SourceKind::Web { source, name: remote::file_name(text), unpack: transfer.unpack.unwrap_or(false) })
}

/// What the flags and the address say of a repository must agree.
fn git_source((transfer, word): (&Transfer, &Word), mut reference: GitReference, checksum: Option<&str>) -> Result<SourceKind, Fault> {
    if let (Some(flag), Some(own)) = (transfer.keep_git, reference.keep_git)
        && flag != own
    {
        return Err(Fault::new(word, "inconsistent keep-git-dir configuration").hint("say it once"));
    }
    reference.keep_git = reference.keep_git.or(transfer.keep_git);
    if let Some(checksum) = checksum.filter(|checksum| !checksum.is_empty()) {
        if let Some(own) = reference.checksum.as_ref().filter(|own| *own != checksum) {
            return Err(Fault::new(word, format!("checksum mismatch {checksum:?} != {own:?}")).hint("say it once"));
        }
        reference.checksum = Some(checksum.to_owned());
    }
    Ok(SourceKind::Git(reference))
}

fn file_source(text: &str, parents: bool) -> FileSource {
    let absolute = |path: &str| paths::clean(&format!("/{path}"));
    if !parents {
        return FileSource { path: absolute(text), include: None, required: None };
    }
    // `a/./b`: what is before the pivot is no part of the destination.
    let (pivot, pattern) = text.split_once("/./").unwrap_or(("/", text));
    let include = absolute(pattern).trim_start_matches('/').to_owned();
    let literal = !glob::has_wildcard(pivot) && !glob::has_wildcard(pattern);
    let required = literal.then(|| absolute(&format!("{pivot}/{include}")));
    FileSource { path: absolute(pivot), include: Some(include), required }
}
