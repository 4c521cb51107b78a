//! `coracle compose …`: a project of several containers. One file per command.

mod attach;
mod bake;
mod build;
mod config;
mod cp;
mod create;
mod down;
mod events;
mod exec;
mod export;
mod images;
mod kill;
mod logs;
mod ls;
mod operate;
mod plan;
mod port;
mod processes;
mod ps;
mod publish;
mod pull;
mod push;
mod rm;
mod run;
mod scale;
mod session;
mod stats;
mod up;
mod version;
mod volumes;
mod wait;
mod watch;

use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;

use crate::cli::Outcome;
use crate::cli::invocation;
use crate::cli::out;
use crate::cli::progress::Style;
use crate::compose::Manner;
use crate::compose::Sources;
use crate::compose::plan::Options;
use crate::compose::plan::Resources;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

pub use down::Down;
pub use up::Up;

#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    flags: ProjectFlags,
    /// Show the version
    #[arg(short, long, hide = true)]
    version: bool,
    #[command(subcommand)]
    command: Option<Verb>,
}

// The flags before the verb.
#[derive(Debug, Clone, Args)]
pub struct ProjectFlags {
    /// A Compose file
    #[arg(short, long, value_name = "FILE")]
    file: Vec<String>,
    /// The project's name
    #[arg(short, long, value_name = "NAME")]
    project_name: Option<String>,
    /// The directory that relative paths are relative to
    #[arg(long, value_name = "DIR")]
    project_directory: Option<PathBuf>,
    /// A file of variables instead of `.env`
    #[arg(long, value_name = "FILE")]
    env_file: Vec<String>,
    /// Enable a profile
    #[arg(long, value_name = "NAME")]
    profile: Vec<String>,
    /// When to use colours
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto", env = "COMPOSE_ANSI")]
    ansi: Ansi,
    /// How progress is shown: auto, tty, plain, json, quiet
    #[arg(long, value_name = "STYLE", default_value = "auto", env = "COMPOSE_PROGRESS", value_parser = Choice::read)]
    progress: Choice,
    /// Say what would be done, and do none of it
    #[arg(long, global = true)]
    dry_run: bool,
    /// How many pulls, stops and removals at once; -1 for no limit
    #[arg(long, value_name = "NUMBER", default_value_t = -1, allow_negative_numbers = true, env = "COMPOSE_PARALLEL_LIMIT")]
    parallel: i64,
    /// Make the networks and volumes too that no service uses
    #[arg(long)]
    all_resources: bool,
    /// Give names as the first Compose did: `project_service_1`
    #[arg(long)]
    compatibility: bool,
    /// Say more
    #[arg(long, hide = true)]
    verbose: bool,
    #[arg(long, hide = true, conflicts_with = "ansi")]
    no_ansi: bool,
    #[arg(long, hide = true, value_name = "DIR", conflicts_with = "project_directory")]
    workdir: Option<PathBuf>,
}

/// What `--progress` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// As it suits what standard error is.
    Auto,
    Is(Style),
}

