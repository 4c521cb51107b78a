//! Sizes, durations and points in time as the user writes and reads them.
//!
//! Points in time are RFC 3339 texts with nanoseconds in UTC, as Docker's records have them, or nanoseconds since
//! 1970; `text` in a function's name means "for the user's eyes".

use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::failure::Failure;
use crate::failure::Result;

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// Reads a size such as `512m`, `1.5GiB`, `64kb` or `100` as bytes; units are powers of 1024, as Docker reads them.
///
/// # Errors
/// Not a size.
pub fn bytes(text: &str) -> Result<u64> {
    parse_bytes(text)
        .ok_or_else(|| Failure::new(format!("cannot read `{text}` as a size")).hint("write a number and a unit, such as `512m` or `2g`"))
}

fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    let scale = 1u64 << (10 * power);
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale);
    }
    let value = number.parse::<f64>().ok()? * scale as f64;
    (value.is_finite() && value < u64::MAX as f64).then_some(value as u64)
}

/// Writes a size with decimal units and three digits, as `docker images` does: `156MB`.
pub fn size_text(bytes: u64) -> String {
    scaled(bytes as f64, 1000.0, 3, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// Writes a size with binary units and four digits, as `docker stats` does: `512MiB`.
pub fn binary_size_text(bytes: u64) -> String {
    scaled(bytes as f64, 1024.0, 4, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// Go's `%.{digits}g` and a unit.
fn scaled(mut value: f64, base: f64, digits: usize, units: &[&str]) -> String {
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let whole_digits = if value >= 1000.0 {
        4
    } else if value >= 100.0 {
        3
    } else if value >= 10.0 {
        2
    } else {
        1
    };
    let decimals = digits.saturating_sub(whole_digits);
    let mut number = format!("{value:.decimals$}");
    if number.contains('.') {
        number.truncate(number.trim_end_matches('0').trim_end_matches('.').len());
    }
    format!("{number}{}", units[unit])
}

/// Reads a duration such as `1m30s`, `500ms`, `1.5h`, `2d` or `0`, as Compose files and Docker's flags have them.
///
/// # Errors
/// Not a duration, or a negative one.
pub fn duration(text: &str) -> Result<Duration> {
    parse_duration(text).ok_or_else(|| {
        Failure::new(format!("cannot read `{text}` as a duration")).hint("write numbers with units, such as `1m30s` or `500ms`")
    })
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let nanoseconds = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => NANOSECONDS_PER_SECOND,
            "m" => 60 * NANOSECONDS_PER_SECOND,
            "h" => 3600 * NANOSECONDS_PER_SECOND,
            "d" => 86_400 * NANOSECONDS_PER_SECOND,
            "w" => 7 * 86_400 * NANOSECONDS_PER_SECOND,
            _ => return None,
        };
        sum = sum.checked_add(times(number, nanoseconds)?)?;
        rest = next;
    }
    Some(sum)
}

fn times(number: &str, nanoseconds: u64) -> Option<Duration> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(nanoseconds).map(Duration::from_nanos);
    }
    let value = number.parse::<f64>().ok()? * nanoseconds as f64;
    (value.is_finite() && value < u64::MAX as f64).then(|| Duration::from_nanos(value.round() as u64))
}

/// Writes a duration as Go and Compose's normal form do: `1m30s`, `1h0m0s`, `500ms`, `0s`.
pub fn duration_text(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    if nanoseconds == 0 {
        return "0s".into();
    }
    if nanoseconds < 1_000 {
        return format!("{nanoseconds}ns");
    }
    if nanoseconds < 1_000_000 {
        return format!("{}µs", fraction(nanoseconds, 1_000));
    }
    if nanoseconds < 1_000_000_000 {
        return format!("{}ms", fraction(nanoseconds, 1_000_000));
    }
    let seconds = duration.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let tail = format!("{}s", fraction(nanoseconds % 60_000_000_000, 1_000_000_000));
    match (hours, minutes) {
        (0, 0) => tail,
        (0, minutes) => format!("{minutes}m{tail}"),
        (hours, minutes) => format!("{hours}h{minutes}m{tail}"),
    }
}

