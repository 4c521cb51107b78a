//! Corners of the rules that the public cases do not reach; what docker compose 2.40 does there, tried against it.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value as Json;
use serde_json::json;

use crate::compose::ConfigFlags;
use crate::compose::Sources;
use crate::compose::Surroundings;
use crate::compose::config_in;
use crate::failure::Failure;

/// What `config --format json` prints of a project of these files.
fn printed(texts: &[&str]) -> Result<Json, Failure> {
    let flags = ConfigFlags { format: "json".to_owned(), ..ConfigFlags::default() };
    text(texts, &flags).map(|text| serde_json::from_str(&text).unwrap())
}

fn text(texts: &[&str], flags: &ConfigFlags) -> Result<String, Failure> {
    let root = tempfile::tempdir().unwrap();
    let files: Vec<String> = (0..texts.len()).map(|number| format!("{number}.yaml")).collect();
    for (file, text) in files.iter().zip(texts) {
        fs::write(root.path().join(file), text).unwrap();
    }
    fs::write(root.path().join("one.env"), "A=1\nB=one\n").unwrap();
    fs::write(root.path().join("two.env"), "B=two\nC=${A}${B}\n").unwrap();
    let variables = BTreeMap::from([("HERE".to_owned(), "here".to_owned())]);
    let surroundings = Surroundings { directory: root.path().to_owned(), variables, input: None };
    let env_files = vec!["one.env".to_owned(), "two.env".to_owned()];
    let sources = Sources { files, env_files, project_name: Some("p".to_owned()), ..Sources::default() };
    config_in(&surroundings, &sources, flags).map(|printed| printed.text)
}

/// A service `s` with these attributes.
fn service(attributes: &str) -> Result<Json, Failure> {
    printed(&[&format!("services:\n  s:\n    image: i\n    {attributes}")]).map(|mut printed| printed["services"]["s"].take())
}

#[test]
fn a_block_text_at_the_end_has_the_line_break_that_the_file_has() {
    let cases = [
        ("|\n      a", "a"),
        ("|\n      a\n", "a\n"),
        ("|+\n      a\n\n", "a\n\n"),
        ("|+\n      a", "a"),
        (">\n      a\n      b", "a b"),
        ("|\n      a\n    ", "a\n"),
        ("|\n      a\n# c", "a\n"),
        ("|+\n      ", ""),
        ("|\n      é é", "é é"),
    ];
    for (text, expected) in cases {
        assert_eq!(service(&format!("hostname: {text}")).unwrap()["hostname"].as_str().unwrap_or(""), expected, "{text:?}");
    }
}

#[test]
fn an_anchor_is_known_in_later_documents() {
    let found = printed(&["services: {s: {image: &a i}}\n---\nservices: {s: {hostname: *a}}\n"]).unwrap();
    assert_eq!(found["services"]["s"]["hostname"], "i");
}

#[test]
fn control_characters_are_refused() {
    for char in ['\u{7}', '\u{1b}', '\u{7f}', '\u{9f}'] {
        assert!(service(&format!("hostname: \"a{char}b\"")).is_err(), "{char:?}");
    }
    assert_eq!(service("hostname: \"a\u{85}\u{feff}😀\"").unwrap()["hostname"], "a\u{85}\u{feff}😀");
}

#[test]
fn numbers_are_read_as_the_attribute_wants_them() {
    let cases = [
        ("cpu_percent: \"20\"", "cpu_percent", json!(20)),
        ("extra_hosts: {a: []}", "extra_hosts", json!([])),
        ("cpu_count: 2.0", "cpu_count", json!(2)),
        ("pids_limit: 1.5", "pids_limit", json!(1)),
        ("labels: {a: 1e400}", "labels", json!({"a": "1e400"})),
        ("ulimits: {UP: {hard: 1}}", "ulimits", json!({"UP": {"hard": 1}})),
        ("storage_opt: {a: 1, b: x, c: null}", "storage_opt", json!({"a": "1", "b": "x", "c": ""})),
    ];
    for (text, key, expected) in cases {
        assert_eq!(service(text).unwrap()[key], expected, "{text}");
    }
    let refused = [
        "storage_opt: {a: 1.5}",
        "storage_opt: {a: true}",
        "cpu_count: 1.5",
        "group_add: [1.0]",
        "cpu_percent: 101.0",
        "blkio_config: {weight: \"5\"}",
        "volumes: [{type: tmpfs, target: /t, tmpfs: {mode: \"0\"}}]",
        "gpus: [{count: 2.0}]",
        "ulimits: {low: {hard: 1}}",
        "labels: {\"\": a}",
    ];
    for text in refused {
        assert!(service(text).is_err(), "{text}");
    }
}

