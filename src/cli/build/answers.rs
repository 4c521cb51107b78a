//! What `--check` and `--call` print.

use base64::Engine;
use serde_json::Value;
use serde_json::json;

use crate::build;
use crate::build::Asked;
use crate::build::Checked;
use crate::build::Outline;
use crate::build::Target;
use crate::build::Wanted;
use crate::build::Warning;
use crate::build::Watch;
use crate::cli::Outcome;
use crate::cli::out;
use crate::failure::Doing;
use crate::failure::Result;
use crate::place::Home;

/// What is asked of a Dockerfile instead of building it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Build,
    Check,
    Outline,
    Targets,
    /// What can be asked.
    Describe,
}

/// A question, and in what form the answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    pub call: Call,
    pub is_json: bool,
}

impl Question {
    /// Reads `check`, `outline,format=json`.
    pub fn read(text: &str) -> Result<Question, String> {
        let mut question = Question { call: Call::Build, is_json: false };
        for word in text.split(',') {
            match word {
                "build" => question.call = Call::Build,
                "check" | "lint" => question.call = Call::Check,
                "outline" => question.call = Call::Outline,
                "targets" => question.call = Call::Targets,
                "subrequests.describe" => question.call = Call::Describe,
                "format=json" => question.is_json = true,
                "format=text" | "format=" => question.is_json = false,
                _ => return Err("it is one of build, check, outline, targets; `,format=json` may follow".to_owned()),
            }
        }
        Ok(question)
    }
}

/// Answers a question; a check that finds something is no success.
///
/// # Errors
/// A context or a Dockerfile that cannot be had or understood.
pub fn answer(home: &Home, wanted: &Wanted, (question, watch): (Question, &dyn Watch)) -> Outcome {
    let is_json = question.is_json;
    match question.call {
        Call::Build => {}
        Call::Check => return check(&build::check(home, wanted, watch)?, is_json),
        Call::Outline => outline(&build::outline(home, wanted, watch)?, is_json)?,
        Call::Targets => targets(&build::targets(home, wanted)?, is_json)?,
        Call::Describe => describe(is_json)?,
    }
    Ok(0)
}

/// What can be asked, in BuildKit's words.
fn describe(is_json: bool) -> Result<()> {
    let all = [
        ("outline", "List all parameters current build target supports"),
        ("targets", "List all targets current build supports"),
        ("lint", "Lint a Dockerfile"),
        ("subrequests.describe", "List available subrequest types"),
    ];
    if is_json {
        let one = |(name, about): &(&str, &str)| json!({ "name": format!("frontend.{name}"), "version": "1.0.0", "type": "rpc", "description": about });
        return print_json(&all.iter().map(one).collect());
    }
    let row = |(name, about): &(&str, &str)| vec![(*name).to_owned(), "1.0.0".to_owned(), (*about).to_owned()];
    columns(&["NAME", "VERSION", "DESCRIPTION"], all.iter().map(row).collect())
}

fn print_json(value: &Value) -> Result<()> {
    out::line(&serde_json::to_string_pretty(value).doing(|| "cannot write the answer")?)
}

/// Prints what a check found; the status is 1 if it found something.
pub fn check(checked: &Checked, is_json: bool) -> Outcome {
    let status = u8::from(checked.fault.is_some() || !checked.warnings.is_empty());
    if is_json {
        print_json(&check_json(checked))?;
        return Ok(status);
    }
    match checked.warnings.len() {
        0 if checked.fault.is_none() => out::line("Check complete, no warnings found.")?,
        0 => {}
        1 => out::line("Check complete, 1 warning has been found!")?,
        count => out::line(&format!("Check complete, {count} warnings have been found!"))?,
    }
    for warning in &checked.warnings {
        let page = if warning.url.is_empty() { String::new() } else { format!(" - {}", warning.url) };
        out::line(&format!("\nWARNING: {}{page}\n{}\n{}", warning.rule, warning.detail, warning.spot))?;
    }
    if let Some(fault) = &checked.fault {
        out::say(&fault.to_string());
    }
    Ok(status)
}

fn check_json(checked: &Checked) -> Value {
    let range = |warning: &Warning| json!([{ "start": { "line": warning.lines.0 }, "end": { "line": warning.lines.1 } }]);
    let warning = |warning: &Warning| {
        let mut keys = json!({ "ruleName": warning.rule, "description": warning.description });
        if !warning.url.is_empty() {
            keys["url"] = json!(warning.url);
        }
        keys["detail"] = json!(warning.detail);
        keys["location"] = json!({ "ranges": range(warning) });
        keys
    };
    let data = base64::engine::general_purpose::STANDARD.encode(&checked.source.1);
    let source = json!({ "filename": checked.source.0, "language": "Dockerfile", "data": data });
    let mut answer = json!({ "warnings": checked.warnings.iter().map(warning).collect::<Vec<_>>(), "sources": [source] });
    if let Some(fault) = &checked.fault {
        answer["buildError"] = json!({ "message": fault.to_string() });
    }
    answer
}

