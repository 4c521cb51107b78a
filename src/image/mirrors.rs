//! Where an image is asked for: the rules of `registries.conf`, and what Docker's `daemon.json` says of registries.
//!
//! Read are `/etc/coracle/registries.conf`, `registries.conf` in our root directory and
//! `$XDG_CONFIG_HOME/coracle/registries.conf`; a later file replaces an earlier one's rule for the same prefix.
//! A file that `CORACLE_REGISTRIES_CONF` names is read instead of them all.
//! The form is that of containers-registries.conf(5), version 2: `[[registry]]` with prefix (`*.example.com`, too),
//! location, insecure, blocked and mirror-by-digest-only, `[[registry.mirror]]` with location, insecure and
//! pull-from-mirror, and `[aliases]`. What else is in it is refused: a name without a registry is always the Hub's here.
//! Of `daemon.json` (in `/etc/docker`, `/etc/coracle` and `$XDG_CONFIG_HOME/docker`) these are heeded:
//! `registry-mirrors`, which are the Hub's, and `insecure-registries`. A rule of ours is stronger.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::net::IpAddr;
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
    /// TLS with whatever certificate, or plain HTTP: `insecure = true`.
    Any,
    /// The same, on this machine: there is nothing on the way, so plain HTTP is asked first.
    Loopback,
    /// Plain HTTP and nothing else, because the user wrote `http://`.
    Plain,
}

/// The rules of all files, the later file's last.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Rules {
    registry: Vec<Rule>,
    /// What a name without a registry stands for.
    aliases: BTreeMap<String, String>,
    unqualified_search_registries: Vec<String>,
    /// Of no meaning where nothing is searched.
    short_name_mode: String,
    #[serde(skip)]
    daemon: Daemon,
}

/// What is heeded of `daemon.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Daemon {
    registry_mirrors: Vec<String>,
    insecure_registries: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Rule {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<Mirror>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Mirror {
    location: String,
    insecure: bool,
    pull_from_mirror: Which,
}

/// Which names are asked for at a mirror.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Which {
    #[default]
    All,
    DigestOnly,
    TagOnly,
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
        for path in daemon_files() {
            let text = match fs::read_to_string(&path) {
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
                read => read.doing(|| format!("cannot read {}", path.display()))?,
            };
            let more: Daemon = serde_json::from_str(&text).doing(|| format!("cannot understand {}", path.display()))?;
            rules.daemon.registry_mirrors.extend(more.registry_mirrors);
            rules.daemon.insecure_registries.extend(more.insecure_registries);
        }
        Ok(rules)
    }

    /// The place that `name` itself is at: where a push goes, which is never a mirror.
    pub(super) fn origin(&self, name: &Reference) -> Result<Endpoint> {
        let failure = || Failure::new(format!("cannot ask for `{name}`"));
        self.endpoints(name)?.pop().ok_or_else(failure)
    }

    fn parse(text: &str, path: &Path) -> Result<Rules> {
        let rules: Rules = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            Failure::new(format!("cannot understand {}, line {line}", path.display())).because(error.message())
        })?;
        if let Some(other) = rules.unqualified_search_registries.iter().find(|registry| *registry != "docker.io") {
            return Err(Failure::new(format!("cannot obey {}", path.display()))
                .because(format!("`unqualified-search-registries` has `{other}`; a name without a registry is the Hub's here"))
                .hint("write `[[registry]]` with prefix \"docker.io/library\" and another location, or `[aliases]`, and leave it out"));
        }
        if let Some(bad) = rules.registry.iter().find(|rule| rule.key().starts_with("*.") && !rule.location.is_empty()) {
            return Err(Failure::new(format!("cannot obey {}", path.display()))
                .because(format!("the prefix `{}` stands for many registries, and `location` for one", bad.key())));
        }
        Ok(rules)
    }

    fn add(&mut self, later: Rules) {
        self.registry.retain(|old| !later.registry.iter().any(|new| new.key() == old.key()));
        self.registry.extend(later.registry);
        self.aliases.extend(later.aliases);
    }

    /// The place a name means, `registry.example/a/b`.
    fn meant(&self, name: &Reference) -> String {
        let whole = name.name();
        let short = whole.strip_prefix("docker.io/").map(|path| path.strip_prefix("library/").unwrap_or(path));
        short.and_then(|short| self.aliases.get(short)).cloned().unwrap_or(whole)
    }

    /// The places to ask for `name`, best first; never empty.
    pub(super) fn endpoints(&self, name: &Reference) -> Result<Vec<Endpoint>> {
        let whole = self.meant(name);
        let matching = self.registry.iter().filter(|rule| rest_after(&whole, rule.key()).is_some());
        let Some(rule) = matching.max_by_key(|rule| rule.key().len()) else {
            let mut endpoints = Vec::new();
            if whole == name.name() && name.domain == "docker.io" {
                for mirror in &self.daemon.registry_mirrors {
                    endpoints.push(self.hub_mirror(mirror, &name.path)?);
                }
            }
            endpoints.push(self.endpoint(&whole, false));
            return Ok(endpoints);
        };
        if rule.blocked {
            let failure =
                Failure::new(format!("cannot ask for `{name}`")).because(format!("`{}` is blocked in registries.conf", rule.key()));
            return Err(failure);
        }
        let rest = rest_after(&whole, rule.key()).unwrap_or_default();
        let mut endpoints: Vec<Endpoint> =
            rule.mirrors_for(name).map(|mirror| self.endpoint(&format!("{}{rest}", mirror.location), mirror.insecure)).collect();
        let own = if rule.location.is_empty() { whole.clone() } else { format!("{}{rest}", rule.location) };
        endpoints.push(self.endpoint(&own, rule.insecure));
        Ok(endpoints)
    }

    /// A repository at exactly the place where it was seen, `127.0.0.1:5000/library/redis`.
    pub(super) fn place(&self, whole: &str) -> Endpoint {
        let locations = self.registry.iter().flat_map(|rule| {
            let own = if rule.location.is_empty() { rule.key() } else { &rule.location };
            std::iter::once((own, rule.insecure)).chain(rule.mirror.iter().map(|mirror| (mirror.location.as_str(), mirror.insecure)))
        });
        let matching = locations.filter(|(location, _)| rest_after(whole, location).is_some());
        let insecure = matching.max_by_key(|(location, _)| location.len()).is_some_and(|(_, insecure)| insecure);
        self.endpoint(whole, insecure)
    }

    fn hub_mirror(&self, mirror: &str, path: &str) -> Result<Endpoint> {
        let refused = || {
            let failure = Failure::new(format!("cannot use the registry mirror `{mirror}`")).because("it is no web address");
            failure.hint("write `https://HOST` in `registry-mirrors` of daemon.json")
        };
        let (scheme, rest) = mirror.split_once("://").ok_or_else(refused)?;
        let rest = rest.trim_end_matches('/');
        if rest.is_empty() || rest.contains(['?', '#', '@']) {
            return Err(refused());
        }
        let endpoint = self.endpoint(&format!("{rest}/{path}"), false);
        match scheme {
            "https" => Ok(endpoint),
            "http" => Ok(Endpoint { trust: Trust::Plain, ..endpoint }),
            _ => Err(refused()),
        }
    }

    fn endpoint(&self, whole: &str, insecure: bool) -> Endpoint {
        let (registry, repository) = whole.split_once('/').unwrap_or((whole, ""));
        let trust = match () {
            () if is_this_machine(registry) => Trust::Loopback,
            () if insecure || self.daemon.trusts(registry) => Trust::Any,
            () => Trust::Certified,
        };
        Endpoint { registry: registry.to_owned(), repository: repository.to_owned(), trust }
    }
}

