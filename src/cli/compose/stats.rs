//! `coracle compose stats`

use std::collections::BTreeMap;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session::Session;
use crate::cli::stats::Show;
use crate::compose::labels;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    show: Show,
    service: Option<String>,
}

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let session = Session::begin(home, flags)?;
        session.knows(self.service.as_slice())?;
        let is_ours = |container: &crate::container::Container| {
            let label = |name: &str| container.wanted.labels.get(name);
            label(labels::PROJECT) == Some(&session.name) && (self.service.is_none() || label(labels::SERVICE) == self.service.as_ref())
        };
        self.show.run(home, is_ours, &BTreeMap::new())
    }
}
