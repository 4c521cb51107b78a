//! `coracle history`

use clap::ArgAction;
use clap::Args;
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::listing;
use crate::cli::listing::Columns;
use crate::cli::listing::Row;
use crate::cli::out;
use crate::cli::wording::Width;
use crate::cli::wording::cut;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::image::Image;
use crate::place::Home;
use crate::units;

#[derive(Debug, Args)]
pub struct Command {
    /// `table`, `table TEMPLATE`, `json` or a template
    #[arg(long)]
    format: Option<String>,
    /// Sizes and times for people; `--human=false` for programs
    #[arg(
        short = 'H', long, value_name = "TRUTH", action = ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true"
    )]
    human: bool,
    /// Do not cut long texts
    #[arg(long)]
    no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Only if the image is for this platform
    #[arg(long)]
    platform: Option<String>,
    #[arg(value_name = "IMAGE")]
    image: String,
}

const HEADINGS: &[(&str, &str)] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];
const COLUMNS: Columns = Columns { headings: HEADINGS, usual: &["ID", "CreatedSince", "CreatedBy", "Size", "Comment"] };
const FOR_PROGRAMS: Columns = Columns { headings: HEADINGS, usual: &["ID", "CreatedAt", "CreatedBy", "Size", "Comment"] };
/// Docker's width of CREATED BY.
const LONGEST: usize = 45;
/// Of lines that are no image of their own.
const MISSING: &str = "<missing>";

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        let found = image::find_for(home, &self.image, self.platform.as_deref())?
            .ok_or_else(|| Failure::new(format!("no such image: {}", self.image)))?;
        let rows = self.rows(home, &found)?;
        if self.quiet && self.format.is_none() {
            let ids = rows.iter().filter_map(|row| row.get("ID")?.as_str()).map(|id| format!("{id}\n"));
            out::data(&ids.collect::<String>())?;
            return Ok(0);
        }
        listing::print(&rows, if self.human { COLUMNS } else { FOR_PROGRAMS }, self.format.as_deref())?;
        Ok(0)
    }

    /// The highest layer first.
    fn rows(&self, home: &Home, found: &Image) -> Result<Vec<Row>> {
        let width = Width::of_flag(self.no_trunc);
        let mut sizes = image::layer_sizes(home, &found.id)?.into_iter();
        let mut rows = Vec::new();
        for line in &found.config.history {
            let size = if line.empty_layer { 0 } else { sizes.next().unwrap_or(0) };
            let created = line.created.as_deref().unwrap_or_default();
            let by = line.created_by.as_deref().unwrap_or_default().replace('\t', " ");
            let at = units::whole_second_text(created);
            let since = if created.is_empty() { "N/A".to_owned() } else { units::ago_text(created) };
            let fields = json!({
                "ID": MISSING,
                "CreatedSince": if self.human { since } else { at.clone() },
                "CreatedAt": at,
                "CreatedBy": cut(&by, LONGEST, width),
                "Size": if self.human { units::size_text(size) } else { size.to_string() },
                "Comment": line.comment.as_deref().unwrap_or_default(),
            });
            rows.push(fields.as_object().cloned().expect("the literal above is an object"));
        }
        rows.reverse();
        if let Some(top) = rows.first_mut() {
            top.insert("ID".to_owned(), width.id(&found.id).into());
        }
        Ok(rows)
    }
}