impl Daemon {
    /// Whether `insecure-registries` has the registry, by its name or by the network its address is in.
    fn trusts(&self, registry: &str) -> bool {
        let address = host_of(registry).trim_matches(['[', ']']).parse::<IpAddr>().ok();
        self.insecure_registries.iter().any(|entry| {
            let bare = entry.trim_start_matches("http://").trim_start_matches("https://").trim_end_matches('/');
            bare == registry || address.is_some_and(|address| is_in(bare, address))
        })
    }
}

/// Whether an address is in a network such as `10.0.0.0/8`.
fn is_in(network: &str, address: IpAddr) -> bool {
    let Some((start, length)) = network.split_once('/') else { return false };
    let (Ok(start), Ok(length)) = (start.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    match (start, address) {
        (IpAddr::V4(start), IpAddr::V4(address)) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            u32::from(start) & mask == u32::from(address) & mask
        }
        (IpAddr::V6(start), IpAddr::V6(address)) if length <= 128 => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            u128::from(start) & mask == u128::from(address) & mask
        }
        _ => false,
    }
}

impl Rule {
    fn key(&self) -> &str {
        if self.prefix.is_empty() { &self.location } else { &self.prefix }
    }

    fn mirrors_for(&self, name: &Reference) -> impl Iterator<Item = &Mirror> {
        let is_exact = name.digest.is_some();
        self.mirror.iter().filter(move |mirror| match mirror.pull_from_mirror {
            _ if self.mirror_by_digest_only => is_exact,
            Which::All => true,
            Which::DigestOnly => is_exact,
            Which::TagOnly => !is_exact,
        })
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

/// Read only where no other rules were named.
fn daemon_files() -> Vec<PathBuf> {
    if env::var_os("CORACLE_REGISTRIES_CONF").is_some() {
        return Vec::new();
    }
    let config = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    let mut files = vec![PathBuf::from("/etc/docker/daemon.json"), PathBuf::from("/etc/coracle/daemon.json")];
    files.extend(config.map(|config| config.join("docker/daemon.json")));
    files
}

/// What follows `prefix` in `name`, if the prefix ends where a part ends; `*.example.com` is all that is under it.
fn rest_after<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    if let Some(domain) = prefix.strip_prefix('*') {
        let host = &name[..name.find(['/', ':']).unwrap_or(name.len())];
        return (domain.len() > 1 && host.len() > domain.len() && host.ends_with(domain))
            .then(|| &name[name.find('/').unwrap_or(name.len())..]);
    }
    let rest = name.strip_prefix(prefix)?;
    (!prefix.is_empty() && (rest.is_empty() || rest.starts_with('/'))).then_some(rest)
}

/// `registry.example` of `registry.example:5000`.
fn host_of(registry: &str) -> &str {
    match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => registry,
    }
}

