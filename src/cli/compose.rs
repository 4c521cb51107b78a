//! `coracle compose …`: a project of several containers. One file per command.

mod build;
mod config;
mod create;
mod down;
mod exec;
mod images;
mod kill;
mod logs;
mod ls;
mod operate;
mod plan;
mod port;
mod processes;
mod ps;
mod pull;
mod rm;
mod run;
mod session;
mod up;
mod wait;

use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;

use crate::cli::Outcome;
use crate::cli::out;
use crate::cli::progress::Style;
use crate::cli::version;
use crate::compose::Sources;
use crate::place::Home;

pub use down::Down;
pub use up::Up;

#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    flags: ProjectFlags,
    #[command(subcommand)]
    command: Verb,
}

/// The flags before the verb.
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
    /// How progress is shown: auto, tty, plain, quiet
    #[arg(long, value_name = "STYLE", default_value = "auto", env = "COMPOSE_PROGRESS", value_parser = Style::read)]
    progress: Style,
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
            project_directory: self.project_directory.clone(),
            env_files: self.env_file.clone(),
            profiles: self.profile.clone(),
        }
    }

    /// Whether data on standard output is coloured.
    fn has_colour(&self) -> bool {
        match self.ansi {
            Ansi::Always => true,
            Ansi::Never => false,
            Ansi::Auto => out::is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build the images of services
    Build(build::Command),
    /// Print the project in normal form
    #[command(visible_alias = "convert")]
    Config(config::Command),
    /// Create the containers without starting them
    Create(create::Command),
    /// Stop and remove everything that `up` made
    Down(Down),
    /// Run a command in a running container of a service
    Exec(exec::Command),
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
    /// Pull the images of services
    Pull(pull::Command),
    /// Restart services
    Restart(operate::Restart),
    /// Remove stopped containers
    Rm(rm::Command),
    /// Run a one-off command for a service
    Run(Box<run::Command>),
    /// Start containers that are there
    Start(operate::Start),
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
    /// Wait until the containers of services have ended
    Wait(wait::Command),
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        let flags = &self.flags;
        match self.command {
            Verb::Build(command) => command.run(home, flags),
            Verb::Config(command) => command.run(flags),
            Verb::Create(command) => command.run(home, flags),
            Verb::Down(command) => command.run(home, flags),
            Verb::Exec(command) => command.run(home, flags),
            Verb::Images(command) => command.run(home, flags),
            Verb::Kill(command) => command.run(home, flags),
            Verb::Logs(command) => command.run(home, flags),
            Verb::Ls(command) => command.run(home),
            Verb::Pause(command) => command.run(home, flags),
            Verb::Plan(command) => command.run(home, flags),
            Verb::Port(command) => command.run(home, flags),
            Verb::Ps(command) => command.run(home, flags),
            Verb::Pull(command) => command.run(home, flags),
            Verb::Restart(command) => command.run(home, flags),
            Verb::Rm(command) => command.run(home, flags),
            Verb::Run(command) => command.run(home, flags),
            Verb::Start(command) => command.run(home, flags),
            Verb::Stop(command) => command.run(home, flags),
            Verb::Top(command) => command.run(home, flags),
            Verb::Unpause(command) => command.run(home, flags),
            Verb::Up(command) => command.run(home, flags),
            Verb::Version(command) => command.run(),
            Verb::Wait(command) => command.run(home, flags),
        }
    }
}

/// `coracle up`: short for `coracle compose up`.
#[derive(Debug, Args)]
pub struct ShortUp {
    #[command(flatten)]
    flags: ProjectFlags,
    #[command(flatten)]
    up: Box<Up>,
}

/// `coracle down`: short for `coracle compose down`.
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
