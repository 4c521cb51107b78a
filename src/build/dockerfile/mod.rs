//! The Dockerfile's language: text in, typed stages out. Knows nothing of images, files or variables' values.

pub(super) mod devices;
pub(super) mod expand;
mod flags;
pub(super) mod health;
pub(super) mod instruction;
pub(super) mod lines;
pub(super) mod mounts;
mod parse;
pub(super) mod source;
mod words;

#[cfg(test)]
mod tests;

pub(super) use flags::Fault;
pub(super) use lines::chomped;
pub(super) use lines::heredoc_of;
pub(super) use words::Word;

use crate::build::dockerfile::instruction::From;
use crate::build::dockerfile::instruction::Instruction;
use crate::build::dockerfile::instruction::Kind;
use crate::build::dockerfile::lines::Lines;
use crate::build::dockerfile::lines::Logical;
use crate::build::dockerfile::source::Place;
use crate::build::dockerfile::source::Source;
use crate::build::dockerfile::words::Raw;
use crate::failure::Failure;

/// A Dockerfile that was understood.
#[derive(Debug)]
pub struct Dockerfile {
    /// `\` or a backquote.
    pub escape: char,
    /// The ARGs before the first FROM.
    pub globals: Vec<Instruction>,
    /// `# check=`, and where it stands.
    pub check: Option<(String, Place)>,
    pub stages: Vec<Stage>,
}

/// From one FROM to the next.
#[derive(Debug)]
pub struct Stage {
    pub from: From,
    /// The FROM itself.
    pub instruction: Instruction,
    pub commands: Vec<Instruction>,
}

/// Understands a Dockerfile.
///
/// # Errors
/// Every fault of the file, each at its place.
pub fn read(source: &Source, text: &str) -> Result<Dockerfile, Vec<Failure>> {
    let lines = lines::split(text);
    let mut faults: Vec<Failure> =
        lines.faults.iter().map(|fault| with_hint(source.fault(fault.place, fault.what.clone()), fault.hint.clone())).collect();
    check_syntax(source, &lines, &mut faults);
    let mut file = Dockerfile { escape: lines.escape, globals: Vec::new(), check: lines.check.clone(), stages: Vec::new() };
    let mut homeless = false;
    for line in &lines.logical {
        let is_from = command_of(line).eq_ignore_ascii_case("from");
        let read = instruction(line, lines.escape);
        let instruction = match read {
            Ok(instruction) => Some(instruction),
            Err(found) => {
                faults.extend(found.into_iter().map(|fault| shown(source, line, fault)));
                None
            }
        };
        let is_arg = command_of(line).eq_ignore_ascii_case("arg");
        if file.stages.is_empty() && !is_from && !is_arg && !homeless && instruction.is_some() {
            homeless = true;
            let fault = source.fault(line.start(), "no build stage in current context");
            faults.push(fault.hint("begin with `FROM image`; only ARG may stand before it"));
        }
        match instruction {
            Some(instruction) => place_in(&mut file, instruction),
            // What follows a bad FROM still has a stage to stand in.
            None if is_from => homeless = true,
            None => {}
        }
    }
    let nowhere = Place { line: 1, column: 1, width: 1 };
    if lines.logical.is_empty() && faults.is_empty() {
        let fault = source.fault(nowhere, "file with no instructions");
        faults.push(fault.hint("begin with `FROM image`"));
    } else if file.stages.is_empty() && faults.is_empty() {
        let fault = source.fault(nowhere, "dockerfile contains no stages to build");
        faults.push(fault.hint("add `FROM image` after the ARGs"));
    }
    if faults.is_empty() { Ok(file) } else { Err(faults) }
}

/// Understands a trigger of a base image; it is said to stand where the FROM stands.
///
/// # Errors
/// What is wrong with it.
pub fn trigger(text: &str, source: &Source, place: Place) -> Result<Instruction, Failure> {
    let mut lines = lines::split(text);
    let fault = |what: &str| source.fault(place, format!("ONBUILD trigger `{text}` of the base image: {what}"));
    if let Some(bad) = lines.faults.first() {
        return Err(fault(&bad.what));
    }
    let line = if lines.logical.len() == 1 { lines.logical.pop() } else { None };
    let line = line.ok_or_else(|| fault("it should be a single expression"))?;
    let moved = Logical::of_text(&line.text, place, line.heredocs);
    let read = instruction(&moved, lines.escape).map_err(|found| fault(found.first().map_or("", |bad| bad.what.as_str())))?;
    Ok(Instruction { trigger: true, ..read })
}

fn place_in(file: &mut Dockerfile, instruction: Instruction) {
    match &instruction.kind {
        Kind::From(from) => file.stages.push(Stage { from: from.clone(), instruction, commands: Vec::new() }),
        _ => match file.stages.last_mut() {
            Some(stage) => stage.commands.push(instruction),
            None => file.globals.push(instruction),
        },
    }
}

fn command_of(line: &Logical) -> &str {
    line.text.split_whitespace().next().unwrap_or_default()
}

fn instruction(line: &Logical, escape: char) -> Result<Instruction, Vec<Fault>> {
    let raw = words::cut(&line.text, escape).map_err(|fault| {
        let word = Word { text: String::new(), at: fault.at, len: fault.len };
        vec![Fault::new(&word, fault.what)]
    })?;
    let mut faults = Vec::new();
    let kind = parse::instruction(&raw, &line.heredocs, &mut faults);
    match kind {
        Some(Kind::Onbuild(_)) if faults.is_empty() => {
            Ok(Instruction { line: line.clone(), kind: Kind::Onbuild(trigger_text(line, &raw)), trigger: false })
        }
        Some(kind) if faults.is_empty() => Ok(Instruction { line: line.clone(), kind, trigger: false }),
        _ => Err(faults),
    }
}

/// The text of an ONBUILD without ONBUILD, its documents with it.
fn trigger_text(line: &Logical, raw: &Raw) -> String {
    let end = raw.command.at + raw.command.len;
    let mut text = line.text[end..].trim_start().to_owned();
    for document in &line.heredocs {
        text.push('\n');
        text.push_str(&document.content);
        text.push_str(&document.name);
    }
    text
}

fn shown(source: &Source, line: &Logical, fault: Fault) -> Failure {
    with_hint(source.fault(line.place(fault.word.at, fault.word.len), fault.what), fault.hint)
}

fn with_hint(failure: Failure, hint: Option<String>) -> Failure {
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// `docker/dockerfile` and its relatives are what is built in; another front end would be another language.
fn check_syntax(source: &Source, lines: &Lines, faults: &mut Vec<Failure>) {
    let Some((value, place)) = &lines.syntax else { return };
    let image = value.split_whitespace().next().unwrap_or_default();
    let image = image.strip_prefix("docker.io/").unwrap_or(image);
    let name = image.split(['@', ':']).next().unwrap_or_default();
    if !matches!(name, "docker/dockerfile" | "docker/dockerfile-upstream") {
        let fault = source.fault(*place, format!("front end `{value}` is not built in"));
        faults.push(fault.hint("write `# syntax=docker/dockerfile:1`, or leave the line out"));
    }
}
