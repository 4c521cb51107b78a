//! What a RUN is given beside its root: mounts, caches, secrets, agents, the files that name hosts.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::chown;
use std::path::Path;
use std::path::PathBuf;

use crate::build::agent;
use crate::build::agent::Forward;
use crate::build::context::Files;
use crate::build::copy::Writer;
use crate::build::dockerfile::mounts::MountKind;
use crate::build::dockerfile::mounts::Sharing;
use crate::build::draft::Draft;
use crate::build::job::Access;
use crate::build::job::JobMount;
use crate::build::job::Network;
use crate::build::records;
use crate::build::records::Key;
use crate::build::records::Used;
use crate::build::root::Root;
use crate::build::solve::Solver;
use crate::build::steps::Origin;
use crate::build::steps::PlacedMount;
use crate::build::steps::RunWork;
use crate::build::steps::Step;
use crate::build::tree::Choice;
use crate::build::tree::Selection;
use crate::build::worker;
use crate::failure::Doing;
use crate::failure::Result;
use crate::net;
use crate::state::Lock;

/// Stands for the address of the host, as the network has it.
pub(super) const GATEWAY: &str = "host-gateway";

/// What a RUN needs beside its root; gone when it ends.
#[derive(Default)]
pub(super) struct Supplies {
    pub mounts: Vec<JobMount>,
    pub env: Vec<String>,
    /// Cache mounts that are ours alone.
    locks: Vec<Lock>,
    /// The directories of private ones, by name: the same name is the same directory in one RUN.
    private: BTreeMap<String, String>,
    /// Sockets that lead to agents.
    forwards: Vec<Forward>,
    /// Secrets lie in memory, not in the store.
    secrets: Option<Scratch>,
}

