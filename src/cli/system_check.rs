//! `coracle system check`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::out;
use crate::cli::progress::Progress;
use crate::cli::progress::Style;
use crate::cli::progress::Way;
use crate::cli::rmi;
use crate::cli::sweep;
use crate::image;
use crate::image::Fault;
use crate::image::FaultKind;
use crate::image::Repair;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Get again what is damaged, and remove what nothing speaks of
    #[arg(long)]
    repair: bool,
    /// Say only what is wrong
    #[arg(short, long)]
    quiet: bool,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        let repair = if self.repair { Repair::Yes } else { Repair::No };
        let watch = Progress::new(Style::Quiet).image("the store", Way::Load);
        let checked = image::check(home, repair, &rmi::in_use(home)?, &watch)?;
        for fault in &checked.faults {
            out::line(&worded(fault))?;
        }
        let left = checked.faults.iter().filter(|fault| is_bad(fault)).count();
        if !self.quiet {
            let state = if left == 0 { "The store is whole".to_owned() } else { format!("{left} things are damaged") };
            out::line(&format!("{state}: {} images, {} layers, {} blobs", checked.images, checked.layers, checked.blobs))?;
            if left > 0 && !self.repair {
                out::say("hint: get them again: coracle system check --repair");
            }
        }
        sweep::begin(home);
        Ok(u8::from(left > 0))
    }
}

/// Whether something is still not as it must be; rubbish harms nobody.
fn is_bad(fault: &Fault) -> bool {
    fault.kind == FaultKind::Damaged && !matches!(fault.mended, Some(Ok(())))
}

fn worded(fault: &Fault) -> String {
    let kind = match fault.kind {
        FaultKind::Damaged => "damaged",
        FaultKind::Unchecked => "cannot be checked",
        FaultKind::Rubbish => "rubbish",
    };
    let end = match &fault.mended {
        None => String::new(),
        Some(Ok(())) if fault.kind == FaultKind::Rubbish => " -> removed".to_owned(),
        Some(Ok(())) => " -> repaired".to_owned(),
        Some(Err(failure)) => format!(" -> not repaired\n{failure}"),
    };
    format!("{}: {kind}: {}{end}", fault.what, fault.why)
}
