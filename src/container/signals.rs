//! Signals by the names that users write.

use nix::sys::signal::Signal;

use crate::failure::Failure;
use crate::failure::Result;

/// Linux' first real-time signal that the C library leaves to programs.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// Reads `SIGHUP`, `HUP`, `hup`, `1`, `SIGRTMIN+3` or `RTMAX-1`.
///
/// # Errors
/// There is no such signal.
pub(super) fn number(text: &str) -> Result<i32> {
    parse(text.trim()).ok_or_else(|| {
        Failure::new(format!("cannot send signal `{text}`"))
            .because("there is no such signal")
            .hint("write a name such as `SIGTERM`, or a number")
    })
}

fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return real_time(RTMIN, rest);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return real_time(RTMAX, rest);
    }
    match name {
        "CLD" => Some(libc::SIGCHLD),
        "POLL" => Some(libc::SIGIO),
        name => format!("SIG{name}").parse::<Signal>().ok().map(|signal| signal as i32),
    }
}

fn real_time(base: i32, offset: &str) -> Option<i32> {
    let offset = if offset.is_empty() { 0 } else { offset.parse::<i32>().ok()? };
    Some(base + offset).filter(|number| (RTMIN..=RTMAX).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_many_names() {
        let table =
            [("SIGTERM", 15), ("term", 15), ("9", 9), ("SIGRTMIN+3", 37), ("RTMAX-1", 63), ("RTMIN", 34), ("CLD", 17), ("SIGUSR1", 10)];
        for (text, expected) in table {
            assert_eq!(number(text).unwrap(), expected, "{text}");
        }
        for text in ["", "0", "65", "SIG", "TERMINATE", "RTMIN+31", "RTMIN-1", "-1"] {
            assert!(number(text).is_err(), "{text}");
        }
    }
}
