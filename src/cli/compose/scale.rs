//! `coracle compose scale`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::plan;
use crate::cli::compose::session;
use crate::cli::compose::session::Stage;
use crate::cli::compose::up::scale;
use crate::cli::revive;
use crate::compose;
use crate::compose::plan::Dependencies;
use crate::compose::plan::Options;
use crate::compose::plan::Orphans;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Do not bring up what the services depend on
    #[arg(long)]
    no_deps: bool,
    /// How many containers a service is to have
    #[arg(required = true, value_name = "SERVICE=NUMBER", value_parser = scale)]
    wanted: Vec<(String, u32)>,
}

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let services: Vec<String> = self.wanted.iter().map(|(service, _)| service.clone()).collect();
        let project = session::project(flags, &services)?;
        session::require(&project, &services)?;
        let options = Options {
            services,
            dependencies: if self.no_deps { Dependencies::Left } else { Dependencies::Included },
            scale: self.wanted.into_iter().collect(),
            orphans: Orphans::Ignore,
            ..Options::default()
        };
        if flags.dry_run {
            return plan::show(&compose::plan_up(home, &project, &options)?);
        }
        revive(home);
        let stage = Stage::new(flags)?;
        compose::up(home, &project, &options, (flags.manner(), &stage.watch()))?;
        Ok(0)
    }
}