impl Choice {
    fn read(text: &str) -> Result<Choice, String> {
        match text {
            "auto" | "" => Ok(Choice::Auto),
            _ => Style::read(text).map(Choice::Is),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Ansi {
    Auto,
    Always,
    Never,
}

impl ProjectFlags {
    fn sources(&self) -> Sources {
        Sources {
            files: self.file.clone(),
            project_name: self.project_name.clone(),
            project_directory: self.project_directory.clone().or_else(|| self.workdir.clone()),
            env_files: self.env_file.clone(),
            profiles: self.profile.clone(),
            compatibility: self.compatibility,
            all_resources: self.all_resources,
        }
    }

    /// How steps are carried out, as far as the flags before the verb say so.
    fn manner(&self) -> Manner {
        Manner { at_once: usize::try_from(self.parallel).ok().filter(|number| *number > 0), ..Manner::default() }
    }

    fn ansi(&self) -> Ansi {
        if self.no_ansi { Ansi::Never } else { self.ansi }
    }

    /// How progress is shown.
    ///
    /// # Errors
    /// `--progress` and `--ansi` contradict each other.
    fn style(&self) -> Result<Style> {
        let contradiction = |style: &str, ansi: &str| {
            Err(Failure::new(format!("cannot use `--progress {style}` together with `--ansi {ansi}`")).hint("leave one of them out"))
        };
        match (self.progress, self.ansi()) {
            (Choice::Auto, Ansi::Never) => Ok(Style::automatic().without_bars()),
            (Choice::Auto, _) => Ok(Style::automatic()),
            (Choice::Is(Style::Bars), Ansi::Never) => contradiction("tty", "never"),
            (Choice::Is(Style::Plain), Ansi::Always) => contradiction("plain", "always"),
            (Choice::Is(style), _) => Ok(style),
        }
    }

    /// What a plan is made for, with the flags before the verb.
    fn options(&self, options: Options) -> Options {
        Options { resources: if self.all_resources { Resources::All } else { Resources::Used }, ..options }
    }

    /// The same flags with progress shown this way, if any is said.
    fn with_style(&self, style: Option<Style>) -> ProjectFlags {
        ProjectFlags { progress: style.map_or(self.progress, Choice::Is), ..self.clone() }
    }

    /// Whether data on standard output is coloured.
    fn has_colour(&self) -> bool {
        match self.ansi() {
            Ansi::Always => true,
            Ansi::Never => false,
            Ansi::Auto => out::is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }
}

#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Verb {
    /// Join the standard streams to a service's container
    Attach(attach::Command),
    /// Build the images of services
    Build(build::Command),
    /// Make an image of what a service's container has changed
    Commit(export::Commit),
    /// Print the project in normal form
    #[command(visible_alias = "convert")]
    Config(config::Command),
    /// Copy files between a service's containers and the host
    Cp(cp::Command),
    /// Create the containers without starting them
    Create(create::Command),
    /// Stop and remove everything that `up` made
    Down(Down),
    /// Show what happens to containers
    Events(events::Command),
    /// Run a command in a running container of a service
    Exec(exec::Command),
    /// Write the file system of a service's container as a tar archive
    Export(export::Export),
    /// List the images of the containers
    Images(images::Command),
    /// Send a signal to containers
    Kill(kill::Command),
    /// Show the output of containers
    Logs(logs::Command),
    /// List running projects
    Ls(ls::Command),
    /// Pause services
    Pause(operate::Pause),
    /// Show what `up` would do; exit status 2 if there is something to do
    Plan(plan::Command),
    /// Show where a port of a service is published
    Port(port::Command),
    /// List containers
    Ps(ps::Command),
    /// Publish a project as an artifact of a registry: refused
    Publish(publish::Command),
    /// Pull the images of services
    Pull(pull::Command),
    /// Push the images of services that are built
    Push(push::Command),
    /// Restart services
    Restart(operate::Restart),
    /// Remove stopped containers
    Rm(rm::Command),
    /// Run a one-off command for a service
    Run(Box<run::Command>),
    /// Set how many containers services have
    Scale(scale::Command),
    /// Start containers that are there
    Start(operate::Start),
    /// Show what containers use
    Stats(stats::Command),
    /// Stop containers
    Stop(operate::Stop),
    /// Show the processes of containers
    Top(processes::Command),
    /// Let paused services go on
    Unpause(operate::Unpause),
    /// Create and start everything
    Up(Box<Up>),
    /// Show the version
    Version(version::Command),
    /// List the volumes of the project
    Volumes(volumes::Command),
    /// Wait until the containers of services have ended
    Wait(wait::Command),
    /// Watch files and do what services want done about their changes
    Watch(watch::Command),
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        let flags = &self.flags;
        let Some(command) = self.command else {
            if self.version {
                version::pretty()?
            } else {
                out::data(&invocation::help_of("compose"))?
            };
            return Ok(0);
        };
        match command {
            Verb::Attach(command) => command.run(home, flags),
            Verb::Build(command) => command.run(home, flags),
            Verb::Commit(command) => command.run(home, flags),
            Verb::Config(command) => command.run(home, flags),
            Verb::Cp(command) => command.run(home, flags),
            Verb::Create(command) => command.run(home, flags),
            Verb::Down(command) => command.run(home, flags),
            Verb::Events(command) => command.run(home, flags),
            Verb::Exec(command) => command.run(home, flags),
            Verb::Export(command) => command.run(home, flags),
            Verb::Images(command) => command.run(home, flags),
            Verb::Kill(command) => command.run(home, flags),
            Verb::Logs(command) => command.run(home, flags),
            Verb::Ls(command) => command.run(home),
            Verb::Pause(command) => command.run(home, flags),
            Verb::Plan(command) => command.run(home, flags),
            Verb::Port(command) => command.run(home, flags),
            Verb::Ps(command) => command.run(home, flags),
            Verb::Publish(command) => command.run(),
            Verb::Pull(command) => command.run(home, flags),
            Verb::Push(command) => command.run(home, flags),
            Verb::Restart(command) => command.run(home, flags),
            Verb::Rm(command) => command.run(home, flags),
            Verb::Run(command) => command.run(home, flags),
            Verb::Scale(command) => command.run(home, flags),
            Verb::Start(command) => command.run(home, flags),
            Verb::Stats(command) => command.run(home, flags),
            Verb::Stop(command) => command.run(home, flags),
            Verb::Top(command) => command.run(home, flags),
            Verb::Unpause(command) => command.run(home, flags),
            Verb::Up(command) => command.run(home, flags),
            Verb::Version(command) => command.run(),
            Verb::Volumes(command) => command.run(home, flags),
            Verb::Wait(command) => command.run(home, flags),
            Verb::Watch(command) => command.run(home, flags),
        }
    }
}

// `coracle up`: short for `coracle compose up`.
#[derive(Debug, Args)]
pub struct ShortUp {
    #[command(flatten)]
    flags: ProjectFlags,
    #[command(flatten)]
    up: Box<Up>,
}

// `coracle down`: short for `coracle compose down`.
#[derive(Debug, Args)]
pub struct ShortDown {
    #[command(flatten)]
    flags: ProjectFlags,
    #[command(flatten)]
    down: Down,
}

impl ShortUp {
    pub fn run(self, home: &Home) -> Outcome {
        self.up.run(home, &self.flags)
    }
}

impl ShortDown {
    pub fn run(self, home: &Home) -> Outcome {
        self.down.run(home, &self.flags)
    }
}
