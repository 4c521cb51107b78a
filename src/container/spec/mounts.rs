//! The mounts of a container: our own files, the user's, and what they need of the default ones.

use std::path::Path;
use std::path::PathBuf;

use oci_spec::runtime::Mount as SpecMount;
use oci_spec::runtime::Spec;

use crate::container::Below;
use crate::container::Container;
use crate::container::Ipc;
use crate::container::Mount;
use crate::container::MountSource;
use crate::container::Wanted;
use crate::container::files;
use crate::container::init;
use crate::container::record;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::runtime;
use crate::volume;
use crate::volume::Origin;

use super::namespaces;

/// File systems whose content is gone when nobody has them mounted, so that a second user must get the first one's.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// Adds all mounts, in the order of their depth.
///
/// # Errors
/// A volume's part that is not there; a partner that does not run.
pub(super) fn add(home: &Home, spec: &mut Spec, container: &Container) -> Result<()> {
    let wanted = &container.wanted;
    let mut mounts: Vec<SpecMount> = files::mounts(home, container);
    if wanted.init {
        init::check()?;
        mounts.push(bind(&std::env::current_exe().doing(|| "cannot find our own program")?, init::INSIDE, &["ro"]));
    }
    for (number, wanted_mount) in wanted.mounts.iter().enumerate() {
        mounts.retain(|other| other.destination() != Path::new(&wanted_mount.target));
        mounts.push(spec_mount(home, container, number, wanted_mount)?);
    }
    mounts.sort_by_key(|mount| mount.destination().components().count());
    let mut all = spec.mounts().clone().unwrap_or_default();
    all.retain(|default| !mounts.iter().any(|mount| mount.destination() == default.destination()));
    all.retain(|default| wanted.ipc != Ipc::None || default.destination() != Path::new("/dev/shm"));
    for default in &mut all {
        adjust_default(home, default, wanted)?;
    }
    all.extend(mounts);
    spec.set_mounts(Some(all));
    Ok(())
}

fn adjust_default(home: &Home, mount: &mut SpecMount, wanted: &Wanted) -> Result<()> {
    let destination = mount.destination().clone();
    if destination == Path::new("/dev/shm") {
        match &wanted.ipc {
            Ipc::Host => *mount = bind(Path::new("/dev/shm"), "/dev/shm", &[]),
            Ipc::Container(id) => *mount = bind(&inside_of(namespaces::partner(home, id, "IPC")?.pid, "/dev/shm"), "/dev/shm", &[]),
            Ipc::Private | Ipc::Shareable | Ipc::None => set_size(mount, wanted.shm_size),
        }
    }
    Ok(())
}

fn set_size(mount: &mut SpecMount, size: Option<u64>) {
    let Some(size) = size.filter(|size| *size > 0) else { return };
    let mut options = mount.options().clone().unwrap_or_default();
    options.retain(|option| !option.starts_with("size="));
    options.push(format!("size={size}"));
    mount.set_options(Some(options));
}

/// A path as a process in a container sees it; the runtime takes the mount from there.
fn inside_of(pid: i32, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/root{path}"))
}

/// A recursive, private bind mount.
pub(crate) fn bind(source: &Path, target: &str, more: &[&str]) -> SpecMount {
    let options = ["rbind", "rprivate"].iter().chain(more).map(|option| (*option).to_owned());
    mount("bind", source, (target, options.collect()))
}

fn mount(kind: &str, source: &Path, (target, options): (&str, Vec<String>)) -> SpecMount {
    let mut mount = SpecMount::default();
    mount.set_destination(target.into()).set_typ(Some(kind.into())).set_source(Some(source.into())).set_options(Some(options));
    mount
}

fn spec_mount(home: &Home, container: &Container, number: usize, wanted: &Mount) -> Result<SpecMount> {
    let target = wanted.target.as_str();
    Ok(match &wanted.source {
        MountSource::Bind { path, propagation, below, .. } => {
            mount("bind", path, (target, bind_options(wanted.read_only, propagation.as_deref(), *below)))
        }
        MountSource::Volume { name, subpath, .. } => {
            let mut made = volume_mount(home, container, (wanted, name, subpath.as_deref()))?;
            if let Some(options) = made.options_mut().as_mut().filter(|_| wanted.read_only) {
                options.push("ro".to_owned());
            }
            made
        }
        MountSource::Anonymous { .. } => {
            return Err(Failure::new(format!("cannot mount at `{target}`")).because("the record names no volume for it"));
        }
        MountSource::Image { layers, subpath, .. } => {
            // The uppermost first, as overlayfs has it.
            let mut options: Vec<String> = layers.iter().rev().map(|layer| format!("lowerdir+={}", layer.display())).collect();
            options.extend(subpath.as_ref().map(|subpath| format!("subpath={subpath}")));
            mount("overlay", Path::new("overlay"), (target, options))
        }
        MountSource::Tmpfs { size, mode, options } => tmpfs(wanted, (*size, *mode), options),
        MountSource::Content { .. } => {
            mount(runtime::CONTENT, &files::content_path(home, &container.id, number), (target, vec!["ro".to_owned()]))
        }
    })
}

