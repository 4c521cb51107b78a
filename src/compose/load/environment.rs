//! The variables that a project sees: those of the process first, then `--env-file` or `.env`.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use super::dotenv;
use super::dotenv::Flaw;
use super::explain::Trace;
use super::node::Span;
use super::session::Fault;
use super::session::Session;
use super::text_file;

/// Variables by name.
pub(super) type Environment = BTreeMap<String, String>;

/// Reads files of variables one after the other; values see `known` first, then what stands before them, in their own
/// file or an earlier one.
/// What is wrong is reported; `None` if anything is. `kind` says to the person what files they are.
pub(super) fn read_files(session: &Session<'_>, known: &Environment, (kind, files): (&'static str, &[PathBuf])) -> Option<Environment> {
    let mut found = Environment::new();
    let mut said = Vec::new();
    for file in files {
        let (number, text) = read(session, file, "the file of variables")?;
        let lookup = |name: &str| known.get(name).cloned();
        if let Err(flaw) = dotenv::parse(&text, &mut found, &lookup) {
            session.report(fault(session, (number, &text), &flaw));
            return None;
        }
        if let Some(name) = session.trace.as_ref().map(Trace::name)
            && let (Some(line), Some(value)) = (dotenv::line_of(&text, name), found.get(name))
        {
            said.push((format!("{}:{line}", session.shown(file)), value.clone()));
        }
    }
    if let Some(trace) = &session.trace {
        trace.files(kind, said);
    }
    Some(found)
}

/// Adds what `more` knows and `known` does not.
pub(super) fn add(known: &mut Environment, more: &Environment) {
    for (name, value) in more {
        known.entry(name.clone()).or_insert_with(|| value.clone());
    }
}

/// Reads a text file of the project into the session.
pub(super) fn read(session: &Session<'_>, file: &Path, what: &str) -> Option<(u32, Arc<str>)> {
    match text_file::read(file) {
        Ok(text) => {
            let text: Arc<str> = Arc::from(text);
            Some((session.keep(file, text.clone()), text))
        }
        Err(error) => {
            session.report(Fault::nowhere(format!("cannot read {what} `{}`", session.shown(file))).because(error));
            None
        }
    }
}

/// The fault of a flaw in a file of variables.
pub(super) fn fault(session: &Session<'_>, (number, text): (u32, &str), flaw: &Flaw) -> Fault {
    let width = text.split('\n').nth(flaw.line as usize - 1).map_or(1, |line| line.chars().count());
    let at = Span { file: number, line: flaw.line, column: 1, width: width as u32 };
    Fault::new(at, format!("cannot read the variables of `{}`", session.file(at))).because(&flaw.what)
}
