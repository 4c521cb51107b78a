//! What a person reads when a project cannot be loaded: the whole text.

use std::collections::BTreeMap;
use std::fs;

use crate::compose::ConfigFlags;
use crate::compose::Sources;
use crate::compose::Surroundings;
use crate::compose::config_in;

/// Loads a project of these files in a directory called `shop` and gives what is printed or said.
fn told(files: &[(&str, &[u8])], sources: &Sources) -> String {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("shop");
    fs::create_dir(&directory).unwrap();
    for (name, text) in files {
        fs::write(directory.join(name), text).unwrap();
    }
    let surroundings = Surroundings { directory, variables: BTreeMap::new(), input: Some(Vec::new()) };
    match config_in(&surroundings, sources, &ConfigFlags::default()) {
        Ok(printed) => printed.text,
        Err(failure) => failure.to_string().replace(root.path().to_str().unwrap(), "…"),
    }
}

fn told_of(text: &str) -> String {
    told(&[("compose.yaml", text.as_bytes())], &Sources::default())
}

/// What is said of a file with a fault of every stage.
const EIGHT_FAULTS: &str = r#"error: cannot load project `shop`: 8 faults

error: service `web` has neither `image` nor `build`
 --> compose.yaml:2:3
  |
2 |   web:
  |   ^^^
hint: name an image, or write `build: .`

error: service `web` has no key `imagee`
 --> compose.yaml:3:5
  |
3 |     imagee: nginx
  |     ^^^^^^
hint: did you mean `image`?

error: `services.web.ports` must be a list, not text
 --> compose.yaml:4:12
  |
4 |     ports: "80:80"
  |            ^^^^^^^

error: service `web` depends on service `reds`, which does not exist
 --> compose.yaml:5:18
  |
5 |     depends_on: [reds]
  |                  ^^^^
hint: did you mean `redis`?

error: `services.redis.tty` must be `true` or `false`, `maybe` is not
 --> compose.yaml:8:10
  |
8 |     tty: maybe
  |          ^^^^^

error: cannot read the `env_file` `no.env`
  because: No such file or directory (os error 2)
 --> compose.yaml:9:15
  |
9 |     env_file: no.env
  |               ^^^^^^
hint: create the file, or write `required: false`

error: `services.redis.mem_limit` must be a size like `64m` or `1g`, not `lots`
  --> compose.yaml:10:16
   |
10 |     mem_limit: lots
   |                ^^^^

error: a Compose file has no key `volums`
  --> compose.yaml:11:1
   |
11 | volums: {}
   | ^^^^^^
hint: did you mean `volumes`?"#;

#[test]
fn all_faults_of_a_file_are_told_at_once_each_at_its_line() {
    let text = [
        "services:",
        "  web:",
        "    imagee: nginx",
        "    ports: \"80:80\"",
        "    depends_on: [reds]",
        "  redis:",
        "    image: redis:8",
        "    tty: maybe",
        "    env_file: no.env",
        "    mem_limit: lots",
        "volums: {}",
    ];
    assert_eq!(told_of(&text.join("\n")), EIGHT_FAULTS);
}

