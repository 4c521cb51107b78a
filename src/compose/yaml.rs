//! Writes values as YAML, as docker compose lays it out: two blanks of indent, quotes only where they are needed.

use std::fmt::Write;

use serde_json::Value as Json;

use super::load::Quotes;
use super::load::quotes;

/// The values as a YAML document.
pub(super) fn write(value: &Json) -> String {
    let mut text = String::new();
    match value {
        Json::Object(map) if !map.is_empty() => write_map(&mut text, value, 0),
        Json::Array(items) if !items.is_empty() => write_list(&mut text, items, 0),
        _ => {
            let _ = writeln!(text, "{}", scalar(value, 0));
        }
    }
    text
}

fn write_map(text: &mut String, value: &Json, indent: usize) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let _ = write!(text, "{:indent$}{}:", "", quoted(key, 0));
        write_value(text, value, indent);
    }
}

/// What follows a key.
fn write_value(text: &mut String, value: &Json, indent: usize) {
    match value {
        Json::Object(map) if !map.is_empty() => {
            text.push('\n');
            write_map(text, value, indent + 2);
        }
        Json::Array(items) if !items.is_empty() => {
            text.push('\n');
            write_list(text, items, indent + 2);
        }
        _ => {
            let _ = writeln!(text, " {}", scalar(value, indent));
        }
    }
}

fn write_list(text: &mut String, items: &[Json], indent: usize) {
    for item in items {
        let mut inner = String::new();
        match item {
            Json::Object(map) if !map.is_empty() => write_map(&mut inner, item, indent + 2),
            Json::Array(items) if !items.is_empty() => write_list(&mut inner, items, indent + 2),
            _ => {
                let _ = writeln!(inner, "{:width$}{}", "", scalar(item, indent), width = indent + 2);
            }
        }
        let _ = write!(text, "{:indent$}- {}", "", inner.get(indent + 2..).unwrap_or_default());
    }
}

fn scalar(value: &Json, indent: usize) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::String(text) => quoted(text, indent),
        Json::Object(_) => "{}".to_owned(),
        Json::Array(_) => "[]".to_owned(),
        other => other.to_string(),
    }
}

/// A text: as a block if it has several lines, else in the fewest quotes that it can be read back from.
fn quoted(text: &str, indent: usize) -> String {
    if indent == 0 || !text.contains('\n') || !fits_block(text) {
        return match quotes(text) {
            Quotes::None => text.to_owned(),
            Quotes::Single => format!("'{}'", text.replace('\'', "''")),
            // JSON's quotes are YAML's.
            Quotes::Double => Json::from(text).to_string(),
        };
    }
    let keep = match text.len() - text.trim_end_matches('\n').len() {
        0 => "-",
        1 => "",
        _ => "+",
    };
    let mut block = format!("|{keep}");
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        let pad = if line.is_empty() { 0 } else { indent + 2 };
        let _ = write!(block, "\n{:pad$}{line}", "");
    }
    block
}

fn fits_block(text: &str) -> bool {
    let odd = |char: char| char.is_control() && char != '\n' && char != '\t';
    !text.starts_with([' ', '\n', '\t']) && !text.contains(odd) && !text.lines().any(|line| line.ends_with(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_quotes_that_docker_compose_gives_them() {
        let cases = [
            ("plain", "plain"),
            ("5", "\"5\""),
            ("true", "\"true\""),
            ("yes", "\"yes\""),
            ("12:30", "\"12:30\""),
            ("1000:1000", "1000:1000"),
            ("", "\"\""),
            ("a: b", "'a: b'"),
            ("#x", "'#x'"),
            ("x:", "'x:'"),
            ("it's", "it's"),
            ("'", "''''"),
            ("--flag", "--flag"),
            ("- x", "'- x'"),
            ("2024-01-01", "\"2024-01-01\""),
            ("a\tb", "\"a\\tb\""),
            ("@x", "'@x'"),
            ("$$x", "$$x"),
        ];
        for (text, expected) in cases {
            assert_eq!(quoted(text, 2), expected, "{text:?}");
        }
    }

    #[test]
    fn values_are_laid_out_in_blocks() {
        let value = serde_json::json!({"a": {"b": [1, {"c": "x", "d": ["y"]}], "e": "l1\nl2\n"}, "f": {}, "g": []});
        let expected = "a:\n  b:\n    - 1\n    - c: x\n      d:\n        - \"y\"\n  e: |\n    l1\n    l2\nf: {}\ng: []\n";
        assert_eq!(write(&value), expected);
    }
}
