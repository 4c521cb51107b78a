//! `coracle compose run`

use std::io::IsTerminal;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::plan;
use crate::cli::compose::session;
use crate::cli::compose::session::Stage;
use crate::cli::compose::up::Pull;
use crate::cli::container_options::published;
use crate::cli::container_options::set_environment;
use crate::cli::container_options::set_mount;
use crate::cli::out;
use crate::cli::progress::Hush;
use crate::cli::progress::Style;
use crate::cli::revive;
use crate::cli::run::taken_back;
use crate::cli::spelling;
use crate::cli::start::start;
use crate::cli::status_of;
use crate::compose;
use crate::compose::OneOff;
use crate::compose::labels;
use crate::compose::model::Project;
use crate::compose::plan::Action;
use crate::compose::plan::Dependencies;
use crate::compose::plan::Options;
use crate::compose::plan::Orphans;
use crate::container;
use crate::container::Attach;
use crate::container::Attached;
use crate::container::Container;
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
    /// Run in the background and print the container's id
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
    #[arg(short, long, alias = "volumes", value_name = "[SOURCE:]TARGET[:OPTIONS]", value_parser = spelling::mounts::volume)]
    volume: Vec<Mount>,
    /// Publish a port
    #[arg(short, long, conflicts_with = "service_ports", value_name = "[[ADDRESS:]PORT:]PORT[/udp]")]
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
    /// When to pull the image
    #[arg(long, value_enum, value_name = "WHEN", default_value = "policy")]
    pull: Pull,
    /// Say nothing of what is brought up
    #[arg(short, long)]
    quiet: bool,
    /// Say nothing of pulls
    #[arg(long)]
    quiet_pull: bool,
    /// Say nothing of builds
    #[arg(long)]
    quiet_build: bool,
    /// Read variables from a file
    #[arg(long, value_name = "FILE")]
    env_from_file: Vec<String>,
    /// Add a capability
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Drop a capability
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// Remove containers of services that the files do not have
    #[arg(long)]
    remove_orphans: bool,
    /// Give the command no terminal; there is one if we have one
    #[arg(short = 'T', long = "no-tty", visible_alias = "no-TTY")]
    no_tty: bool,
    /// Join standard input, as is done anyway
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    interactive: bool,
    /// Give the command a terminal, as is done anyway if we have one
    #[arg(short, long, hide = true, conflicts_with = "no_tty")]
    tty: bool,
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
        compose::check_service(home, &project, &name)?;
        revive(home);
        if flags.dry_run {
            return self.show(home, (&project, &name));
        }
        self.bring_up(home, (&project, &name), flags)?;
        let wanted = self.wanted(home, (&project, &name))?;
        let created = container::create(home, wanted)?;
        if self.detach {
            start(home, &created.id).map_err(|failure| not_started(home, &created, failure))?;
            out::line(&created.id)?;
            return Ok(0);
        }
        let attach = Attach { stdin: created.wanted.stdin, signals: !created.wanted.tty, start: true, ..Attach::default() };
        match container::attach(home, &created.id, attach).map_err(|failure| not_started(home, &created, failure))? {
            Attached::Exited(code) => Ok(status_of(code)),
            Attached::Detached => Ok(0),
        }
    }

    /// What the service needs: its image, its networks and volumes, and what it depends on.
    fn bring_up(&self, home: &Home, (project, name): (&Project, &str), flags: &ProjectFlags) -> Result<()> {
        let flags = flags.with_style(self.quiet.then_some(Style::Quiet));
        let stage = Stage::new(&flags)?.hushed(Hush { pulls: self.quiet_pull, builds: self.quiet_build });
        let watch = stage.watch();
        let mut images: Vec<Action> = self.image(home, (project, name))?.into_iter().collect();
        let mounted =
            project.services[name].volumes.iter().filter(|volume| volume.kind == "image").filter_map(|volume| volume.source.as_ref());
        for image in mounted {
            if image::find(home, image)?.is_none() {
                images.push(Action::PullImage { image: image.clone() });
            }
        }
        if !images.is_empty() {
            compose::bring_images(home, project, images, (flags.manner(), &watch))?;
        }
        let options = self.options(project, name);
        let dependencies = if self.no_deps { None } else { Some(&options) };
        compose::prepare_one_off(home, (project, name), dependencies, (flags.manner(), &watch))
    }

    /// How what the service depends on is brought up.
    fn options(&self, project: &Project, name: &str) -> Options {
        let orphans = match self.remove_orphans {
            true => Orphans::Remove,
            false if session::is_on(Some(project), "COMPOSE_IGNORE_ORPHANS") => Orphans::Ignore,
            false => Orphans::Warn,
        };
        Options { services: vec![name.to_owned()], dependencies: Dependencies::Only, orphans, ..Options::default() }
    }

    /// How the service's image is brought, if it must be.
    fn image(&self, home: &Home, (project, name): (&Project, &str)) -> Result<Option<Action>> {
        let service = &project.services[name];
        let image = labels::image_name(project, (name, service));
        let is_there = image::find(home, &image)?.is_some();
        let policy = service.pull_policy.as_deref().unwrap_or_default();
        let always = self.pull == Pull::Always || (self.pull == Pull::Policy && policy == "always");
        let never = self.pull == Pull::Never || (self.pull == Pull::Policy && policy == "never");
        Ok(match service.build.is_some() {
            true if self.build || !is_there || policy == "build" => Some(Action::BuildImage { service: name.to_owned(), image }),
            false if always || !is_there => {
                if never {
                    return Err(Failure::new(format!("cannot run service `{name}`"))
                        .because(format!("there is no image `{image}`, and it may not be pulled"))
                        .hint("leave `--pull never` out, or pull the image first"));
                }
                Some(Action::PullImage { image })
            }
            _ => None,
        })
    }

    /// What a dry run says.
    fn show(&self, home: &Home, (project, name): (&Project, &str)) -> Outcome {
        let mut steps = match self.no_deps {
            true => Vec::new(),
            false => {
                compose::plan_up(home, project, &self.options(project, name))?.steps.iter().map(|step| step.action.to_string()).collect()
            }
        };
        steps.extend(self.image(home, (project, name))?.map(|action| action.to_string()));
        let command = if self.words.is_empty() { String::new() } else { format!(": {}", self.words.join(" ")) };
        steps.push(format!("run a container of service {name}{command}"));
        plan::say(&steps)
    }

    fn wanted(&self, home: &Home, (project, name): (&Project, &str)) -> Result<Wanted> {
        let entrypoint = self.entrypoint.as_deref().map(words).transpose()?;
        let command = (!self.words.is_empty()).then(|| self.words.clone());
        let one_off = OneOff { entrypoint, command };
        let mut wanted = compose::one_off(home, (project, name), one_off)?;
        let suffix = state::random_hex();
        let between = project.separator;
        let own = || format!("{}{between}{name}{between}run{between}{}", project.name, &suffix[..12]);
        wanted.name = Some(self.name.clone().unwrap_or_else(own));
        wanted.labels.extend(self.label.iter().cloned());
        wanted.labels.insert(labels::SLUG.to_owned(), suffix.clone());
        let files: Vec<_> = self.env_from_file.iter().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.into())).collect();
        let of_files = compose::variables_of(&files)?.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        set_environment(&mut wanted.env, of_files);
        set_environment(&mut wanted.env, spelling::environment(&[], &self.env)?);
        wanted.trust.cap_add.extend(self.cap_add.iter().cloned());
        wanted.trust.cap_drop.extend(self.cap_drop.iter().cloned());
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
        let has_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        wanted.tty = !self.no_tty && !self.detach && (has_terminal || self.tty);
        wanted.stdin = self.interactive && !self.detach;
        wanted.auto_remove = self.rm;
        wanted.restart = Restart::No;
        wanted.healthcheck = None;
        Ok(wanted)
    }
}

/// A start that failed ends with 1, as with docker compose: 126 and 127 are for the command's own shell to say.
fn not_started(home: &Home, created: &Container, failure: Failure) -> Failure {
    taken_back(home, created, failure).exit(1)
}

/// The words of an entrypoint.
fn words(line: &str) -> Result<Vec<String>> {
    compose::words(line).ok_or_else(|| Failure::new(format!("cannot understand the entrypoint `{line}`")).because("a quote is left open"))
}
