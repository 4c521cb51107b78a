//! `coracle images --tree`

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::cli::rmi;
use crate::cli::table::Table;
use crate::cli::wording::short;
use crate::failure::Result;
use crate::image;
use crate::image::ImageUsage;
use crate::image::Listed;
use crate::place::Home;
use crate::units;

/// Each image with its names, and below it what it is for.
///
/// # Errors
/// The store cannot be read.
pub(super) fn text(home: &Home, images: &[Listed]) -> Result<String> {
    let in_use: BTreeSet<String> = rmi::in_use(home)?.into_iter().collect();
    let usage: BTreeMap<String, ImageUsage> = image::usage(home)?.images.into_iter().map(|usage| (usage.id.clone(), usage)).collect();
    let mut table = Table::new();
    table.row(["IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "USED"]);
    for listed in images {
        let Some(usage) = usage.get(&listed.id) else { continue };
        let sizes = [units::size_text(usage.shared + usage.unique), units::size_text(usage.content)];
        let used = if in_use.contains(&listed.id) { "✔" } else { "" };
        let name = if listed.repository == "<none>" { "<untagged>".to_owned() } else { format!("{}:{}", listed.repository, listed.tag) };
        let [disk, content] = sizes;
        table.row([name, short(&listed.id).to_owned(), disk.clone(), content.clone(), used.to_owned()]);
        // Of an index there is only ever the one for this machine, or the one that was asked for.
        let Some(found) = image::find(home, &listed.id)? else { continue };
        let variant = found.config.variant.as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
        let platform = format!("└─ {}/{}{variant}", found.config.os, found.config.architecture);
        let manifest = found.manifest_digest.as_deref().unwrap_or(&listed.id);
        table.row([platform, short(manifest).to_owned(), disk, content, used.to_owned()]);
    }
    Ok(table.text())
}
