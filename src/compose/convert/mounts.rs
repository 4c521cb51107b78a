//! Volumes, binds, tmpfs, configs and secrets of a service.

use std::path::PathBuf;

use serde_json::Map;
use serde_json::Value;

use crate::compose::convert::Peers;
use crate::compose::model::FileObject;
use crate::compose::model::Grant;
use crate::compose::model::Project;
use crate::compose::model::Service;
use crate::compose::model::ServiceVolume;
use crate::compose::recipe;
use crate::compose::short;
use crate::container::Below;
use crate::container::Mount;
use crate::container::MountSource;
use crate::container::Wanted;
use crate::failure::Failure;
use crate::failure::Result;
use crate::units;

/// Docker's mode of configs and secrets.
const READABLE: u32 = 0o444;

pub(super) fn apply(project: &Project, service: &Service, wanted: &mut Wanted, peers: &dyn Peers) -> Result<()> {
    for text in &service.volumes_from {
        let mounts = borrowed(text, peers).map_err(|failure| failure.within(format!("cannot take over the volumes of `{text}`")))?;
        mounts.into_iter().for_each(|mount| put(wanted, mount));
    }
    for volume in &service.volumes {
        let source = source(project, volume, peers).map_err(|failure| failure.within(format!("cannot mount at `{}`", volume.target)))?;
        put(wanted, Mount { target: volume.target.clone(), read_only: volume.read_only, source });
    }
    for text in &service.tmpfs {
        let mount = short::tmpfs(text).map_err(|reason| Failure::new(format!("cannot mount the tmpfs `{text}`")).because(reason))?;
        put(wanted, mount);
    }
    for grant in &service.configs {
        let target = absolute(grant, "/");
        let source = granted(project, ("config", project.configs.get(&grant.source)), grant)?;
        put(wanted, Mount { target, read_only: true, source });
    }
    for grant in &service.secrets {
        let target = absolute(grant, "/run/secrets/");
        let source = granted(project, ("secret", project.secrets.get(&grant.source)), grant)?;
        put(wanted, Mount { target, read_only: true, source });
    }
    Ok(())
}

/// Puts a mount in the place of one with the same target, such as a volume of the image.
fn put(wanted: &mut Wanted, mount: Mount) {
    wanted.mounts.retain(|known| known.target.trim_end_matches('/') != mount.target.trim_end_matches('/'));
    wanted.mounts.push(mount);
}

/// The mounts that `service[:ro]` or `container:name[:ro]` stands for.
fn borrowed(text: &str, peers: &dyn Peers) -> Result<Vec<Mount>> {
    let (id, mode) = match text.strip_prefix("container:") {
        Some(rest) => {
            let (name, mode) = rest.split_once(':').unwrap_or((rest, "rw"));
            (peers.of_name(name), mode)
        }
        None => {
            let (name, mode) = text.split_once(':').unwrap_or((text, "rw"));
            (peers.of_service(name), mode)
        }
    };
    let id = id.ok_or_else(|| Failure::new("there is no container of it"))?;
    short::borrowed(peers.mounts_of(&id), mode).map_err(Failure::new)
}

