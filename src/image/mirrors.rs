//! Where an image is asked for: the rules of `registries.conf`.
//!
//! Read are `/etc/coracle/registries.conf`, `registries.conf` in our root directory and
//! `$XDG_CONFIG_HOME/coracle/registries.conf`; a later file replaces an earlier one's rule for the same prefix.
//! A file that `CORACLE_REGISTRIES_CONF` names is read instead of them all.
//! The form is that of containers-registries.conf(5), version 2, as far as
//! `[[registry]] prefix location insecure blocked` and `[[registry.mirror]] location insecure` go.

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;

use super::reference::Reference;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

/// One place to ask, in the order they are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// `docker.io`, `127.0.0.1:5000`.
    pub(super) registry: String,
    /// `library/redis`.
    pub(super) repository: String,
    pub(super) trust: Trust,
}

/// How much a connection must prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// TLS with a certificate that a known authority signed.
    Certified,
    /// Plain HTTP, or TLS with whatever certificate: this machine itself, or `insecure = true`.
    Any,
}

/// The rules of all files, the later file's last.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Rules {
    #[serde(default)]
    registry: Vec<Rule>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rule {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror: Vec<Mirror>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Mirror {
    location: String,
    insecure: bool,
}

impl Rules {
    /// Reads the files that are there.
    pub(super) fn load(home: &Home) -> Result<Rules> {
        let mut rules = Rules::default();
        for path in files(home) {
            let text = match fs::read_to_string(&path) {
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
                read => read.doing(|| format!("cannot read {}", path.display()))?,
            };
            rules.add(Rules::parse(&text, &path)?);
        }
        Ok(rules)
    }

    fn parse(text: &str, path: &Path) -> Result<Rules> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            Failure::new(format!("cannot understand {}, line {line}", path.display())).because(error.message())
        })
    }

    fn add(&mut self, later: Rules) {
        self.registry.retain(|old| !later.registry.iter().any(|new| new.key() == old.key()));
        self.registry.extend(later.registry);
    }

    /// The places to ask for `name`, best first; never empty.
    pub(super) fn endpoints(&self, name: &Reference) -> Result<Vec<Endpoint>> {
        let whole = name.name();
        let matching = self.registry.iter().filter(|rule| rest_after(&whole, rule.key()).is_some());
        let Some(rule) = matching.max_by_key(|rule| rule.key().len()) else {
            return Ok(vec![endpoint(&whole, Trust::Certified)]);
        };
        if rule.blocked {
            let failure =
                Failure::new(format!("cannot ask for `{name}`")).because(format!("`{}` is blocked in registries.conf", rule.key()));
            return Err(failure);
        }
        let rest = rest_after(&whole, rule.key()).unwrap_or_default();
        let mut endpoints: Vec<Endpoint> =
            rule.mirror.iter().map(|mirror| endpoint(&format!("{}{rest}", mirror.location), trust(mirror.insecure))).collect();
        let own = if rule.location.is_empty() { whole.clone() } else { format!("{}{rest}", rule.location) };
        endpoints.push(endpoint(&own, trust(rule.insecure)));
        Ok(endpoints)
    }
}

impl Rule {
    fn key(&self) -> &str {
        if self.prefix.is_empty() { &self.location } else { &self.prefix }
    }
}

fn files(home: &Home) -> Vec<PathBuf> {
    if let Some(only) = env::var_os("CORACLE_REGISTRIES_CONF") {
        return vec![PathBuf::from(only)];
    }
    let config = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    let mut files = vec![PathBuf::from("/etc/coracle/registries.conf"), home.root().join("registries.conf")];
    files.extend(config.map(|config| config.join("coracle/registries.conf")));
    files
}

fn trust(insecure: bool) -> Trust {
    if insecure { Trust::Any } else { Trust::Certified }
}

