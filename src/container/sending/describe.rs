//! What a log says of the container it comes from: its tag, and the labels and variables that go with it.

use std::collections::BTreeMap;

use regex::Regex;

use super::super::Container;

/// Docker's name for itself in tags is `docker`.
const ENGINE: &str = "coracle";

/// The container that a tag is tried on when it is read.
const SOMEBODY: Names<'static> = Names { id: "0123456789ab", name: "name", image: "image", image_id: "sha256:0123", command: "command" };

struct Names<'a> {
    id: &'a str,
    name: &'a str,
    image: &'a str,
    image_id: &'a str,
    command: &'a str,
}

/// Refuses a tag that cannot be filled in.
pub fn check(template: &str) -> Result<(), String> {
    filled(template, &SOMEBODY).map(drop)
}

/// Fills in a tag, such as `{{.Name}}/{{.ID}}`.
pub(super) fn tag(container: &Container) -> Result<String, String> {
    let template = container.wanted.logging.options.get("tag").map_or("", String::as_str);
    let names = Names {
        id: &container.id,
        name: &container.name,
        image: &container.wanted.image,
        image_id: &container.wanted.image_id,
        command: &container.wanted.args.join(" "),
    };
    filled(if template.is_empty() { "{{.ID}}" } else { template }, &names)
}

fn filled(template: &str, names: &Names<'_>) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (field, after) = after.split_once("}}").ok_or_else(|| format!("the tag `{template}` opens `{{{{` and does not close it"))?;
        text.push_str(before);
        text.push_str(&value(field.trim(), names).ok_or_else(|| {
            format!("the tag `{template}` names `{}`: known are .ID, .FullID, .Name, .ImageID, .ImageFullID, .ImageName, .Command, .Hostname and .DaemonName", field.trim())
        })?);
        rest = after;
    }
    Ok(text + rest)
}

fn value(field: &str, names: &Names<'_>) -> Option<String> {
    let start = |text: &str| text.chars().take(12).collect();
    Some(match field {
        ".ID" => start(names.id),
        ".FullID" | ".ContainerID" => names.id.to_owned(),
        ".Name" => names.name.to_owned(),
        ".ContainerName" => format!("/{}", names.name),
        ".ImageID" => start(names.image_id),
        ".ImageFullID" | ".ContainerImageID" => names.image_id.to_owned(),
        ".ImageName" | ".ContainerImageName" => names.image.to_owned(),
        ".Command" => names.command.to_owned(),
        ".Hostname" => host_name(),
        ".DaemonName" => ENGINE.to_owned(),
        _ => return None,
    })
}

pub(super) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The labels and variables of a container that the options of its log name, and its tag if they give one (`logs --details`).
pub fn attributes(container: &Container) -> BTreeMap<String, String> {
    let mut found = extra(container);
    if container.wanted.logging.options.get("tag").is_some_and(|tag| !tag.is_empty()) {
        found.extend(tag(container).ok().map(|tag| ("tag".to_owned(), tag)));
    }
    found
}

/// The labels and variables of a container that the options of its log name.
pub(super) fn extra(container: &Container) -> BTreeMap<String, String> {
    let options = &container.wanted.logging.options;
    let named = |option: &str, name: &str| options.get(option).is_some_and(|names| names.split(',').any(|known| known == name));
    let pattern = |option: &str| options.get(option).filter(|text| !text.is_empty()).and_then(|text| Regex::new(text).ok());
    let (labels, variables) = (pattern("labels-regex"), pattern("env-regex"));
    let matches = |pattern: &Option<Regex>, name: &str| pattern.as_ref().is_some_and(|pattern| pattern.is_match(name));
    let mut found = BTreeMap::new();
    for (name, value) in &container.wanted.labels {
        if named("labels", name) || matches(&labels, name) {
            found.insert(name.clone(), value.clone());
        }
    }
    for (name, value) in container.wanted.env.iter().filter_map(|variable| variable.split_once('=')) {
        if named("env", name) || matches(&variables, name) {
            found.insert(name.to_owned(), value.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_filled_in() {
        assert_eq!(filled("{{.Name}}/{{ .ID }}: {{.ImageName}}", &SOMEBODY), Ok("name/0123456789ab: image".to_owned()));
        assert_eq!(filled("plain", &SOMEBODY), Ok("plain".to_owned()));
        assert!(filled("{{.Name", &SOMEBODY).is_err());
        assert!(filled("{{range}}", &SOMEBODY).is_err());
    }
}
