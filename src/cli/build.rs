//! `coracle build`, also as `buildx build`, `builder build` and `image build`

pub mod answers;
pub mod outputs;
mod report;
pub mod words;

use std::io::IsTerminal;
use std::io::Read;
use std::path::PathBuf;

use clap::Args;

use crate::build;
use crate::build::Context;
use crate::build::DockerfileAt;
use crate::build::Secret;
use crate::cli::Outcome;
use crate::cli::build::answers::Call;
use crate::cli::build::answers::Question;
use crate::cli::build::outputs::Going;
use crate::cli::buildx::builders;
use crate::cli::out;
use crate::cli::progress::Progress;
use crate::cli::progress::Style;
use crate::cli::spelling;
use crate::compose::short;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// A name for the image
    #[arg(short, long, value_name = "NAME[:TAG]")]
    tag: Vec<String>,
    /// The Dockerfile; `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Set a build argument; a lone name takes its value from here
    #[arg(long, value_name = "NAME=VALUE")]
    build_arg: Vec<String>,
    /// Set a label of the image
    #[arg(long, value_name = "NAME=VALUE", value_parser = spelling::pair)]
    label: Vec<(String, String)>,
    /// Build up to this stage
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Run every step anew
    #[arg(long)]
    no_cache: bool,
    /// Run the steps of these stages anew
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    no_cache_filter: Vec<String>,
    /// Ask the registry for newer base images
    #[arg(long)]
    pull: bool,
    /// Such as `linux/arm64`; for several an image each
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',', env = "DOCKER_DEFAULT_PLATFORM")]
    platform: Vec<String>,
    /// `default`, `host`, `none` or a network, for RUN
    #[arg(long, value_name = "MODE")]
    network: Option<String>,
    /// A line of /etc/hosts for RUN
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = short::extra_host)]
    add_host: Vec<(String, String)>,
    /// Another place that COPY --from and FROM may name: a directory, an address, `docker-image://NAME`
    #[arg(long, value_name = "NAME=PLACE", value_parser = words::build_context)]
    build_context: Vec<(String, String)>,
    /// A secret for RUN --mount=type=secret
    #[arg(long, value_name = "id=NAME[,src=FILE|,env=VARIABLE]", value_parser = words::secret)]
    secret: Vec<(String, Secret)>,
    /// An ssh agent or keys for RUN --mount=type=ssh
    #[arg(long, value_name = "default|ID[=SOCKET|KEY[,KEY]]", value_parser = words::ssh)]
    ssh: Vec<(String, Vec<PathBuf>)>,
    /// When a step fails, open a shell in its root
    #[arg(long)]
    debug: bool,
    /// Allow what endangers this machine: `network.host`, `security.insecure`, `device=NAME`
    #[arg(long, value_name = "RIGHT", value_parser = words::right)]
    allow: Vec<String>,
    /// Size of /dev/shm in RUN
    #[arg(long, value_name = "SIZE", value_parser = spelling::size)]
    shm_size: Option<u64>,
    /// Limit of processes in RUN: nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = spelling::ulimit)]
    ulimit: Vec<(String, u64, u64)>,
    /// The cgroup to put RUN below
    #[arg(long, value_name = "PATH", value_parser = words::cgroup_parent)]
    cgroup_parent: Option<String>,
    #[command(flatten)]
    going: Going,
    /// Print only the image's id
    #[arg(short, long)]
    quiet: bool,
    /// `auto`, `plain`, `tty`, `rawjson` or `quiet`
    #[arg(long, value_name = "STYLE", env = "BUILDKIT_PROGRESS", default_value = "auto", value_parser = Style::read)]
    progress: Style,
    /// Write the image's id to a file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Write what was made to a file, as JSON
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
    /// Look at the Dockerfile only: short for `--call=check`
    #[arg(long)]
    check: bool,
    /// Answer a question about the Dockerfile: `check`, `outline`, `targets`; `,format=json` may follow
    #[arg(long, value_name = "QUESTION", default_value = "build", value_parser = Question::read)]
    call: Question,
    #[command(flatten)]
    past: Past,
    /// A directory, the address of a repository or an archive, or `-` for an archive on standard input
    #[arg(value_name = "PATH|ADDRESS|-")]
    context: String,
}

// What scripts still write, and what means nothing without a daemon.
#[derive(Debug, Args)]
struct Past {
    #[arg(long, hide = true)]
    rm: bool,
    #[arg(long, hide = true)]
    force_rm: bool,
    #[arg(long, hide = true)]
    compress: bool,
    #[arg(long, env = "BUILDX_BUILDER", hide = true)]
    builder: Option<String>,
    #[command(flatten)]
    limits: OldLimits,
}

// Flags of the builder before BuildKit, which buildx still takes and does not carry out.
#[derive(Debug, Args)]
struct OldLimits {
    #[arg(short, long, hide = true)]
    memory: Option<String>,
    #[arg(long, hide = true, allow_hyphen_values = true)]
    memory_swap: Option<String>,
    #[arg(short, long, hide = true)]
    cpu_shares: Option<String>,
    #[arg(long, hide = true)]
    cpu_period: Option<String>,
    #[arg(long, hide = true, allow_hyphen_values = true)]
    cpu_quota: Option<String>,
    #[arg(long, hide = true)]
    cpuset_cpus: Option<String>,
    #[arg(long, hide = true)]
    cpuset_mems: Option<String>,
    #[arg(long, hide = true)]
    isolation: Option<String>,
    #[arg(long, hide = true)]
    security_opt: Vec<String>,
    #[arg(long, hide = true)]
    squash: bool,
}

