//! `coracle images`

mod tree;

use clap::Args;
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::listing;
use crate::cli::listing::Columns;
use crate::cli::listing::Filter;
use crate::cli::listing::Row;
use crate::cli::listing::holds;
use crate::cli::out;
use crate::cli::rmi;
use crate::cli::wording::Width;
use crate::failure::Failure;
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
    /// Only those: reference=, dangling=, label=, before=, since=, until=
    #[arg(short, long, value_parser = listing::filter)]
    filter: Vec<Filter>,
    /// `table`, `table TEMPLATE`, `json` or a template
    #[arg(long)]
    format: Option<String>,
    /// Each image with what it is for, and what it takes of the disk
    #[arg(long, conflicts_with_all = ["quiet", "digests", "no_trunc", "format"])]
    tree: bool,
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
    ("VirtualSize", "VIRTUAL SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
];
const USUAL: Columns = Columns { headings: HEADINGS, usual: &["Repository", "Tag", "ID", "CreatedSince", "Size"] };
const WITH_DIGESTS: Columns = Columns { headings: HEADINGS, usual: &["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"] };

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        listing::only_known(&self.filter, &["reference", "dangling", "label", "before", "since", "until"])?;
        listing::only_truths(&self.filter, "dangling")?;
        let width = Width::of_flag(self.no_trunc);
        let times = Times::read(home, &self.filter)?;
        let mut images = Vec::new();
        for listed in image::list(home)? {
            if self.shows(&listed) && times.have(&listed) && has_labels(home, &listed, &self.filter)? {
                images.push(listed);
            }
        }
        if self.tree {
            out::data(&tree::text(home, &images)?)?;
            return Ok(0);
        }
        if self.quiet && self.format.is_none() {
            let ids: String = images.iter().map(|listed| format!("{}\n", width.id(&listed.id))).collect();
            out::data(&ids)?;
            return Ok(0);
        }
        let rows = self.rows(home, (&images, width))?;
        listing::print(&rows, if self.digests { WITH_DIGESTS } else { USUAL }, self.format.as_deref())?;
        Ok(0)
    }

    fn rows(&self, home: &Home, (images, width): (&[Listed], Width)) -> Result<Vec<Row>> {
        // Looked for only where somebody wants to see it: there may be many containers.
        let counts = self.format.as_deref().is_some_and(|format| format.contains("Containers") || format.contains("json"));
        let users = if counts { rmi::in_use(home)? } else { Vec::new() };
        let row = |listed: &Listed| {
            let mut row = row(listed, width);
            row.insert("Containers".to_owned(), users.iter().filter(|id| **id == listed.id).count().to_string().into());
            row
        };
        Ok(images.iter().map(row).collect())
    }

    fn shows(&self, listed: &Listed) -> bool {
        let name = format!("{}:{}", listed.repository, listed.tag);
        let named = |wanted: &str| wanted == name || wanted == listed.repository || fits(wanted, &name) || fits(wanted, &listed.repository);
        let dangling = listed.repository == "<none>";
        self.name.as_deref().is_none_or(named)
            && holds(&self.filter, "reference", named)
            && holds(&self.filter, "dangling", |value| listing::truth(value) == Some(dangling))
    }
}

/// Between which moments an image must have been made, in nanoseconds since 1970; neither is within.
struct Times {
    after: u64,
    before: u64,
}

impl Times {
    /// `before` and `since` name images, `until` a moment.
    fn read(home: &Home, filters: &[Filter]) -> Result<Times> {
        let mut times = Times { after: 0, before: u64::MAX };
        for filter in filters {
            let of_image = || {
                let found = image::find(home, &filter.value)?;
                let found = found.ok_or_else(|| Failure::new(format!("no such image: {}", filter.value)))?;
                units::moment(found.config.created.as_deref().unwrap_or("1970-01-01T00:00:00Z"))
            };
            match filter.key.as_str() {
                "before" => times.before = times.before.min(of_image()?),
                "until" => times.before = times.before.min(units::moment(&filter.value)?),
                "since" => times.after = times.after.max(of_image()? + 1),
                _ => {}
            }
        }
        Ok(times)
    }

    fn have(&self, listed: &Listed) -> bool {
        let created = listed.created.as_deref().and_then(|time| units::moment(time).ok()).unwrap_or_default();
        created >= self.after && created < self.before
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
        "VirtualSize": units::size_text(listed.size),
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
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
