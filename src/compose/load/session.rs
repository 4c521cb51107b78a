//! What the phases of one loading share: the texts of the files, the faults found so far, the warnings.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::HashSet;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;

use crate::failure::Failure;
use crate::failure::Spot;

use super::explain::Trace;
use super::lines::Lines;
use super::node::Span;

/// The world a project is loaded from, so that a test can bring its own.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Where the person stands; absolute.
    pub directory: PathBuf,
    /// The variables of the process.
    pub variables: BTreeMap<String, String>,
    /// What `-f -` reads; `None` reads standard input.
    pub input: Option<Vec<u8>>,
}

impl Surroundings {
    /// The surroundings of this process.
    pub fn here() -> Surroundings {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect();
        Surroundings { directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")), variables, input: None }
    }
}

/// No more faults than this are shown; the rest is counted.
const SHOWN: usize = 50;

/// A project has no more values than this, all files and expanded variables together (one per 64 bytes of text).
pub(super) const MOST_VALUES: usize = 400_000;

/// No more than this is shown of a line, in characters.
const LONG: usize = 2000;

/// No more than this are collected.
const MOST: usize = 1000;

/// Something wrong in a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    at: Span,
    what: String,
    because: Option<String>,
    hint: Option<String>,
}

impl Fault {
    pub(super) fn new(at: Span, what: impl Into<String>) -> Fault {
        Fault { at, what: what.into(), because: None, hint: None }
    }

    /// A fault of no place in a file.
    pub(super) fn nowhere(what: impl Into<String>) -> Fault {
        Fault::new(Span::default(), what)
    }

    pub(super) fn because(mut self, reason: impl ToString) -> Fault {
        self.because = Some(reason.to_string());
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }
}

/// A file as it was read.
#[derive(Debug, Clone)]
pub(super) struct Text {
    shown: PathBuf,
    text: Arc<str>,
    lines: OnceLock<Lines>,
}

impl Text {
    fn lines(&self) -> &Lines {
        self.lines.get_or_init(|| Lines::of(&self.text))
    }

    /// A place as the person knows it.
    pub(super) fn spot(&self, at: Span) -> Spot {
        let line = self.lines().get(&self.text, at.line as usize);
        let column = at.column as usize;
        // Of a line without an end no more is taken than can be shown.
        let skipped = if line.len() > LONG { column.saturating_sub(LONG / 8) } else { 0 };
        let text: String = line.chars().skip(skipped).take(LONG).collect();
        let rest = text.chars().count().saturating_sub(column - 1 - skipped);
        let width = (at.width as usize).min(rest).max(1);
        Spot { file: self.shown.clone(), line: at.line as usize, column, width, skipped, text }
    }
}

/// One loading: see the module's head.
pub(super) struct Session<'a> {
    pub surroundings: &'a Surroundings,
    texts: RefCell<Vec<Text>>,
    faults: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<String>>,
    /// The same, to know what has been said.
    warned: RefCell<HashSet<String>>,
    values: Cell<usize>,
    lacking: Cell<bool>,
    /// What standard input held; it can be read only once.
    pub read_input: RefCell<Option<Arc<str>>>,
    /// What is noted of a variable that is to be explained.
    pub trace: Option<Trace>,
}