impl OldLimits {
    /// Warns of what makes no difference, by name.
    fn warn(&self) {
        let words = [
            ("--memory", &self.memory),
            ("--memory-swap", &self.memory_swap),
            ("--cpu-shares", &self.cpu_shares),
            ("--cpu-period", &self.cpu_period),
            ("--cpu-quota", &self.cpu_quota),
            ("--cpuset-cpus", &self.cpuset_cpus),
            ("--cpuset-mems", &self.cpuset_mems),
            ("--isolation", &self.isolation),
        ];
        let is_idle = |flag: &str, word: &str| matches!(word, "" | "default") || word == "0" && !flag.starts_with("--cpuset");
        let given = words.iter().filter(|(flag, word)| word.as_deref().is_some_and(|word| !is_idle(flag, word)));
        let words = given.map(|(flag, _)| *flag);
        let others = [("--security-opt", !self.security_opt.is_empty()), ("--squash", self.squash)];
        for flag in words.chain(others.iter().filter(|(_, given)| *given).map(|(flag, _)| *flag)) {
            out::warn(&format!("`{flag}` makes no difference to a build"));
        }
    }
}

impl Command {
    pub fn run(mut self, home: &Home) -> Outcome {
        let style = if self.quiet { Style::Quiet } else { self.progress };
        self.past.limits.warn();
        builders::check(home, self.past.builder.as_deref())?;
        let progress = Progress::new(style);
        let watch = progress.build(None);
        let (iidfile, metadata, going) = (self.iidfile.take(), self.metadata_file.take(), self.going.is_piped());
        let question = if self.check { Question { call: Call::Check, ..self.call } } else { self.call };
        let mut wanted = self.wanted()?;
        if question.call != Call::Build {
            return answers::answer(home, &wanted, (question, &watch));
        }
        if metadata.is_some() {
            wanted.told = report::told(wanted.provenance.as_ref())?;
        }
        let built = build::build(home, &wanted, &watch).inspect_err(|_| watch.failed())?;
        // Files have no id, and where they or an archive went to standard output nothing may follow them.
        let id = built.images.first().filter(|_| built.is_image).map(|image| image.id.clone()).unwrap_or_default();
        if let Some(file) = iidfile {
            std::fs::write(&file, &id).doing(|| format!("cannot write the image's id to `{}`", file.display()))?;
        }
        if let Some(file) = metadata {
            report::write(&file, &built)?;
        }
        if style != Style::Quiet {
            watch.finished(wanted.tags.first().or(built.images.first().map(|image| &image.id)).unwrap_or(&id));
            answers::warn(&built.warnings);
        } else if !id.is_empty() && !going {
            out::line(&id)?;
        }
        Ok(0)
    }

    fn wanted(mut self) -> Result<build::Wanted> {
        let context = Context::read(&self.context)?;
        let dockerfile = match self.file.take() {
            None => DockerfileAt::Context,
            Some(file) if file.as_os_str() == "-" && context == Context::Input => {
                return Err(Failure::new("cannot read both the context and the Dockerfile from standard input")
                    .hint("put the Dockerfile into the archive, or name one of them"));
            }
            Some(file) if file.as_os_str() == "-" => DockerfileAt::Text(input()?),
            Some(file) => DockerfileAt::Path(file),
        };
        let argument = |word: String| match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        // What dates the build need not be said twice.
        let dated = std::env::var("SOURCE_DATE_EPOCH").ok().map(|_| ("SOURCE_DATE_EPOCH".to_owned(), None));
        Ok(build::Wanted {
            context,
            dockerfile,
            tags: self.tag,
            target: self.target,
            args: dated.into_iter().chain(self.build_arg.into_iter().map(argument)).collect(),
            labels: self.label.into_iter().collect(),
            no_cache: self.no_cache,
            no_cache_filter: self.no_cache_filter,
            pull: self.pull,
            platforms: self.platform.into_iter().filter(|platform| !platform.is_empty()).collect(),
            network: self.network,
            extra_hosts: self.add_host,
            contexts: self.build_context.into_iter().collect(),
            secrets: self.secret.into_iter().collect(),
            ssh: self.ssh.into_iter().collect(),
            allow: self.allow.into_iter().collect(),
            debug: self.debug && has_terminal(),
            shm_size: self.shm_size,
            ulimits: self.ulimit,
            cgroup_parent: self.cgroup_parent,
            ..self.going.wanted()
        })
    }
}

/// Whether somebody can work in a shell here; says so if not.
fn has_terminal() -> bool {
    let has = std::io::stdin().is_terminal() && out::talks_to_terminal();
    if !has {
        out::warn("`--debug` opens no shell if a step fails: standard input and standard error are no terminal");
    }
    has
}

fn input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).doing(|| "cannot read the Dockerfile from standard input")?;
    Ok(text)
}
