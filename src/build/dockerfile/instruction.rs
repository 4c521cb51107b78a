//! What a Dockerfile can say, typed; variables are not yet replaced.

use serde::Deserialize;
use serde::Serialize;

use crate::build::dockerfile::lines::Heredoc;
use crate::build::dockerfile::lines::Logical;
use crate::build::dockerfile::source::Place;
use crate::build::dockerfile::words::Word;
use crate::image::Healthcheck;

/// One instruction and where it stands.
#[derive(Debug, Clone)]
pub struct Instruction {
    pub line: Logical,
    pub kind: Kind,
    /// It came from the base image's ONBUILD.
    pub trigger: bool,
}

impl Instruction {
    /// Where a word of it stands.
    pub fn place(&self, word: &Word) -> Place {
        if self.trigger { self.line.place(0, 1) } else { self.line.place(word.at, word.len) }
    }

    /// Where it begins.
    pub fn start(&self) -> Place {
        self.line.start()
    }

    /// Its name as it is written.
    pub fn command(&self) -> &str {
        self.line.text.split_whitespace().next().unwrap_or_default()
    }

    /// Its text on one line, the instruction's name in capitals.
    pub fn shown(&self) -> String {
        let text = self.line.text.trim();
        match text.split_once(char::is_whitespace) {
            Some((name, rest)) => format!("{} {}", name.to_ascii_uppercase(), rest.trim_start()),
            None => text.to_ascii_uppercase(),
        }
    }
}

#[derive(Debug, Clone)]
pub enum Kind {
    From(From),
    Arg(Vec<Argument>),
    Env(Vec<Pair>),
    Label(Vec<Pair>),
    Run(Run),
    /// COPY and ADD.
    Transfer(Transfer),
    Cmd(CommandLine),
    Entrypoint(CommandLine),
    Expose(Vec<Word>),
    Volume(Vec<Word>),
    User(Word),
    Workdir(Word),
    StopSignal(Word),
    Maintainer(Word),
    Shell(Vec<String>),
    Healthcheck(Healthcheck),
    /// The trigger's own text.
    Onbuild(String),
}

/// `FROM [--platform=…] base [AS name]`.
#[derive(Debug, Clone)]
pub struct From {
    pub base: Word,
    /// In small letters.
    pub name: Option<String>,
    /// `AS` and the name as they are written.
    pub written: Option<(Word, Word)>,
    pub platform: Option<Word>,
}

/// `ARG name[=value]`.
#[derive(Debug, Clone)]
pub struct Argument {
    pub name: Word,
    pub value: Option<Word>,
}

/// A name and a value of ENV or LABEL.
#[derive(Debug, Clone)]
pub struct Pair {
    pub name: Word,
    pub value: Word,
    /// `NAME value`, without `=`.
    pub is_old_form: bool,
}

/// Whether a command is given to a shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Shell,
    Exec,
}

#[derive(Debug, Clone)]
pub struct CommandLine {
    /// In shell form at most one.
    pub args: Vec<String>,
    pub form: Form,
    pub documents: Vec<Heredoc>,
}

#[derive(Debug, Clone)]
pub struct Run {
    pub command: CommandLine,
    /// Values of `--mount`; [`super::mounts`] reads them once variables are known.
    pub mounts: Vec<Word>,
    pub network: RunNetwork,
    /// `--security=insecure`, where it stands.
    pub insecure: Option<Word>,
    /// Values of `--device`.
    pub devices: Vec<Word>,
}

/// The network of a RUN.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunNetwork {
    /// As the build says.
    #[default]
    Default,
    None,
    Host,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Copy,
    Add,
}

impl Verb {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Copy => "COPY",
            Verb::Add => "ADD",
        }
    }
}

/// COPY and ADD.
#[derive(Debug, Clone)]
pub struct Transfer {
    pub verb: Verb,
    pub from: Option<Word>,
    pub sources: Vec<Word>,
    /// Files whose text stands in the Dockerfile, by name.
    pub documents: Vec<Heredoc>,
    pub dest: Word,
    pub chown: Option<Word>,
    pub chmod: Option<Word>,
    pub excludes: Vec<Word>,
    pub checksum: Option<Word>,
    pub link: bool,
    pub parents: bool,
    /// `--keep-git-dir`, if said.
    pub keep_git: Option<bool>,
    /// `--unpack`, if said.
    pub unpack: Option<bool>,
}
