//! What `--check` and `--call` print.

use base64::Engine;
use serde_json::Value;
use serde_json::json;

use crate::build::Checked;
use crate::build::Outline;
use crate::build::Target;
use crate::build::Warning;
use crate::cli::Outcome;
use crate::cli::out;
use crate::failure::Doing;
use crate::failure::Result;

/// What is asked of a Dockerfile instead of building it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Build,
    Check,
    Outline,
    Targets,
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
                "format=json" => question.is_json = true,
                "format=text" | "format=" => question.is_json = false,
                _ => return Err("it is one of build, check, outline, targets; `,format=json` may follow".to_owned()),
            }
        }
        Ok(question)
    }
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
        columns(&[title, "REQUIRED"], list.iter().map(|(id, is)| vec![id.clone(), required(*is)]).collect())?;
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
    let place = |line: usize| json!({ "ranges": [{ "start": { "line": line }, "end": { "line": line } }] });
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
    answer["args"] = arguments.collect();
    for (key, list) in [("secrets", &outline.secrets), ("ssh", &outline.agents)] {
        if !list.is_empty() {
            answer[key] = list.iter().map(|(id, required)| json!({ "name": id, "required": required })).collect();
        }
    }
    answer
}

/// Prints the stages that can be built.
pub fn targets(targets: &[Target], is_json: bool) -> Result<()> {
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
            keys["location"] = json!({ "ranges": [{ "start": { "line": target.line }, "end": { "line": target.line } }] });
            keys
        };
        return print_json(&json!({ "targets": targets.iter().map(target).collect::<Vec<_>>() }));
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