/// Prints the arguments, secrets and agents of a build.
pub fn outline(outline: &Outline, is_json: bool) -> Result<()> {
    if is_json {
        return print_json(&outline_json(outline));
    }
    let name = if outline.name.is_empty() { "(default)" } else { &outline.name };
    if !outline.name.is_empty() || !outline.description.is_empty() {
        out::line(&format!("TARGET:      {name}"))?;
        if !outline.description.is_empty() {
            out::line(&format!("DESCRIPTION: {}", outline.description))?;
        }
        out::line("")?;
    }
    let arguments = outline.arguments.iter().map(|one| vec![one.name.clone(), one.value.clone(), one.description.clone()]);
    columns(&["BUILD ARG", "VALUE", "DESCRIPTION"], arguments.collect())?;
    for (title, list) in [("SECRET", &outline.secrets), ("SSH", &outline.agents)] {
        let required = |is: bool| if is { "true".to_owned() } else { String::new() };
        columns(&[title, "REQUIRED"], list.iter().map(|one| vec![one.id.clone(), required(one.is_required)]).collect())?;
    }
    Ok(())
}

fn outline_json(outline: &Outline) -> Value {
    let mut answer = json!({});
    for (key, text) in [("name", &outline.name), ("description", &outline.description)] {
        if !text.is_empty() {
            answer[key] = json!(text);
        }
    }
    let arguments = outline.arguments.iter().map(|one| {
        let mut keys = json!({ "name": one.name });
        for (key, text) in [("description", &one.description), ("value", &one.value)] {
            if !text.is_empty() {
                keys[key] = json!(text);
            }
        }
        keys["location"] = place(one.line);
        keys
    });
    if !outline.arguments.is_empty() {
        answer["args"] = arguments.collect();
    }
    for (key, list) in [("secrets", &outline.secrets), ("ssh", &outline.agents)] {
        if !list.is_empty() {
            let one = |one: &Asked| {
                let mut keys = json!({ "name": one.id });
                if one.is_required {
                    keys["required"] = json!(true);
                }
                keys["location"] = place(one.line);
                keys
            };
            answer[key] = list.iter().map(one).collect();
        }
    }
    answer["sources"] = sources(&outline.text);
    answer
}

fn place(line: usize) -> Value {
    json!({ "ranges": [{ "start": { "line": line }, "end": { "line": line } }] })
}

fn sources(text: &str) -> Value {
    json!([base64::engine::general_purpose::STANDARD.encode(text)])
}

/// Prints the stages that can be built.
pub fn targets((targets, text): &(Vec<Target>, String), is_json: bool) -> Result<()> {
    if is_json {
        let target = |target: &Target| {
            let mut keys = json!({});
            let texts =
                [("name", &target.name), ("description", &target.description), ("base", &target.base), ("platform", &target.platform)];
            for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
                keys[key] = json!(text);
            }
            if target.is_default {
                keys["default"] = json!(true);
            }
            keys["location"] = place(target.line);
            keys
        };
        return print_json(&json!({ "targets": targets.iter().map(target).collect::<Vec<_>>(), "sources": sources(text) }));
    }
    let name = |target: &Target| match (target.name.as_str(), target.is_default) {
        ("", true) => "(default)".to_owned(),
        (name, true) => format!("{name} (default)"),
        (name, false) => name.to_owned(),
    };
    columns(&["TARGET", "DESCRIPTION"], targets.iter().map(|target| vec![name(target), target.description.clone()]).collect())
}

/// Prints a small table, or nothing if it has no rows.
fn columns(titles: &[&str], rows: Vec<Vec<String>>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let titles = titles.iter().map(|title| (*title).to_owned()).collect();
    let all: Vec<Vec<String>> = std::iter::once(titles).chain(rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    for row in &all {
        let cells: Vec<String> = row.iter().enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column))).collect();
        out::line(cells.join("   ").trim_end())?;
    }
    out::line("")
}

/// Says at the end of a build what is not good about its Dockerfile.
pub fn warn(warnings: &[Warning]) {
    if warnings.is_empty() {
        return;
    }
    let count = if warnings.len() == 1 { "1 warning".to_owned() } else { format!("{} warnings", warnings.len()) };
    out::say(&format!("\n {count} found (use --check to expand):"));
    for warning in warnings {
        out::say(&format!(" - {}: {} (line {})", warning.rule, warning.detail, warning.lines.0));
    }
}
