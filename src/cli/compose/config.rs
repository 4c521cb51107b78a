//! `coracle compose config`

use std::path::PathBuf;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::out;
use crate::compose;
use crate::compose::ConfigFlags;
use crate::failure::Doing;

#[derive(Debug, Args)]
pub struct Command {
    /// `yaml` or `json`
    #[arg(long, value_name = "FORMAT", value_parser = ["yaml", "json"])]
    format: Option<String>,
    /// Only check
    #[arg(short, long)]
    quiet: bool,
    /// Write to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the names of the services
    #[arg(long)]
    services: bool,
    /// Print the names of the volumes
    #[arg(long)]
    volumes: bool,
    /// Print the names of the networks
    #[arg(long)]
    networks: bool,
    /// Print the names of the models
    #[arg(long)]
    models: bool,
    /// Print the names of the images
    #[arg(long)]
    images: bool,
    /// Print the names of the profiles
    #[arg(long)]
    profiles: bool,
    /// Print the variables that interpolation sees
    #[arg(long)]
    environment: bool,
    /// Print the variables that the files use
    #[arg(long)]
    variables: bool,
    /// Print the hashes of services, or of all with `*`
    #[arg(long, value_name = "SERVICES")]
    hash: Option<String>,
    /// Leave variables as they are written
    #[arg(long)]
    no_interpolate: bool,
    /// Do not put into normal form
    #[arg(long)]
    no_normalize: bool,
    /// Leave paths as they are written
    #[arg(long)]
    no_path_resolution: bool,
    /// Do not check that what is named is there
    #[arg(long)]
    no_consistency: bool,
    /// Do not put in what `env_file` says
    #[arg(long)]
    no_env_resolution: bool,
    #[arg(value_name = "SERVICE")]
    only: Vec<String>,
}

impl Command {
    pub fn run(self, flags: &ProjectFlags) -> Outcome {
        let (quiet, output) = (self.quiet, self.output.clone());
        let printed = compose::config(&flags.sources(), &self.flags(flags))?;
        printed.warnings.iter().for_each(|warning| out::warn(warning));
        match output {
            _ if quiet => {}
            Some(file) => std::fs::write(&file, printed.text).doing(|| format!("cannot write `{}`", file.display()))?,
            None => out::data(&printed.text)?,
        }
        Ok(0)
    }

    fn flags(self, flags: &ProjectFlags) -> ConfigFlags {
        ConfigFlags {
            format: self.format.unwrap_or_default(),
            services: self.services,
            volumes: self.volumes,
            networks: self.networks,
            models: self.models,
            images: self.images,
            profiles: self.profiles,
            environment: self.environment,
            variables: self.variables,
            hash: self.hash,
            no_interpolate: self.no_interpolate,
            // As in docker compose, the first Compose's names come with its form.
            no_normalize: self.no_normalize || flags.compatibility,
            no_path_resolution: self.no_path_resolution,
            no_consistency: self.no_consistency,
            no_env_resolution: self.no_env_resolution,
            only: self.only,
            ..ConfigFlags::default()
        }
    }
}
