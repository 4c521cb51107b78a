//! `coracle container …`: the commands on containers under one word.

use clap::Args;
use clap::Subcommand;

use crate::cli;
use crate::cli::Outcome;
use crate::cli::inspect::Kind;
use crate::cli::inspect::Query;
use crate::cli::listing;
use crate::cli::listing::Filter;
use crate::cli::listing::Sieve;
use crate::cli::out;
use crate::container;
use crate::container::Status;
use crate::container::Volumes;
use crate::place::Home;
use crate::state;
use crate::units;

// One is made in a process, so its size is of no account.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Join the standard streams to a running container
    Attach(cli::attach::Command),
    /// Make an image of what a container has changed
    Commit(cli::commit::Command),
    /// Copy files between a container and the host
    Cp(cli::cp::Command),
    /// Create a container without starting it
    Create(Box<cli::create::Command>),
    /// Show what a container has changed in its image's files
    Diff(cli::diff::Command),
    /// Run a command in a running container
    Exec(cli::exec::Command),
    /// Write a container's file system as a tar archive
    Export(cli::export::Command),
    /// Show everything that is known of containers
    Inspect(Query),
    /// Send a signal to running containers
    Kill(cli::kill::Command),
    /// Show the output of a container
    Logs(cli::logs::Command),
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(cli::container_list::Command),
    /// Pause all processes in containers
    Pause(cli::pause::Pause),
    /// Show the published ports of a container
    Port(cli::port::Command),
    /// Remove all containers that do not run
    Prune(Prune),
    /// Give a container another name
    Rename(cli::rename::Command),
    /// Restart containers
    Restart(cli::restart::Command),
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(cli::rm::Command),
    /// Create and run a new container
    Run(Box<cli::run::Command>),
    /// Start stopped containers
    Start(cli::start::Command),
    /// Show what containers use
    Stats(cli::stats::Command),
    /// Stop running containers
    Stop(cli::stop::Command),
    /// Show the processes of a container
    Top(cli::processes::Command),
    /// Let paused containers go on
    Unpause(cli::pause::Unpause),
    /// Change limits and restart policy of containers
    Update(cli::update::Command),
    /// Wait until containers have ended, then print their exit codes
    Wait(cli::wait::Command),
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        match self {
            Command::Attach(command) => command.run(home),
            Command::Commit(command) => command.run(home),
            Command::Cp(command) => command.run(home),
            Command::Create(command) => command.run(home),
            Command::Diff(command) => command.run(home),
            Command::Exec(command) => command.run(home),
            Command::Export(command) => command.run(home),
            Command::Inspect(query) => query.run(home, Some(Kind::Container)),
            Command::Kill(command) => command.run(home),
            Command::Logs(command) => command.run(home),
            Command::Ls(command) => command.run(home),
            Command::Pause(command) => command.run(home),
            Command::Port(command) => command.run(home),
            Command::Prune(command) => command.run(home),
            Command::Rename(command) => command.run(home),
            Command::Restart(command) => command.run(home),
            Command::Rm(command) => command.run(home),
            Command::Run(command) => command.run(home),
            Command::Start(command) => command.run(home),
            Command::Stats(command) => command.run(home),
            Command::Stop(command) => command.run(home),
            Command::Top(command) => command.run(home),
            Command::Unpause(command) => command.run(home),
            Command::Update(command) => command.run(home),
            Command::Wait(command) => command.run(home),
        }
    }
}

#[derive(Debug, Args)]
pub struct Prune {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only those: until=TIME, label=NAME[=VALUE], label!=NAME[=VALUE]
    #[arg(long, value_parser = listing::filter)]
    filter: Vec<Filter>,
}

impl Prune {
    pub fn run(self, home: &Home) -> Outcome {
        let sieve = Sieve::of(&self.filter, &["until", "label", "label!"])?;
        if !self.force && !out::confirmed("This will remove all containers that do not run. Continue?")? {
            return Ok(1);
        }
        let freed = remove_idle(home, &sieve)?;
        out::line(&format!("Total reclaimed space: {}", units::size_text(freed)))?;
        Ok(0)
    }
}

/// Removes every container that does not run and passes the filters, and prints their ids; how many bytes that frees.
///
/// # Errors
/// The containers cannot be read. One that cannot be removed is said and left.
pub fn remove_idle(home: &Home, sieve: &Sieve<'_>) -> crate::failure::Result<u64> {
    let (mut freed, mut removed) = (0, Vec::new());
    for found in container::list(home)? {
        let Ok(state) = container::state(home, &found.id) else { continue };
        let is_idle = matches!(state.status, Status::Created | Status::Exited | Status::Dead);
        if !is_idle || !sieve.passes(&found.created, &found.wanted.labels) {
            continue;
        }
        let weight = state::weight(&home.container(&found.id).join("upper"));
        match container::remove(home, &found.id, Volumes::Keep) {
            Ok(()) => {
                freed += weight;
                removed.push(found.id);
            }
            Err(failure) => out::say(&failure.to_string()),
        }
    }
    out::told("Deleted Containers:", &removed.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok(freed)
}
