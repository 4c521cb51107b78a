//! Checks the house rules on every run: floors, file headers, `unsafe`, printing, names, lengths.
//!
//! Reads the source as text with comments and literals taken out; needs no rights and no build of the rest.
//! The floors are those of the table in `src/lib.rs`: there is no second copy of it.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

#[path = "house/source.rs"]
mod source;

use source::Source;

/// A function may be this long without a comment that says `Long because …`.
const FUNCTION_LINES: usize = 60;
/// A file may have this many lines before its tests.
const FILE_LINES: usize = 500;
const TOP_LEVEL: [&str; 8] = ["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "scripts", "src", "tests", "vendor-notes"];
const NO_NAMES: [&str; 9] = ["util", "utils", "common", "core", "helper", "helpers", "manager", "misc", "shared"];
const NAMED_BY_THE_USER: [&str; 8] = ["flate2", "libcgroups", "netlink-packet-route", "nix", "oci-client", "oci-spec", "rtnetlink", "tar"];
const PRINTS: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];
const UNFINISHED: [&str; 2] = ["todo", "unimplemented"];

// ---- the rules on this tree ----

#[test]
fn rooms_use_only_rooms_below_them() {
    let floors = Floors::read(&text_of("src/lib.rs"));
    assert!(floors.0.len() >= 8, "the table of floors in src/lib.rs was not understood: {floors:?}");
    for path in rust_files("src") {
        if let Some(room) = room_of(&path) {
            assert!(room == "lib" || room == "main" || floors.level(&room).is_some(), "src/lib.rs has no floor for `{room}`");
        }
    }
    hold("src", |file| floor_faults(file, &floors));
}

#[test]
fn every_file_starts_by_saying_what_it_is_for() {
    hold("src", header_faults);
    hold("tests", header_faults);
}

#[test]
fn only_sys_is_unsafe_and_says_why_it_is_sound() {
    hold("src", unsafe_faults);
    hold("tests", unsafe_faults);
}

#[test]
fn only_the_command_line_prints() {
    hold("src", print_faults);
}

#[test]
fn what_runs_is_finished_and_does_not_unwrap() {
    hold("src", unfinished_faults);
}

#[test]
fn imports_are_one_a_line_and_name_what_they_bring() {
    hold("src", import_faults);
    hold("tests", import_faults);
}

#[test]
fn files_and_functions_can_be_read_whole() {
    hold("src", length_faults);
    hold("tests", length_faults);
}

#[test]
fn no_file_is_named_for_having_no_home() {
    hold("src", name_faults);
    hold("tests", name_faults);
}

#[test]
fn acceptance_tests_wait_for_what_they_want_and_do_not_sleep() {
    hold("tests/acceptance", sleep_faults);
}

#[test]
fn the_top_level_has_nothing_that_the_map_does_not_name() {
    let ignored = text_of(".gitignore");
    for entry in fs::read_dir(root()).expect("the package directory can be read") {
        let name = entry.expect("an entry can be read").file_name().into_string().expect("a name in UTF-8");
        let known =
            TOP_LEVEL.contains(&name.as_str()) || name.starts_with('.') || ignored.lines().any(|line| line.trim_matches('/') == name);
        assert!(known, "`{name}` does not belong to the top level");
    }
    for name in TOP_LEVEL {
        assert!(root().join(name).exists(), "`{name}` is missing");
    }
}

#[test]
fn each_package_the_user_named_has_its_page() {
    let manifest = text_of("Cargo.toml");
    for package in NAMED_BY_THE_USER {
        assert!(manifest.lines().any(|line| line.starts_with(&format!("{package} = "))), "{package} is no dependency");
        let page = text_of(&format!("vendor-notes/{package}.md"));
        assert!(page.lines().count() >= 10, "vendor-notes/{package}.md says too little");
    }
}

// ---- the rules on samples: each must fail when it is broken ----

const SAMPLE_TABLE: &str = "//! ```text\n//! cli              prints\n//! image | net      peers\n//! state, place     records\n//! sys              calls\n//! ```\n";

fn sample(path: &str, text: &str) -> Source {
    Source::parse(Path::new(path), text)
}

