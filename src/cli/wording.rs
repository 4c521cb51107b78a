//! How containers, ports and commands are worded in Docker's columns.

use std::net::IpAddr;

use crate::container::Health;
use crate::container::State;
use crate::container::Status;
use crate::net::Port;
use crate::net::Protocol;
use crate::units;

/// The first twelve digits of an id, `sha256:` left out.
pub fn short(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..12).unwrap_or(digits)
}

/// `Up 5 minutes (healthy)`, `Exited (0) 3 seconds ago`, `Created` …
pub fn status(state: &State) -> String {
    let running_for = || units::since(&state.started).map(units::rough_duration_text).unwrap_or_default();
    match state.status {
        Status::Running => match state.health {
            None => format!("Up {}", running_for()),
            Some(Health::Starting) => format!("Up {} (health: starting)", running_for()),
            Some(Health::Healthy) => format!("Up {} (healthy)", running_for()),
            Some(Health::Unhealthy) => format!("Up {} (unhealthy)", running_for()),
        },
        Status::Paused => format!("Up {} (Paused)", running_for()),
        Status::Restarting => format!("Restarting ({}) {}", state.exit_code, units::ago_text(&state.finished)),
        Status::Exited => format!("Exited ({}) {}", state.exit_code, units::ago_text(&state.finished)),
        Status::Created => "Created".to_owned(),
        Status::Dead => "Dead".to_owned(),
    }
}

/// `running`, `exited` … as JSON and filters have it.
pub fn status_word(status: Status) -> &'static str {
    match status {
        Status::Created => "created",
        Status::Running => "running",
        Status::Paused => "paused",
        Status::Restarting => "restarting",
        Status::Exited => "exited",
        Status::Dead => "dead",
    }
}

/// `healthy`, `unhealthy`, `starting`, or empty without a health check.
pub fn health_word(health: Option<Health>) -> &'static str {
    match health {
        None => "",
        Some(Health::Starting) => "starting",
        Some(Health::Healthy) => "healthy",
        Some(Health::Unhealthy) => "unhealthy",
    }
}

/// `tcp`, `udp` or `sctp`.
pub fn protocol(protocol: Protocol) -> &'static str {
    protocol.word()
}

/// `0.0.0.0:8000->5000/tcp, [::]:8000->5000/tcp, 6379/tcp`: published ports with neighbours joined to ranges, then those
/// only exposed.
pub fn ports(published: &[Port], exposed: &[String]) -> String {
    let mut published = published.to_vec();
    published.sort_by_key(|port| (port.container_port, port.protocol, port.host_address, port.host_port));
    let mut ranges: Vec<(Port, u16)> = Vec::new();
    for port in &published {
        match ranges.iter_mut().find(|(first, more)| follows(first, *more, port)) {
            Some((_, more)) => *more += 1,
            None => ranges.push((*port, 0)),
        }
    }
    let mut words: Vec<String> = ranges.iter().map(|(first, more)| published_text(first, *more)).collect();
    words.dedup(); // what is reached by routes says nothing of the family
    let is_published = |text: &str| published.iter().any(|port| text == exposed_text(port));
    words.extend(exposed.iter().filter(|text| !is_published(text)).cloned());
    words.join(", ")
}

fn exposed_text(port: &Port) -> String {
    format!("{}/{}", port.container_port, protocol(port.protocol))
}

/// Whether a port is the next one, on both sides, of a range that begins with `first` and has so many more.
fn follows(first: &Port, more: u16, port: &Port) -> bool {
    let next = |first: u16| first.checked_add(more).and_then(|last| last.checked_add(1));
    first.host_address == port.host_address
        && first.protocol == port.protocol
        && next(first.container_port) == Some(port.container_port)
        && next(first.host_port) == Some(port.host_port)
}

/// The number of a port of the host; empty if there is none, as what is published is reached at the container's own address.
pub fn host_number(port: &Port) -> String {
    if port.host_port == 0 { String::new() } else { port.host_port.to_string() }
}

