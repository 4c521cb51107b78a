//! The short forms that a service's ports, volumes and devices are written in.

use std::net::IpAddr;
use std::rc::Rc;

use super::node::Map;
use super::node::Node;
use super::node::Span;
use super::node::Value;

/// A mount in its short form, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Volume {
    pub source: String,
    pub target: String,
    read_only: bool,
    no_copy: bool,
    propagation: Option<String>,
    selinux: Option<String>,
    /// A target alone of one or two letters has no options at all.
    bare: bool,
}

const PROPAGATIONS: [&str; 6] = ["rprivate", "private", "rshared", "shared", "rslave", "slave"];

/// Takes `[source:]target[:options]` apart.
///
/// # Errors
/// What is wrong with it.
pub(super) fn volume(text: &str) -> Result<Volume, &'static str> {
    let mut volume = Volume::default();
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() <= 2 {
        return Ok(Volume { target: text.to_owned(), bare: true, ..volume });
    }
    let sections = sections(text);
    let last = sections.len() - 1;
    for (index, section) in sections.into_iter().enumerate() {
        match section {
            "" => return Err("a part between its colons is empty"),
            _ if volume.source.is_empty() && index == last => volume.target = section.to_owned(),
            _ if volume.source.is_empty() => volume.source = section.to_owned(),
            _ if volume.target.is_empty() => volume.target = section.to_owned(),
            _ if index != last => return Err("it has too many colons"),
            options => options.split(',').for_each(|option| volume.set(option)),
        }
    }
    Ok(volume)
}

/// The parts between colons; the colon of a Windows drive and those in `${…}` are none.
fn sections(text: &str) -> Vec<&str> {
    let (mut sections, mut start, mut variables) = (Vec::new(), 0, 0_usize);
    for (index, char) in text.char_indices() {
        let after = &text[index + char.len_utf8()..];
        match char {
            '$' if after.starts_with('{') => variables += 1,
            '}' => variables = variables.saturating_sub(1),
            ':' if variables == 0 && !is_drive(&text[start..index]) => {
                sections.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    sections.push(&text[start..]);
    sections
}

fn is_drive(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(char::is_alphabetic) && letters.next().is_none()
}

impl Volume {
    fn set(&mut self, option: &str) {
        match option {
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "nocopy" => self.no_copy = true,
            "z" | "Z" => self.selinux = Some(option.to_owned()),
            _ if PROPAGATIONS.contains(&option) => self.propagation = Some(option.to_owned()),
            _ => {}
        }
    }

    fn is_bind(&self) -> bool {
        let mut letters = self.source.chars();
        let first = letters.next();
        matches!(first, Some('.' | '/' | '~'))
            || self.source.starts_with("\\\\")
            || (first.is_some_and(char::is_alphabetic) && letters.next() == Some(':'))
    }

    /// The long form.
    pub(super) fn long(self, at: Span) -> Node {
        let mut map = Map::new();
        let bind = self.is_bind();
        map.put("type", Node::text(if bind { "bind" } else { "volume" }, at));
        map.put("target", Node::text(super::paths::clean(&self.target), at));
        if !self.source.is_empty() {
            map.put("source", Node::text(self.source, at));
        }
        if self.read_only {
            map.put("read_only", Node::bool(true, at));
        }
        let mut options = Map::new();
        for (key, value) in [("propagation", self.propagation), ("selinux", self.selinux)] {
            if let Some(value) = value {
                options.put(key, Node::text(value, at));
            }
        }
        if bind {
            options.put("create_host_path", Node::bool(true, at));
        }
        if !options.is_empty() {
            map.put("bind", Node::new(Value::Map(options), at));
        }
        if self.no_copy || (!bind && !self.bare) {
            let mut options = Map::new();
            if self.no_copy {
                options.put("nocopy", Node::bool(true, at));
            }
            map.put("volume", Node::new(Value::Map(options), at));
        }
        Node::new(Value::Map(map), at)
    }
}

/// Takes `[[ip:]published:]target[/protocol]` apart, into one long form for each port.
///
/// # Errors
/// What is wrong with it.
pub(super) fn ports(text: &str, at: Span) -> Result<Vec<Node>, String> {
    let (rest, target) = text.rsplit_once(':').unwrap_or(("", text));
    let (ip, published) = rest.rsplit_once(':').unwrap_or(("", rest));
    let (target, protocol) = target.split_once('/').unwrap_or((target, ""));
    let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol.to_lowercase() };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("`{protocol}` is no protocol, there are `tcp`, `udp` and `sctp`"));
    }
    let ip = address(ip)?;
    if target.is_empty() {
        return Err("it names no port of the container".to_owned());
    }
    let (first, last) = range(target).ok_or_else(|| format!("`{target}` is no port or range of ports"))?;
    if first == 0 {
        return Err("a container has no port 0".to_owned());
    }
    let host = match published {
        "" => None,
        _ => Some(range(published).ok_or_else(|| format!("`{published}` is no port or range of ports"))?),
    };
    if let Some((from, to)) = host
        && last - first != to - from
        && first != last
    {
        return Err(format!("the ranges `{published}` and `{target}` are not of one length"));
    }
    let mut ports: Vec<(String, Node)> = (first..=last)
        .map(|port| {
            let published = host.map(|(from, to)| match first == last && from != to {
                true => format!("{from}-{to}"),
                false => (from + (port - first)).to_string(),
            });
            (format!("{port}/{protocol}"), long_port((port, &protocol), &ip, published, at))
        })
        .collect();
    ports.sort_by(|one, two| one.0.cmp(&two.0));
    Ok(ports.into_iter().map(|(_, port)| port).collect())
}