/// What follows `prefix` in `name`, if the prefix ends where a part ends.
fn rest_after<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = name.strip_prefix(prefix)?;
    (!prefix.is_empty() && (rest.is_empty() || rest.starts_with('/'))).then_some(rest)
}

fn endpoint(whole: &str, trust: Trust) -> Endpoint {
    let (registry, repository) = whole.split_once('/').unwrap_or((whole, ""));
    let trust = if is_this_machine(registry) { Trust::Any } else { trust };
    Endpoint { registry: registry.to_owned(), repository: repository.to_owned(), trust }
}

/// Docker treats 127.0.0.0/8, ::1 and `localhost` as insecure registries without being told.
fn is_this_machine(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => registry,
    };
    host == "localhost" || host == "[::1]" || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(rules: &str, name: &str) -> Vec<String> {
        let rules = Rules::parse(rules, Path::new("test.conf")).unwrap();
        let endpoints = rules.endpoints(&Reference::parse(name).unwrap()).unwrap();
        endpoints.iter().map(|e| format!("{}/{}{}", e.registry, e.repository, if e.trust == Trust::Any { " any" } else { "" })).collect()
    }

    #[test]
    fn without_a_rule_the_registry_itself_is_asked() {
        assert_eq!(asked("", "redis"), ["docker.io/library/redis"]);
        assert_eq!(asked("", "localhost:5000/a/b"), ["localhost:5000/a/b any"]);
        assert_eq!(asked("", "127.0.0.9:5000/a"), ["127.0.0.9:5000/a any"]);
        assert_eq!(asked("", "128.0.0.1:5000/a"), ["128.0.0.1:5000/a"]);
    }

    #[test]
    fn a_rule_moves_its_prefix_and_nothing_else() {
        let rules = "[[registry]]\nprefix = 'docker.io/library'\nlocation = '127.0.0.1:5000/library'\ninsecure = true\n";
        assert_eq!(asked(rules, "redis:8"), ["127.0.0.1:5000/library/redis any"]);
        assert_eq!(asked(rules, "other/redis"), ["docker.io/other/redis"]);
        assert_eq!(asked(rules, "libraryx/redis"), ["docker.io/libraryx/redis"]);
    }

    #[test]
    fn mirrors_come_before_the_origin_and_the_longest_prefix_wins() {
        let rules = "
            [[registry]]
            location = 'docker.io'
            [[registry.mirror]]
            location = 'mirror.example/hub'
            [[registry.mirror]]
            location = 'plain.example:80'
            insecure = true
            [[registry]]
            prefix = 'docker.io/library/redis'
            location = 'redis.example/r'";
        assert_eq!(
            asked(rules, "busybox"),
            ["mirror.example/hub/library/busybox", "plain.example:80/library/busybox any", "docker.io/library/busybox"]
        );
        assert_eq!(asked(rules, "redis"), ["redis.example/r"]);
    }

    #[test]
    fn a_later_file_replaces_the_rule_for_the_same_prefix() {
        let mut rules = Rules::parse("[[registry]]\nprefix='a.io'\nlocation='b.io'", Path::new("one")).unwrap();
        rules.add(Rules::parse("[[registry]]\nprefix='a.io'\nlocation='c.io'", Path::new("two")).unwrap());
        let endpoints = rules.endpoints(&Reference::parse("a.io/x").unwrap()).unwrap();
        assert_eq!(endpoints.len(), 1);
        assert_eq!(endpoints[0].registry, "c.io");
    }

    #[test]
    fn a_blocked_registry_and_a_broken_file_are_refused() {
        let rules = Rules::parse("[[registry]]\nprefix='a.io'\nblocked=true", Path::new("one")).unwrap();
        assert!(rules.endpoints(&Reference::parse("a.io/x").unwrap()).is_err());
        let failure = Rules::parse("\n[[registry]\n", Path::new("/etc/x.conf")).unwrap_err().to_string();
        assert!(failure.contains("/etc/x.conf, line 2"), "{failure}");
    }
}
