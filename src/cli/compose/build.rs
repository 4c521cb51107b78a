//! `coracle compose build`

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use crate::cli::Outcome;
use crate::cli::build::answers;
use crate::cli::build::words;
use crate::cli::buildx::builders;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::bake;
use crate::cli::compose::bake::Extra;
use crate::cli::compose::plan;
use crate::cli::compose::session;
use crate::cli::compose::session::Stage;
use crate::cli::out;
use crate::cli::progress::Style;
use crate::cli::spelling;
use crate::compose;
use crate::compose::BuildManner;
use crate::compose::Manner;
use crate::compose::Platforms;
use crate::compose::labels;
use crate::compose::model::Project;
use crate::compose::plan::Action;
use crate::compose::plan::Dependencies;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Set a build argument; a lone name takes its value from here
    #[arg(long, value_name = "NAME=VALUE")]
    build_arg: Vec<String>,
    /// Run every step anew
    #[arg(long)]
    no_cache: bool,
    /// Ask the registry for newer base images
    #[arg(long)]
    pull: bool,
    /// An ssh agent or keys for RUN --mount=type=ssh
    #[arg(long, value_name = "default|ID[=SOCKET|KEY[,KEY]]", value_parser = words::ssh)]
    ssh: Vec<(String, Vec<PathBuf>)>,
    /// Push the images of services that have an `image:`
    #[arg(long)]
    push: bool,
    /// Say with what is pushed from what it was made: `mode=min`, `mode=max`
    #[arg(long, value_name = "MODE", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    provenance: Option<String>,
    /// List with what is pushed what it is made of
    #[arg(long, value_name = "SCANNER", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    sbom: Option<String>,
    /// Print what is built as a file for `docker buildx bake`, and build nothing
    #[arg(long)]
    print: bool,
    /// Look at the Dockerfiles only
    #[arg(long)]
    check: bool,
    /// Say nothing of the progress
    #[arg(short, long)]
    quiet: bool,
    /// Build what the named services depend on too
    #[arg(long)]
    with_dependencies: bool,
    #[command(flatten)]
    docker: DockersOwn,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

// Flags that mean something to BuildKit alone.
#[derive(Debug, Args)]
struct DockersOwn {
    /// There is one builder, this program
    #[arg(long, value_name = "NAME")]
    builder: Option<String>,
    /// Limit of memory; a build has none
    #[arg(short, long, value_name = "SIZE", value_parser = spelling::size)]
    memory: Option<u64>,
    #[arg(long, hide = true, value_parser = Style::read)]
    progress: Option<Style>,
    #[arg(long, hide = true)]
    compress: bool,
    #[arg(long, hide = true)]
    force_rm: bool,
    #[arg(long, hide = true)]
    no_rm: bool,
    #[arg(long = "parallel", id = "parallel-builds", hide = true)]
    parallel: bool,
}

impl DockersOwn {
    /// Warns of what makes no difference.
    fn warn(&self) {
        let idle = [("--memory", self.memory.is_some_and(|size| size > 0)), ("--compress", self.compress)];
        for (flag, _) in idle.iter().filter(|(_, given)| *given) {
            out::warn(&format!("`{flag}` makes no difference here"));
        }
    }
}

/// The services that are built.
fn services(actions: &[Action]) -> impl Iterator<Item = &str> {
    actions.iter().filter_map(|action| match action {
        Action::BuildImage { service, .. } => Some(service.as_str()),
        _ => None,
    })
}

/// Looks at the Dockerfile of each service; the status is 1 if one of them is not good.
fn check(home: &Home, project: &Project, (actions, manner): (&[Action], &BuildManner), stage: &Stage) -> Outcome {
    let mut status = 0;
    for action in actions {
        let Action::BuildImage { service, image } = action else { continue };
        let wanted = compose::build_wanted(project, (service, image), manner)?;
        out::line(&format!("{service}:"))?;
        let checked = crate::build::check(home, &wanted, &stage.progress.build(Some(service)))?;
        status |= answers::check(&checked, false)?;
    }
    Ok(status)
}

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        self.docker.warn();
        builders::check(home, self.docker.builder.as_deref())?;
        let project = session::project(flags, &self.services)?;
        session::require(&project, &self.services)?;
        let chosen =
            session::chosen(&project, &self.services, if self.with_dependencies { Dependencies::Included } else { Dependencies::Left });
        let buildable = chosen.iter().map(|name| (name, &project.services[name])).filter(|(_, service)| service.build.is_some());
        let actions: Vec<_> = buildable
            .map(|(name, service)| Action::BuildImage { service: name.clone(), image: labels::image_name(&project, (name, service)) })
            .collect();
        if actions.is_empty() {
            out::warn("no service to build");
            return Ok(0);
        }
        if self.print {
            return out::line(&format!("{:#}", self.bake_file(&project, &actions))).map(|()| 0);
        }
        if flags.dry_run {
            return plan::show(&compose::plan_images(&project, actions));
        }
        self.build(home, flags, (&project, actions))
    }

    /// The same for bake.
    fn bake_file(&self, project: &Project, actions: &[Action]) -> Value {
        let ssh = |(id, paths): &(String, Vec<PathBuf>)| {
            format!("{id}={}", paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(","))
        };
        let extra = Extra {
            args: &self.build_arg,
            ssh: self.ssh.iter().map(ssh).collect(),
            pull: self.pull,
            no_cache: self.no_cache,
            push: self.push,
            check: self.check,
        };
        bake::file(project, &services(actions).collect::<Vec<_>>(), &extra)
    }

    fn build(self, home: &Home, flags: &ProjectFlags, (project, actions): (&Project, Vec<Action>)) -> Outcome {
        let flags = flags.with_style(self.quiet.then_some(Style::Quiet).or(self.docker.progress));
        let argument = |word: String| match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        let build = BuildManner {
            no_cache: self.no_cache,
            pull: self.pull,
            args: self.build_arg.into_iter().map(argument).collect(),
            ssh: self.ssh.into_iter().collect(),
            platforms: Platforms::All,
            push: self.push,
            provenance: self.provenance,
            sbom: self.sbom,
        };
        let stage = Stage::new(&flags)?;
        if self.check {
            return check(home, project, (&actions, &build), &stage);
        }
        compose::bring_images(home, project, actions, (Manner { build, ..flags.manner() }, &stage.watch()))?;
        Ok(0)
    }
}
