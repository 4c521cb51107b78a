//! The rules that need nothing but the file: casing, names of stages, old forms.

use std::collections::BTreeSet;

use crate::build::dockerfile::Dockerfile;
use crate::build::dockerfile::instruction::Instruction;
use crate::build::dockerfile::instruction::Kind;
use crate::build::lint::Lint;
use crate::build::lint::rules;

/// Looks at all of a file.
pub fn check(lint: &Lint<'_>, file: &Dockerfile) {
    let instructions = || file.stages.iter().flat_map(|stage| std::iter::once(&stage.instruction).chain(&stage.commands));
    for instruction in file.globals.iter().chain(instructions()) {
        if let Some(place) = instruction.line.empty_line() {
            lint.warn_at(&rules::NO_EMPTY_CONTINUATION, &instruction.line, (place, place.line), "Empty continuation line");
        }
        if matches!(instruction.kind, Kind::Maintainer(_)) {
            let detail = "Maintainer instruction is deprecated in favor of using label";
            lint.warn(&rules::MAINTAINER_DEPRECATED, &instruction.line, detail);
        }
        describe(lint, instruction);
    }
    stages(lint, file);
    casing(lint, &instructions().collect::<Vec<_>>());
}

/// A comment right above an ARG or a FROM is its description and begins with its name.
fn describe(lint: &Lint<'_>, instruction: &Instruction) {
    let (what, names): (&str, Vec<&str>) = match &instruction.kind {
        Kind::From(from) => ("FROM", from.name.as_deref().into_iter().collect()),
        Kind::Arg(arguments) => ("ARG", arguments.iter().map(|argument| argument.name.text.as_str()).collect()),
        _ => return,
    };
    let (Some(comment), [first, others @ ..]) = (instruction.line.comments.last(), names.as_slice()) else { return };
    if names.contains(&comment.split(' ').next().unwrap_or_default()) {
        return;
    }
    let example = if others.is_empty() { first } else { "<arg_key>" };
    let detail = format!("Comment for {what} should follow the format: `# {example} <description>`");
    lint.warn(&rules::INVALID_DEFINITION_DESCRIPTION, &instruction.line, detail);
}

fn stages(lint: &Lint<'_>, file: &Dockerfile) {
    let mut names = BTreeSet::new();
    for stage in &file.stages {
        let (line, command) = (&stage.instruction.line, stage.instruction.command());
        let Some((keyword, written)) = &stage.from.written else { continue };
        if written.text != written.text.to_lowercase() {
            lint.warn(&rules::STAGE_NAME_CASING, line, format!("Stage name '{}' should be lowercase", written.text));
        }
        let (is_lower, is_upper) = (command == command.to_lowercase(), command == command.to_uppercase());
        let expected = if is_lower { keyword.text.to_lowercase() } else { keyword.text.to_uppercase() };
        if (is_lower || is_upper) && keyword.text != expected {
            lint.warn(&rules::FROM_AS_CASING, line, format!("'{}' and '{command}' keywords' casing do not match", keyword.text));
        }
        let Some(name) = stage.from.name.as_deref() else { continue };
        if matches!(name, "scratch" | "context") {
            let detail = format!("Stage name should not use the same name as reserved stage {name:?}");
            lint.warn(&rules::RESERVED_STAGE_NAME, line, detail);
        }
        if !names.insert(name) {
            let detail = format!("Duplicate stage name {name:?}, stage names should be unique");
            lint.warn(&rules::DUPLICATE_STAGE_NAME, line, detail);
        }
    }
}

/// All instructions are written as most of them are; a word of mixed letters counts for nobody.
fn casing(lint: &Lint<'_>, instructions: &[&Instruction]) {
    let is =
        |form: fn(&str) -> String| instructions.iter().filter(|instruction| form(instruction.command()) == instruction.command()).count();
    let mostly_lower = is(str::to_lowercase) > is(str::to_uppercase);
    for instruction in instructions {
        let command = instruction.command();
        let (expected, word) = if mostly_lower { (command.to_lowercase(), "lowercase") } else { (command.to_uppercase(), "uppercase") };
        if command != expected {
            let detail = format!("Command '{command}' should match the case of the command majority ({word})");
            lint.warn(&rules::CONSISTENT_INSTRUCTION_CASING, &instruction.line, detail);
        }
    }
}