#[test]
fn the_floor_rule_sees_upward_sideways_and_roundabout_imports() {
    let floors = Floors::read(SAMPLE_TABLE);
    let faults = |path: &str, text: &str| floor_faults(&sample(path, text), &floors).len();
    assert_eq!(faults("src/net/mod.rs", "use crate::state::Record;\nuse crate::net::Bridge;"), 0);
    assert_eq!(faults("src/net/mod.rs", "use crate::cli::Out;"), 1, "upward");
    assert_eq!(faults("src/net/mod.rs", "use crate::image::Image;"), 1, "sideways");
    assert_eq!(faults("src/place.rs", "fn f() { crate::state::load() }"), 1, "sideways, without an import");
    assert_eq!(faults("src/net/bridge.rs", "use super::super::image::Image;"), 1, "by super");
    assert_eq!(faults("src/net/bridge.rs", "use super::Bridge;"), 0);
    assert_eq!(faults("src/net/mod.rs", "use super::image::Image;"), 1, "mod.rs has one super less");
    assert_eq!(faults("src/net/mod.rs", "mod tests { use super::Bridge; use super::super::image::Image; }"), 1, "out of an inner module");
    assert_eq!(faults("src/net/mod.rs", "pub use crate::image::Image;"), 1, "as a re-export");
    assert_eq!(faults("src/net/mod.rs", "use crate::Failure;"), 1, "hidden by a re-export of the root");
    assert_eq!(faults("src/net/mod.rs", "use crate::{image, state};"), 1, "in a group");
    assert_eq!(faults("src/net/mod.rs", "use coracle::image::Image;"), 1, "by the package's name");
    assert_eq!(faults("src/net/mod.rs", "#[path = \"../image/mod.rs\"] mod other;"), 1, "by a path attribute");
    assert_eq!(faults("src/net/mod.rs", "include!(\"../image/mod.rs\");"), 1, "by include");
    assert_eq!(faults("src/net/mod.rs", "// crate::image\nconst A: &str = \"crate::image\"; /* crate::image */"), 0);
    assert_eq!(faults("src/main.rs", "fn main() { coracle::cli::main() }"), 0);
    assert_eq!(faults("src/main.rs", "fn main() { coracle::net::up() }"), 1, "main knows the command line only");
    assert_eq!(faults("src/lib.rs", "pub mod net;"), 0);
    assert_eq!(faults("src/lib.rs", "pub mod net;\npub use net::Bridge;"), 1, "the root re-exports nothing");
}

#[test]
fn the_other_rules_see_what_breaks_them() {
    assert_eq!(header_faults(&sample("src/a.rs", "use std::fs;")).len(), 1);
    assert_eq!(header_faults(&sample("src/a.rs", "//! Makes things.\n")).len(), 0);
    assert_eq!(unsafe_faults(&sample("src/net/a.rs", "fn f() { unsafe { g() } }")).len(), 1);
    assert_eq!(unsafe_faults(&sample("src/net/a.rs", "// unsafe\nlet a = \"unsafe\";")).len(), 0);
    assert_eq!(unsafe_faults(&sample("src/sys/a.rs", "fn f() { unsafe { g() } }")).len(), 1);
    assert_eq!(unsafe_faults(&sample("src/sys/a.rs", "// SAFETY: g takes anything.\nunsafe { g() }")).len(), 0);
    assert_eq!(print_faults(&sample("src/net/a.rs", "println!(\"a\"); eprint!(\"b\");")).len(), 2);
    assert_eq!(print_faults(&sample("src/net/a.rs", "writeln!(io::stdout(), \"a\")")).len(), 1);
    assert_eq!(print_faults(&sample("src/cli/a.rs", "println!(\"a\");")).len(), 0);
    assert_eq!(unfinished_faults(&sample("src/a.rs", "fn f() { a.unwrap(); todo!() }")).len(), 2);
    assert_eq!(unfinished_faults(&sample("src/a/tests.rs", "fn g() { a.unwrap() }")).len(), 0);
    assert_eq!(unfinished_faults(&sample("src/a.rs", "fn f() {}\n#[cfg(test)]\nmod tests { fn g() { a.unwrap() } }")).len(), 0);
    assert_eq!(import_faults(&sample("src/a.rs", "use crate::net::{Bridge, Link};")).len(), 1);
    assert_eq!(import_faults(&sample("src/a.rs", "use std::fs::*;")).len(), 1);
    assert_eq!(import_faults(&sample("src/a.rs", "#[cfg(test)]\nmod tests { use super::*; }")).len(), 0);
    assert_eq!(import_faults(&sample("src/a/tests.rs", "use super::*;")).len(), 0);
    let long = format!("fn f() {{\n{}}}", "    g();\n".repeat(FUNCTION_LINES));
    assert_eq!(length_faults(&sample("src/a.rs", &long)).len(), 1);
    assert_eq!(length_faults(&sample("src/a.rs", &format!("// Long because it is a list.\n{long}"))).len(), 0);
    assert_eq!(length_faults(&sample("src/a.rs", &format!("fn a() {{}}\n{}", "\n".repeat(FILE_LINES)))).len(), 1);
    assert_eq!(length_faults(&sample("src/a.rs", &"static LIST: u8 = 1;\n".repeat(FILE_LINES + 1))).len(), 0);
    assert_eq!(name_faults(&sample("src/net/util.rs", "")).len(), 1);
    assert_eq!(name_faults(&sample("src/net/mod.rs", "mod helpers { }")).len(), 1);
    assert_eq!(sleep_faults(&sample("tests/acceptance/up.rs", "thread::sleep(second)")).len(), 1);
    assert_eq!(sleep_faults(&sample("tests/acceptance/support/wait.rs", "thread::sleep(second)")).len(), 0);
}

