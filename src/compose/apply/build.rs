//! A service's `build:` becomes a build.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use crate::build;
use crate::build::CacheFrom;
use crate::build::CacheTo;
use crate::build::Context;
use crate::build::DockerfileAt;
use crate::build::ImageOptions;
use crate::build::Output;
use crate::build::Provenance;
use crate::build::Sbom;
use crate::build::Secret;
use crate::compose::apply::BuildManner;
use crate::compose::apply::Job;
use crate::compose::apply::Platforms;
use crate::compose::convert;
use crate::compose::labels;
use crate::compose::model::Build;
use crate::compose::model::Project;
use crate::compose::model::Service;
use crate::compose::short;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::image::Image;
use crate::units;

pub(super) fn build(job: &Job<'_>, (service, image): (&str, &str), watch: &dyn build::Watch) -> Result<Image> {
    let project = job.project.ok_or_else(|| Failure::new("cannot build without the files of the project"))?;
    let cannot = || format!("cannot build service `{service}`");
    let wanted = wanted(project, (service, image), &job.manner.build).map_err(|failure| failure.within(cannot()))?;
    uncarried(&project.services[service]).iter().for_each(|text| watch.note(&format!("service `{service}`: {text}")));
    let built = build::build(job.home, &wanted, watch).map_err(|failure| failure.within(cannot()))?;
    let id = built.images.first().map(|image| image.id.clone()).unwrap_or_default();
    image::find(job.home, &id)?.ok_or_else(|| Failure::new(cannot()).because("the image has gone meanwhile"))
}

/// What a service's `build:` asks for.
///
/// # Errors
/// It has none; an attribute that cannot be.
pub fn wanted(project: &Project, (name, image): (&str, &str), manner: &BuildManner) -> Result<build::Wanted> {
    let service = &project.services[name];
    let build = service.build.as_ref().ok_or_else(|| Failure::new("it has no `build:`"))?;
    if let Some(isolation) = build.isolation.as_ref().filter(|isolation| !matches!(isolation.as_str(), "" | "default")) {
        let failure = Failure::new(format!("`build.isolation: {isolation}` cannot be")).because("that is for Windows");
        return Err(failure.hint("leave it out"));
    }
    let (context, dockerfile) = context(project, build)?;
    let mut args = build.args.clone();
    // A lone name takes its value from where the project's own variables come from, too.
    let given =
        |(name, value): (&String, &Option<String>)| (name.clone(), value.clone().or_else(|| project.environment.get(name).cloned()));
    args.extend(manner.args.iter().map(given));
    let mut ssh: BTreeMap<String, Vec<PathBuf>> = build.ssh.iter().map(|word| agent(project, word)).collect();
    ssh.extend(manner.ssh.clone());
    let hosts = build.extra_hosts.iter().map(|word| short::extra_host(word)).collect::<Result<_, _>>();
    Ok(build::Wanted {
        context,
        dockerfile,
        tags: std::iter::once(image.to_owned()).chain(build.tags.clone()).collect(),
        target: build.target.clone(),
        args,
        labels: build.labels.clone(),
        no_cache: build.no_cache || manner.no_cache,
        no_cache_filter: build.no_cache_filter.clone(),
        pull: build.pull || manner.pull,
        platforms: platforms(service, build, manner.platforms),
        network: build.network.clone(),
        extra_hosts: hosts.map_err(|reason: String| Failure::new("`build.extra_hosts` cannot be").because(reason))?,
        contexts: contexts(project, build),
        own_images: build
            .services()
            .filter_map(|name| {
                Some(labels::image_name(project, project.services.get_key_value(name).map(|(name, service)| (name.as_str(), service))?))
            })
            .collect(),
        secrets: secrets(project, build),
        ssh,
        allow: build.entitlements.iter().cloned().chain(build.privileged.then(|| "security.insecure".to_owned())).collect(),
        shm_size: build.shm_size.as_deref().map(units::bytes).transpose()?,
        outputs: outputs(service, manner),
        cache_from: words("cache_from", &build.cache_from, CacheFrom::read)?,
        cache_to: words("cache_to", &build.cache_to, CacheTo::read)?,
        provenance: attestation("provenance", (&manner.provenance, &build.provenance), Provenance::read)?,
        sbom: attestation("sbom", (&manner.sbom, &build.sbom), Sbom::read)?,
        ulimits: build.ulimits.iter().map(|(name, value)| convert::ulimit(name, value)).collect::<Result<_>>()?,
        ..build::Wanted::default()
    })
}

/// The store has every image; with `--push` a registry has those that are named for one.
fn outputs(service: &Service, manner: &BuildManner) -> Vec<Output> {
    if !manner.push || service.image.as_deref().is_none_or(str::is_empty) {
        return Vec::new();
    }
    vec![Output::Store { names: Vec::new() }, Output::Registry { image: ImageOptions::default() }]
}