/// A directory that is removed when it is let go.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Solver<'_> {
    /// Makes everything ready that a RUN mounts; None if a stage it reads from failed.
    pub(super) fn supply(&self, step: &Step, work: &RunWork, draft: &Draft<'_>, supplies: &mut Supplies) -> Result<Option<()>> {
        let Some(names) = self.lock_caches(step, work, supplies)? else { return Ok(None) };
        for (index, placed) in work.mounts.iter().enumerate() {
            match placed.mount.kind {
                MountKind::Bind => {
                    let Some(mount) = self.bind(step, placed, draft, index)? else { return Ok(None) };
                    supplies.mounts.push(mount);
                }
                MountKind::Cache => {
                    let name = names.get(&index).cloned().unwrap_or_default();
                    let mount = self.cache(step, placed, &name, supplies)?;
                    supplies.mounts.push(mount);
                }
                MountKind::Tmpfs => {
                    supplies.mounts.push(JobMount::Tmpfs { target: placed.target.clone(), size: placed.mount.size });
                }
                MountKind::Secret => self.secret(step, placed, draft, supplies)?,
                MountKind::Ssh => self.agent(step, placed, draft, supplies)?,
            }
        }
        if let Some((path, script)) = &work.script {
            let file = draft.files().join("script");
            write(&file, script.as_bytes(), 0o755).doing(|| "cannot write the script of RUN")?;
            supplies.mounts.push(JobMount::Bind { source: file, target: path.clone(), access: Access::ReadOnly });
        }
        Ok(Some(()))
    }

    /// Files of the context are copied, so that they are root's and nothing ignored is among them; a stage's are mounted.
    fn bind(&self, step: &Step, placed: &PlacedMount, draft: &Draft<'_>, index: usize) -> Result<Option<JobMount>> {
        let target = placed.target.clone();
        let place = draft.files().join(format!("mount-{index}"));
        let Some(files) = self.files(placed.from)? else { return Ok(None) };
        if let Origin::Stage(stage) = placed.from
            && files.identity.is_some()
        {
            let Some(outcome) = self.outcome(stage) else { return Ok(None) };
            let making = || "cannot make directories for a mount of RUN";
            let scratch = (!placed.mount.read_only).then(|| {
                let pair = (draft.files().join(format!("upper-{index}")), draft.files().join(format!("work-{index}")));
                fs::create_dir_all(&pair.0).and_then(|()| fs::create_dir_all(&pair.1)).doing(making).map(|()| pair)
            });
            let (layers, path) = (outcome.chain.paths().to_vec(), placed.mount.source.clone());
            return Ok(Some(JobMount::Stage { layers, path, target, place, scratch: scratch.transpose()? }));
        }
        let source = self.copied(step, placed, &place)?;
        let access = if placed.mount.read_only { Access::ReadOnly } else { Access::ReadWrite };
        Ok(Some(JobMount::Bind { source, target, access }))
    }

    /// Copies what a mount reads to a place of ours; returns where it is there.
    fn copied(&self, step: &Step, placed: &PlacedMount, place: &Path) -> Result<PathBuf> {
        let Some(files) = self.files(placed.from)? else { return Ok(place.to_owned()) };
        let selection = self.mounted(step, placed, &files)?;
        let copying = || format!("cannot copy `{}` for a mount of RUN", placed.mount.source);
        fs::create_dir_all(place).doing(copying)?;
        let root = Root::at(place).doing(copying)?;
        let writer = Writer { dest: &root, owner: None, mode: None };
        writer.copy(&files.tree, &selection, "/mounted").map_err(|fault| self.copy_fault(step, fault))?;
        Ok(place.join("mounted"))
    }

    pub(super) fn mounted(&self, step: &Step, placed: &PlacedMount, files: &Files) -> Result<Selection> {
        let path = placed.mount.source.trim_start_matches('/');
        let selected = files.tree.select(Path::new(path), &Choice::default()).doing(|| format!("cannot read `{path}`"))?;
        selected.ok_or_else(|| {
            let fault = self.source.fault(step.place, format!("cannot mount `/{path}`"));
            fault
                .because(format!("\"/{path}\": not found"))
                .hint("`source=` is relative to the build context, or to the stage named by `from=`")
        })
    }

    /// Takes the locks of all cache mounts that are ours alone, in an order that every build keeps: two RUNs that name the
    /// same two would wait for each other. Returns the names of the cache mounts, by their numbers.
    fn lock_caches(&self, step: &Step, work: &RunWork, supplies: &mut Supplies) -> Result<Option<BTreeMap<usize, String>>> {
        let mut names = BTreeMap::new();
        for (index, placed) in work.mounts.iter().enumerate().filter(|(_, placed)| placed.mount.kind == MountKind::Cache) {
            let Some(base) = self.cache_base(step, placed)? else { return Ok(None) };
            let key = Key::new("cache").text(placed.mount.id.as_deref().unwrap_or_default());
            names.insert(index, if base.is_empty() { key } else { key.texts(&base) }.finish());
        }
        let locked = names.iter().filter(|(index, _)| work.mounts[**index].mount.sharing == Some(Sharing::Locked));
        for name in locked.map(|(_, name)| name).collect::<BTreeSet<_>>() {
            let Some(lock) = self.bell.lock(self.home, &mount_lock(name))? else { return Ok(None) };
            supplies.locks.push(lock);
        }
        Ok(Some(names))
    }

    /// What a cache mount begins with, as a part of its name and of the key; None if the stage it is from failed.
    pub(super) fn cache_base(&self, step: &Step, placed: &PlacedMount) -> Result<Option<Vec<String>>> {
        if !matches!(placed.from, Origin::Stage(_)) {
            return Ok(Some(Vec::new()));
        }
        let Some(files) = self.files(placed.from)? else { return Ok(None) };
        let content = match &files.identity {
            Some(identity) => identity.clone(),
            None => {
                let sum = files.digests.of(&files.tree, &self.mounted(step, placed, &files)?)?;
                vec![sum.iter().map(|byte| format!("{byte:02x}")).collect()]
            }
        };
        Ok(Some([content, vec![placed.mount.source.clone()]].concat()))
    }

    /// The directory of a private cache mount: whoever comes second gets another one.
    fn private(&self, name: &str, supplies: &mut Supplies) -> Result<String> {
        if let Some(known) = supplies.private.get(name) {
            return Ok(known.clone());
        }
        let mut number = 0;
        loop {
            let candidate = format!("{name}-{number}");
            if let Some(lock) = Lock::attempt(self.home, &mount_lock(&candidate))? {
                supplies.locks.push(lock);
                supplies.private.insert(name.to_owned(), candidate.clone());
                return Ok(candidate);
            }
            number += 1;
        }
    }

    fn cache(&self, step: &Step, placed: &PlacedMount, name: &str, supplies: &mut Supplies) -> Result<JobMount> {
        let id = placed.mount.id.clone().unwrap_or_default();
        let directory = match placed.mount.sharing.unwrap_or_default() {
            Sharing::Shared | Sharing::Locked => name.to_owned(),
            Sharing::Private => self.private(name, supplies)?,
        };
        records::note_use(self.home, Used::Mount, &directory, &id);
        let path = self.home.build().join("mounts").join(directory);
        let making = || format!("cannot make the cache mount `{id}`");
        if !path.join("mounted").is_dir() {
            match placed.from {
                Origin::Stage(_) => drop(self.copied(step, placed, &path)?),
                _ => fs::create_dir_all(path.join("mounted")).doing(making)?,
            }
            let mount = &placed.mount;
            if mount.from.is_empty() || mount.uid.is_some() || mount.gid.is_some() || mount.mode.is_some() {
                chown(path.join("mounted"), Some(mount.uid.unwrap_or(0)), Some(mount.gid.unwrap_or(0))).doing(making)?;
                let mode = fs::Permissions::from_mode(mount.mode.unwrap_or(0o755));
                fs::set_permissions(path.join("mounted"), mode).doing(making)?;
            }
        }
        let access = if placed.mount.read_only { Access::ReadOnly } else { Access::ReadWrite };
        Ok(JobMount::Bind { source: path.join("mounted"), target: placed.target.clone(), access })
    }

    fn secret(&self, step: &Step, placed: &PlacedMount, draft: &Draft<'_>, supplies: &mut Supplies) -> Result<()> {
        let id = placed.mount.id.clone().unwrap_or_default();
        let value = match self.wanted.secrets.get(&id) {
            Some(secret) => secret.value(&id)?,
            None => None,
        };
        let Some(value) = value else {
            if !placed.mount.required {
                return Ok(());
            }
            let fault = self.source.fault(step.place, format!("secret {id}: not found"));
            return Err(fault.hint(format!("give it with `--secret id={id},src=FILE`")));
        };
        if let Some(name) = &placed.mount.env {
            supplies.env.push(format!("{name}={}", String::from_utf8_lossy(&value)));
        }
        if placed.target.is_empty() {
            return Ok(());
        }
        let writing = || format!("cannot write the secret `{id}`");
        let directory = self.in_memory(draft, supplies).doing(writing)?;
        let file = directory.join(format!("secret-{}", supplies.mounts.len()));
        write(&file, &value, placed.mount.mode.unwrap_or(0o400)).doing(writing)?;
        chown(&file, Some(placed.mount.uid.unwrap_or(0)), Some(placed.mount.gid.unwrap_or(0))).doing(writing)?;
        supplies.mounts.push(JobMount::Bind { source: file, target: placed.target.clone(), access: Access::ReadOnly });
        Ok(())
    }

    /// A directory for what must never be on a disk.
    fn in_memory(&self, draft: &Draft<'_>, supplies: &mut Supplies) -> std::io::Result<PathBuf> {
        let directory = self.home.build_run(draft.id());
        fs::create_dir_all(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
        // Not made before it is known to be the first: letting go of one removes the directory.
        supplies.secrets.get_or_insert_with(|| Scratch(directory.clone()));
        Ok(directory)
    }

    /// A socket that leads to the user's agent.
    fn agent(&self, step: &Step, placed: &PlacedMount, draft: &Draft<'_>, supplies: &mut Supplies) -> Result<()> {
        let mount = &placed.mount;
        let id = mount.id.clone().unwrap_or_else(|| "default".to_owned());
        let Some(agent) = self.agents.socket(&id) else {
            if !mount.required {
                return Ok(());
            }
            let fault = self.source.fault(step.place, format!("no SSH key {id:?} forwarded from the client"));
            return Err(fault.hint(format!("pass an agent on with `--ssh {id}`")));
        };
        let passing = || format!("cannot pass on the ssh agent `{id}`");
        let socket = self.in_memory(draft, supplies).doing(passing)?.join(format!("agent-{}", supplies.forwards.len()));
        let access = agent::Access { uid: mount.uid.unwrap_or(0), gid: mount.gid.unwrap_or(0), mode: mount.mode.unwrap_or(0o600) };
        supplies.forwards.push(Forward::begin(agent, socket.clone(), access).doing(passing)?);
        supplies.mounts.push(JobMount::Bind { source: socket, target: placed.target.clone(), access: Access::ReadWrite });
        Ok(())
    }

    /// /etc/hosts and /etc/resolv.conf, mounted over the image's own.
    pub(super) fn name_files(&self, network: &Network, draft: &Draft<'_>, supplies: &mut Supplies) -> Result<()> {
        let mut hosts = format!("127.0.0.1\tlocalhost {}\n::1\tlocalhost ip6-localhost ip6-loopback\n", worker::HOSTNAME);
        for (name, address) in &self.wanted.extra_hosts {
            let address = match (address.as_str(), network) {
                // Known when the command is on its network: see `worker`.
                (GATEWAY, Network::Plug(_)) => GATEWAY,
                (GATEWAY, Network::Host | Network::None) => "127.0.0.1",
                (address, _) => address,
            };
            hosts.push_str(&format!("{address}\t{name}\n"));
        }
        let resolvers = match network {
            Network::Host => fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
            Network::Plug(_) | Network::None => resolvers(),
        };
        for (name, text) in [("hosts", hosts), ("resolv.conf", resolvers)] {
            let file = draft.files().join(name);
            write(&file, text.as_bytes(), 0o644).doing(|| format!("cannot write /etc/{name} for RUN"))?;
            supplies.mounts.push(JobMount::Bind { source: file, target: format!("/etc/{name}"), access: Access::ReadOnly });
        }
        Ok(())
    }
}

/// The lock of a cache mount.
fn mount_lock(name: &str) -> String {
    format!("build-mount-{name}")
}

/// The host's resolvers as a file.
fn resolvers() -> String {
    let host = net::host_resolvers();
    let mut text: String = host.servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    for (key, values) in [("search", &host.search), ("options", &host.options)] {
        if !values.is_empty() {
            text.push_str(&format!("{key} {}\n", values.join(" ")));
        }
    }
    text
}

/// Writes a file with this mode, whatever the umask is.
fn write(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.set_permissions(fs::Permissions::from_mode(mode))
}
