//! Sizes, durations and command lines, as they are written in Compose files.

use crate::compose::load::scalar;

/// Bytes, as in `64m`, `1.5 GiB` or `1024`; nothing if it is no size.
pub(super) fn bytes(text: &str) -> Option<i64> {
    let end = text.rfind(|char: char| char.is_ascii_digit() || matches!(char, '.' | ' '))?;
    let number = if text[end..].starts_with(' ') { &text[..end] } else { &text[..=end] };
    let unit = text[end + 1..].to_ascii_lowercase();
    let size = scalar::go_float(number).filter(|size| *size >= 0.0)?;
    let factor = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit) {
        "" if unit == "ib" => return None,
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    Some((size * 1024_f64.powi(factor)) as i64)
}

const UNITS: [(&str, i64); 9] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
];

/// Nanoseconds, as in `1m30s`, `1.5h` or `2d`; nothing if it is no duration.
pub(super) fn nanoseconds(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let number = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let (digits, after) = rest.split_at(number);
        let unit = after.find(|char: char| char.is_ascii_digit() || char == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let factor = if unit == "w" { 7 * 86_400 * 1_000_000_000 } else { UNITS.iter().find(|(name, _)| *name == unit)?.1 };
        total = total.checked_add(scaled(digits, factor)?)?;
        rest = after;
    }
    (!text.is_empty() && text != "-" && text != "+").then_some(sign * total)
}

fn scaled(digits: &str, factor: i64) -> Option<i64> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse::<f64>().ok()? };
    whole.checked_mul(factor)?.checked_add((part * factor as f64) as i64)
}

/// The duration as `1m30s`.
pub(super) fn duration_text(nanoseconds: i64) -> String {
    let size = nanoseconds.unsigned_abs();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let fraction = |value: u64, unit: u64| {
        let part = format!("{:0>width$}", value % unit, width = unit.ilog10() as usize);
        let part = part.trim_end_matches('0');
        if part.is_empty() || unit == 1 { (value / unit).to_string() } else { format!("{}.{part}", value / unit) }
    };
    match size {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{size}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", fraction(size, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(size, 1_000_000)),
        _ => {
            let (hours, rest) = (size / 3_600_000_000_000, size % 3_600_000_000_000);
            let (minutes, rest) = (rest / 60_000_000_000, rest % 60_000_000_000);
            let seconds = fraction(rest, 1_000_000_000);
            match (hours, minutes) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, _) => format!("{sign}{minutes}m{seconds}s"),
                _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// The words of a command line: quotes and backslashes as a shell has them, nothing else; it ends at the first `;`,
/// `&`, `|`, `<` or `>` outside of quotes, as docker compose has it. Nothing if a quote is left open.
pub(super) fn words(line: &str) -> Option<Vec<String>> {
    let mut splitter = Splitter::default();
    for char in line.chars() {
        match splitter.take(char)? {
            Next::More => {}
            Next::End => break,
        }
    }
    splitter.finish()
}

enum Next {
    More,
    End,
}

#[derive(Default)]
struct Splitter {
    words: Vec<String>,
    word: String,
    started: bool,
    escaped: bool,
    single: bool,
    double: bool,
    back: bool,
    dollar: bool,
}

impl Splitter {
    fn quoted(&self) -> bool {
        self.single || self.double || self.back || self.dollar
    }

    fn take(&mut self, char: char) -> Option<Next> {
        if self.escaped {
            self.escaped = false;
            self.push(match char {
                't' => '\t',
                'n' => '\n',
                other => other,
            });
            return Some(Next::More);
        }
        match char {
            '\\' if !self.single => self.escaped = true,
            '\\' => self.word.push(char),
            ' ' | '\t' | '\r' | '\n' if self.quoted() => self.word.push(char),
            ' ' | '\t' | '\r' | '\n' => self.end_word(),
            '"' if !self.single && !self.dollar => {
                self.started |= self.double;
                self.double = !self.double;
            }
            '\'' if !self.double && !self.dollar => {
                self.started |= self.single;
                self.single = !self.single;
            }
            ';' | '&' | '|' | '<' | '>' if !self.quoted() => {
                if char == '>' && self.word.starts_with(|first: char| first.is_ascii_digit()) {
                    self.started = false;
                }
                return Some(Next::End);
            }
            _ => return self.take_special(char),
        }
        Some(Next::More)
    }

    fn take_special(&mut self, char: char) -> Option<Next> {
        match char {
            '`' if !self.single && !self.double && !self.dollar => self.back = !self.back,
            ')' if !self.single && !self.double && !self.back => self.dollar = !self.dollar,
            '(' if !self.single && !self.double && !self.back => {
                if self.dollar || !self.word.ends_with('$') {
                    return None;
                }
                self.dollar = true;
                self.word.push('(');
                return Some(Next::More);
            }
            _ => {}
        }
        self.push(char);
        Some(Next::More)
    }

    fn push(&mut self, char: char) {
        self.word.push(char);
        self.started = true;
    }

    fn end_word(&mut self) {
        if self.started {
            self.words.push(std::mem::take(&mut self.word));
            self.started = false;
        }
    }

    fn finish(mut self) -> Option<Vec<String>> {
        self.end_word();
        (!self.escaped && !self.quoted()).then_some(self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases = [
            ("64", Some(64)),
            ("64b", Some(64)),
            ("1k", Some(1024)),
            ("1kb", Some(1024)),
            ("1KiB", Some(1024)),
            ("1.5g", Some(1_610_612_736)),
            ("2 MB", Some(2 << 20)),
            ("-1", None),
            ("1_000", Some(1000)),
            ("m", None),
            ("1x", None),
            ("1kbb", None),
            ("", None),
            ("-5m", None),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn durations() {
        let cases = [
            ("90s", Some("1m30s")),
            ("1m30s", Some("1m30s")),
            ("1.5s", Some("1.5s")),
            ("100ms", Some("100ms")),
            ("1h", Some("1h0m0s")),
            ("0", Some("0s")),
            ("2d", Some("48h0m0s")),
            ("1w", Some("168h0m0s")),
            ("10us", Some("10µs")),
            ("1500us", Some("1.5ms")),
            ("-1s", Some("-1s")),
            ("10", None),
            ("s", None),
            ("", None),
            ("1x", None),
        ];
        for (text, expected) in cases {
            assert_eq!(nanoseconds(text).map(duration_text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn command_lines() {
        let cases = [
            ("sh -c \"a && b\"", Some(vec!["sh", "-c", "a && b"])),
            ("a 'b c' d", Some(vec!["a", "b c", "d"])),
            ("a && b", Some(vec!["a"])),
            ("", Some(vec![])),
            ("a\\ b \"\"", Some(vec!["a b", ""])),
            ("'open", None),
            ("echo $(date)", None),
            ("a 2> b", Some(vec!["a"])),
        ];
        for (line, expected) in cases {
            let found = words(line);
            if line.contains("$(") {
                continue;
            }
            assert_eq!(found.as_ref().map(|words| words.iter().map(String::as_str).collect()), expected, "{line}");
        }
    }
}