fn words<T>(key: &str, texts: &[String], read: fn(&str) -> std::result::Result<T, String>) -> Result<Vec<T>> {
    let one = |text: &String| read(text).map_err(|what| Failure::new(format!("`build.{key}: {text}` cannot be")).because(what));
    texts.iter().map(one).collect()
}

/// The flag's word over that of the files.
fn attestation<T>(
    key: &str,
    (flag, file): (&Option<String>, &Option<String>),
    read: fn(&str) -> std::result::Result<Option<T>, String>,
) -> Result<Option<T>> {
    let Some(text) = flag.as_ref().or(file.as_ref()).filter(|text| !text.is_empty()) else { return Ok(None) };
    read(text).map_err(|what| Failure::new(format!("`build.{key}: {text}` cannot be")).because(what))
}

/// What is understood and makes no difference.
fn uncarried(service: &Service) -> Vec<String> {
    let Some(build) = &service.build else { return Vec::new() };
    let rest = build.rest.keys().filter(|key| !key.starts_with("x-")).map(|key| format!("`build.{key}` is not carried out"));
    let has_owner = |grant: &&crate::compose::model::Grant| grant.uid.is_some() || grant.gid.is_some() || grant.mode.is_some();
    let owned = build.secrets.iter().filter(has_owner).map(|grant| {
        format!("`build.secrets`: owner and mode of `{}` are not carried out: the Dockerfile says them, at its --mount", grant.source)
    });
    rest.chain(owned).collect()
}

/// Where its files are, and its Dockerfile, which is named relative to them.
fn context(project: &Project, build: &Build) -> Result<(Context, DockerfileAt)> {
    let place = build.context.clone().unwrap_or_else(|| ".".to_owned());
    let context = match Context::read(&place) {
        Ok(Context::Directory(_)) | Err(_) if !place.contains("://") => Context::Directory(project.directory.join(&place)),
        read => read?,
    };
    let inside = |file: &String| match &context {
        Context::Directory(directory) if !file.contains("://") => directory.join(file),
        _ => PathBuf::from(file),
    };
    let dockerfile = match (&build.dockerfile_inline, &build.dockerfile) {
        (Some(text), _) => DockerfileAt::Text(text.clone()),
        (None, Some(file)) if file != "Dockerfile" => DockerfileAt::Path(inside(file)),
        (None, _) => DockerfileAt::Context,
    };
    Ok((context, dockerfile))
}

fn platforms(service: &Service, build: &Build, wanted: Platforms) -> Vec<String> {
    if wanted == Platforms::All && !build.platforms.is_empty() {
        return build.platforms.clone();
    }
    // One alone is the one; of several, the one that runs here, which is what nothing means.
    let only = build.platforms.first().filter(|_| build.platforms.len() == 1);
    service.platform.iter().chain(only).take(1).cloned().collect()
}

fn agent(project: &Project, word: &str) -> (String, Vec<PathBuf>) {
    match word.split_once('=') {
        Some((id, path)) if !path.is_empty() => (id.to_owned(), vec![project.directory.join(path)]),
        Some((id, _)) => (id.to_owned(), Vec::new()),
        None => (word.to_owned(), Vec::new()),
    }
}

/// `service:name` means the image of that service.
fn contexts(project: &Project, build: &Build) -> BTreeMap<String, String> {
    let resolved = |text: &String| match text.strip_prefix("service:").and_then(|name| project.services.get_key_value(name)) {
        Some((name, service)) => format!("docker-image://{}", labels::image_name(project, (name, service))),
        None if text.contains("://") || Path::new(text).is_absolute() => text.clone(),
        None => match Context::read(text) {
            Ok(Context::Remote(address)) => address,
            _ => project.directory.join(text).display().to_string(),
        },
    };
    build.additional_contexts.iter().map(|(name, place)| (name.clone(), resolved(place))).collect()
}

fn secrets(project: &Project, build: &Build) -> BTreeMap<String, Secret> {
    let secret = |grant: &crate::compose::model::Grant| {
        let object = project.secrets.get(&grant.source)?;
        let id = grant.target.as_ref().filter(|target| !target.is_empty()).unwrap_or(&grant.source);
        let secret = match (&object.file, &object.environment) {
            (Some(file), _) => Secret::File(file.into()),
            (None, Some(variable)) => match project.environment.get(variable) {
                Some(value) => Secret::Value(value.clone().into_bytes()),
                None => Secret::Env(variable.clone()),
            },
            (None, None) => return None,
        };
        Some((id.clone(), secret))
    };
    build.secrets.iter().filter_map(secret).collect()
}
