//! The small grammars of an image's configuration: ports of EXPOSE, signals of STOPSIGNAL, Go's way to print lists.

use std::net::IpAddr;
use std::sync::OnceLock;

use regex::Regex;

/// Reads `[[ip:]host:]port[-port][/protocol]` into `port/protocol`, one for each port of the range.
///
/// # Errors
/// A sentence that names the fault.
pub(super) fn ports(text: &str) -> Result<Vec<String>, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (ip, host, container) = match parts.as_slice() {
        [container] => (String::new(), "", *container),
        [host, container] => (String::new(), *host, *container),
        [ip @ .., host, container] => (ip.join(":"), *host, *container),
        [] => (String::new(), "", ""),
    };
    let (range, protocol) = container.split_once('/').unwrap_or((container, ""));
    if range.is_empty() {
        return Err(format!("invalid port: {text:?}: no port specified"));
    }
    let protocol = match protocol.to_lowercase().as_str() {
        "" => "tcp".to_owned(),
        known @ ("tcp" | "udp" | "sctp") => known.to_owned(),
        _ => return Err(format!("invalid port: {text:?}: invalid proto: {protocol}")),
    };
    let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(&ip);
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address: {bare}"));
    }
    let (first, last) = range_of(range).ok_or_else(|| format!("invalid containerPort: {range}"))?;
    if !host.is_empty() {
        let (host_first, host_last) = range_of(host).ok_or_else(|| format!("invalid hostPort: {host}"))?;
        if last - first != host_last - host_first && first != last {
            return Err(format!("invalid ranges specified for container and host Ports: {range} and {host}"));
        }
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn range_of(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

/// Whether STOPSIGNAL accepts this: a number but 0, or a signal's name with or without `SIG`.
pub(super) fn is_signal(text: &str) -> bool {
    const NAMES: [&str; 36] = [
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL", "PROF", "PWR",
        "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU",
        "XFSZ", "RTMIN", "RTMAX",
    ];
    if let Ok(number) = text.parse::<i64>() {
        return number != 0;
    }
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = |prefix: &str| name.strip_prefix(prefix).and_then(|n| n.parse::<u8>().ok()).is_some_and(|n| (1..=15).contains(&n));
    NAMES.contains(&name) || real_time("RTMIN+") || real_time("RTMAX-") && name != "RTMAX-15"
}

/// Go's `%v` of a list: `[a b]`.
pub(super) fn go_list<S: AsRef<str>>(texts: &[S]) -> String {
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    format!("[{}]", texts.join(" "))
}

/// Go's `%q` of a list: `["a" "b"]`.
pub(super) fn go_quoted_list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| go_quoted(text)).collect();
    format!("[{}]", quoted.join(" "))
}

/// Go's `%q`.
pub(super) fn go_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\x0b' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c == '\x7f' => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_ascii() || is_printed(c) => out.push(c),
            c if (c as u32) < 0x10000 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    out.push('"');
    out
}

/// Go's `unicode.IsPrint` beyond ASCII: letters, marks, numbers, punctuation, symbols.
fn is_printed(c: char) -> bool {
    static PRINTED: OnceLock<Option<Regex>> = OnceLock::new();
    let printed = PRINTED.get_or_init(|| Regex::new(r"^[\p{L}\p{M}\p{N}\p{P}\p{S}]$").ok());
    printed.as_ref().is_none_or(|printed| printed.is_match(c.encode_utf8(&mut [0; 4])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_all_their_forms() {
        for (text, expected) in [
            ("80", Ok(vec!["80/tcp"])),
            ("53/UDP", Ok(vec!["53/udp"])),
            ("8000-8002", Ok(vec!["8000/tcp", "8001/tcp", "8002/tcp"])),
            ("127.0.0.1:8080:80", Ok(vec!["80/tcp"])),
            ("70000", Err("invalid containerPort: 70000")),
            ("80/quic", Err("invalid port: \"80/quic\": invalid proto: quic")),
            ("2-1", Err("invalid containerPort: 2-1")),
        ] {
            let expected = expected.map(|ports| ports.into_iter().map(str::to_owned).collect()).map_err(str::to_owned);
            assert_eq!(ports(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_printed_is_escaped() {
        let texts = ["é한", "\u{a0}\u{feff}", "\u{e0001}\u{7}"].map(str::to_owned);
        assert_eq!(go_quoted_list(&texts), r#"["é한" "\u00a0\ufeff" "\U000e0001\a"]"#);
    }

    #[test]
    fn signals_by_name_and_number() {
        for (text, known) in [("SIGINT", true), ("term", true), ("9", true), ("RTMIN+3", true), ("SIGFOO", false), ("0", false)] {
            assert_eq!(is_signal(text), known, "{text}");
        }
    }
}