/// An address and one port or more: `0.0.0.0:8000`, `[::]:8000-8001`.
pub fn host_port(address: Option<IpAddr>, port: &str) -> String {
    match address {
        Some(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        Some(IpAddr::V4(address)) => format!("{address}:{port}"),
        None => port.to_owned(),
    }
}

fn published_text(first: &Port, more: u16) -> String {
    if first.host_port == 0 {
        return exposed_text(first);
    }
    let range = |start: u16| if more == 0 { start.to_string() } else { format!("{start}-{}", start + more) };
    let outside = host_port(first.host_address, &range(first.host_port));
    format!("{outside}->{}/{}", range(first.container_port), protocol(first.protocol))
}

/// A command line as Docker's COMMAND column has it: arguments with blanks in quotes, the whole as a text of Go's, cut to
/// twenty characters before.
pub fn command(args: &[String], width: Width) -> String {
    let quoted = |(at, arg): (usize, &String)| if at > 0 && arg.contains(' ') { format!("'{arg}'") } else { arg.clone() };
    let line = args.iter().enumerate().map(quoted).collect::<Vec<_>>().join(" ");
    serde_json::to_string(&cut(&line, 20, width)).expect("a text can be written as JSON")
}

/// Whether long texts are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    Cut,
    Whole,
}

impl Width {
    /// What `--no-trunc` says.
    pub fn of_flag(no_trunc: bool) -> Width {
        if no_trunc { Width::Whole } else { Width::Cut }
    }

    /// An id, cut or whole.
    pub fn id(self, id: &str) -> String {
        match self {
            Width::Cut => short(id).to_owned(),
            Width::Whole => id.to_owned(),
        }
    }
}

/// Cuts a text to so many characters, the last being an ellipsis.
pub fn cut(text: &str, limit: usize, width: Width) -> String {
    if width == Width::Whole || text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::net::Ipv6Addr;

    use super::*;

    fn port(host_port: u16, container_port: u16, protocol: Protocol) -> Port {
        Port { host_address: Some(Ipv4Addr::UNSPECIFIED.into()), host_port, container_port, protocol }
    }

    fn on_ipv6(host_port: u16, container_port: u16) -> Port {
        Port { host_address: Some(Ipv6Addr::UNSPECIFIED.into()), ..port(host_port, container_port, Protocol::Tcp) }
    }

    #[test]
    fn ports_are_worded_as_docker_words_them() {
        use Protocol::*;
        let exposed = ["6379/tcp".to_owned(), "5000/tcp".to_owned()];
        let table = [
            (vec![port(8000, 5000, Tcp)], "0.0.0.0:8000->5000/tcp, 6379/tcp"),
            (vec![port(81, 91, Tcp), port(80, 90, Tcp)], "0.0.0.0:80-81->90-91/tcp, 6379/tcp, 5000/tcp"),
            (vec![port(53, 53, Udp), port(53, 53, Tcp)], "0.0.0.0:53->53/tcp, 0.0.0.0:53->53/udp, 6379/tcp, 5000/tcp"),
            (vec![], "6379/tcp, 5000/tcp"),
            (
                vec![port(80, 90, Tcp), on_ipv6(80, 90), port(81, 91, Tcp), on_ipv6(81, 91)],
                "0.0.0.0:80-81->90-91/tcp, [::]:80-81->90-91/tcp, 6379/tcp, 5000/tcp",
            ),
        ];
        for (published, expected) in table {
            assert_eq!(ports(&published, &exposed), expected);
        }
    }

    #[test]
    fn a_command_is_cut_to_twenty_characters() {
        let args = ["docker-entrypoint.sh".to_owned(), "redis-server".to_owned()];
        assert_eq!(command(&args, Width::Cut), "\"docker-entrypoint.s…\"");
        assert_eq!(command(&args, Width::Whole), "\"docker-entrypoint.sh redis-server\"");
        let args = ["sh", "-c", "echo \"a\"; exit 2"].map(str::to_owned);
        assert_eq!(command(&args, Width::Cut), "\"sh -c 'echo \\\"a\\\"; ex…\"");
        assert_eq!(command(&args, Width::Whole), "\"sh -c 'echo \\\"a\\\"; exit 2'\"");
    }
}