#[test]
fn source_text_is_read_as_rust_reads_it() {
    let text = "let a = 'x'; let b: &'a str = \"q\\\"unsafe\"; r#\"unsafe \"# ; /* /* unsafe */ */ '\\'' ; b'\"' ; unsafe";
    let words: Vec<_> = sample("src/a.rs", text).words.into_iter().map(|word| word.text).collect();
    assert_eq!(words.iter().filter(|word| *word == "unsafe").count(), 1, "{words:?}");
}

// ---- rules ----

type Faults = Vec<String>;

fn floor_faults(file: &Source, floors: &Floors) -> Faults {
    let room = room_of(&file.path).expect("a file below src");
    let mut faults = Vec::new();
    for (at, word) in file.words.iter().enumerate() {
        let next = |offset: usize| file.words.get(at + offset).map_or("", |word| word.text.as_str());
        let reached = match word.text.as_str() {
            "crate" if next(1) == "::" => Some(next(2).to_owned()),
            "coracle" if next(1) == "::" => {
                Some(if room == "main" && next(2) == "cli" { continue } else { format!("coracle::{}", next(2)) })
            }
            "super" if !file.follows_super(at) => file.reached_by_super(at),
            "path" if next(1) == "=" && file.word_before(at) == "[" => Some("a #[path]".to_owned()),
            "include" if next(1) == "!" => Some("an include!".to_owned()),
            "use" if room == "lib" => Some("a re-export at the root".to_owned()),
            _ => None,
        };
        let Some(reached) = reached else { continue };
        if !floors.may_use(&room, &reached) {
            faults.push(file.fault(word.line, format!("`{room}` may not use `{reached}`")));
        }
    }
    faults
}

fn header_faults(file: &Source) -> Faults {
    if file.text.starts_with("//! ") { Vec::new() } else { vec![file.fault(1, "does not start with `//! ` and what it is for")] }
}

fn unsafe_faults(file: &Source) -> Faults {
    let in_sys = file.path.starts_with("src/sys") || file.path == Path::new("src/sys.rs");
    let lines: Vec<_> = file.text.lines().collect();
    let argued = |line: usize| lines[line.saturating_sub(10)..line].iter().any(|text| text.contains("SAFETY") || text.contains("# Safety"));
    let faults = file.words.iter().filter(|word| word.text == "unsafe");
    if !in_sys {
        return faults.map(|word| file.fault(word.line, "`unsafe` outside src/sys")).collect();
    }
    faults.filter(|word| !argued(word.line)).map(|word| file.fault(word.line, "`unsafe` without a SAFETY argument above it")).collect()
}

fn print_faults(file: &Source) -> Faults {
    if room_of(&file.path).as_deref() == Some("cli") {
        return Vec::new();
    }
    let end = file.before_tests();
    let prints = |at: usize| {
        let (word, next) = (file.words[at].text.as_str(), file.word_at(at + 1));
        (PRINTS.contains(&word) && next == "!") || (word == "io" && next == "::" && matches!(file.word_at(at + 2), "stdout" | "stderr"))
    };
    (0..end).filter(|at| prints(*at)).map(|at| file.fault(file.words[at].line, "prints; only src/cli does")).collect()
}

fn unfinished_faults(file: &Source) -> Faults {
    let mut faults = Vec::new();
    for at in 0..file.before_tests() {
        let (word, next) = (file.words[at].text.as_str(), file.word_at(at + 1));
        if UNFINISHED.contains(&word) && next == "!" {
            faults.push(file.fault(file.words[at].line, format!("`{word}!`")));
        }
        if word == "unwrap" && next == "(" && file.word_at(at + 2) == ")" {
            faults.push(file.fault(file.words[at].line, "`unwrap` outside a test"));
        }
    }
    faults
}