impl<'a> Session<'a> {
    pub(super) fn new(surroundings: &'a Surroundings) -> Session<'a> {
        Session {
            surroundings,
            texts: RefCell::default(),
            faults: RefCell::default(),
            warnings: RefCell::default(),
            warned: RefCell::default(),
            values: Cell::default(),
            lacking: Cell::default(),
            read_input: RefCell::default(),
            trace: None,
        }
    }

    /// Keeps a file's text for the faults that will be found in it.
    pub(super) fn keep(&self, path: &Path, text: Arc<str>) -> u32 {
        let shown = path.strip_prefix(&self.surroundings.directory).unwrap_or(path).to_owned();
        let mut texts = self.texts.borrow_mut();
        if let Some(known) = texts.iter().position(|known| known.shown == shown && known.text == text) {
            return known as u32;
        }
        texts.push(Text { shown, text, lines: OnceLock::new() });
        texts.len() as u32 - 1
    }

    /// Takes a fault; a second one of the same place is most likely a consequence of the first, and dropped.
    pub(super) fn report(&self, fault: Fault) {
        let mut faults = self.faults.borrow_mut();
        let known = |other: &Fault| *other == fault || (fault.at.line > 0 && other.at == fault.at);
        if faults.len() < MOST && !faults.iter().any(known) {
            faults.push(fault);
        }
    }

    /// Counts values; false if there are more than a project may have.
    pub(super) fn spend(&self, values: usize) -> bool {
        self.values.set(self.values.get().saturating_add(values));
        self.values.get() <= MOST_VALUES
    }

    /// Notes that a part of the project is missing, so that what refers to it need not be wrong.
    pub(super) fn lack(&self) {
        self.lacking.set(true);
    }

    pub(super) fn is_lacking(&self) -> bool {
        self.lacking.get()
    }

    pub(super) fn warn(&self, warning: impl Into<String>) {
        let warning = warning.into();
        if self.warned.borrow_mut().insert(warning.clone()) {
            self.warnings.borrow_mut().push(warning);
        }
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        self.warnings.borrow().clone()
    }

    /// Whether so many faults are known that further ones are not taken.
    pub(super) fn is_full(&self) -> bool {
        self.faults.borrow().len() >= MOST
    }

    pub(super) fn is_faulty(&self) -> bool {
        !self.faults.borrow().is_empty()
    }

    /// The file of a place as the person knows it.
    pub(super) fn file(&self, at: Span) -> String {
        self.texts.borrow().get(at.file as usize).map(|text| text.shown.display().to_string()).unwrap_or_default()
    }

    /// The files as they were read.
    pub(super) fn texts(&self) -> Vec<Text> {
        self.texts.borrow().clone()
    }

    /// The places that `scan` finds in a file from a value on, given as offsets; none if the value is an alias.
    pub(super) fn places(&self, at: Span, scan: impl Fn(&str) -> Vec<usize>) -> Vec<Span> {
        let texts = self.texts.borrow();
        let Some(known) = texts.get(at.file as usize).filter(|_| at.line > 0) else { return Vec::new() };
        let line = known.lines().start(at.line as usize).unwrap_or(known.text.len());
        let column = known.text[line..].chars().take(at.column as usize - 1).map(char::len_utf8).sum::<usize>();
        let value = &known.text[line + column..];
        if value.starts_with('*') {
            return Vec::new();
        }
        let place = |offset: usize| {
            let (breaks, last) =
                value[..offset].rsplit_once('\n').map_or((0, None), |(before, last)| (before.matches('\n').count() + 1, Some(last)));
            let column = last.map_or(at.column as usize + value[..offset].chars().count(), |last| last.chars().count() + 1);
            Span { file: at.file, line: at.line + breaks as u32, column: column as u32, width: 1 }
        };
        scan(value).into_iter().map(place).collect()
    }

    /// `path` as the person knows it: from where they stand.
    pub(super) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.surroundings.directory).unwrap_or(path).display().to_string()
    }

    /// All faults as one failure, in the order of the files; nothing if there are none.
    pub(super) fn failure(&self, what: &str) -> Option<Failure> {
        let mut faults = self.faults.borrow().clone();
        faults.sort_by_key(|fault| fault.at);
        let count = faults.len();
        let single = count == 1;
        let mut failures: Vec<Failure> = faults.into_iter().take(SHOWN).map(|fault| self.tell(fault, single.then_some(what))).collect();
        if single {
            return failures.pop();
        }
        if count > SHOWN {
            failures.push(Failure::new(format!("and {} more", count - SHOWN)));
        }
        (count > 0).then(|| Failure::several(format!("{what}: {count} faults"), failures))
    }

    fn tell(&self, fault: Fault, within: Option<&str>) -> Failure {
        let said = clipped(&fault.what);
        let mut failure = match within {
            Some(what) => Failure::new(what).because(said),
            None => Failure::new(said),
        };
        if let Some(reason) = fault.because {
            failure = failure.because(clipped(&reason));
        }
        if let Some(spot) = self.spot(fault.at) {
            failure = failure.at(spot);
        }
        match fault.hint {
            Some(hint) => failure.hint(clipped(&hint)),
            None => failure,
        }
    }

    /// A place as the person knows it; none for what no file holds.
    pub(super) fn spot(&self, at: Span) -> Option<Spot> {
        if at.line == 0 {
            return None;
        }
        self.texts.borrow().get(at.file as usize).map(|text| text.spot(at))
    }
}

/// The text, or the beginning of one that is too long to be read.
fn clipped(text: &str) -> String {
    match text.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
