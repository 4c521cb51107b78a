//! The parser against BuildKit's own answers.

use serde_json::Value;

use super::*;
use crate::build::config::go_quoted;
use crate::build::oracle;

/// A syntax tree as BuildKit's parser prints it.
fn dump(raw: &Raw) -> String {
    let quoted = |words: &[Word]| words.iter().map(|word| go_quoted(&word.text)).collect::<Vec<_>>();
    let mut parts = vec![raw.command.text.to_lowercase()];
    if !raw.flags.is_empty() {
        parts.push(format!("[{}]", quoted(&raw.flags).join(" ")));
    }
    parts.extend(raw.inner.as_deref().map(dump));
    // BuildKit leaves one empty word in the place of arguments it does not understand.
    let known = parse_knows(&raw.command.text);
    parts.extend(if known { quoted(&raw.args) } else { vec!["\"\"".to_owned()] });
    format!("({})", parts.join(" "))
}

fn parse_knows(command: &str) -> bool {
    let mut faults = Vec::new();
    let raw = Raw { command: Word { text: command.to_owned(), at: 0, len: 0 }, ..Raw::default() };
    parse::instruction(&raw, &[], &mut faults);
    !faults.iter().any(|fault| fault.what.starts_with("unknown instruction"))
}

/// What our parser says of a file, in the table's terms: the tree, whether it is refused, the stages.
fn answer(text: &str) -> (Option<String>, bool, Value) {
    let lines = lines::split(text);
    let tree: Result<Vec<String>, _> =
        lines.logical.iter().map(|line| words::cut(&line.text, lines.escape).map(|raw| dump(&raw))).collect();
    let read = read(&Source::new("Dockerfile", text), text);
    let stages = read.as_ref().map(stages).unwrap_or_default();
    (tree.ok().map(|tree| tree.join("\n")), read.is_err(), stages)
}

fn stages(file: &Dockerfile) -> Value {
    let stage = |stage: &Stage| {
        let commands: Vec<&str> = stage.commands.iter().map(|command| command.line.text.trim()).collect();
        serde_json::json!({
            "base": stage.from.base.text,
            "name": stage.from.name.clone().unwrap_or_default(),
            "platform": stage.from.platform.as_ref().map(|word| word.text.clone()).unwrap_or_default(),
            "commands": commands,
        })
    };
    file.stages.iter().map(stage).collect()
}

/// Every row of the table: the same tree, the same stages, refused if and only if BuildKit refuses it.
#[test]
fn parsing_follows_buildkit() {
    let Some(rows) = oracle::table("parser") else { return };
    let mut wrong = Vec::new();
    for row in &rows {
        let text = row["text"].as_str().unwrap();
        let refused = !row["error"].is_null() || !row["instr_error"].is_null();
        // Another front end than the built-in one is refused by us before its file is looked at.
        if text.contains("syntax=foo") {
            continue;
        }
        let (tree, ours_refused, stages) = answer(text);
        let tree_differs = row["error"].is_null() && row["ast"].as_str() != tree.as_deref();
        // Without stages the table says nothing of what we refuse a step later.
        let no_stages = !refused && row["stages"].as_array().is_none_or(Vec::is_empty);
        let refusal_differs = refused != ours_refused && !no_stages;
        let stages_differ = !refused && !no_stages && row["stages"] != stages;
        if tree_differs || refusal_differs || stages_differ {
            wrong.push(format!("{}: {text:?}\n  got {tree:?} {ours_refused} {stages}\n  want {row}", row["name"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

fn faults(text: &str) -> Vec<String> {
    let failures = read(&Source::new("Dockerfile", text), text).unwrap_err();
    failures.iter().map(ToString::to_string).collect()
}

#[test]
fn all_faults_of_a_file_are_told_at_once() {
    let told = faults("FROM a AS 1\nRUNN x\nCOPY --form=b \\\n  --link=maybe x y\nENV a=b c\n");
    assert_eq!(told.len(), 5, "{told:#?}");
    let expected =
        ["error: unknown instruction: RUNN", " --> Dockerfile:2:1", "  |", "2 | RUNN x", "  | ^^^^", "hint: did you mean `RUN`?"];
    assert_eq!(told[1], expected.join("\n"));
    assert!(told[2].contains("Dockerfile:3:6") && told[2].contains("did you mean `--from`?"), "{}", told[2]);
    assert!(told[3].contains("Dockerfile:4:3"), "{}", told[3]);
    assert!(told[4].contains("Dockerfile:5:9"), "{}", told[4]);
}

#[test]
fn an_instruction_needs_a_stage() {
    let told = faults("ARG a=1\nRUN x\nRUN y\n");
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("no build stage in current context") && told[0].contains(":2:1"), "{}", told[0]);
}

#[test]
fn another_front_end_is_refused_by_name() {
    assert!(faults("# syntax=some/frontend:1\nFROM x\n")[0].contains("some/frontend:1"));
    for good in ["docker/dockerfile:1", "docker.io/docker/dockerfile:1.7-labs", "docker/dockerfile-upstream:master@sha256:0"] {
        assert!(read(&Source::new("Dockerfile", ""), &format!("# syntax={good}\nFROM x\n")).is_ok(), "{good}");
    }
}