/// Docker treats 127.0.0.0/8, ::1 and `localhost` as insecure registries without being told.
pub(super) fn is_this_machine(registry: &str) -> bool {
    let host = host_of(registry);
    host == "localhost" || host == "[::1]" || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(rules: &str, name: &str) -> Vec<String> {
        let rules = Rules::parse(rules, Path::new("test.conf")).unwrap();
        let endpoints = rules.endpoints(&Reference::parse(name).unwrap()).unwrap();
        endpoints
            .iter()
            .map(|e| format!("{}/{}{}", e.registry, e.repository, if e.trust != Trust::Certified { " any" } else { "" }))
            .collect()
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
    fn all_under_a_domain_and_other_names_for_places_are_known() {
        let rules = "
            short-name-mode = 'disabled'
            unqualified-search-registries = ['docker.io']
            [aliases]
            tools = 'registry.example/team/tools'
            'a/b' = 'b.example/a'
            [[registry]]
            prefix = '*.example.com'
            insecure = true
            [[registry.mirror]]
            location = 'mirror.example/all'
            [[registry]]
            location = 'b.example'
            [[registry.mirror]]
            location = 'exact.example'
            pull-from-mirror = 'digest-only'";
        let exact = format!("b.example/a@sha256:{}", "0".repeat(64));
        for (name, expected) in [
            ("tools:1", &["registry.example/team/tools"][..]),
            ("x.example.com:5000/a", &["mirror.example/all/a", "x.example.com:5000/a any"]),
            ("example.com/a", &["example.com/a"]),
            ("xexample.com/a", &["xexample.com/a"]),
            ("a/b", &["b.example/a"]),
            (&exact, &["exact.example/a", "b.example/a"]),
        ] {
            assert_eq!(asked(rules, name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_not_obeyed_is_refused() {
        for (rules, why) in [
            ("unqualified-search-registries = ['quay.io']", "a name without a registry is the Hub's here"),
            ("\n[[registry]]\nlocation = 'a.io'\ncolour = 1", "line 4"),
            ("credential-helpers = []", "unknown field `credential-helpers`"),
            ("[[registry]]\nprefix = '*.a.io'\nlocation = 'b.io'", "stands for many registries"),
        ] {
            let failure = Rules::parse(rules, Path::new("test.conf")).unwrap_err().to_string();
            assert!(failure.contains(why), "{rules}: {failure}");
        }
    }

    #[test]
    fn what_daemon_json_says_is_heeded_where_no_rule_says_otherwise() {
        let text = r#"{"debug": true, "registry-mirrors": ["https://m.example/hub/", "http://plain.example:5000"],
            "insecure-registries": ["reg.example:5000", "10.1.0.0/16", "fd00::/8"]}"#;
        let rules = Rules { daemon: serde_json::from_str(text).unwrap(), ..Rules::default() };
        let asked = |name: &str| {
            let endpoints = rules.endpoints(&Reference::parse(name).unwrap()).unwrap();
            endpoints.iter().map(|e| format!("{}/{} {:?}", e.registry, e.repository, e.trust)).collect::<Vec<_>>()
        };
        assert_eq!(
            asked("redis"),
            ["m.example/hub/library/redis Certified", "plain.example:5000/library/redis Plain", "docker.io/library/redis Certified"]
        );
        assert_eq!(asked("reg.example:5000/a"), ["reg.example:5000/a Any"]);
        assert_eq!(asked("reg.example/a"), ["reg.example/a Certified"]);
        assert_eq!(asked("10.1.2.3:5000/a"), ["10.1.2.3:5000/a Any"]);
        assert_eq!(asked("10.2.2.3:5000/a"), ["10.2.2.3:5000/a Certified"]);
        assert_eq!(asked("[fd12::1]:5000/a"), ["[fd12::1]:5000/a Any"]);
        assert_eq!(rules.origin(&Reference::parse("redis").unwrap()).unwrap().registry, "docker.io");
        let bad = Rules { daemon: Daemon { registry_mirrors: vec!["m.example".to_owned()], ..Daemon::default() }, ..Rules::default() };
        assert!(bad.endpoints(&Reference::parse("redis").unwrap()).is_err());
    }

    #[test]
    fn a_blocked_registry_and_a_broken_file_are_refused() {
        let rules = Rules::parse("[[registry]]\nprefix='a.io'\nblocked=true", Path::new("one")).unwrap();
        assert!(rules.endpoints(&Reference::parse("a.io/x").unwrap()).is_err());
        let failure = Rules::parse("\n[[registry]\n", Path::new("/etc/x.conf")).unwrap_err().to_string();
        assert!(failure.contains("/etc/x.conf, line 2"), "{failure}");
    }
}
