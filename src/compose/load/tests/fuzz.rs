//! Changed files, one after the other: whatever they hold, the loader answers, soon and without a panic.
//!
//! Runs for two seconds, or for as many as CORACLE_FUZZ_SECONDS says; `scripts/fuzz` runs all tests of this kind for long.
//! The sequence is the same each time; a failure prints the file.

use std::collections::BTreeMap;
use std::fs;
use std::panic;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use crate::compose::ConfigFlags;
use crate::compose::Sources;
use crate::compose::Surroundings;
use crate::compose::config_in;

/// Pieces that mean something to one of the stages.
const PIECES: [&str; 64] = [
    "services:",
    "image:",
    "build:",
    "ports:",
    "volumes:",
    "networks:",
    "deploy:",
    "extends:",
    "include:",
    "depends_on:",
    "environment:",
    "env_file:",
    "configs:",
    "secrets:",
    "healthcheck:",
    "profiles:",
    "<<:",
    "*a",
    "&a ",
    "!reset ",
    "!override ",
    "!!str ",
    "!!binary ",
    "- ",
    "? ",
    ": ",
    "| ",
    ">- ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "#",
    "\n",
    "\n  ",
    "\n    ",
    "\t",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "${",
    "${A:-",
    "${A:?",
    "${A:+",
    "}",
    "$$",
    "$A",
    "0x10",
    "1e400",
    "-1",
    "9223372036854775808",
    "1_0",
    ".inf",
    "~",
    "null",
    "true",
    "2001-01-01",
    "1h",
    "3gb",
    "80-90:80-90/udp",
    "\u{feff}",
    "\u{0}",
];

/// A file with most of what a file can have.
const SEED: &str = r#"name: shop
x-common: &common {restart: always, labels: {a: "${A:-b}"}}
include: []
services:
  web:
    <<: *common
    build: {context: ., args: [X=1], target: t, additional_contexts: {o: service:db}}
    ports: ["8080-8081:80-81/udp", {target: 80, published: "1-2", mode: host}]
    environment: {A: 1, B: null}
    env_file: [{path: ./e.env, required: false}]
    depends_on: {db: {condition: service_healthy, restart: true}}
    volumes: ["./a:/b:ro,z", {type: tmpfs, target: /x, tmpfs: {size: 1m}}, "v:/v1"]
    networks: {n: {aliases: [w], ipv4_address: 10.0.0.9}}
    deploy: {replicas: 2, resources: {limits: {cpus: "0.5", memory: 10M}}}
    extends: {service: db}
    develop: {watch: [{path: ., action: sync, target: /x}]}
  db:
    image: "redis:${TAG-8}"
    healthcheck: {test: "true", interval: 1m30s, retries: 3}
    ulimits: {nofile: {soft: 1, hard: 2}}
    profiles: [p]
networks: {n: {ipam: {config: [{subnet: 10.0.0.0/24}]}}}
volumes: {v: {driver_opts: {type: tmpfs}}}
configs: {c: {content: "x ${A}"}}
secrets: {s: {environment: A}}
"#;

/// The same numbers each time (xorshift64).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }

    /// A place between two characters.
    fn place(&mut self, text: &str) -> usize {
        let mut place = self.throw(text.len() + 1);
        while !text.is_char_boundary(place) {
            place -= 1;
        }
        place
    }

    fn change(&mut self, text: &mut String, other: &str) {
        let (one, two) = (self.place(text), self.place(text));
        let range = one.min(two)..one.max(two).min(one.min(two) + 60);
        let range = if text.is_char_boundary(range.end) { range } else { range.start..range.start };
        match self.throw(6) {
            0 | 1 => text.insert_str(one, PIECES[self.throw(PIECES.len())]),
            2 => text.replace_range(range, PIECES[self.throw(PIECES.len())]),
            3 => {
                let copy = text[range].to_owned();
                text.insert_str(two, &copy);
            }
            4 => text.replace_range(range, ""),
            _ => {
                let lines: Vec<&str> = other.lines().collect();
                let line = lines.get(self.throw(lines.len())).copied().unwrap_or_default();
                let at = text[..one].rfind('\n').map_or(0, |end| end + 1);
                text.insert_str(at, &format!("{line}\n"));
            }
        }
    }
}

fn seeds() -> Vec<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/projects");
    let files = ["web-redis/compose.yaml", "web-redis/compose.full.yaml", "getting-started/compose.yaml"];
    let found = files.iter().filter_map(|file| fs::read_to_string(here.join(file)).ok());
    found.chain([SEED.to_owned()]).collect()
}

fn flags(dice: &mut Dice) -> ConfigFlags {
    ConfigFlags {
        no_interpolate: dice.throw(8) == 0,
        no_normalize: dice.throw(8) == 0,
        no_consistency: dice.throw(4) == 0,
        variables: dice.throw(16) == 0,
        format: ["yaml", "json"][dice.throw(2)].to_owned(),
        ..ConfigFlags::default()
    }
}

#[test]
fn changed_files_are_answered_soon_and_without_a_panic() {
    let seconds = std::env::var("CORACLE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let end = Instant::now() + Duration::from_secs(seconds);
    let root = tempfile::tempdir().unwrap();
    let (seeds, mut dice, mut tried) = (seeds(), Dice(0x9e37_79b9_7f4a_7c15), 0);
    while Instant::now() < end {
        let mut texts: Vec<String> = Vec::new();
        for _ in 0..1 + dice.throw(2) {
            let mut text = seeds[dice.throw(seeds.len())].clone();
            for _ in 0..1 + dice.throw(6) {
                let other = &seeds[dice.throw(seeds.len())];
                dice.change(&mut text, other);
            }
            texts.push(text);
        }
        let names: Vec<String> = (0..texts.len()).map(|number| format!("{number}.yaml")).collect();
        for (name, text) in names.iter().zip(&texts) {
            fs::write(root.path().join(name), text).unwrap();
        }
        let variables = BTreeMap::from([("A".to_owned(), "a ${B} \"x\"".to_owned())]);
        let surroundings = Surroundings { directory: root.path().to_owned(), variables, input: Some(Vec::new()) };
        let sources = Sources { files: names, ..Sources::default() };
        let flags = flags(&mut dice);
        let start = Instant::now();
        let answer = panic::catch_unwind(|| config_in(&surroundings, &sources, &flags).is_ok());
        assert!(answer.is_ok(), "the loader panics at\n{}", texts.join("\n=====\n"));
        assert!(start.elapsed() < Duration::from_secs(20), "{:?} for\n{}", start.elapsed(), texts.join("\n=====\n"));
        tried += 1;
    }
    println!("{tried} projects");
}
