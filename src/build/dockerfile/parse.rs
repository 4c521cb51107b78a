//! From words to typed instructions; every fault of the file is found, not only the first.
//!
//! What is refused, and in which words, follows
//! <https://github.com/moby/buildkit/blob/v0.26.0/frontend/dockerfile/instructions/parse.go>.

use crate::build::dockerfile::flags::Fault;
use crate::build::dockerfile::flags::Flags;
use crate::build::dockerfile::flags::Takes;
use crate::build::dockerfile::health;
use crate::build::dockerfile::instruction::Argument;
use crate::build::dockerfile::instruction::CommandLine;
use crate::build::dockerfile::instruction::Form;
use crate::build::dockerfile::instruction::From;
use crate::build::dockerfile::instruction::Kind;
use crate::build::dockerfile::instruction::Pair;
use crate::build::dockerfile::instruction::Run;
use crate::build::dockerfile::instruction::RunNetwork;
use crate::build::dockerfile::instruction::Transfer;
use crate::build::dockerfile::instruction::Verb;
use crate::build::dockerfile::lines::Heredoc;
use crate::build::dockerfile::lines::chomped;
use crate::build::dockerfile::lines::heredoc_of;
use crate::build::dockerfile::mounts;
use crate::build::dockerfile::source::nearest;
use crate::build::dockerfile::words::Raw;
use crate::build::dockerfile::words::Word;

/// Every instruction there is.
const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Reads one instruction; None if a fault leaves nothing of it.
pub fn instruction(raw: &Raw, documents: &[Heredoc], faults: &mut Vec<Fault>) -> Option<Kind> {
    let before = faults.len();
    let mut reader = Reader { raw, documents, faults };
    let kind = reader.kind();
    if faults.len() > before { None } else { kind }
}