#[test]
fn a_single_fault_stands_below_what_could_not_be_done() {
    let cases = [
        (
            "services:\n  web:\n    image: x\n   b: y\n",
            "error: cannot load project `shop`\n  because: the file is not YAML\n  because: there is no key where one is expected\n --> compose.yaml:4:4\n  |\n4 |    b: y\n  |    ^\nhint: keys of one mapping begin in the same column",
        ),
        (
            "services:\n  web: {image: [a]}\n",
            "error: cannot load project `shop`\n  because: `services.web.image` must be text, not a list\n --> compose.yaml:2:16\n  |\n2 |   web: {image: [a]}\n  |                ^",
        ),
        (
            "services:\n  web: {image: \"x:${TAG\"}\n",
            "error: cannot load project `shop`\n  because: `services.web.image` has a `$` that names no variable\n  because: `x:${TAG` is not a valid expression\n --> compose.yaml:2:16\n  |\n2 |   web: {image: \"x:${TAG\"}\n  |                ^^^^^^^^^\nhint: write a plain `$` as `$$`",
        ),
        (
            "services:\n  web: {image: x, command: \"${A:?say it}\"}\n",
            "error: cannot load project `shop`\n  because: `services.web.command` needs the variable `A`, which is not set\n  because: say it\n --> compose.yaml:2:28\n  |\n2 |   web: {image: x, command: \"${A:?say it}\"}\n  |                            ^^^^^^^^^^^^^^\nhint: set `A` in the environment or in `.env`",
        ),
        (
            "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [a]}\n",
            "error: cannot load project `shop`\n  because: services depend on each other in a circle\n  because: a -> b -> a\n --> compose.yaml:3:30\n  |\n3 |   b: {image: x, depends_on: [a]}\n  |                              ^\nhint: take one of these dependencies out",
        ),
        (
            "services:\n  a: {image: x, image: y}\n",
            "error: cannot load project `shop`\n  because: key `image` is given twice in one mapping\n --> compose.yaml:2:17\n  |\n2 |   a: {image: x, image: y}\n  |                 ^^^^^\nhint: join it with the one on line 2, or remove one of them",
        ),
        (
            "services:\n  a: {image: x, extends: b}\n  b: {image: x, extends: a}\n",
            "error: cannot load project `shop`\n  because: a service extends itself\n  because: a -> b -> a\n --> compose.yaml:2:26\n  |\n2 |   a: {image: x, extends: b}\n  |                          ^\nhint: take one `extends` of the chain out",
        ),
        (
            "services:\n  a: {extends: b}\n  b: {extends: a}\n",
            "error: cannot load project `shop`\n  because: a service extends itself\n  because: a -> b -> a\n --> compose.yaml:2:16\n  |\n2 |   a: {extends: b}\n  |                ^\nhint: take one `extends` of the chain out",
        ),
        (
            "services:\n  a: {image: \0}\n",
            "error: cannot load project `shop`\n  because: cannot read the Compose file `compose.yaml`\n  because: it is no text: byte 23, on line 2, is zero",
        ),
        ("", "error: cannot load project `shop`\n  because: `compose.yaml` is empty\nhint: write at least one service below `services:`"),
    ];
    for (text, expected) in cases {
        assert_eq!(told_of(text), expected, "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let missing = Sources { files: vec!["nope.yaml".to_owned()], ..Sources::default() };
    let named = Sources { project_name: Some("Shop!".to_owned()), ..Sources::default() };
    let expected = [
        (
            told(&[], &missing),
            "error: cannot load project `shop`\n  because: cannot read the Compose file `nope.yaml`\n  because: No such file or directory (os error 2)\nhint: check its name, or where you stand",
        ),
        (
            told(&[("compose.yaml", b"services: {}")], &named),
            "error: cannot load the project\n  because: `Shop!` from `-p` cannot be a project's name\nhint: use lower-case letters, digits, `-` and `_`, a letter or digit first",
        ),
        (
            told(&[("compose.yaml", b"services:\n  a: {image: \xff}")], &Sources::default()),
            "error: cannot load project `shop`\n  because: cannot read the Compose file `compose.yaml`\n  because: it is not UTF-8 text: see byte 23, on line 2",
        ),
        (
            told(&[("compose.yaml", b"services: {a: {image: x}}"), (".env", b"A=1\nB!=2\n")], &Sources::default()),
            "error: cannot load the project\n  because: cannot read the variables of `.env`\n  because: unexpected character `!` in the variable name `B!=2`\n --> .env:2:1\n  |\n2 | B!=2\n  | ^^^^",
        ),
    ];
    for (found, expected) in expected {
        assert_eq!(found, expected);
    }
}

/// A file without an end is not read to it.
#[test]
fn an_endless_file_is_refused() {
    for text in ["include: [/dev/zero]\n", "services: {a: {image: x, env_file: /dev/zero}}\n"] {
        assert!(told_of(text).contains("because: it is larger than 8 MiB"), "{text}");
    }
}

/// Files made to waste time or memory are refused, and soon.
/// What this thread has computed: how busy the machine is does not count.
fn seconds_of_core() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).tv_sec
}