fn import_faults(file: &Source) -> Faults {
    let mut faults = Vec::new();
    for at in (0..file.words.len()).filter(|at| file.words[*at].text == "use") {
        let import: Vec<_> = file.words[at..].iter().map(|word| word.text.as_str()).take_while(|word| *word != ";").collect();
        let line = file.words[at].line;
        if import.get(1) == Some(&"crate") && import.contains(&"{") {
            faults.push(file.fault(line, "more than one name in a `use crate::…`"));
        }
        if import.last() == Some(&"*") && at < file.before_tests() {
            faults.push(file.fault(line, "a glob"));
        }
    }
    faults
}

fn length_faults(file: &Source) -> Faults {
    let mut faults = Vec::new();
    let lines: Vec<_> = file.text.lines().collect();
    let end = file.words.get(file.before_tests()).map_or(lines.len(), |word| word.line);
    // A flat list may be long, logic may not: data alone has no functions.
    let has_logic = file.words[..file.before_tests()].iter().any(|word| word.text == "fn");
    if end > FILE_LINES && has_logic {
        faults.push(file.fault(end, format!("more than {FILE_LINES} lines before the tests")));
    }
    for at in (0..file.words.len()).filter(|at| file.words[*at].text == "fn") {
        let Some((first, last)) = file.body_after(at) else { continue };
        let reasons = lines[first.saturating_sub(8)..(first + 2).min(lines.len())].iter();
        if last - first + 1 > FUNCTION_LINES && !reasons.clone().any(|line| line.contains("Long because")) {
            faults.push(file.fault(first, format!("`{}` has {} lines", file.word_at(at + 1), last - first + 1)));
        }
    }
    faults
}

fn name_faults(file: &Source) -> Faults {
    let parts = file.path.components().map(|part| part.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned());
    let modules = (0..file.words.len()).filter(|at| file.words[*at].text == "mod").map(|at| file.word_at(at + 1).to_owned());
    parts.chain(modules).filter(|name| NO_NAMES.contains(&name.as_str())).map(|name| file.fault(1, format!("is called `{name}`"))).collect()
}

fn sleep_faults(file: &Source) -> Faults {
    if file.path.starts_with("tests/acceptance/support") {
        return Vec::new();
    }
    file.words.iter().filter(|word| word.text == "sleep").map(|word| file.fault(word.line, "sleeps; use `eventually`")).collect()
}

// ---- floors ----

/// The rooms by floor, the highest first.
#[derive(Debug)]
struct Floors(Vec<Vec<String>>);

impl Floors {
    /// Reads the first `text` block of a module doc: each line names rooms, then after two blanks says what they are.
    fn read(text: &str) -> Floors {
        let table =
            text.lines().skip_while(|line| !line.starts_with("//! ```text")).skip(1).take_while(|line| !line.starts_with("//! ```"));
        let rooms = |line: &str| {
            let names = line.trim_start_matches("//! ").split("  ").next().unwrap_or("");
            names.split(['|', ',']).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
        };
        Floors(table.map(rooms).collect())
    }

    fn level(&self, room: &str) -> Option<usize> {
        self.0.iter().position(|floor| floor.iter().any(|name| name == room))
    }

    fn may_use(&self, room: &str, reached: &str) -> bool {
        if room == reached {
            return true;
        }
        matches!((self.level(room), self.level(reached)), (Some(here), Some(there)) if there > here)
    }
}

/// The room a file belongs to: `net` for `src/net/bridge.rs`, `place` for `src/place.rs`.
fn room_of(path: &Path) -> Option<String> {
    let first = path.strip_prefix("src").ok()?.components().next()?;
    Some(first.as_os_str().to_str()?.trim_end_matches(".rs").to_owned())
}

// ---- this tree ----

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text_of(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("cannot read {name}: {error}"))
}

/// The Rust files below a directory of this package, named from the package's root.
fn rust_files(directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::from(directory)];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(root().join(&directory)).unwrap_or_else(|error| panic!("cannot list {}: {error}", directory.display())) {
            let entry = entry.expect("an entry can be read");
            let path = directory.join(entry.file_name());
            if entry.file_type().expect("a type").is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "there are no Rust files below {directory}");
    found.sort();
    found
}

/// Fails with all faults of all files below a directory.
fn hold(directory: &str, rule: impl Fn(&Source) -> Faults) {
    let mut files: Vec<_> = rust_files(directory).iter().map(|path| Source::parse(path, &text_of(&path.to_string_lossy()))).collect();
    let for_tests: Vec<_> = files.iter().flat_map(Source::test_files).collect();
    for file in &mut files {
        file.is_test |= for_tests.iter().any(|path| file.path.starts_with(path) || file.path.with_extension("") == *path);
    }
    let faults: Vec<_> = files.iter().flat_map(rule).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
