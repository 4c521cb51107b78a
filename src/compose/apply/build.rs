//! A service's `build:` becomes a build.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use crate::build;
use crate::build::Context;
use crate::build::DockerfileAt;
use crate::build::Secret;
use crate::compose::apply::BuildManner;
use crate::compose::apply::Job;
use crate::compose::labels;
use crate::compose::model::Build;
use crate::compose::model::Project;
use crate::compose::short;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::image::Image;

pub(super) fn build(job: &Job<'_>, (service, image): (&str, &str), watch: &dyn build::Watch) -> Result<Image> {
    let project = job.project.ok_or_else(|| Failure::new("cannot build without the files of the project"))?;
    let wanted = wanted(project, (service, image), &job.manner.build)?;
    let built = build::build(job.home, &wanted, watch).map_err(|failure| failure.within(format!("cannot build service `{service}`")))?;
    let id = built.images.first().map(|image| image.id.clone()).unwrap_or_default();
    image::find(job.home, &id)?
        .ok_or_else(|| Failure::new(format!("cannot build service `{service}`")).because("the image has gone meanwhile"))
}

fn wanted(project: &Project, (service, image): (&str, &str), manner: &BuildManner) -> Result<build::Wanted> {
    let model = &project.services[service];
    let cannot = |reason: String| Failure::new(format!("cannot build service `{service}`")).because(reason);
    let build = model.build.as_ref().ok_or_else(|| cannot("it has no `build:`".to_owned()))?;
    let context = build.context.clone().unwrap_or_else(|| ".".to_owned());
    if context.contains("://") || context.starts_with("git@") {
        return Err(cannot(format!("the context `{context}` is not a directory of this host")));
    }
    let context = project.directory.join(context);
    let relative = |file: &String| if Path::new(file).is_absolute() { PathBuf::from(file) } else { context.join(file) };
    let mut args = build.args.clone();
    args.extend(manner.args.clone());
    Ok(build::Wanted {
        dockerfile: match (&build.dockerfile_inline, &build.dockerfile) {
            (Some(text), _) => DockerfileAt::Text(text.clone()),
            (None, Some(file)) => DockerfileAt::Path(relative(file)),
            (None, None) => DockerfileAt::Context,
        },
        tags: std::iter::once(image.to_owned()).chain(build.tags.clone()).collect(),
        target: build.target.clone(),
        args,
        labels: build.labels.clone(),
        no_cache: build.no_cache || manner.no_cache,
        pull: build.pull || manner.pull,
        platforms: model.platform.clone().into_iter().collect(),
        network: build.network.clone(),
        extra_hosts: extra_hosts(build).map_err(cannot)?,
        contexts: contexts(project, build),
        secrets: secrets(project, build),
        context: Context::Directory(context),
        ..build::Wanted::default()
    })
}

/// A map, or a list of `name=address`.
fn extra_hosts(build: &Build) -> Result<Vec<(String, String)>, String> {
    let words: Vec<String> = match build.rest.get("extra_hosts") {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::Object(map)) => map.iter().map(|(name, address)| format!("{name}={}", address.as_str().unwrap_or_default())).collect(),
        _ => Vec::new(),
    };
    words.iter().map(|word| short::extra_host(word)).collect()
}

/// `service:name` means the image of that service.
fn contexts(project: &Project, build: &Build) -> BTreeMap<String, String> {
    let named = build.rest.get("additional_contexts").and_then(Value::as_object).into_iter().flatten();
    let resolved = |text: &str| match text.strip_prefix("service:").and_then(|name| project.services.get_key_value(name)) {
        Some((name, service)) => format!("docker-image://{}", labels::image_name(project, (name, service))),
        None => text.to_owned(),
    };
    named.map(|(name, place)| (name.clone(), resolved(place.as_str().unwrap_or_default()))).collect()
}

fn secrets(project: &Project, build: &Build) -> BTreeMap<String, Secret> {
    let grants = build.rest.get("secrets").and_then(Value::as_array).into_iter().flatten();
    let secret = |grant: &Value| {
        let source = grant.as_str().or_else(|| grant.get("source").and_then(Value::as_str))?;
        let object = project.secrets.get(source)?;
        let id = grant.get("target").and_then(Value::as_str).filter(|target| !target.is_empty()).unwrap_or(source);
        let secret = match (&object.file, &object.environment) {
            (Some(file), _) => Secret::File(file.into()),
            (None, Some(variable)) => Secret::Env(variable.clone()),
            (None, None) => return None,
        };
        Some((id.to_owned(), secret))
    };
    grants.filter_map(secret).collect()
}
