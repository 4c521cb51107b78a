//! Where the values of a variable come from.

use std::fs;

use crate::compose::Sources;
use crate::compose::Surroundings;

use super::super::explain::Explained;
use super::super::explain_in;

const FILE: &str = r#"
include: [sub/compose.yaml]
services:
  web:
    image: redis:${TAG:-6}
    environment: [TAG, "A=$$TAG $TAG and ${B:-${TAG:+yes}}"]
    command: >
      echo é ${TAG} and
      ${TAG:?must}
  other: {image: "redis:${TAG-5}"}
"#;

fn told(variables: &[(&str, &str)], env_files: &[&str], name: &str) -> Result<Explained, String> {
    let root = tempfile::tempdir().unwrap();
    let files = [
        ("compose.yaml", FILE),
        (".env", "# one\nTAG=7\n\nOLD=7\n"),
        ("a.env", "TAG=\"8\nand more\"\n"),
        ("b.env", "export TAG=9\n"),
        ("sub/.env", "TAG=sub\nONLY=sub\n"),
        ("sub/compose.yaml", "services:\n  s:\n    image: x:${TAG}${ONLY}\n"),
    ];
    fs::create_dir(root.path().join("sub")).unwrap();
    files.iter().for_each(|(name, text)| fs::write(root.path().join(name), text).unwrap());
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let surroundings = Surroundings { directory: root.path().to_owned(), variables, input: None };
    let sources = Sources { env_files: env_files.iter().map(|file| (*file).to_owned()).collect(), ..Sources::default() };
    explain_in(&surroundings, &sources, name).map_err(|failure| failure.to_string())
}

fn values(explained: &Explained) -> Vec<String> {
    explained.sources.iter().map(|source| format!("{} {} {}", source.kind, source.place, source.value.replace('\n', "/"))).collect()
}

#[test]
fn the_winner_comes_first() {
    let plain = told(&[], &[], "TAG").unwrap();
    let defaults = ["default compose.yaml:5:18 6", "default compose.yaml:10:25 5"];
    assert_eq!(values(&plain), [&[".env .env:2 7", "include sub/.env:1 sub"], &defaults[..]].concat());
    let full = told(&[("TAG", "shell")], &["a.env", "b.env"], "TAG").unwrap();
    let files = ["shell environment  shell", "--env-file b.env:1 9", "--env-file a.env:1 8/and more", "include sub/.env:1 sub"];
    assert_eq!(values(&full), [&files, &defaults[..]].concat());
    assert_eq!(values(&told(&[], &[], "OLD").unwrap()), [".env .env:4 7"]);
    assert_eq!(values(&told(&[("COMPOSE_PROJECT_NAME", "x")], &[], "COMPOSE_PROJECT_NAME").unwrap())[0], "name of the project  x");
}

#[test]
fn every_use_is_found_with_what_becomes_of_it() {
    let told = told(&[("TAG", "")], &[], "TAG").unwrap();
    let uses: Vec<_> =
        told.uses.iter().map(|used| format!("{} {} {}", used.place, used.expression, used.value.as_deref().unwrap_or("-"))).collect();
    let expected = [
        "compose.yaml:5:18 ${TAG:-6} 6",
        "compose.yaml:6:19 TAG ",
        "compose.yaml:6:33 $TAG ",
        "compose.yaml:6:47 ${TAG:+yes} ",
        "compose.yaml:8:14 ${TAG} ",
        "compose.yaml:9:7 ${TAG:?must} -",
        "compose.yaml:10:25 ${TAG-5} ",
        "sub/compose.yaml:3:14 ${TAG} ",
    ];
    assert_eq!(uses, expected);
}

#[test]
fn services_that_have_it_are_named_with_what_gives_it() {
    let root = tempfile::tempdir().unwrap();
    let file = "services:\n  a: {build: {context: ., args: [TAG=1]}, environment: {TAG: 2}, env_file: [one.env, two.env]}\n  b: {image: x, environment: [TAG, OTHER=1]}\n";
    for (name, text) in [("compose.yaml", file), ("one.env", "\nTAG=3\n"), ("two.env", "TAG=${NO:-4}\n"), (".env", "TAG=5\n")] {
        fs::write(root.path().join(name), text).unwrap();
    }
    let surroundings = Surroundings { directory: root.path().to_owned(), ..Surroundings::default() };
    let explained = explain_in(&surroundings, &Sources::default(), "TAG").unwrap();
    let given: Vec<_> = explained
        .given
        .iter()
        .map(|given| format!("{} {} {} {}", given.service, given.by, given.place, given.value.as_deref().unwrap_or("-")))
        .collect();
    let expected = [
        "a environment compose.yaml:2:57 2",
        "a env_file two.env:1 4",
        "a env_file one.env:2 3",
        "a build.args compose.yaml:2:34 1",
        "b environment compose.yaml:3:31 5",
    ];
    assert_eq!(given, expected);
}

#[test]
fn nothing_to_explain_is_an_error() {
    assert!(told(&[], &[], "NO").unwrap_err().contains("no file names it"));
}