fn long_port((port, protocol): (u32, &str), ip: &str, published: Option<String>, at: Span) -> Node {
    let mut map = Map::new();
    map.put("mode", Node::text("ingress", at));
    map.put("protocol", Node::text(protocol, at));
    map.put("target", Node::new(Value::Int(i64::from(port)), at));
    if !ip.is_empty() {
        map.put("host_ip", Node::text(ip, at));
    }
    if let Some(published) = published {
        map.put("published", Node::text(published, at));
    }
    Node::new(Value::Map(map), at)
}

fn address(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    match bare.unwrap_or(text) {
        bare if bare.len() == text.len() && text.contains(':') => Err(format!("write the IPv6 address `{text}` in brackets: `[{text}]`")),
        bare if text.is_empty() || is_address(bare) => Ok(bare.to_owned()),
        _ => Err(format!("`{text}` is no IP address")),
    }
}

/// Whether the text is an IPv4 or IPv6 address.
pub(super) fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

fn range(text: &str) -> Option<(u32, u32)> {
    let port = |text: &str| if text.starts_with('+') { None } else { text.parse::<u16>().ok().map(u32::from) };
    let mut parts = text.split('-');
    let first = port(parts.next()?)?;
    let last = parts.next().map_or(Some(first), port)?;
    (first <= last).then_some((first, last))
}

/// Takes `source[:target[:permissions]]` apart.
///
/// # Errors
/// What is wrong with it.
pub(super) fn device(text: &str, at: Span) -> Result<Node, &'static str> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, target] => (source, target, "rwm"),
        [source, target, permissions] => (source, target, permissions),
        _ => return Err("it has too many colons"),
    };
    let mut map = Map::new();
    for (key, value) in [("source", source), ("target", if target.is_empty() { source } else { target }), ("permissions", permissions)] {
        map.put(key, Node::text(Rc::from(value), at));
    }
    Ok(Node::new(Value::Map(map), at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_taken_apart() {
        let cases = [
            ("80", "80"),
            ("8000:80", "8000->80"),
            ("127.0.0.1:8000:80/udp", "127.0.0.1:8000->80/udp"),
            ("127.0.0.1::80", "127.0.0.1:->80"),
            ("[::1]:8000:80", "::1:8000->80"),
            ("8000-8001:80-81", "8000->80 8001->81"),
            ("8000-8010:80", "8000-8010->80"),
            ("99-100:99-100", "100->100 99->99"),
            ("a", "`a` is no port or range of ports"),
            ("80/x", "`x` is no protocol, there are `tcp`, `udp` and `sctp`"),
            ("1-2:3-5", "the ranges `1-2` and `3-5` are not of one length"),
            ("x:1:2", "`x` is no IP address"),
            ("::1:8000:80", "write the IPv6 address `::1` in brackets: `[::1]`"),
            ("70000", "`70000` is no port or range of ports"),
        ];
        for (text, expected) in cases {
            let found = match ports(text, Span::default()) {
                Ok(ports) => ports.iter().map(shown).collect::<Vec<_>>().join(" "),
                Err(error) => error,
            };
            assert_eq!(found, expected, "{text}");
        }
    }

    fn shown(port: &Node) -> String {
        let map = port.as_map().unwrap();
        let host = map.text("host_ip").map(|ip| format!("{ip}:")).unwrap_or_default();
        let published = map.text("published").unwrap_or_default();
        let arrow = if host.is_empty() && published.is_empty() { "" } else { "->" };
        let protocol = if map.text("protocol") == Some("tcp") { "" } else { "/udp" };
        format!("{host}{published}{arrow}{}{protocol}", map.get("target").unwrap().value)
    }

    #[test]
    fn volumes_are_taken_apart() {
        let cases = [
            ("/data", Ok(("", "/data"))),
            ("data:/data", Ok(("data", "/data"))),
            ("./a:/b:ro", Ok(("./a", "/b"))),
            ("v:/v", Ok(("", "v:/v"))),
            ("./a:/b:ro:rw", Err("it has too many colons")),
            ("ab::/b", Err("a part between its colons is empty")),
            ("", Err("it is empty")),
            ("${A:-x}:/b", Ok(("${A:-x}", "/b"))),
        ];
        for (text, expected) in cases {
            let found = volume(text);
            let found = found.as_ref().map(|volume| (volume.source.as_str(), volume.target.as_str())).map_err(|error| *error);
            assert_eq!(found, expected, "{text}");
        }
    }
}
