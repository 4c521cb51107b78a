//! The local registry that `scripts/base-images` fills and starts, and empty ones that tests push to.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use super::Running;
use super::World;
use super::wait;

/// `127.0.0.1:5000`, as the host has it; the registry answers there.
///
/// # Panics
/// `scripts/base-images` fails.
pub fn address() -> &'static str {
    static ADDRESS: OnceLock<String> = OnceLock::new();
    ADDRESS.get_or_init(|| {
        let rule = Path::new(env!("CARGO_TARGET_TMPDIR")).join("registries.conf");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/base-images");
        let output = Command::new(script).arg(&rule).output().expect("scripts/base-images can be started");
        assert!(output.status.success(), "scripts/base-images fails:\n{}", String::from_utf8_lossy(&output.stderr));
        let text = fs::read_to_string(&rule).expect("it has written the rule");
        let location = text.lines().find_map(|line| line.strip_prefix("location = \"")).expect("a rule has a location");
        location.trim_end_matches("/library\"").to_owned()
    })
}

/// A registry of a world's own, at 127.0.0.1 in there; gone when dropped.
pub struct OwnRegistry<'a> {
    world: &'a World,
    port: u16,
    process: Running,
}

/// Who may use a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Open,
    /// `me` with the password `secret`.
    Locked,
}

/// Who may connect to a registry that speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    Anybody,
    /// Who has `client.crt` of `data/tls`.
    Certified,
}

impl<'a> OwnRegistry<'a> {
    /// Starts it, empty.
    pub fn start(world: &'a World, port: u16, door: Door) -> OwnRegistry<'a> {
        OwnRegistry::start_with(world, port, door, "")
    }

    /// Starts one that speaks TLS as `shop.example` and 127.0.0.1, with a certificate of the authority in `data/tls`.
    pub fn secure(world: &'a World, port: u16, door: Door, clients: Clients) -> OwnRegistry<'a> {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/acceptance/data/tls");
        let place = place.display();
        let wanted = if clients == Clients::Certified { format!(", clientcas: [\"{place}/ca.crt\"]") } else { String::new() };
        let tls = format!(", tls: {{certificate: \"{place}/server.crt\", key: \"{place}/server.key\"{wanted}}}");
        OwnRegistry::start_with(world, port, door, &tls)
    }

    fn start_with(world: &'a World, port: u16, door: Door, tls: &str) -> OwnRegistry<'a> {
        let place = world.root().join(format!("registry-{port}"));
        fs::create_dir_all(&place).expect("a fresh directory");
        let place = place.display();
        let lock = match door {
            Door::Open => String::new(),
            Door::Locked => {
                let entry = "me:$2b$04$6BHoz6wcv7J4ercWIlJb9eo3sLQDkQjXxtYOo3OMvSsKUokThqWK2\n";
                fs::write(format!("{place}/users"), entry).expect("a fresh file");
                format!("auth:\n  htpasswd: {{realm: test, path: \"{place}/users\"}}\n")
            }
        };
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: \"{place}/data\"}}\nhttp: {{addr: \"127.0.0.1:{port}\"{tls}}}\n{lock}"
        );
        fs::write(format!("{place}/config.yml"), config).expect("a fresh file");
        let process = world.start_outside(&["docker-registry", "serve", &format!("{place}/config.yml")]);
        let registry = OwnRegistry { world, port, process };
        wait::eventually(wait::seconds(30), || match world.fetch(&registry.address(), "/v2/") {
            // One that speaks TLS answers to plain words with 400.
            Err(answer) if !answer.contains("401") && !answer.contains("400") => Err(answer),
            _ => Ok(()),
        });
        registry
    }

    /// `127.0.0.1:5001`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it was asked, a line each.
    pub fn log(&self) -> String {
        self.process.stdout()
    }

    /// The bytes of a blob or manifest it has.
    pub fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        let hex = digest.strip_prefix("sha256:")?;
        let data = format!("registry-{}/data/docker/registry/v2/blobs/sha256/{}/{hex}/data", self.port, &hex[..2]);
        fs::read(self.world.root().join(data)).ok()
    }

    /// How many blobs, manifests among them, it has.
    pub fn blobs(&self) -> usize {
        let place = self.world.root().join(format!("registry-{}/data/docker/registry/v2/blobs/sha256", self.port));
        let count = |entry: fs::DirEntry| fs::read_dir(entry.path()).map_or(0, |entries| entries.count());
        fs::read_dir(place).map_or(0, |entries| entries.flatten().map(count).sum())
    }
}

impl Drop for OwnRegistry<'_> {
    fn drop(&mut self) {
        // The process we started is nsenter's: the registry itself is the one with our port in its configuration.
        let own = format!("registry-{}/config.yml", self.port);
        self.world.processes().iter().filter(|process| process.command.contains(&own)).for_each(|process| self.world.kill(process));
    }
}
