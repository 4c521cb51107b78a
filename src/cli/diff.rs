//! `coracle diff`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::out;
use crate::cli::revive;
use crate::container;
use crate::container::Change;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    container: String,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        let found = container::find(home, &self.container)?;
        let letter = |change: Change| match change {
            Change::Changed => 'C',
            Change::Added => 'A',
            Change::Deleted => 'D',
        };
        let changes = container::changes(home, &found)?;
        out::data(&changes.into_iter().map(|(change, path)| format!("{} {path}\n", letter(change))).collect::<String>())?;
        Ok(0)
    }
}