#[test]
fn hostile_files_are_refused_at_once() {
    let lines = |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    let bomb = "x-a0: &a0 [x, x]\n".to_owned() + &lines(40, &|n| format!("x-a{}: &a{} [*a{n}, *a{n}]\n", n + 1, n + 1));
    let merges = "x-a0: &a0 {k: v}\n".to_owned()
        + &lines(60, &|n| format!("x-a{}: &a{} {{<<: [*a{n}, *a{n}], k{n}: [*a{n}, *a{n}]}}\n", n + 1, n + 1));
    let chain =
        "services:\n".to_owned() + &lines(5000, &|n| format!("  s{n}: {{image: x, extends: s{}}}\n", n + 1)) + "  s5000: {image: x}\n";
    let cases = [
        ("aliases", bomb),
        ("merges", merges),
        ("nested lists", "a: ".to_owned() + &"[".repeat(100_000)),
        ("nested maps", lines(3000, &|n| format!("{:n$}a:\n", ""))),
        ("a long chain of extends", chain),
        ("many unknown keys", lines(50_000, &|n| format!("key{n}: x\n"))),
        ("nested variables", format!("services: {{a: {{image: \"{}{}\"}}}}\n", "${A:-".repeat(20_000), "}".repeat(20_000))),
        ("lines far left", "a: {\n".to_owned() + &"b: c,\n".repeat(3000)),
        ("a huge file", "# x\n".repeat(3 << 20)),
    ];
    let flow = format!("x-a: [{}]\nservices: {{a: {{image: x}}}}\n", "a,".repeat(500_000));
    let anchored = format!("x-a: {}{}{}\n", (0..100).map(|n| format!("&a{n} [")).collect::<String>(), "x,".repeat(5000), "]".repeat(100));
    let documents = "---\nservices: {a: {image: x}}\n".repeat(1000);
    let one_line = format!("services: {{{}}}\n", lines(3000, &|n| format!("s{n}: {{image: x, foo: bar, depends_on: [nope]}}, ")));
    let more = [("many values", flow), ("nested anchors", anchored), ("many documents", documents), ("one line of faults", one_line)];
    for (name, text) in cases.into_iter().chain(more) {
        let start = seconds_of_core();
        let told = told_of(&text);
        // Unoptimized; a release build takes a tenth.
        let took = seconds_of_core() - start;
        assert!(took < 20, "{name} took {took} s of a core");
        assert!(told.starts_with("error: cannot load"), "{name}: {}", &told[..told.len().min(200)]);
        assert!(told.len() < 200_000, "{name} says {} bytes", told.len());
    }
}

/// Variables that name each other twice would fill the memory.
#[test]
fn variables_do_not_grow_without_a_limit() {
    let doubled = "A0=xxxxxxxx\n".to_owned() + &(0..60).map(|n| format!("A{}=${{A{n}}}${{A{n}}}\n", n + 1)).collect::<String>();
    let with_file = b"services: {a: {image: x, env_file: a.env}}\n".as_slice();
    let told_by_file = told(&[("compose.yaml", with_file), ("a.env", doubled.as_bytes())], &Sources::default());
    assert!(told_by_file.contains("longer than 8 MiB with their variables\n  --> a.env:21:1"), "{told_by_file}");
    let large = format!("services: {{a: {{image: x, command: [{}]}}}}\n", "\"$A\", ".repeat(1000));
    let variable = format!("A={}\n", "x".repeat(1 << 20));
    let told_by_text = told(&[("compose.yaml", large.as_bytes()), (".env", variable.as_bytes())], &Sources::default());
    assert!(told_by_text.contains("makes the project far larger than it is written"), "{}", &told_by_text[..400]);
}

/// A second reading of a pipe finds nothing.
#[test]
fn a_file_is_read_once() {
    let root = tempfile::tempdir().unwrap();
    let pipe = root.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR, 0).unwrap();
    let surroundings = Surroundings { directory: root.path().to_owned(), variables: BTreeMap::new(), input: None };
    let sources = Sources { files: vec!["pipe".to_owned()], ..Sources::default() };
    std::thread::scope(|scope| {
        scope.spawn(|| fs::write(&pipe, "name: piped\nservices: {a: {image: x}}\n").unwrap());
        assert!(config_in(&surroundings, &sources, &ConfigFlags::default()).unwrap().text.starts_with("name: piped\n"));
    });
    let told = config_in(&surroundings, &sources, &ConfigFlags::default()).unwrap_err().to_string();
    assert!(told.contains("because: it is a pipe, and nobody writes to it"), "{told}");
}

#[test]
fn what_no_yaml_can_hold_is_refused_at_its_place() {
    let told = told_of("services:\n  a: {image: \u{1}}\n");
    assert!(told.contains("because: a control character stands in it\n --> compose.yaml:2:14\n"), "{told}");
    let utf_16: Vec<u8> = "\u{feff}services: {a: {image: é}}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(self::told(&[("compose.yaml", &utf_16)], &Sources::default()).contains("image: é\n"));
}
