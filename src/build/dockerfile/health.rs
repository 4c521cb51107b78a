//! HEALTHCHECK, and durations as Go writes them.

use crate::build::dockerfile::flags::Fault;
use crate::build::dockerfile::flags::Flags;
use crate::build::dockerfile::flags::Takes;
use crate::build::dockerfile::words::Raw;
use crate::build::dockerfile::words::Word;
use crate::image::Healthcheck;

const FLAGS: [(&str, Takes); 5] = [
    ("interval", Takes::Value),
    ("timeout", Takes::Value),
    ("start-period", Takes::Value),
    ("start-interval", Takes::Value),
    ("retries", Takes::Value),
];

/// Reads `HEALTHCHECK [flags] CMD …` or `HEALTHCHECK NONE`.
pub fn read(raw: &Raw, faults: &mut Vec<Fault>) -> Option<Healthcheck> {
    let Some((kind, args)) = raw.args.split_first() else {
        let fault = Fault::new(&raw.command, "HEALTHCHECK requires at least one argument");
        faults.push(fault.hint("write `HEALTHCHECK CMD …` or `HEALTHCHECK NONE`"));
        return None;
    };
    let test = match kind.text.to_uppercase().as_str() {
        "NONE" if args.is_empty() => return Some(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() }),
        "NONE" => Err(Fault::new(&args[0], "HEALTHCHECK NONE takes no arguments").hint("write only `HEALTHCHECK NONE`")),
        "CMD" if args.is_empty() => Err(Fault::new(kind, "Missing command after HEALTHCHECK CMD").hint("write the command that checks")),
        "CMD" if raw.json => Ok(words("CMD", args)),
        "CMD" => Ok(words("CMD-SHELL", args)),
        other => Err(Fault::new(kind, format!("Unknown type {other:?} in HEALTHCHECK (try CMD)")).hint("write `CMD` or `NONE`")),
    };
    let flags = Flags::read(&raw.flags, &FLAGS, faults);
    let test = test.map_err(|fault| faults.push(fault)).ok()?;
    let mut interval = |name: &str| flags.value(name).and_then(|word| duration_of(name, &word, faults));
    let (interval, timeout, start_period, start_interval) =
        (interval("interval"), interval("timeout"), interval("start-period"), interval("start-interval"));
    let retries = flags.value("retries").and_then(|word| retries_of(&word, faults));
    Some(Healthcheck { test, interval, timeout, start_period, start_interval, retries })
}

fn words(kind: &str, args: &[Word]) -> Vec<String> {
    std::iter::once(kind.to_owned()).chain(args.iter().map(|word| word.text.clone())).collect()
}

fn duration_of(name: &str, word: &Word, faults: &mut Vec<Fault>) -> Option<i64> {
    match go_duration(&word.text) {
        Ok(0) => None,
        Ok(nanoseconds) if nanoseconds < 1_000_000 => {
            let fault = Fault::new(word, format!("Interval {name:?} cannot be less than 1ms"));
            faults.push(fault.hint("write a longer one, as `30s`"));
            None
        }
        Ok(nanoseconds) => Some(nanoseconds),
        Err(what) => {
            faults.push(Fault::new(word, what).hint("write it as `1m30s`, `5s` or `500ms`"));
            None
        }
    }
}

fn retries_of(word: &Word, faults: &mut Vec<Fault>) -> Option<i64> {
    match word.text.parse::<i32>() {
        Ok(0) => None,
        Ok(retries) if retries > 0 => Some(retries.into()),
        Ok(retries) => {
            faults.push(Fault::new(word, format!("--retries cannot be negative ({retries})")).hint("write a number from 0"));
            None
        }
        Err(_) => {
            faults.push(Fault::new(word, format!("{:?} is not a number", word.text)).hint("write a number from 0"));
            None
        }
    }
}

/// Reads a duration as Go's `time.ParseDuration` does, in nanoseconds.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn go_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().map_err(|_| invalid())?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let scale = match &rest[..end] {
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            unit => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        };
        total += number * scale;
        rest = &rest[end..];
    }
    // Float to int saturates, and Go refuses what does not fit.
    if total > i64::MAX as f64 { Err(invalid()) } else { Ok((sign * total).round() as i64) }
}

/// Writes nanoseconds as Go's `time.Duration.String` does: `1h0m5s`, `500ms`.
pub fn go_duration_text(nanoseconds: i64) -> String {
    let magnitude = nanoseconds.unsigned_abs();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let small = |unit: u64, name: &str| format!("{sign}{}{name}", decimal(magnitude, unit));
    match magnitude {
        0 => "0s".to_owned(),
        1..1_000 => small(1, "ns"),
        1_000..1_000_000 => small(1_000, "µs"),
        1_000_000..1_000_000_000 => small(1_000_000, "ms"),
        _ => {
            let minutes = magnitude / 60_000_000_000;
            let seconds = decimal(magnitude % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

fn decimal(amount: u64, unit: u64) -> String {
    let fraction = format!("{:0width$}", amount % unit, width = unit.ilog10() as usize);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() || unit == 1 { (amount / unit).to_string() } else { format!("{}.{fraction}", amount / unit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_go_there_and_back() {
        for (written, shown) in
            [("1h", "1h0m0s"), ("90s", "1m30s"), ("1.5s", "1.5s"), ("500ms", "500ms"), ("1m0.5s", "1m0.5s"), ("3s", "3s")]
        {
            assert_eq!(go_duration_text(go_duration(written).unwrap()), shown, "{written}");
        }
        assert_eq!(go_duration("5").unwrap_err(), "time: missing unit in duration \"5\"");
        assert!(go_duration("5parsecs").is_err());
        assert!(go_duration("").is_err());
    }
}
