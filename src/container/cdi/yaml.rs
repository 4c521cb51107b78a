//! YAML of a device's spec -> values, as far as such files go: no tags, no merge keys.

use serde_json::Map;
use serde_json::Number;
use serde_json::Value;

use saphyr_parser::Event;
use saphyr_parser::Parser;
use saphyr_parser::ScalarStyle;

/// Deeper nesting than this is no spec of a device.
const DEEPEST: usize = 32;

/// A list or mapping that is still open; a mapping with the key whose value comes next.
enum Open {
    List(Vec<Value>),
    Map(Map<String, Value>, Option<String>),
}

/// Reads the first document of a text.
///
/// # Errors
/// Why it is none.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|error| error.to_string())?;
        let done = match event {
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                None
            }
            Event::MappingStart(..) => {
                open.push(Open::Map(Map::new(), None));
                None
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().map(|closed| match closed {
                Open::List(items) => Value::Array(items),
                Open::Map(map, _) => Value::Object(map),
            }),
            Event::Scalar(text, style, ..) => Some(scalar(&text, style)),
            Event::Alias(_) => return Err("it has an alias".to_owned()),
            _ => None,
        };
        if open.len() > DEEPEST {
            return Err("it is nested too deeply".to_owned());
        }
        let Some(value) = done else { continue };
        match open.last_mut() {
            None => return Ok(value),
            Some(Open::List(items)) => items.push(value),
            Some(Open::Map(map, key)) => match key.take() {
                Some(key) => drop(map.insert(key, value)),
                None => *key = Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
            },
        }
    }
    Err("it is empty".to_owned())
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "~" | "null" => return Value::Null,
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    let octal = text.strip_prefix("0o").or_else(|| text.strip_prefix('0').filter(|rest| !rest.is_empty()));
    let number = octal.map_or_else(|| text.parse::<i64>().ok(), |digits| i64::from_str_radix(digits, 8).ok());
    number.map_or_else(|| Value::String(text.to_owned()), |number| Value::Number(Number::from(number)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_spec_as_its_tools_write_it_is_read() {
        let text = "---\ncdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: \"0\"\n  containerEdits:\n    deviceNodes:\n    - path: /dev/nvidia0\n      \
                    fileMode: 0666\n- name: all\n  containerEdits: {}\ncontainerEdits:\n  env: [A=1]\n  hooks:\n  - hookName: createContainer\n    args: [x, --y]\n";
        let expected = json!({
            "cdiVersion": "0.5.0", "kind": "nvidia.com/gpu",
            "devices": [{"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0", "fileMode": 438}]}}, {"name": "all", "containerEdits": {}}],
            "containerEdits": {"env": ["A=1"], "hooks": [{"hookName": "createContainer", "args": ["x", "--y"]}]},
        });
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn what_is_no_spec_is_refused() {
        for text in ["", "a: [", "a: &x 1\nb: *x\n", &"[".repeat(100)] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
