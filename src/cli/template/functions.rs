//! The functions of templates, and how values are written.

use std::cmp::Ordering;

use serde_json::Value;

use super::eval::Maybe;

type Reason = String;

/// Every function there is.
pub(super) const NAMES: &[&str] = &[
    "and", "eq", "ge", "gt", "html", "index", "join", "js", "json", "le", "len", "lower", "lt", "ne", "not", "or", "pad", "print",
    "printf", "println", "slice", "split", "title", "truncate", "upper", "urlquery",
];

/// One label of a map, or of Docker's `a=b,c=d`.
pub(super) fn label(labels: Option<&Value>, name: &str) -> Value {
    let found = match labels {
        Some(Value::Object(map)) => map.get(name).cloned(),
        Some(Value::String(text)) => {
            let mut pairs = text.split(',').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value.into())
        }
        _ => None,
    };
    found.unwrap_or_else(|| "".into())
}

pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

pub(super) fn shown_or_none(value: Option<&Value>) -> String {
    value.map_or_else(|| "<no value>".to_owned(), shown)
}

/// As Go's `fmt.Print` shows a value.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().map(|(key, value)| format!("{key}:{}", shown(value))).collect();
            pairs.sort();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

pub(super) fn call(name: &str, arguments: &[Maybe]) -> Result<Maybe, Reason> {
    let value = |at: usize| arguments.get(at).cloned().flatten().unwrap_or(Value::Null);
    let text = |at: usize| shown_or_none(arguments.get(at).and_then(Option::as_ref));
    let truth = |at: usize| is_true(&value(at));
    let result = match name {
        "json" => serde_json::to_string(&value(0)).map_err(|error| error.to_string())?.into(),
        "upper" => text(0).to_uppercase().into(),
        "lower" => text(0).to_lowercase().into(),
        "title" => title(&text(0)).into(),
        "join" => joined(&value(0), &text(1)).into(),
        "split" => text(0).split(&text(1)).map(str::to_owned).collect::<Vec<_>>().into(),
        "truncate" => text(0).chars().take(number(&value(1))?).collect::<String>().into(),
        "print" => arguments.iter().map(|one| shown_or_none(one.as_ref())).collect::<String>().into(),
        "println" => format!("{}\n", arguments.iter().map(|one| shown_or_none(one.as_ref())).collect::<Vec<_>>().join(" ")).into(),
        "printf" => printf(&text(0), &arguments[1.min(arguments.len())..]).into(),
        "len" => length(&value(0))?.into(),
        "index" => return index(value(0), &arguments[1.min(arguments.len())..]),
        "slice" => sliced(&value(0), &arguments[1.min(arguments.len())..])?,
        "not" => (!truth(0)).into(),
        "pad" => blanked(&text(0), number(&value(1))?, number(&value(2))?).into(),
        "html" => escaped(&text(0), &[('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&#34;"), ('\'', "&#39;")]).into(),
        "js" => escaped(
            &text(0),
            &[('\\', "\\\\"), ('\'', "\\'"), ('"', "\\\""), ('<', "\\u003C"), ('>', "\\u003E"), ('&', "\\u0026"), ('=', "\\u003D")],
        )
        .into(),
        "urlquery" => queried(&text(0)).into(),
        "eq" => (1..arguments.len()).any(|at| value(0) == value(at)).into(),
        "ne" => (value(0) != value(1)).into(),
        "lt" => (order(&value(0), &value(1)) == Ordering::Less).into(),
        "le" => (order(&value(0), &value(1)) != Ordering::Greater).into(),
        "gt" => (order(&value(0), &value(1)) == Ordering::Greater).into(),
        "ge" => (order(&value(0), &value(1)) != Ordering::Less).into(),
        _ => return Err(format!("function {name:?} not defined")),
    };
    Ok(Some(result))
}

/// Docker's `pad`: blanks before and behind, if there is a text.
fn blanked(text: &str, before: usize, behind: usize) -> String {
    const MOST: usize = 4096;
    if text.is_empty() { String::new() } else { format!("{}{text}{}", " ".repeat(before.min(MOST)), " ".repeat(behind.min(MOST))) }
}

fn escaped(text: &str, table: &[(char, &str)]) -> String {
    let of = |char: char| table.iter().find(|(known, _)| *known == char).map_or_else(|| char.to_string(), |(_, to)| (*to).to_owned());
    text.chars().map(of).collect()
}

/// As part of a query in an address.
fn queried(text: &str) -> String {
    let of = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(of).collect()
}

/// Each word with a great letter.
fn title(text: &str) -> String {
    let mut before = ' ';
    let mut one = |char: char| {
        let begins = !before.is_alphanumeric() && !matches!(before, '_' | '\'');
        before = char;
        if begins { char.to_uppercase().collect::<String>() } else { char.to_string() }
    };
    text.chars().map(&mut one).collect()
}

/// What stands above a column of one label: its last part.
pub(super) fn heading(label: &str) -> String {
    label.rsplit('.').next().unwrap_or_default().replace(['-', '_'], " ")
}

fn joined(list: &Value, between: &str) -> String {
    let texts = list.as_array().map(|list| list.iter().map(shown).collect::<Vec<_>>());
    texts.map_or_else(|| shown(list), |texts| texts.join(between))
}

fn number(value: &Value) -> Result<usize, Reason> {
    let number = value.as_u64().ok_or_else(|| format!("{} is no index", shown(value)))?;
    usize::try_from(number).map_err(|_| "index out of range".to_owned())
}

fn length(value: &Value) -> Result<usize, Reason> {
    match value {
        Value::String(text) => Ok(text.len()),
        Value::Array(list) => Ok(list.len()),
        Value::Object(map) => Ok(map.len()),
        // A list or a map that nobody has made yet.
        Value::Null => Ok(0),
        other => Err(format!("len of {}", shown(other))),
    }
}