/// As Docker: what is read-only is so with all that is mounted below it, unless that is to be left writable.
fn bind_options(read_only: bool, propagation: Option<&str>, below: Below) -> Vec<String> {
    let depth = if below == Below::Hidden { "bind" } else { "rbind" };
    let mut options = vec![depth.to_owned(), propagation.unwrap_or("rprivate").to_owned()];
    if read_only {
        options.push("ro".to_owned());
        options.extend((below == Below::Shown).then(|| "rro".to_owned()));
    }
    options
}

fn volume_mount(home: &Home, container: &Container, (wanted, name, subpath): (&Mount, &str, Option<&str>)) -> Result<SpecMount> {
    let target = wanted.target.as_str();
    let directory = match volume::origin(home, name)? {
        Origin::Directory(directory) => directory,
        Origin::Bind { path, options } => {
            let source = subpath.map_or(Ok(path.clone()), |subpath| inside(&path, subpath))?;
            let mut all = vec!["rprivate".to_owned()];
            all.extend(options);
            return Ok(mount("bind", &source, (target, all)));
        }
        Origin::Filesystem { kind, source, options } => {
            if subpath.is_some() {
                return Err(Failure::new(format!("cannot mount a part of volume `{name}`"))
                    .because(format!("it is a file system of its own, of the type {kind}")));
            }
            let others = IN_MEMORY.contains(&kind.as_str()).then(|| mounted_elsewhere(home, container, name)).flatten();
            return Ok(match others {
                Some(place) => bind(&place, target, &[]),
                None => mount(&kind, Path::new(&source), (target, options)),
            });
        }
    };
    let source = subpath.map_or(Ok(directory.clone()), |subpath| inside(&directory, subpath))?;
    Ok(bind(&source, target, &[]))
}

/// Where another running container has a volume mounted.
fn mounted_elsewhere(home: &Home, container: &Container, name: &str) -> Option<PathBuf> {
    let others = record::list(home).ok()?.into_iter().filter(|other| other.id != container.id);
    others.into_iter().find_map(|other| {
        let has = |mount: &&Mount| matches!(&mount.source, MountSource::Volume { name: other, .. } if other == name);
        let mount = other.wanted.mounts.iter().find(has)?;
        let state = record::state(home, &other.id).ok().filter(|state| state.has_process())?;
        Some(inside_of(state.pid, &mount.target))
    })
}

/// A part of a volume; a link in it must not lead out.
fn inside(directory: &Path, subpath: &str) -> Result<PathBuf> {
    let what = || format!("cannot mount `{subpath}` of the volume");
    let whole = directory.canonicalize().doing(what)?;
    let part = whole.join(subpath.trim_start_matches('/')).canonicalize().doing(what)?;
    match part.starts_with(&whole) {
        true => Ok(part),
        false => Err(Failure::new(what()).because("it leads out of the volume")),
    }
}

fn tmpfs(wanted: &Mount, (size, mode): (Option<u64>, Option<u32>), more: &[String]) -> SpecMount {
    let mut options: Vec<String> = ["nosuid", "nodev", "noexec"].map(str::to_owned).to_vec();
    options.push(format!("mode={:o}", mode.unwrap_or(0o1777)));
    options.extend(size.map(|size| format!("size={size}")));
    options.extend(more.iter().cloned());
    options.extend(wanted.read_only.then(|| "ro".to_owned()));
    mount("tmpfs", Path::new("tmpfs"), (&wanted.target, options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_does_not_lead_out_of_a_volume() {
        let root = tempfile::tempdir().unwrap();
        let volume = root.path().join("v");
        std::fs::create_dir_all(volume.join("in")).unwrap();
        std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
        assert!(inside(&volume, "in").is_ok());
        assert!(inside(&volume, "out").is_err());
        assert!(inside(&volume, "../..").is_err());
    }

    #[test]
    fn a_read_only_bind_is_so_all_the_way_down() {
        let table = [
            (false, None, Below::Shown, "rbind,rprivate"),
            (true, None, Below::Shown, "rbind,rprivate,ro,rro"),
            (true, Some("rslave"), Below::ShownWritable, "rbind,rslave,ro"),
            (true, None, Below::Hidden, "bind,rprivate,ro"),
        ];
        for (read_only, propagation, below, expected) in table {
            assert_eq!(bind_options(read_only, propagation, below).join(","), expected);
        }
    }

    #[test]
    fn a_tmpfs_is_dockers_unless_told_otherwise() {
        let source = MountSource::Tmpfs { size: None, mode: None, options: Vec::new() };
        let wanted = Mount { target: "/t".into(), read_only: false, source };
        let made = tmpfs(&wanted, (Some(4096), Some(0o700)), &["exec".to_owned(), "uid=7".to_owned()]);
        assert_eq!(made.options().as_ref().unwrap().join(","), "nosuid,nodev,noexec,mode=700,size=4096,exec,uid=7");
    }
}
