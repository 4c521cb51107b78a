//! The command line: one file per command; the only room that prints.
//!
//! [`main`] finds out which role this process plays, `invocation` reads the arguments, each command's `run` does the
//! work by calling the rooms below and returns the exit status.

mod attach;
mod build;
mod buildx;
mod commit;
mod compose;
mod container_group;
mod container_inspect;
mod container_list;
mod container_options;
mod cp;
mod create;
mod diff;
mod events;
mod exec;
mod export;
mod history;
mod image_group;
mod image_inspect;
mod image_list;
mod import;
mod info;
mod inspect;
mod interrupt;
mod invocation;
mod kill;
mod listing;
mod load;
mod login;
mod logout;
mod logs;
mod manifest;
mod network;
mod out;
mod pause;
mod port;
mod processes;
mod progress;
mod pull;
mod push;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod save;
mod spelling;
mod start;
mod stats;
mod stop;
mod streams;
mod sweep;
mod system;
mod system_check;
mod system_df;
mod table;
mod tag;
mod template;
mod update;
mod version;
mod volume;
mod wait;
mod wording;

use std::process::ExitCode;

use clap::Subcommand;

use crate::container;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

/// What a command returns: the exit status.
type Outcome = Result<u8>;

/// Parses the arguments, does what they say and returns the exit status.
pub fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(exit) = container::role(&args).or_else(|| crate::build::role(&args)).or_else(|| sweep::role(&args)) {
        return exit;
    }
    match invocation::read(args) {
        Ok(invocation) => ExitCode::from(carry_out(invocation)),
        Err(status) => ExitCode::from(status),
    }
}

fn carry_out(invocation: invocation::Invocation) -> u8 {
    let outcome = Home::find(invocation.root.as_deref()).and_then(|home| {
        let may_build = invocation.command.may_build();
        let outcome = invocation.command.run(&home);
        if may_build {
            sweep::begin(&home);
        }
        outcome
    });
    outcome.unwrap_or_else(|failure| {
        out::say(&failure.to_string());
        failure.status()
    })
}

/// Every command.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Command {
    /// Join the standard streams to a running container
    Attach(attach::Command),
    /// Build an image from a Dockerfile
    Build(Box<build::Command>),
    /// Build, and manage what builds keep
    Builder(buildx::Group),
    /// Build, and manage what builds keep
    #[command(hide = true)]
    Buildx(buildx::Group),
    /// Make an image of what a container has changed
    Commit(commit::Command),
    /// Manage projects of several containers
    Compose(compose::Command),
    /// Copy files between a container and the host
    Cp(cp::Command),
    /// Create a container without starting it
    Create(Box<create::Command>),
    /// Show what a container has changed in its image's files
    Diff(diff::Command),
    /// Take a Compose project down: short for `compose down`
    Down(compose::ShortDown),
    /// Show what happens
    Events(events::Command),
    /// Run a command in a running container
    Exec(exec::Command),
    /// Write a container's file system as a tar archive
    Export(export::Command),
    /// Show how an image was made
    History(history::Command),
    /// List images
    Images(image_list::Command),
    /// Make an image of a file system in a tar archive
    Import(import::Command),
    /// Show what is known of the system
    Info(info::Info),
    /// Show everything that is known of containers, images, networks and volumes
    Inspect(inspect::Command),
    /// Send a signal to running containers
    Kill(kill::Command),
    /// Bring in images from a tar archive
    Load(load::Command),
    /// Log in to a registry
    Login(login::Command),
    /// Log out from a registry
    Logout(logout::Command),
    /// Show the output of a container
    Logs(logs::Command),
    /// Pause all processes in containers
    Pause(pause::Pause),
    /// Show the published ports of a container
    Port(port::Command),
    /// List containers
    Ps(container_list::Command),
    /// Pull an image from a registry
    Pull(pull::Command),
    /// Give a container another name
    Rename(rename::Command),
    /// Push an image to a registry
    Push(push::Command),
    /// Restart containers
    Restart(restart::Command),
    /// Remove containers
    Rm(rm::Command),
    /// Remove images
    Rmi(rmi::Command),
    /// Create and run a new container
    Run(Box<run::Command>),
    /// Write images to a tar archive
    Save(save::Command),
    /// Start stopped containers
    Start(start::Command),
    /// Show what containers use
    Stats(stats::Command),
    /// Stop running containers
    Stop(stop::Command),
    /// Give an image another name
    Tag(tag::Command),
    /// Show the processes of a container
    Top(processes::Command),
    /// Let paused containers go on
    Unpause(pause::Unpause),
    /// Bring a Compose project up: short for `compose up`
    Up(compose::ShortUp),
    /// Change limits and restart policy of containers
    Update(update::Command),
    /// Show the version
    Version(version::Command),
    /// Wait until containers have ended, then print their exit codes
    Wait(wait::Command),
    /// Manage containers
    #[command(subcommand)]
    Container(container_group::Command),
    /// Manage images
    #[command(subcommand)]
    Image(image_group::Command),
    /// Manage manifests and lists of them
    #[command(subcommand)]
    Manifest(manifest::Command),
    /// Manage networks
    #[command(subcommand)]
    Network(network::Command),
    /// Manage volumes
    #[command(subcommand)]
    Volume(volume::Command),
    /// Manage the whole
    #[command(subcommand)]
    System(system::Command),
}

