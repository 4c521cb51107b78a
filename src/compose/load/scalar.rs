//! What an unquoted scalar means, as the YAML reader of docker compose takes it: YAML 1.2 with octal `0644`,
//! `0b`, and underscores of YAML 1.1, and without its `yes` and `on`.

use std::rc::Rc;

use super::node::Value;

/// The value of a plain scalar without a tag.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        _ => {}
    }
    if is_date(text) {
        return Value::Date(Rc::from(text));
    }
    number(text).unwrap_or_else(|| Value::Text(Rc::from(text)))
}

/// `2024-01-31`, alone or with `T12:30:00Z` or ` 12:30:00` behind it.
fn is_date(text: &str) -> bool {
    // Most values are none, and every value is asked.
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return false;
    }
    let digits =
        |text: &str, least: usize, most: usize| (least..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let (date, time) = text.split_once(['T', 't', ' ']).map_or((text, None), |(date, time)| (date, Some(time)));
    let [year, month, day] = date.split('-').collect::<Vec<_>>()[..] else { return false };
    if !digits(year, 4, 4) || !digits(month, 1, 2) || !digits(day, 1, 2) {
        return false;
    }
    let days = match (month.parse().unwrap_or(0), year.parse().unwrap_or(0)) {
        (2, year) if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        (2, _) => 28,
        (4 | 6 | 9 | 11, _) => 30,
        (1..=12, _) => 31,
        _ => return false,
    };
    (1..=days).contains(&day.parse().unwrap_or(0)) && time.is_none_or(|time| is_time(time, !text.contains(' ')))
}

/// A date as the moment it begins; a moment stays as it is.
pub(super) fn moment(text: &str) -> String {
    match text.split('-').collect::<Vec<_>>()[..] {
        [year, month, day] if day.len() <= 2 => format!("{year}-{month:0>2}-{day:0>2}T00:00:00Z"),
        _ => text.to_owned(),
    }
}

/// A time of day; one behind a `T` has a zone.
fn is_time(text: &str, zoned: bool) -> bool {
    let (clock, zone) = match text.find(['Z', '+', '-']) {
        Some(place) => text.split_at(place),
        None => (text, ""),
    };
    let part = |text: &str, below: f64| {
        text.starts_with(|first: char| first.is_ascii_digit()) && text.parse::<f64>().is_ok_and(|value| value < below)
    };
    let zone_is_right = match zone {
        "" => !zoned,
        "Z" => zoned,
        _ => zoned && zone[1..].split_once(':').is_some_and(|(hours, minutes)| part(hours, 24.0) && part(minutes, 60.0)),
    };
    let parts: Vec<&str> = clock.split(':').collect();
    zone_is_right && matches!(parts[..], [hours, minutes, seconds] if part(hours, 24.0) && part(minutes, 60.0) && part(seconds, 60.0))
}

fn number(text: &str) -> Option<Value> {
    let first = text.bytes().next()?;
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return None;
    }
    let plain = text.replace('_', "");
    if first != b'.'
        && let Some(value) = integer(&plain)
    {
        return Some(Value::Int(value));
    }
    if is_float(&plain) { plain.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Float) } else { None }
}

/// An integer with the prefixes `0x`, `0b`, `0o` and `0`.
pub(super) fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

/// A number as Go's `strconv.ParseFloat` takes it: also with `_` between digits and, with an exponent, in hexadecimal
/// (`0x1p4` is 16); no text with blanks.
pub(super) fn go_float(text: &str) -> Option<f64> {
    let unsigned = text.trim_start_matches(['+', '-']);
    let Some(hexadecimal) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) else {
        return separated(text)?.parse().ok();
    };
    let plain = separated(hexadecimal.strip_prefix('_').unwrap_or(hexadecimal))?.to_ascii_lowercase();
    let (digits, exponent) = plain.split_once('p')?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = [whole, fraction].concat();
    let is_right = (1..=15).contains(&all.len()) && all.bytes().all(|digit| digit.is_ascii_hexdigit()) && text.len() - unsigned.len() < 2;
    let size = i64::from_str_radix(&all, 16).ok().filter(|_| is_right)? as f64;
    let exponent = exponent.parse::<i32>().ok()?.checked_sub(4 * fraction.len() as i32)?;
    let value = size * 2_f64.powi(exponent);
    Some(if text.starts_with('-') { -value } else { value })
}

