//! `coracle images`

use clap::Args;
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::listing;
use crate::cli::listing::Columns;
use crate::cli::listing::Filter;
use crate::cli::listing::Row;
use crate::cli::listing::holds;
use crate::cli::out;
use crate::cli::wording::Width;
use crate::failure::Result;
use crate::image;
use crate::image::Listed;
use crate::place::Home;
use crate::units;

#[derive(Debug, Args)]
pub struct Command {
    /// Show images without a name too
    #[arg(short, long)]
    all: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Do not cut long texts
    #[arg(long)]
    no_trunc: bool,
    /// Only those: reference=, dangling=, label=
    #[arg(short, long, value_parser = listing::filter)]
    filter: Vec<Filter>,
    /// `table`, `table TEMPLATE`, `json` or a template
    #[arg(long)]
    format: Option<String>,
    /// Only images of this name
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
}

const HEADINGS: &[(&str, &str)] = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
];
const USUAL: Columns = Columns { headings: HEADINGS, usual: &["Repository", "Tag", "ID", "CreatedSince", "Size"] };
const WITH_DIGESTS: Columns = Columns { headings: HEADINGS, usual: &["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"] };

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        listing::only_known(&self.filter, &["reference", "dangling", "label"])?;
        let width = Width::of_flag(self.no_trunc);
        let mut images = Vec::new();
        for listed in image::list(home)? {
            if self.shows(&listed) && has_labels(home, &listed, &self.filter)? {
                images.push(listed);
            }
        }
        if self.quiet && self.format.is_none() {
            let ids: String = images.iter().map(|listed| format!("{}\n", width.id(&listed.id))).collect();
            out::data(&ids)?;
            return Ok(0);
        }
        let rows: Vec<Row> = images.iter().map(|listed| row(listed, width)).collect();
        listing::print(&rows, if self.digests { WITH_DIGESTS } else { USUAL }, self.format.as_deref())?;
        Ok(0)
    }

    fn shows(&self, listed: &Listed) -> bool {
        let name = format!("{}:{}", listed.repository, listed.tag);
        let named = |wanted: &str| wanted == name || wanted == listed.repository || fits(wanted, &name) || fits(wanted, &listed.repository);
        let dangling = listed.repository == "<none>";
        self.name.as_deref().is_none_or(named)
            && holds(&self.filter, "reference", named)
            && holds(&self.filter, "dangling", |value| dangling == (value == "true" || value == "1"))
    }
}

fn has_labels(home: &Home, listed: &Listed, filters: &[Filter]) -> Result<bool> {
    let mut wanted = filters.iter().filter(|filter| filter.key == "label").peekable();
    if wanted.peek().is_none() {
        return Ok(true);
    }
    let labels = image::find(home, &listed.id)?.and_then(|image| image.config.config.labels).unwrap_or_default();
    let lookup = |name: &str| labels.get(name).and_then(|value| value.as_str());
    Ok(wanted.all(|filter| listing::has_label(&filter.value, lookup)))
}

/// Whether a name fits a pattern with `*`.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => {
            let Some(name) = name.strip_prefix(start) else { return false };
            (0..=name.len()).filter(|at| name.is_char_boundary(*at)).any(|at| fits(rest, &name[at..]))
        }
    }
}

fn row(listed: &Listed, width: Width) -> Row {
    let created = listed.created.as_deref().unwrap_or_default();
    let fields = json!({
        "Repository": listed.repository,
        "Tag": listed.tag,
        "Digest": listed.manifest_digest.as_deref().unwrap_or("<none>"),
        "ID": width.id(&listed.id),
        "CreatedSince": if created.is_empty() { "N/A".to_owned() } else { units::ago_text(created) },
        "CreatedAt": units::long_time_text(created),
        "Size": units::size_text(listed.size),
    });
    fields.as_object().cloned().expect("the literal above is an object")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_like_a_shells() {
        assert!(fits("shop-*", "shop-web:latest"));
        assert!(fits("*web*", "shop-web:latest"));
        assert!(!fits("shop-*x", "shop-web:latest"));
        assert!(fits("redis", "redis"));
    }
}