impl Command {
    /// Whether it may leave behind what builds leave; see [`sweep`].
    fn may_build(&self) -> bool {
        matches!(self, Command::Build(_) | Command::Builder(_) | Command::Buildx(_) | Command::Compose(_) | Command::Up(_))
    }

    fn run(self, home: &Home) -> Outcome {
        match self {
            Command::Attach(command) => command.run(home),
            Command::Build(command) => command.run(home),
            Command::Builder(command) | Command::Buildx(command) => command.run(home),
            Command::Commit(command) => command.run(home),
            Command::Compose(command) => command.run(home),
            Command::Diff(command) => command.run(home),
            Command::Down(command) => command.run(home),
            Command::Up(command) => command.run(home),
            Command::Cp(command) => command.run(home),
            Command::Create(command) => command.run(home),
            Command::Events(command) => command.run(home),
            Command::Exec(command) => command.run(home),
            Command::Export(command) => command.run(home),
            Command::History(command) => command.run(home),
            Command::Images(command) => command.run(home),
            Command::Import(command) => command.run(home),
            Command::Info(command) => command.run(home),
            Command::Inspect(command) => command.run(home),
            Command::Kill(command) => command.run(home),
            Command::Load(command) => command.run(home),
            Command::Login(command) => command.run(home),
            Command::Logout(command) => command.run(home),
            Command::Logs(command) => command.run(home),
            Command::Pause(command) => command.run(home),
            Command::Port(command) => command.run(home),
            Command::Ps(command) => command.run(home),
            Command::Pull(command) => command.run(home),
            Command::Rename(command) => command.run(home),
            Command::Push(command) => command.run(home),
            Command::Restart(command) => command.run(home),
            Command::Rm(command) => command.run(home),
            Command::Rmi(command) => command.run(home),
            Command::Run(command) => command.run(home),
            Command::Save(command) => command.run(home),
            Command::Start(command) => command.run(home),
            Command::Stats(command) => command.run(home),
            Command::Stop(command) => command.run(home),
            Command::Tag(command) => command.run(home),
            Command::Top(command) => command.run(home),
            Command::Unpause(command) => command.run(home),
            Command::Update(command) => command.run(home),
            Command::Version(command) => command.run(),
            Command::Wait(command) => command.run(home),
            Command::Container(command) => command.run(home),
            Command::Image(command) => command.run(home),
            Command::Manifest(command) => command.run(home),
            Command::Network(command) => command.run(home),
            Command::Volume(command) => command.run(home),
            Command::System(command) => command.run(home),
        }
    }
}

/// Brings back supervisors that were killed or lost with a reboot; that they cannot be is only worth a warning.
fn revive(home: &Home) {
    if let Err(failure) = container::revive(home) {
        out::warn(&failure.to_string());
    }
}

/// Does something to each of several things, goes on after a failure, and prints the names of those that went well.
fn each(names: &[String], act: impl Fn(&str) -> Result<()>) -> Outcome {
    let mut status = 0;
    for name in names {
        match act(name) {
            Ok(()) => out::line(name)?,
            Err(failure) => {
                out::say(&failure.to_string());
                status = failure.status();
            }
        }
    }
    Ok(status)
}

/// An exit code of a container as ours.
fn status_of(exit_code: i32) -> u8 {
    u8::try_from(exit_code & 0xff).expect("eight bits fit a byte")
}

/// Makes the failure of a `run` end with Docker's 125, unless it says 126 or 127.
fn engine_failure(failure: Failure) -> Failure {
    match failure.status() {
        126 | 127 => failure,
        _ => failure.exit(125),
    }
}