/// The text without the `_` between its digits; nothing if one stands elsewhere.
fn separated(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let is_digit = |place: Option<usize>| place.and_then(|place| bytes.get(place)).is_some_and(u8::is_ascii_hexdigit);
    let mut separators = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'_').map(|(place, _)| place);
    separators.all(|place| is_digit(place.checked_sub(1)) && is_digit(Some(place + 1))).then(|| text.replace('_', ""))
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let mantissa_is_right = digits(whole) && digits(fraction) && (!whole.is_empty() || !fraction.is_empty());
    mantissa_is_right && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

/// How a text must be written in YAML to be read back as itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::compose) enum Quotes {
    None,
    Single,
    Double,
}

/// The quotes that docker compose writes a text of one line in.
pub(in crate::compose) fn quotes(text: &str) -> Quotes {
    let old_boolean = matches!(text.to_ascii_lowercase().as_str(), "y" | "n" | "yes" | "no" | "on" | "off");
    let odd = |char: char| char.is_control() || char == '\u{feff}';
    if !matches!(resolve(text), Value::Text(_)) || old_boolean || is_sexagesimal(text) || text.contains(odd) {
        return Quotes::Double;
    }
    let mut chars = text.chars();
    let first = chars.next().unwrap_or(' ');
    let second_is_blank = chars.next().is_none_or(|char| char == ' ');
    let begins_otherwise = " #,[]{}&*!|>'\"%@`".contains(first) || ("?:-".contains(first) && second_is_blank);
    let begins_otherwise = begins_otherwise || text.starts_with("---") || text.starts_with("...");
    let breaks_off = text.contains(": ") || text.contains(" #") || text.ends_with([':', ' ']);
    if begins_otherwise || breaks_off { Quotes::Single } else { Quotes::None }
}

/// `12:30`, which YAML 1.1 takes for a number to the base of sixty.
fn is_sexagesimal(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (text, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let mut parts = text.split(':');
    let whole = parts.next().unwrap_or_default();
    let sixtieth = |part: &str| matches!(part.len(), 1 | 2) && part.parse::<u8>().is_ok_and(|value| value < 60);
    let whole_is_right = whole.starts_with(|first: char| first.is_ascii_digit()) && digits(whole);
    whole_is_right && digits(fraction) && text.contains(':') && parts.all(sixtieth)
}

/// A float as Go's `%v` writes it: shortest, with an exponent from a million on and below 1e-4.
pub(super) fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e6).contains(&size) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_are_what_go_takes_them_for() {
        let cases = [
            ("1_000", Some(1000.0)),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("0x1p4", Some(16.0)),
            ("-0x1.8p1", Some(-3.0)),
            ("0x10", None),
            ("1e3", Some(1000.0)),
            (".5", Some(0.5)),
            (" 5", None),
            ("", None),
        ];
        for (text, value) in cases {
            assert_eq!(go_float(text), value, "{text}");
        }
    }

    #[test]
    fn plain_scalars_are_what_compose_takes_them_for() {
        let cases = [
            ("", "null"),
            ("~", "null"),
            ("Null", "null"),
            ("nUll", "text"),
            ("yes", "text"),
            ("on", "text"),
            ("True", "true"),
            ("12", "int 12"),
            ("0644", "int 420"),
            ("0o17", "int 15"),
            ("0x1F", "int 31"),
            ("0b11", "int 3"),
            ("1_000", "int 1000"),
            ("-5", "int -5"),
            ("+5", "int 5"),
            ("08", "float 8"),
            ("1.50", "float 1.5"),
            (".5", "float 0.5"),
            ("1e3", "float 1000"),
            ("1e", "text"),
            ("1.2.3", "text"),
            ("127.0.0.1", "text"),
            ("12:30", "text"),
            ("-", "text"),
            (".", "text"),
            ("5s", "text"),
            ("2024-01-31", "date"),
            ("2024-1-1 10:00:00", "date"),
            ("2024-01-01T10:00:00Z", "date"),
            ("2024-13-01", "text"),
            ("2024-01", "text"),
            ("2024-01-01-x", "text"),
            ("1e21", "float 1e+21"),
            (".inf", "float +Inf"),
        ];
        for (text, expected) in cases {
            let found = match resolve(text) {
                Value::Null => "null".to_owned(),
                Value::Bool(value) => value.to_string(),
                Value::Int(value) => format!("int {value}"),
                value @ Value::Float(_) => format!("float {value}"),
                Value::Date(_) => "date".to_owned(),
                _ => "text".to_owned(),
            };
            assert_eq!(found, expected, "{text}");
        }
    }
}
