//! `coracle compose config`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session::Stage;
use crate::cli::out;
use crate::cli::progress::Style;
use crate::cli::progress::Way;
use crate::cli::table::Table;
use crate::compose;
use crate::compose::ConfigFlags;
use crate::compose::Printed;
use crate::compose::Sources;
use crate::compose::Surroundings;
use crate::failure::Doing;
use crate::failure::Result;
use crate::image;
use crate::place::Home;

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
    /// Put a digest behind the names of images
    #[arg(long)]
    resolve_image_digests: bool,
    /// Print a file that puts a digest behind the names of images
    #[arg(long)]
    lock_image_digests: bool,
    /// Say where each value of a variable comes from, the one that wins first
    #[arg(long, value_name = "VARIABLE")]
    explain: Option<String>,
    #[arg(value_name = "SERVICE")]
    only: Vec<String>,
}

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        // Lists are printed whatever the flags about the project say.
        let is_list = self.services || self.volumes || self.networks || self.models || self.hash.is_some() || self.profiles || self.images;
        let (quiet, output) = (self.quiet, self.output.clone());
        let printed = match &self.explain {
            Some(variable) => Printed { text: explained(&flags.sources(), variable, self.format.as_deref())?, warnings: Vec::new() },
            None => self.printed(home, flags)?,
        };
        printed.warnings.iter().for_each(|warning| out::warn(warning));
        match output {
            _ if is_list => out::data(&printed.text)?,
            _ if quiet => {}
            Some(file) => std::fs::write(&file, printed.text).doing(|| format!("cannot write `{}`", file.display()))?,
            None => out::data(&printed.text)?,
        }
        Ok(0)
    }

    fn printed(self, home: &Home, flags: &ProjectFlags) -> Result<Printed> {
        if !self.resolve_image_digests && !self.lock_image_digests {
            return compose::config(&flags.sources(), &self.flags(flags));
        }
        let stage = Stage::new(&flags.with_style(Some(Style::Quiet)))?;
        let pin = |name: &str| image::pinned(home, name, &stage.progress.image(name, Way::Pull));
        compose::config_pinned(&Surroundings::here(), &flags.sources(), (&self.flags(flags), Some(&pin)))
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
            images_only: self.lock_image_digests,
            no_interpolate: self.no_interpolate,
            // As in docker compose, the first Compose's names come with its form.
            no_normalize: self.no_normalize || flags.compatibility,
            no_path_resolution: self.no_path_resolution,
            no_consistency: self.no_consistency,
            no_env_resolution: self.no_env_resolution,
            only: self.only,
        }
    }
}

/// The values a variable could have, the one it has first, and what its expressions become.
fn explained(sources: &Sources, variable: &str, format: Option<&str>) -> Result<String> {
    let explained = compose::explain(sources, variable)?;
    let rows = |heads: [&str; 3], rows: &mut dyn Iterator<Item = [String; 3]>| {
        let mut table = Table::new();
        table.row(heads);
        rows.for_each(|row| table.row(row));
        table.text()
    };
    let unset = |value: Option<String>| value.unwrap_or_else(|| "(not set)".to_owned());
    if format == Some("json") {
        let sources: Vec<_> =
            explained.sources.iter().map(|found| json!({"Source": found.kind, "Place": found.place, "Value": found.value})).collect();
        let uses: Vec<_> = explained
            .uses
            .iter()
            .map(|found| json!({"Place": found.place, "Expression": found.expression, "Value": found.value}))
            .collect();
        let given: Vec<_> = explained
            .given
            .iter()
            .map(|found| json!({"Service": found.service, "By": found.by, "Place": found.place, "Value": found.value}))
            .collect();
        return Ok(format!("{:#}\n", json!({"Name": variable, "Sources": sources, "Uses": uses, "Given": given})));
    }
    let mut text = rows(
        ["SOURCE", "PLACE", "VALUE"],
        &mut explained.sources.into_iter().map(|found| [found.kind.to_owned(), found.place, found.value]),
    );
    if !explained.uses.is_empty() {
        text.push('\n');
        text += &rows(
            ["USED", "AS", "VALUE"],
            &mut explained.uses.into_iter().map(|found| [found.place, found.expression, unset(found.value)]),
        );
    }
    if !explained.given.is_empty() {
        text.push('\n');
        text += &rows(
            ["GIVEN TO", "BY", "VALUE"],
            &mut explained.given.into_iter().map(|found| [found.service, format!("{} at {}", found.by, found.place), unset(found.value)]),
        );
    }
    Ok(text)
}
