//! `coracle compose images`

use std::collections::BTreeSet;

use clap::Args;
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session::Session;
use crate::cli::out;
use crate::cli::table::Table;
use crate::cli::version::architecture;
use crate::cli::wording::short;
use crate::image;
use crate::place::Home;
use crate::units;

#[derive(Debug, Args)]
pub struct Command {
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// `table` or `json`
    #[arg(long, value_parser = ["table", "json"], default_value = "table")]
    format: String,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let session = Session::begin(home, flags)?;
        session.knows(&self.services)?;
        let listed = image::list(home)?;
        let mut table = Table::wide();
        table.row(["CONTAINER", "REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED"]);
        let (mut values, mut ids) = (Vec::new(), BTreeSet::new());
        for found in session.containers(&self.services) {
            if self.quiet {
                ids.insert(found.image_id.trim_start_matches("sha256:").to_owned());
                continue;
            }
            let image = listed.iter().find(|listed| listed.id == found.image_id);
            let (repository, tag) = split_name(&found.image);
            let size = image.map_or(0, |image| image.size);
            let created = image.and_then(|image| image.created.clone()).unwrap_or_default();
            let platform = format!("linux/{}", architecture());
            values.push(json!({ "ID": found.image_id, "ContainerName": found.name, "Repository": repository, "Tag": tag, "Platform": platform, "Size": size, "Created": created }));
            table.row([
                found.name.clone(),
                repository,
                tag,
                platform,
                short(&found.image_id).to_owned(),
                units::size_text(size),
                if created.is_empty() { "N/A".to_owned() } else { units::ago_text(&created) },
            ]);
        }
        match self.format.as_str() {
            _ if self.quiet => out::data(&ids.iter().map(|id| format!("{id}\n")).collect::<String>())?,
            "json" => out::line(&serde_json::Value::from(values).to_string())?,
            _ => out::data(&table.text())?,
        }
        Ok(0)
    }
}

/// `host:5000/a/b:tag` as repository and tag.
fn split_name(name: &str) -> (String, String) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository.to_owned(), tag.to_owned()),
        _ => (name.to_owned(), "latest".to_owned()),
    }
}
