//! The flags that `run` and `create` share, and what becomes of them: a [`container::Wanted`].

mod health;
mod limits;
mod network;
mod rare;
mod trust;

use clap::Args;

use crate::cli::progress::Progress;
use crate::cli::progress::Style;
use crate::cli::revive;
use crate::cli::spelling;
use crate::compose::short;
use crate::container;
use crate::container::Container;
use crate::container::Mount;
use crate::container::MountSource;
use crate::container::Restart;
use crate::container::Wanted;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::image::Image;
use crate::image::Policy;
use crate::net::Port;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct ContainerOptions {
    #[arg(long, action = clap::ArgAction::Help, help = "Print help")]
    help: Option<bool>,
    /// The container's name
    #[arg(long)]
    name: Option<String>,
    /// Keep standard input open
    #[arg(short, long)]
    interactive: bool,
    /// Give the program a terminal
    #[arg(short, long)]
    tty: bool,
    /// Remove the container and its anonymous volumes when it ends
    #[arg(long)]
    rm: bool,
    /// Set a variable; a lone name takes its value from here
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Read variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<String>,
    /// Set a label
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = spelling::pair)]
    label: Vec<(String, String)>,
    /// Read labels from a file
    #[arg(long, value_name = "FILE")]
    label_file: Vec<String>,
    /// User, or user and group, by name or number
    #[arg(short, long)]
    user: Option<String>,
    /// More groups for the user
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// Directory to run in
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Replace the image's entrypoint; empty for none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Host name inside
    #[arg(short = 'h', long)]
    hostname: Option<String>,
    /// Domain name inside
    #[arg(long, value_name = "NAME")]
    domainname: Option<String>,
    /// Mount a volume or a path of the host
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]", value_parser = spelling::mounts::volume)]
    volume: Vec<Mount>,
    /// Mount, in long form
    #[arg(long, value_name = "type=…,source=…,target=…", value_parser = spelling::mounts::mount)]
    mount: Vec<Mount>,
    /// Mount a tmpfs
    #[arg(long, value_name = "TARGET[:OPTIONS]", value_parser = short::tmpfs)]
    tmpfs: Vec<Mount>,
    /// Mount what another container has mounted
    #[arg(long, value_name = "CONTAINER[:ro]")]
    volumes_from: Vec<String>,
    /// Where output goes: json-file, local, syslog, journald or none
    #[arg(long, value_name = "DRIVER", default_value = "json-file")]
    log_driver: String,
    /// An option of the log driver, such as max-size=10m or tag={{.Name}}
    #[arg(long, value_name = "NAME=VALUE", value_parser = spelling::pair)]
    log_opt: Vec<(String, String)>,
    /// The root file system has no options
    #[arg(long, value_name = "NAME=VALUE", hide = true)]
    storage_opt: Vec<String>,
    #[command(flatten)]
    network: network::NetworkOptions,
    #[command(flatten)]
    health: health::HealthOptions,
    #[command(flatten)]
    limits: limits::LimitOptions,
    #[command(flatten)]
    trust: trust::TrustOptions,
    #[command(flatten)]
    rare: rare::RareOptions,
    /// What happens when the program ends: no, always, unless-stopped, on-failure or on-failure:COUNT
    #[arg(long, value_name = "POLICY", default_value = "no", value_parser = short::restart)]
    restart: Restart,
    /// Put a tiny init before the program
    #[arg(long)]
    init: bool,
    /// The signal that asks the program to end
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Seconds between that signal and the kill
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u64>,
    /// When to pull the image: always, missing, never
    #[arg(long, value_name = "WHEN", default_value = "missing", value_parser = policy)]
    pull: Policy,
    /// Such as `linux/arm64`
    #[arg(long)]
    platform: Option<String>,
    /// Write the container's id to a file
    #[arg(long, value_name = "FILE")]
    cidfile: Option<String>,
    /// Say nothing of a pull
    #[arg(short, long)]
    quiet: bool,
    /// The image, then the command and its arguments
    #[arg(trailing_var_arg = true, required = true, value_names = ["IMAGE", "COMMAND"])]
    words: Vec<String>,
}

/// Reads `always`, `missing`, `never`.
///
/// # Errors
/// None of these.
pub fn policy(text: &str) -> Result<Policy, String> {
    match text {
        "always" => Ok(Policy::Always),
        "missing" => Ok(Policy::Missing),
        "never" => Ok(Policy::Never),
        _ => Err("it is one of always, missing, never".to_owned()),
    }
}

impl ContainerOptions {
    /// Which of the three standard streams are shown, if only some are.
    pub fn attached(&self) -> Option<[bool; 3]> {
        self.rare.attached()
    }

    /// `--rm` and a restart policy contradict each other.
    pub fn removes_and_restarts(&self) -> bool {
        self.rm && self.restart != Restart::No
    }

    /// Pulls the image if need be and makes the container.
    ///
    /// # Errors
    /// What cannot be; nothing is left but a pulled image.
    pub fn create(mut self, home: &Home) -> Result<Container> {
        revive(home);
        if self.tty && self.interactive && self.removes_and_restarts() {
            return Err(Failure::new("cannot use `--rm` together with `--restart`"));
        }
        let words = std::mem::take(&mut self.words);
        let (name, command) = words.split_first().ok_or_else(|| Failure::new("no image is named"))?;
        let cidfile = self.cidfile.take();
        if let Some(file) = cidfile.as_ref().filter(|file| std::path::Path::new(file).exists()) {
            return Err(Failure::new(format!("cannot write the container's id to `{file}`")).because("the file is there already"));
        }
        let image = self.image(home, name)?;
        let wanted = self.wanted(home, (&image, name), command)?;
        let created = container::create(home, wanted)?;
        if let Some(file) = cidfile {
            std::fs::write(&file, &created.id).doing(|| format!("cannot write the container's id to `{file}`"))?;
        }
        Ok(created)
    }