struct Reader<'a> {
    raw: &'a Raw,
    documents: &'a [Heredoc],
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    fn kind(&mut self) -> Option<Kind> {
        match self.raw.command.text.to_ascii_uppercase().as_str() {
            "FROM" => self.from(),
            "ARG" => self.arg(),
            "ENV" => self.pairs("ENV").map(Kind::Env),
            "LABEL" => self.pairs("LABEL").map(Kind::Label),
            "RUN" => self.run(),
            "COPY" => self.transfer(Verb::Copy),
            "ADD" => self.transfer(Verb::Add),
            "CMD" => self.command().map(Kind::Cmd),
            "ENTRYPOINT" => self.command().map(Kind::Entrypoint),
            "EXPOSE" => self.expose(),
            "VOLUME" => self.volume(),
            "USER" => self.one("USER").map(Kind::User),
            "WORKDIR" => self.one("WORKDIR").map(Kind::Workdir),
            "STOPSIGNAL" => self.one("STOPSIGNAL").map(Kind::StopSignal),
            "MAINTAINER" => self.one("MAINTAINER").map(Kind::Maintainer),
            "SHELL" => self.shell(),
            "HEALTHCHECK" => health::read(self.raw, self.faults).map(Kind::Healthcheck),
            "ONBUILD" => self.onbuild(),
            _ => self.unknown(),
        }
    }

    fn unknown(&mut self) -> Option<Kind> {
        let command = &self.raw.command;
        let fault = Fault::new(command, format!("unknown instruction: {}", command.text));
        let hint = match nearest(&command.text, NAMES) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "a line that belongs to the instruction above needs a `\\` at the end of that one".to_owned(),
        };
        self.faults.push(fault.hint(hint));
        None
    }

    fn flags(&mut self, known: &[(&str, Takes)]) -> Flags {
        Flags::read(&self.raw.flags, known, self.faults)
    }

    fn refuse<T>(&mut self, what: impl Into<String>, hint: impl Into<String>) -> Option<T> {
        self.faults.push(Fault::new(&self.raw.command, what).hint(hint));
        None
    }

    /// An instruction without flags that takes exactly one argument.
    fn one(&mut self, name: &str) -> Option<Word> {
        if name != "STOPSIGNAL" {
            self.flags(&[]);
        }
        match self.raw.args.as_slice() {
            [only] => Some(only.clone()),
            _ => self.refuse(format!("{name} requires exactly one argument"), format!("write `{name} …`")),
        }
    }

    fn from(&mut self) -> Option<Kind> {
        let flags = self.flags(&[("platform", Takes::Value)]);
        let written = match self.raw.args.as_slice() {
            [_, keyword, name] => Some((keyword.clone(), name.clone())),
            _ => None,
        };
        let name = match self.raw.args.as_slice() {
            [_] => None,
            [_, keyword, name] if keyword.text.eq_ignore_ascii_case("as") => {
                let lower = name.text.to_lowercase();
                let good = lower.starts_with(|c: char| c.is_ascii_lowercase())
                    && lower.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'));
                if !good {
                    let what = format!("invalid name for build stage: {:?}, name can't start with a number or contain symbols", name.text);
                    self.faults.push(Fault::new(name, what).hint("begin with a letter; letters, digits, `-`, `_` and `.` may follow"));
                }
                Some(lower)
            }
            _ => return self.refuse("FROM requires either one or three arguments", "write `FROM image` or `FROM image AS name`"),
        };
        Some(Kind::From(From { base: self.raw.args[0].clone(), name, written, platform: flags.value("platform") }))
    }

    fn arg(&mut self) -> Option<Kind> {
        if self.raw.args.is_empty() {
            return self.refuse("ARG requires at least one argument", "write `ARG name` or `ARG name=value`");
        }
        let mut arguments = Vec::new();
        for word in &self.raw.args {
            let (name, value) = match word.text.split_once('=') {
                Some((name, value)) => (name, Some(Word { text: value.to_owned(), ..word.clone() })),
                None => (word.text.as_str(), None),
            };
            if name.is_empty() {
                self.faults.push(Fault::new(word, "ARG names can not be blank").hint("write a name before the `=`"));
            }
            arguments.push(Argument { name: Word { text: name.to_owned(), ..word.clone() }, value });
        }
        Some(Kind::Arg(arguments))
    }

    fn pairs(&mut self, name: &str) -> Option<Vec<Pair>> {
        self.flags(&[]);
        if self.raw.args.is_empty() {
            return self.refuse(format!("{name} requires at least one argument"), format!("write `{name} name=value`"));
        }
        let mut pairs = Vec::new();
        for triple in self.raw.args.chunks_exact(3) {
            if triple[0].text.is_empty() {
                self.faults.push(Fault::new(&triple[0], format!("{name} names can not be blank")).hint("write a name before the `=`"));
            }
            let is_old_form = triple[2].text.is_empty();
            pairs.push(Pair { name: triple[0].clone(), value: triple[1].clone(), is_old_form });
        }
        Some(pairs)
    }

    fn command_line(&self) -> CommandLine {
        let form = if self.raw.json { Form::Exec } else { Form::Shell };
        let args = self.raw.args.iter().map(|word| word.text.clone()).collect();
        CommandLine { args, form, documents: self.documents.to_vec() }
    }

    fn command(&mut self) -> Option<CommandLine> {
        self.flags(&[]);
        Some(self.command_line())
    }

    fn run(&mut self) -> Option<Kind> {
        let known = [("mount", Takes::Values), ("network", Takes::Value), ("security", Takes::Value), ("device", Takes::Values)];
        let flags = self.flags(&known);
        let mounts = flags.values("mount");
        for mount in &mounts {
            if let Err(fault) = mounts::check(mount) {
                self.faults.push(fault);
            }
        }
        let network = match flags.said("network") {
            None => RunNetwork::Default,
            Some(word) => match word.text.as_str() {
                "default" => RunNetwork::Default,
                "none" => RunNetwork::None,
                "host" => RunNetwork::Host,
                other => {
                    let fault = Fault::new(&word, format!("invalid network mode {other:?}"));
                    self.faults.push(fault.hint("write `default`, `none` or `host`"));
                    RunNetwork::Default
                }
            },
        };
        let insecure = flags.said("security").filter(|word| word.text != "sandbox");
        if let Some(word) = insecure.as_ref().filter(|word| word.text != "insecure") {
            let fault = Fault::new(word, format!("security {:?} is not valid", word.text));
            self.faults.push(fault.hint("write `sandbox` or `insecure`"));
        }
        let devices = flags.values("device");
        Some(Kind::Run(Run { command: self.command_line(), mounts, network, insecure, devices }))
    }

    fn transfer(&mut self, verb: Verb) -> Option<Kind> {
        let name = verb.name();
        let mut known = vec![("chown", Takes::Value), ("chmod", Takes::Value), ("link", Takes::Bool), ("exclude", Takes::Values)];
        known.extend(match verb {
            Verb::Copy => [("from", Takes::Value), ("parents", Takes::Bool)].as_slice(),
            Verb::Add => &[("keep-git-dir", Takes::Bool), ("checksum", Takes::Value), ("unpack", Takes::Bool)],
        });
        let flags = self.flags(&known);
        let [words @ .., dest] = self.raw.args.as_slice() else { return self.without_destination(name) };
        if words.is_empty() {
            return self.without_destination(name);
        }
        if heredoc_of(&dest.text).ok().flatten().is_some() {
            let fault = Fault::new(dest, format!("{name} cannot accept a heredoc as a destination"));
            self.faults.push(fault.hint("the last argument is where the files go"));
        }
        let (mut sources, mut documents) = (Vec::new(), Vec::new());
        for word in words {
            match heredoc_of(&word.text).ok().flatten() {
                None => sources.push(word.clone()),
                Some(announced) => {
                    let document = self.documents.iter().rfind(|document| document.name == announced.name);
                    let content = document.map(|document| document.content.clone()).unwrap_or_default();
                    let content = if announced.chomp { chomped(&content) } else { content };
                    documents.push(Heredoc { content, ..announced });
                }
            }
        }
        Some(Kind::Transfer(Transfer {
            verb,
            from: flags.value("from"),
            sources,
            documents,
            dest: dest.clone(),
            chown: flags.value("chown"),
            chmod: flags.value("chmod"),
            excludes: flags.values("exclude"),
            checksum: flags.value("checksum"),
            link: flags.switch("link").unwrap_or(false),
            parents: flags.switch("parents").unwrap_or(false),
            keep_git: flags.switch("keep-git-dir"),
            unpack: flags.switch("unpack"),
        }))
    }

    fn without_destination<T>(&mut self, name: &str) -> Option<T> {
        let what = format!("{name} requires at least two arguments, but only one was provided. Destination could not be determined");
        self.refuse(what, format!("write `{name} source… destination`"))
    }

    fn expose(&mut self) -> Option<Kind> {
        self.flags(&[]);
        if self.raw.args.is_empty() {
            return self.refuse("EXPOSE requires at least one argument", "write `EXPOSE 80` or `EXPOSE 53/udp`");
        }
        let mut ports = self.raw.args.clone();
        ports.sort_by(|a, b| a.text.cmp(&b.text));
        Some(Kind::Expose(ports))
    }

    fn volume(&mut self) -> Option<Kind> {
        self.flags(&[]);
        if self.raw.args.is_empty() {
            return self.refuse("VOLUME requires at least one argument", "write `VOLUME /path`");
        }
        if let Some(empty) = self.raw.args.iter().find(|word| word.text.trim().is_empty()) {
            self.faults.push(Fault::new(empty, "VOLUME specified can not be an empty string").hint("write a path"));
        }
        let trimmed = |word: &Word| Word { text: word.text.trim().to_owned(), ..word.clone() };
        Some(Kind::Volume(self.raw.args.iter().map(trimmed).collect()))
    }

    fn shell(&mut self) -> Option<Kind> {
        self.flags(&[]);
        if self.raw.args.is_empty() {
            return self.refuse("SHELL requires at least one argument", "write `SHELL [\"/bin/sh\", \"-c\"]`");
        }
        if !self.raw.json {
            return self.refuse("SHELL requires the arguments to be in JSON form", "write `SHELL [\"/bin/sh\", \"-c\"]`");
        }
        Some(Kind::Shell(self.raw.args.iter().map(|word| word.text.clone()).collect()))
    }

    fn onbuild(&mut self) -> Option<Kind> {
        self.flags(&[]);
        let Some(inner) = &self.raw.inner else {
            return self.refuse("ONBUILD requires at least one argument", "write an instruction after ONBUILD");
        };
        match inner.command.text.to_ascii_uppercase().as_str() {
            "ONBUILD" => self
                .faults
                .push(Fault::new(&inner.command, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed").hint("remove one of them")),
            name @ ("MAINTAINER" | "FROM") => {
                self.faults.push(Fault::new(&inner.command, format!("{name} isn't allowed as an ONBUILD trigger")).hint("remove it"))
            }
            _ => {}
        }
        // The trigger's text is put in by the caller, who has it.
        Some(Kind::Onbuild(String::new()))
    }
}