fn source(project: &Project, volume: &ServiceVolume, peers: &dyn Peers) -> Result<MountSource> {
    let option = |part: &Option<Map<String, Value>>, name: &str| part.as_ref().and_then(|part| part.get(name)).cloned();
    let text = |part, name| option(part, name).and_then(|value| value.as_str().map(str::to_owned));
    let truth = |part, name| option(part, name).and_then(|value| value.as_bool());
    match (volume.kind.as_str(), &volume.source) {
        ("bind", Some(path)) => Ok(MountSource::Bind {
            path: project.directory.join(path),
            create: truth(&volume.bind, "create_host_path").unwrap_or(true),
            propagation: text(&volume.bind, "propagation").filter(|text| !text.is_empty()),
            below: match text(&volume.bind, "recursive").as_deref() {
                None | Some("" | "enabled" | "readonly") => Below::Shown,
                Some("writable") => Below::ShownWritable,
                Some("disabled") => Below::Hidden,
                Some(other) => return Err(Failure::new(format!("cannot understand `recursive: {other}`"))),
            },
        }),
        ("image", Some(name)) => image_source(name, text(&volume.image, "subpath"), peers),
        ("volume", Some(key)) => Ok(MountSource::Volume {
            name: project.volumes.get(key).map_or_else(|| key.clone(), |volume| volume.name.clone()),
            nocopy: truth(&volume.volume, "nocopy").unwrap_or(false),
            subpath: text(&volume.volume, "subpath"),
        }),
        ("volume", None) => {
            let labels = option(&volume.volume, "labels").and_then(|labels| serde_json::from_value(labels).ok()).unwrap_or_default();
            Ok(MountSource::Anonymous { labels })
        }
        ("tmpfs", _) => Ok(MountSource::Tmpfs {
            size: option(&volume.tmpfs, "size")
                .map(|size| size.as_str().map_or_else(|| size.to_string(), str::to_owned))
                .map(|size| units::bytes(&size))
                .transpose()?,
            mode: option(&volume.tmpfs, "mode").map(|mode| mode_of(&mode)).transpose()?,
            options: Vec::new(),
        }),
        (kind, _) => Err(Failure::new(format!("volumes of the type `{kind}` cannot be mounted here"))
            .hint("the types are bind, volume, tmpfs and image")),
    }
}

fn image_source(name: &str, subpath: Option<String>, peers: &dyn Peers) -> Result<MountSource> {
    let image = peers.image(name).ok_or_else(|| Failure::new(format!("there is no image `{name}`")))?;
    Ok(MountSource::Image { name: name.to_owned(), id: image.id, layers: image.layers, subpath: subpath.filter(|path| !path.is_empty()) })
}

fn absolute(grant: &Grant, directory: &str) -> String {
    match grant.target.as_deref().filter(|target| !target.is_empty()) {
        Some(target) if target.starts_with('/') => target.to_owned(),
        Some(target) => format!("{directory}{target}"),
        None => format!("{directory}{}", grant.source),
    }
}

/// A file of the host is bound as it is, so that it may change; with an owner or mode of its own it is a copy.
fn granted(project: &Project, (kind, object): (&str, Option<&FileObject>), grant: &Grant) -> Result<MountSource> {
    let Some(object) = object else {
        return Err(Failure::new(format!("there is no {kind} `{}`", grant.source)));
    };
    if let Some(key) = ["driver", "template_driver", "driver_opts"].into_iter().find(|key| object.rest.contains_key(*key)) {
        return Err(Failure::new(format!("cannot carry out `{key}` of {kind} `{}`", grant.source))
            .because(format!("{kind}s come from files, variables and the project itself")));
    }
    let is_plain = grant.uid.is_none() && grant.gid.is_none() && grant.mode.is_none();
    if let Some(file) = object.file.as_ref().filter(|_| is_plain && object.content.is_none()) {
        let path = PathBuf::from(file);
        if !path.exists() {
            return Err(
                Failure::new(format!("cannot use `{file}`, the file of {kind} `{}`", grant.source)).because("there is no such file")
            );
        }
        return Ok(MountSource::Bind { path, create: false, propagation: None, below: Below::Shown });
    }
    let number = |text: &Option<String>, what: &str| match text.as_deref() {
        None | Some("") => Ok(0),
        Some(text) => text
            .parse::<u32>()
            .map_err(|_| Failure::new(format!("cannot give {kind} `{}` the {what} `{text}`", grant.source)).because("it is no number")),
    };
    Ok(MountSource::Content {
        bytes: recipe::content(project, (kind, &grant.source), object)?,
        uid: number(&grant.uid, "uid")?,
        gid: number(&grant.gid, "gid")?,
        mode: grant.mode.as_ref().map(mode_of).transpose()?.unwrap_or(READABLE),
    })
}

/// Octal in text, or the number itself.
fn mode_of(value: &Value) -> Result<u32> {
    let read = match value {
        Value::String(text) => short::octal(text.trim_start_matches("0o")).ok(),
        other => other.as_u64().and_then(|number| u32::try_from(number).ok()),
    };
    read.ok_or_else(|| Failure::new(format!("cannot understand the mode `{value}`")).hint("write it in octal, such as \"0440\""))
}
