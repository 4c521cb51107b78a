//! `coracle compose run`

use std::io::IsTerminal;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session;
use crate::cli::compose::session::Stage;
use crate::cli::container_options::published;
use crate::cli::container_options::set_environment;
use crate::cli::container_options::set_mount;
use crate::cli::out;
use crate::cli::progress::Style;
use crate::cli::revive;
use crate::cli::spelling;
use crate::cli::start::start;
use crate::cli::status_of;
use crate::compose;
use crate::compose::Manner;
use crate::compose::OneOff;
use crate::compose::labels;
use crate::compose::model::Project;
use crate::compose::plan::Action;
use crate::compose::plan::Dependencies;
use crate::compose::plan::Images;
use crate::compose::plan::Options;
use crate::container;
use crate::container::Attach;
use crate::container::Attached;
use crate::container::Mount;
use crate::container::NetworkMode;
use crate::container::Restart;
use crate::container::Wanted;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::place::Home;
use crate::state;

#[derive(Debug, Args)]
pub struct Command {
    /// Run in the background and print the container's name
    #[arg(short, long)]
    detach: bool,
    /// Remove the container when it ends
    #[arg(long)]
    rm: bool,
    /// Set a variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Replace the entrypoint
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// User, or user and group, by name or number
    #[arg(short, long)]
    user: Option<String>,
    /// Directory to run in
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// The container's name
    #[arg(long)]
    name: Option<String>,
    /// Set a label
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = spelling::pair)]
    label: Vec<(String, String)>,
    /// Mount a volume or a path of the host
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]", value_parser = spelling::mounts::volume)]
    volume: Vec<Mount>,
    /// Publish a port
    #[arg(short, long, value_name = "[[ADDRESS:]PORT:]PORT[/udp]")]
    publish: Vec<String>,
    /// Publish the service's ports
    #[arg(short = 'P', long)]
    service_ports: bool,
    /// Let others find it by the service's names
    #[arg(long)]
    use_aliases: bool,
    /// Do not bring up what the service depends on
    #[arg(long)]
    no_deps: bool,
    /// Build the image first
    #[arg(long)]
    build: bool,
    /// Say nothing of what is brought up
    #[arg(short, long, visible_alias = "quiet-pull")]
    quiet: bool,
    /// Give the command no terminal; there is one if we have one
    #[arg(short = 'T', long = "no-tty", visible_alias = "no-TTY")]
    no_tty: bool,
    /// Join standard input, as is done anyway
    #[arg(short, long)]
    interactive: bool,
    /// The service, then the command and its arguments
    #[arg(trailing_var_arg = true, required = true, value_names = ["SERVICE", "COMMAND"])]
    words: Vec<String>,
}

impl Command {
    pub fn run(mut self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let name = self.words.remove(0);
        let project = session::project(flags, std::slice::from_ref(&name))?;
        if !project.services.contains_key(&name) {
            let names = project.services.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(Failure::new(format!("no such service: {name}")).hint(format!("the services are {names}")));
        }
        revive(home);
        self.bring_up(home, (&project, &name), flags)?;
        let wanted = self.wanted(home, (&project, &name))?;
        let created = container::create(home, wanted)?;
        if self.detach {
            start(home, &created.id)?;
            out::line(&created.name)?;
            return Ok(0);
        }
        let attach = Attach { stdin: created.wanted.stdin, signals: !created.wanted.tty, start: true };
        match container::attach(home, &created.id, attach)? {
            Attached::Exited(code) => Ok(status_of(code)),
            Attached::Detached => Ok(0),
        }
    }

    /// What the service needs: its image, its networks and volumes, and what it depends on.
    fn bring_up(&self, home: &Home, (project, name): (&Project, &str), flags: &ProjectFlags) -> Result<()> {
        let mut flags = flags.clone();
        if self.quiet {
            flags.progress = Style::Quiet;
        }
        let stage = Stage::new(&flags)?;
        let watch = stage.watch();
        let service = &project.services[name];
        let image = labels::image_name(&project.name, (name, service));
        if service.build.is_some() && (self.build || image::find(home, &image)?.is_none()) {
            let action = Action::BuildImage { service: name.to_owned(), image };
            compose::bring_images(home, project, vec![action], (Manner::default(), &watch))?;
        } else if image::find(home, &image)?.is_none() {
            compose::bring_images(home, project, vec![Action::PullImage { image }], (Manner::default(), &watch))?;
        }
        let options =
            Options { services: vec![name.to_owned()], dependencies: Dependencies::Only, images: Images::Missing, ..Options::default() };
        let dependencies = if self.no_deps { None } else { Some(&options) };
        compose::prepare_one_off(home, (project, name), dependencies, (Manner::default(), &watch))
    }

    fn wanted(&self, home: &Home, (project, name): (&Project, &str)) -> Result<Wanted> {
        let entrypoint = self.entrypoint.as_ref().map(|program| program.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let command = (!self.words.is_empty()).then(|| self.words.clone());
        let one_off = OneOff { entrypoint, command };
        let mut wanted = compose::one_off(home, (project, name), one_off)?;
        let suffix = state::random_hex();
        wanted.name = Some(self.name.clone().unwrap_or_else(|| format!("{}-{name}-run-{}", project.name, &suffix[..12])));
        wanted.labels.extend(self.label.iter().cloned());
        set_environment(&mut wanted.env, spelling::environment(&[], &self.env)?);
        wanted.user = self.user.clone().unwrap_or(wanted.user);
        wanted.working_dir = self.workdir.clone().unwrap_or(wanted.working_dir);
        for mount in &self.volume {
            set_mount(&mut wanted.mounts, mount.clone());
        }
        if !self.service_ports {
            wanted.ports.clear();
        }
        wanted.ports.extend(published(&self.publish)?);
        if let NetworkMode::Plugs(plugs) = &mut wanted.network
            && !self.use_aliases
        {
            plugs.iter_mut().for_each(|plug| plug.aliases.clear());
        }
        wanted.tty = !self.no_tty && !self.detach && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        wanted.stdin = !self.detach;
        wanted.auto_remove = self.rm;
        wanted.restart = Restart::No;
        wanted.healthcheck = None;
        Ok(wanted)
    }
}