fn index(start: Value, keys: &[Maybe]) -> Result<Maybe, Reason> {
    let mut value = Some(start);
    for key in keys {
        let key = key.clone().unwrap_or(Value::Null);
        value = match value {
            Some(Value::Array(list)) => {
                let at = number(&key)?;
                Some(list.get(at).cloned().ok_or_else(|| format!("index out of range: {at}"))?)
            }
            Some(Value::Object(map)) => Some(map.get(&shown(&key)).cloned().unwrap_or_else(|| nothing_like(map.values().next()))),
            other => return Err(format!("can't index {}", shown_or_none(other.as_ref()))),
        };
    }
    Ok(value)
}

/// What a map of such values has for a key that is not there.
fn nothing_like(other: Option<&Value>) -> Value {
    match other {
        None | Some(Value::String(_)) => "".into(),
        Some(Value::Array(_)) => Vec::<Value>::new().into(),
        Some(_) => Value::Null,
    }
}

fn sliced(value: &Value, bounds: &[Maybe]) -> Result<Value, Reason> {
    let bound = |at: usize, otherwise: usize| match bounds.get(at).and_then(Option::as_ref) {
        Some(value) => number(value),
        None => Ok(otherwise),
    };
    let whole = length(value)?;
    let (start, end) = (bound(0, 0)?, bound(1, whole)?);
    if start > end || end > whole {
        return Err(format!("slice bounds out of range: {start}:{end}"));
    }
    match value {
        Value::Array(list) => Ok(list[start..end].to_vec().into()),
        other => shown(other).get(start..end).map(Value::from).ok_or_else(|| "slice cuts a character".to_owned()),
    }
}

fn order(a: &Value, b: &Value) -> Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        _ => shown(a).cmp(&shown(b)),
    }
}

/// Go's `printf`, for the verbs that texts, numbers and truths have.
fn printf(format: &str, arguments: &[Maybe]) -> String {
    let mut out = String::new();
    let mut next = arguments.iter();
    let mut chars = format.chars();
    while let Some(char) = chars.next() {
        if char != '%' {
            out.push(char);
            continue;
        }
        let mut flags = String::new();
        let verb = chars.find(|char| {
            let is_flag = matches!(char, '0'..='9' | '-' | '+' | '.' | '#' | ' ');
            flags.extend(is_flag.then_some(*char));
            !is_flag
        });
        match verb {
            Some('%') => out.push('%'),
            None => out.push_str("%!(NOVERB)"),
            Some(verb) => match next.next() {
                None => out.push_str(&format!("%!{verb}(MISSING)")),
                Some(value) => out.push_str(&padded(&worded(verb, &flags, value.as_ref()), &flags)),
            },
        }
    }
    let rest: Vec<String> = next.map(|one| format!("{}={}", kind(one.as_ref()), shown_or_none(one.as_ref()))).collect();
    if rest.is_empty() { out } else { format!("{out}%!(EXTRA {})", rest.join(", ")) }
}

/// One argument as its verb wants it.
fn worded(verb: char, flags: &str, value: Option<&Value>) -> String {
    let text = shown_or_none(value);
    let digits: Option<usize> = flags.split_once('.').map(|(_, digits)| digits.parse().unwrap_or(0));
    match (verb, value) {
        ('v', _) => text,
        ('s', Some(Value::Number(_) | Value::Bool(_))) => format!("%!s({}={text})", kind(value)),
        ('s', _) => digits.map_or(text.clone(), |digits| text.chars().take(digits).collect()),
        ('q', Some(Value::String(text))) => serde_json::to_string(text).unwrap_or_default(),
        ('d', Some(Value::Number(number))) if !number.is_f64() => text,
        ('t', Some(Value::Bool(_))) => text,
        ('f', Some(Value::Number(number))) => format!("{:.*}", digits.unwrap_or(6).min(99), number.as_f64().unwrap_or_default()),
        ('x', Some(Value::Number(number))) => format!("{:x}", number.as_i64().unwrap_or_default()),
        ('X', Some(Value::Number(number))) => format!("{:X}", number.as_i64().unwrap_or_default()),
        ('o', Some(Value::Number(number))) => format!("{:o}", number.as_i64().unwrap_or_default()),
        ('b', Some(Value::Number(number))) => format!("{:b}", number.as_i64().unwrap_or_default()),
        ('x', Some(Value::String(text))) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ('X', Some(Value::String(text))) => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
        _ => format!("%!{verb}({}={text})", kind(value)),
    }
}

/// The width that the flags of a verb ask for.
fn padded(text: &str, flags: &str) -> String {
    let width = flags.split('.').next().unwrap_or_default();
    const MOST: usize = 4096;
    let number: usize = width.trim_start_matches(['-', '+', '#', ' ', '0']).parse().unwrap_or(0);
    let lacking = number.min(MOST).saturating_sub(text.chars().count());
    match (width.contains('-'), width.starts_with('0')) {
        (true, _) => format!("{text}{}", " ".repeat(lacking)),
        (_, true) => format!("{}{text}", "0".repeat(lacking)),
        _ => format!("{}{text}", " ".repeat(lacking)),
    }
}

/// A value's type in Go's words.
fn kind(value: Option<&Value>) -> &'static str {
    match value {
        None | Some(Value::Null) => "<nil>",
        Some(Value::Bool(_)) => "bool",
        Some(Value::Number(number)) if number.is_f64() => "float64",
        Some(Value::Number(_)) => "int",
        Some(Value::String(_)) => "string",
        Some(Value::Array(_)) => "[]interface {}",
        Some(Value::Object(_)) => "map[string]interface {}",
    }
}