/// Unset `COMPOSE_PROFILES` is a list of one empty name.
#[test]
fn an_empty_profile_is_on() {
    assert_eq!(service("profiles: [\"\"]").unwrap()["image"], "i");
    assert_eq!(service("profiles: [a]").unwrap(), Json::Null);
}

#[test]
fn a_scalar_to_override_with_is_text() {
    let over =
        |text: &str| printed(&["services: {s: {image: i, command: [a], tty: true, labels: {a: b}}}", &format!("services: {{s: {text}}}")]);
    assert_eq!(over("{command: !override null}").unwrap()["services"]["s"]["command"], json!(["null"]));
    assert_eq!(over("{tty: !override false}").unwrap()["services"]["s"]["tty"], Json::Null);
    assert_eq!(over("{labels: !override {c: 1}}").unwrap()["services"]["s"]["labels"], json!({"c": "1"}));
    assert!(over("{use_api_socket: !override false}").is_err());
}

#[test]
fn a_number_is_the_same_as_its_text() {
    for list in ["[\"1\", 1]", "[1, b, \"01\"]", "[1, 1.0]", "[b, b]"] {
        assert!(service(&format!("group_add: {list}")).is_err(), "{list}");
    }
    assert_eq!(service("group_add: [\"1\", \"1.0\", 2]").unwrap()["group_add"], json!(["1", "1.0", "2"]));
}

#[test]
fn an_include_of_nothing_is_none() {
    let found = printed(&["include: [null, {project_directory: sub}]\nservices: {s: {image: i}}\n"]).unwrap();
    assert_eq!(found["services"]["s"]["image"], "i");
    assert!(printed(&["include: [{env_file: nope.env}]\nservices: {s: {image: i}}\n"]).is_err());
}

#[test]
fn an_empty_list_of_an_extension_is_null() {
    let found = printed(&["x-a: {b: [], c: [[], {d: []}]}\nservices: {s: {image: i}}\n"]).unwrap();
    assert_eq!(found["x-a"], json!({"b": null, "c": [null, {"d": null}]}));
}

/// `--no-interpolate` is about the project that is printed, not about its lists.
#[test]
fn lists_are_of_the_project_without_interpolation_too() {
    let file = "services: {s: {image: 'i:${T:-0}', profiles: []}}\nnetworks: {n: {}}\n";
    let flags = ConfigFlags { no_interpolate: true, ..ConfigFlags::default() };
    assert_eq!(text(&[file], &ConfigFlags { networks: true, ..flags.clone() }).unwrap(), "default\n");
    assert_eq!(text(&[file], &ConfigFlags { images: true, ..flags.clone() }).unwrap(), "i:${T:-0}\n");
    assert_eq!(text(&[file], &ConfigFlags { services: true, variables: true, ..flags.clone() }).unwrap(), "s\n");
    let whole = text(&[file], &ConfigFlags { format: "json".to_owned(), ..flags }).unwrap();
    assert!(whole.contains("\"profiles\": null"), "{whole}");
}

/// A value of the same file, not the one that an earlier file gave it.
#[test]
fn a_file_of_variables_sees_its_own_values() {
    assert_eq!(service("hostname: $C").unwrap()["hostname"], "1two");
}

#[test]
fn without_interpolation_nothing_is_taken_from_the_environment() {
    let file = "services: {s: {image: i, environment: [HERE], secrets: [k]}, t: {image: i, environment: {HERE: null}}}\n\
                secrets: {k: {environment: HERE}}\n";
    let whole = text(&[file], &ConfigFlags { no_interpolate: true, ..ConfigFlags::default() }).unwrap();
    assert!(whole.contains("- HERE\n") && whole.contains("HERE: null\n") && !whole.contains("here") && !whole.contains('#'), "{whole}");
}

/// A pool that is joined with one of another subnet changes wherever it was put before.
#[test]
fn pools_of_addresses_are_joined_in_place() {
    let pools = "networks: {t: {ipam: {config: [{subnet: 10.0.0.0/8, ip_range: 10.2.0.0/16}, {subnet: \"fd00::/8\"}]}}}\n";
    let found = printed(&[&format!("services: {{s: {{image: i, networks: [t]}}}}\n{pools}"), pools]).unwrap();
    let expected = json!([{"subnet": "fd00::/8", "ip_range": "10.2.0.0/16"}, {"subnet": "fd00::/8"}]);
    assert_eq!(found["networks"]["t"]["ipam"]["config"], expected);
}