/// `value / unit` with as many decimals as it needs; `unit` is a power of ten.
fn fraction(value: u128, unit: u128) -> String {
    let rest = value % unit;
    if rest == 0 {
        return (value / unit).to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{}.{}", value / unit, format!("{rest:0width$}").trim_end_matches('0'))
}

/// Says roughly how long something has lasted, as Docker does: `Less than a second`, `About a minute`, `2 hours`.
pub fn rough_duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".into(),
        () if seconds == 1 => "1 second".into(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".into(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".into(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

/// Says how long ago a point in time (RFC 3339) was: `2 hours ago`; empty if it is no point in time.
pub fn ago_text(time: &str) -> String {
    match since(time) {
        Some(duration) => format!("{} ago", rough_duration_text(duration)),
        None => String::new(),
    }
}

/// Returns how long ago a point in time (RFC 3339) was, zero if it is to come; None if it is no point in time.
pub fn since(time: &str) -> Option<Duration> {
    let then: Timestamp = time.parse().ok()?;
    let elapsed = Timestamp::now().duration_since(then);
    Some(Duration::try_from(elapsed).unwrap_or(Duration::ZERO))
}

/// Returns this moment as Docker's records have it: RFC 3339 in UTC with nine decimals.
pub fn now() -> String {
    time_text(now_nanoseconds())
}

/// Returns this moment in nanoseconds since 1970.
pub fn now_nanoseconds() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

/// Writes nanoseconds since 1970 as RFC 3339 in UTC with nine decimals: `2026-11-23T13:40:37.000000000Z`.
pub fn time_text(nanoseconds: u64) -> String {
    match Timestamp::from_nanosecond(i128::from(nanoseconds)) {
        Ok(time) => format!("{time:.9}"),
        Err(_) => String::new(),
    }
}

/// Writes a point in time (RFC 3339) as `docker images` and `ps --no-trunc` do: `2026-11-23 13:40:37 +0000 UTC`.
pub fn long_time_text(time: &str) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        Err(_) => String::new(),
    }
}

/// Writes a point in time with whole seconds: `2026-01-31T12:00:00Z`; what is none is empty.
pub fn whole_second_text(time: &str) -> String {
    time.parse::<Timestamp>().map_or_else(|_| String::new(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Reads a point in time as `--since` and `--until` take it, in nanoseconds since 1970: RFC 3339, a date (with or
/// without a time of day, then in the local time zone), seconds since 1970, or a duration back from now.
///
/// # Errors
/// Not a point in time.
pub fn moment(text: &str) -> Result<u64> {
    parse_moment(text.trim()).ok_or_else(|| {
        Failure::new(format!("cannot read `{text}` as a point in time")).hint("write `2026-01-31T12:00:00Z`, or how long ago: `10m`")
    })
}

fn parse_moment(text: &str) -> Option<u64> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return u64::try_from(time.as_nanosecond()).ok();
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return times(text, NANOSECONDS_PER_SECOND).map(|elapsed| elapsed.as_nanos() as u64);
    }
    if let Some(back) = parse_duration(text) {
        return Some(now_nanoseconds().saturating_sub(back.as_nanos() as u64));
    }
    let local = text.parse::<DateTime>().ok()?.to_zoned(TimeZone::system()).ok()?;
    u64::try_from(local.timestamp().as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        let table = [
            ("0", 0),
            ("100", 100),
            ("100b", 100),
            ("1k", 1024),
            ("64kb", 65_536),
            ("512m", 536_870_912),
            ("1.5GiB", 1_610_612_736),
            ("2 G", 2_147_483_648),
        ];
        for (text, expected) in table {
            assert_eq!(bytes(text).unwrap(), expected, "{text}");
        }
        for text in ["", "m", "12x", "-1", "1.2.3m", "99999999999p"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_written_as_docker_writes_them() {
        let table = [(0, "0B"), (999, "999B"), (1000, "1kB"), (156_400_000, "156MB"), (1_234_567_890, "1.23GB")];
        for (size, expected) in table {
            assert_eq!(size_text(size), expected);
        }
        assert_eq!(binary_size_text(536_870_912), "512MiB");
        assert_eq!(binary_size_text(1536), "1.5KiB");
    }

    #[test]
    fn durations_are_read_and_written() {
        let table = [
            ("1m30s", 90_000_000_000, "1m30s"),
            ("500ms", 500_000_000, "500ms"),
            ("1.5h", 5_400_000_000_000, "1h30m0s"),
            ("0", 0, "0s"),
            ("2d", 172_800_000_000_000, "48h0m0s"),
            ("1s500ms", 1_500_000_000, "1.5s"),
            ("1500us", 1_500_000, "1.5ms"),
        ];
        for (text, nanoseconds, again) in table {
            let read = duration(text).unwrap();
            assert_eq!(read.as_nanos(), nanoseconds, "{text}");
            assert_eq!(duration_text(read), again, "{text}");
        }
        for text in ["", "10", "1x", "s", "-1s", "1m 30s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rough_durations_are_dockers() {
        let table = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (150, "2 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (3 * 86_400, "3 days"),
            (21 * 86_400, "3 weeks"),
            (90 * 86_400, "3 months"),
            (1000 * 86_400, "2 years"),
        ];
        for (seconds, expected) in table {
            assert_eq!(rough_duration_text(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn a_moment_is_written_and_read_again() {
        let text = time_text(1_764_000_000_123_456_789);
        assert_eq!(text, "2025-11-24T16:00:00.123456789Z");
        assert_eq!(moment(&text).unwrap(), 1_764_000_000_123_456_789);
        assert_eq!(time_text(1_764_000_000_000_000_000), "2025-11-24T16:00:00.000000000Z");
        assert_eq!(moment("1764000000.5").unwrap(), 1_764_000_000_500_000_000);
        assert_eq!(long_time_text(&text), "2025-11-24 16:00:00 +0000 UTC");
        assert!(moment("yesterday").is_err());
        let back = now_nanoseconds() - moment("10m").unwrap();
        assert!((599_000_000_000..601_000_000_000).contains(&back), "{back}");
    }

    #[test]
    fn what_is_to_come_was_no_time_ago() {
        assert_eq!(ago_text("2999-01-01T00:00:00Z"), "Less than a second ago");
        assert_eq!(ago_text(""), "");
    }
}
