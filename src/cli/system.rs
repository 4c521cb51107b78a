//! `coracle system …` and `coracle info`

use clap::Args;
use clap::Subcommand;
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::container_group;
use crate::cli::container_list::is_up;
use crate::cli::image_group;
use crate::cli::network;
use crate::cli::out;
use crate::cli::revive;
use crate::cli::template::Template;
use crate::cli::version::architecture;
use crate::cli::volume;
use crate::container;
use crate::container::Status;
use crate::image;
use crate::place::Home;
use crate::state;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what is known of the system
    Info(Info),
    /// Remove what nobody needs: idle containers, networks, images without a name
    Prune(Prune),
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        match self {
            Command::Info(command) => command.run(home),
            Command::Prune(command) => command.run(home),
        }
    }
}

#[derive(Debug, Args)]
pub struct Prune {
    /// All images without a container, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Anonymous volumes too
    #[arg(long)]
    volumes: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    fn run(self, home: &Home) -> Outcome {
        let mut what = vec!["all containers that do not run", "all networks that no container is on"];
        what.push(if self.all { "all images without a container" } else { "all images without a name" });
        if self.volumes {
            what.push("all anonymous volumes that no container uses");
        }
        if !self.force && !out::confirmed(&format!("This will remove\n  - {}\nContinue?", what.join("\n  - ")))? {
            return Ok(1);
        }
        revive(home);
        for id in container_group::remove_idle(home)? {
            out::line(&id)?;
        }
        network::remove_unneeded(home)?;
        image_group::remove_unneeded(home, |listed| self.all || listed.repository == "<none>")?;
        if self.volumes {
            volume::remove_unneeded(home, |volume| volume.anonymous)?;
        }
        state::empty_trash(home);
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub struct Info {
    /// `json`, or a template such as `{{.Containers}}`
    #[arg(short, long)]
    format: Option<String>,
}

impl Info {
    pub fn run(self, home: &Home) -> Outcome {
        let containers = container::list(home)?;
        let statuses: Vec<Status> =
            containers.iter().filter_map(|found| container::state(home, &found.id).ok()).map(|state| state.status).collect();
        let count = |wanted: &dyn Fn(Status) -> bool| statuses.iter().filter(|status| wanted(**status)).count();
        let kernel = rustix::system::uname();
        let value = json!({
            "Containers": statuses.len(),
            "ContainersRunning": count(&|status| is_up(status) && status != Status::Paused),
            "ContainersPaused": count(&|status| status == Status::Paused),
            "ContainersStopped": count(&|status| !is_up(status)),
            "Images": image::list(home)?.len(),
            "ServerVersion": env!("CARGO_PKG_VERSION"),
            "Driver": "overlay",
            "KernelVersion": kernel.release().to_string_lossy(),
            "OSType": "linux",
            "Architecture": architecture(),
            "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
            "Name": kernel.nodename().to_string_lossy(),
            "DockerRootDir": home.root(),
        });
        match self.format.as_deref() {
            Some("json") => out::line(&value.to_string())?,
            Some(template) => out::line(&Template::parse(template)?.text(&value)?)?,
            None => {
                let shown = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let lines = value.as_object().into_iter().flatten().map(|(name, value)| format!("{name}: {}\n", shown(value)));
                out::data(&lines.collect::<String>())?;
            }
        }
        Ok(0)
    }
}
