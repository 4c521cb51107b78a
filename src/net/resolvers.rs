//! The host's resolvers, as resolv.conf(5) names them.

use std::fs;
use std::net::IpAddr;

use super::Resolvers;

const USUAL: &str = "/etc/resolv.conf";

/// Where systemd-resolved writes the servers behind its stub 127.0.0.53.
const BEHIND_THE_STUB: &str = "/run/systemd/resolve/resolv.conf";

/// Reads the host's resolvers; a host without any has an empty list.
///
/// Where all are stubs of this host (127.0.0.53) and the file with the stub's own upstreams is not there, the stubs
/// are given: [`super::NameServer`] asks from the host's namespace, where they answer.
pub fn host_resolvers() -> Resolvers {
    let read = |path: &str| fs::read_to_string(path).map(|text| parse(&text)).unwrap_or_default();
    let usual = read(USUAL);
    if !usual.servers.is_empty() && usual.servers.iter().all(IpAddr::is_loopback) {
        let behind = read(BEHIND_THE_STUB);
        if behind.servers.iter().any(|server| !server.is_loopback()) {
            return Resolvers { servers: behind.servers, ..usual };
        }
    }
    usual
}

fn parse(text: &str) -> Resolvers {
    let mut resolvers = Resolvers::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => resolvers.servers.extend(words.next().and_then(|word| server(&word))),
            // The last of `search` and `domain` counts.
            Some("search" | "domain") => resolvers.search = words.filter(|name| name != ".").collect(),
            Some("options") => resolvers.options.extend(words),
            _ => {}
        }
    }
    resolvers
}

/// An address; the link that follows `%` in a link-local one is of no use to us, nor is such an address.
fn server(word: &str) -> Option<IpAddr> {
    word.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_search_list_and_options_are_read_and_the_rest_is_passed_over() {
        let text = "# made by hand\nnameserver 10.0.0.2 # first\n nameserver fd00::2\nnameserver fe80::1%eth0\nnameserver\n\
                    domain example.org\nsearch a.example b.example .\noptions ndots:2 rotate\noptions edns0\nsortlist 1.2.3.4\n;x";
        let parsed = parse(text);
        assert_eq!(parsed.servers, ["10.0.0.2".parse::<IpAddr>().unwrap(), "fd00::2".parse().unwrap()]);
        assert_eq!(parsed.search, ["a.example", "b.example"]);
        assert_eq!(parsed.options, ["ndots:2", "rotate", "edns0"]);
        assert_eq!(parse(""), Resolvers::default());
    }
}