    fn image(&self, home: &Home, name: &str) -> Result<Image> {
        if self.pull != Policy::Always
            && self.platform.is_none()
            && let Some(image) = image::find(home, name)?
        {
            return Ok(image);
        }
        if self.pull == Policy::Missing && !self.quiet {
            crate::cli::out::say(&format!("Unable to find image '{name}' locally"));
        }
        let progress = Progress::new(if self.quiet { Style::Quiet } else { Style::automatic() });
        let watch = progress.pull(name);
        let pulled = image::pull(home, name, self.platform.as_deref(), self.pull, &watch)?;
        watch.finished();
        progress.close();
        Ok(pulled)
    }

    fn wanted(self, home: &Home, (image, name): (&Image, &str), command: &[String]) -> Result<Wanted> {
        let entrypoint = self.entrypoint.as_ref().map(|program| if program.is_empty() { Vec::new() } else { vec![program.clone()] });
        let command = (!command.is_empty()).then(|| command.to_vec());
        let mut wanted = container::from_image(image, name, entrypoint, command);
        if wanted.args.is_empty() {
            return Err(Failure::new(format!("cannot make a container of `{name}`")).because("no command is given, and the image has none"));
        }
        set_environment(&mut wanted.env, spelling::environment(&self.env_file, &self.env)?);
        wanted.labels.extend(spelling::labels(&self.label_file, &self.label)?);
        self.health.apply(&mut wanted);
        self.network.apply(home, &mut wanted)?;
        if let Some(option) = self.storage_opt.first() {
            return Err(Failure::new(format!("cannot carry out `--storage-opt {option}`"))
                .because("the root of a container is a directory of the host, whose size is not limited"));
        }
        let (logging, left_out) = container::logging(&self.log_driver, &self.log_opt.into_iter().collect())
            .map_err(|reason| Failure::new("cannot understand `--log-driver` and `--log-opt`").because(reason))?;
        left_out.iter().for_each(|what| crate::cli::out::warn(&format!("the log's `{what}` is not carried out")));
        wanted.logging = logging;
        self.limits.apply(&mut wanted)?;
        self.rare.check()?;
        for text in &self.volumes_from {
            borrowed(home, text)?.into_iter().for_each(|mount| set_mount(&mut wanted.mounts, mount));
        }
        for mount in self.volume.into_iter().chain(self.mount).chain(self.tmpfs) {
            set_mount(&mut wanted.mounts, with_image(home, mount)?);
        }
        wanted.name = self.name;
        wanted.tty = self.tty;
        wanted.stdin = self.interactive;
        wanted.auto_remove = self.rm;
        wanted.user = self.user.unwrap_or(wanted.user);
        wanted.group_add = self.group_add;
        wanted.working_dir = self.workdir.unwrap_or(wanted.working_dir);
        wanted.hostname = self.hostname;
        wanted.domainname = self.domainname;
        self.trust.apply(home, &mut wanted)?;
        wanted.restart = self.restart;
        wanted.init = self.init;
        wanted.stop_signal = self.stop_signal.or(wanted.stop_signal);
        wanted.stop_timeout = self.stop_timeout;
        Ok(wanted)
    }
}

/// What `--volumes-from NAME[:ro]` stands for.
fn borrowed(home: &Home, text: &str) -> Result<Vec<Mount>> {
    let (name, mode) = text.split_once(':').unwrap_or((text, "rw"));
    let cannot = |reason| Failure::new(format!("cannot take over the volumes of `{name}`")).because(reason);
    short::borrowed(container::find(home, name)?.wanted.mounts, mode).map_err(cannot)
}

/// Fills in what a mount of an image needs to know of it.
fn with_image(home: &Home, mut mount: Mount) -> Result<Mount> {
    if let MountSource::Image { name, id, layers, .. } = &mut mount.source {
        let found = image::find(home, name)?;
        let found =
            found.ok_or_else(|| Failure::new(format!("no such image: {name}")).hint(format!("get it with `coracle pull {name}`")))?;
        (*id, *layers) = (found.id, found.layers);
    }
    Ok(mount)
}

/// Puts variables over those of the image.
pub fn set_environment(env: &mut Vec<String>, words: Vec<String>) {
    for word in words {
        let name = format!("{}=", word.split('=').next().unwrap_or_default());
        match env.iter_mut().find(|known| known.starts_with(&name)) {
            Some(known) => *known = word,
            None => env.push(word),
        }
    }
}

/// Puts a mount in the place of one with the same target, such as a volume of the image.
pub fn set_mount(mounts: &mut Vec<Mount>, mount: Mount) {
    mounts.retain(|known| known.target.trim_end_matches('/') != mount.target.trim_end_matches('/'));
    mounts.push(mount);
}

/// The ports that several `-p` publish.
///
/// # Errors
/// As [`spelling::ports::published`].
pub fn published(words: &[String]) -> Result<Vec<Port>> {
    let mut ports = Vec::new();
    for word in words {
        ports.extend(
            spelling::ports::published(word).map_err(|reason| Failure::new(format!("cannot publish port `{word}`")).because(reason))?,
        );
    }
    Ok(ports)
}
