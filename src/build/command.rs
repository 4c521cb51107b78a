//! RUN: its key, its mounts, and how its end is told.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::chown;
use std::path::Path;
use std::path::PathBuf;

use crate::build::Secret;
use crate::build::chain::Chain;
use crate::build::copy::Writer;
use crate::build::dockerfile::instruction::RunNetwork;
use crate::build::dockerfile::mounts::MountKind;
use crate::build::dockerfile::mounts::Sharing;
use crate::build::draft::Draft;
use crate::build::job;
use crate::build::job::Access;
use crate::build::job::Ended;
use crate::build::job::Job;
use crate::build::job::JobMount;
use crate::build::job::Network;
use crate::build::records::Key;
use crate::build::root::Root;
use crate::build::solve::Solver;
use crate::build::steps::Origin;
use crate::build::steps::PlacedMount;
use crate::build::steps::RunWork;
use crate::build::steps::Step;
use crate::build::tree::Choice;
use crate::build::worker;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::net;
use crate::state::Lock;

/// What a RUN needs beside its root; gone when it ends.
#[derive(Default)]
struct Supplies {
    mounts: Vec<JobMount>,
    env: Vec<String>,
    /// Cache mounts that are ours alone.
    locks: Vec<Lock>,
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
    /// The key of a RUN; None if a stage it reads from failed.
    pub(super) fn run_key(&self, step: &Step, work: &RunWork, chain: &Chain) -> Result<Option<Key>> {
        let mut key = Key::new("run").texts(chain.diff_ids()).texts(&work.args).texts(&work.env);
        key = key.text(&work.directory).text(&work.user).text(&format!("{:?}", self.network(work)));
        for (name, address) in &self.wanted.extra_hosts {
            key = key.text(name).text(address);
        }
        if let Some((path, script)) = &work.script {
            key = key.text(path).text(script);
        }
        for placed in &work.mounts {
            key = key.text(&format!("{:?} {}", placed.mount, placed.target));
            match (placed.mount.kind, placed.from) {
                (MountKind::Bind, Origin::Context) => {
                    let Some(files) = self.files(Origin::Context)? else { return Ok(None) };
                    let selection = self.mounted(step, placed, &files)?;
                    key = key.bytes(&files.digests.of(&files.tree, &selection)?);
                }
                (MountKind::Bind, Origin::Stage(_)) => {
                    let Some(files) = self.files(placed.from)? else { return Ok(None) };
                    match &files.identity {
                        Some(identity) => key = key.texts(identity),
                        None => {
                            let selection = self.mounted(step, placed, &files)?;
                            key = key.bytes(&files.digests.of(&files.tree, &selection)?);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(Some(key))
    }

    fn network(&self, work: &RunWork) -> Network {
        match (work.network, self.wanted.network.as_deref()) {
            (RunNetwork::None, _) | (RunNetwork::Default, Some("none")) => Network::None,
            (RunNetwork::Host, _) | (RunNetwork::Default, Some("host")) => Network::Host,
            (RunNetwork::Default, _) => Network::Bridge,
        }
    }

    /// Carries out a RUN; false if the build was stopped meanwhile.
    pub(super) fn run(&self, number: usize, (step, work): (&Step, &RunWork), chain: &Chain, draft: &Draft<'_>) -> Result<bool> {
        let mut supplies = Supplies::default();
        let Some(()) = self.supply(step, work, draft, &mut supplies)? else { return Ok(false) };
        let network = self.network(work);
        self.name_files(network, draft, &mut supplies)?;
        let mut env = work.env.clone();
        env.extend(work.proxies.iter().filter(|proxy| !declared(&work.env, proxy)).cloned());
        env.append(&mut supplies.env);
        let job = Job {
            home: (self.home.root().to_owned(), self.home.run().to_owned()),
            id: draft.id().to_owned(),
            draft: draft.path().to_owned(),
            layers: chain.paths().to_vec(),
            upper: draft.upper(),
            work: draft.work(),
            args: work.args.clone(),
            env,
            directory: work.directory.clone(),
            user: work.user.clone(),
            network,
            mounts: std::mem::take(&mut supplies.mounts),
        };
        let ended = job::run(&job, &self.reins, self.watch, number).map_err(|failure| {
            // It could not tidy up after itself; what resists is met again by the next sweep of the store.
            let _ = worker::clean(self.home, draft.id());
            failure.at(self.source.spot(step.place))
        })?;
        if self.is_stopped() {
            return Ok(false);
        }
        match ended.report.status {
            Some(0) => Ok(true),
            _ => Err(self.failed(step, work, ended)),
        }
    }

    /// Tells of a RUN that failed: where, what, how, and what it said last.
    fn failed(&self, step: &Step, work: &RunWork, ended: Ended) -> Failure {
        let process = format!("process {:?} did not complete successfully", work.args.join(" "));
        let Some(status) = ended.report.status else {
            let reason = ended.report.reasons.join(": ");
            return self.source.fault(step.place, format!("{process}: {reason}"));
        };
        let mut failure = self.source.fault(step.place, format!("{process}: exit code: {status}"));
        if !ended.last.is_empty() {
            let lines: Vec<String> = ended.last.iter().map(|line| format!("\n    {line}")).collect();
            failure = failure.because(format!("the last it said was{}", lines.concat()));
        }
        if ended.report.out_of_memory {
            return failure.hint("the kernel ended it for want of memory: free some, or let it use less");
        }
        match status {
            127 => failure.hint("a command was not found: install it in an earlier step, or correct its name"),
            126 => failure.hint("a file could not be executed: check its mode with `COPY --chmod=755` or `chmod +x`"),
            137 => failure.hint("it was ended by SIGKILL, perhaps for want of memory"),
            _ => failure,
        }
    }

    /// Makes everything ready that a RUN mounts; None if a stage it reads from failed.
    fn supply(&self, step: &Step, work: &RunWork, draft: &Draft<'_>, supplies: &mut Supplies) -> Result<Option<()>> {
        for (index, placed) in work.mounts.iter().enumerate() {
            match placed.mount.kind {
                MountKind::Bind => {
                    let Some(mount) = self.bind(step, placed, draft, index)? else { return Ok(None) };
                    supplies.mounts.push(mount);
                }
                MountKind::Cache => {
                    let Some(mount) = self.cache(step, placed, supplies)? else { return Ok(None) };
                    supplies.mounts.push(mount);
                }
                MountKind::Tmpfs => {
                    supplies.mounts.push(JobMount::Tmpfs { target: placed.target.clone(), size: placed.mount.size });
                }
                MountKind::Secret => self.secret(step, placed, draft, supplies)?,
                // No agent is passed on yet; a mount that is required was refused.
                MountKind::Ssh => supplies.env.push(format!("SSH_AUTH_SOCK={}", placed.target)),
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

    fn mounted(&self, step: &Step, placed: &PlacedMount, files: &crate::build::context::Files) -> Result<crate::build::tree::Selection> {
        let path = placed.mount.source.trim_start_matches('/');
        let selected = files.tree.select(Path::new(path), &Choice::default()).doing(|| format!("cannot read `{path}`"))?;
        selected.ok_or_else(|| {
            let fault = self.source.fault(step.place, format!("cannot mount `/{path}`"));
            fault
                .because(format!("\"/{path}\": not found"))
                .hint("`source=` is relative to the build context, or to the stage named by `from=`")
        })
    }

    fn cache(&self, step: &Step, placed: &PlacedMount, supplies: &mut Supplies) -> Result<Option<JobMount>> {
        let id = placed.mount.id.clone().unwrap_or_default();
        let name = Key::new("cache").text(&id).finish();
        let directory = match placed.mount.sharing.unwrap_or_default() {
            Sharing::Shared => name,
            Sharing::Locked => {
                supplies.locks.push(Lock::alone(self.home, &format!("build-mount-{name}"))?);
                name
            }
            // Whoever comes second gets another one.
            Sharing::Private => {
                let mut number = 0;
                loop {
                    let candidate = format!("{name}-{number}");
                    if let Some(lock) = Lock::attempt(self.home, &format!("build-mount-{candidate}"))? {
                        supplies.locks.push(lock);
                        break candidate;
                    }
                    number += 1;
                }
            }
        };
        let path = self.home.build().join("mounts").join(directory);
        let making = || format!("cannot make the cache mount `{id}`");
        if !path.join("mounted").is_dir() {
            match placed.from {
                Origin::Stage(_) => {
                    if self.files(placed.from)?.is_none() {
                        return Ok(None);
                    }
                    self.copied(step, placed, &path)?;
                }
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
        Ok(Some(JobMount::Bind { source: path.join("mounted"), target: placed.target.clone(), access }))
    }

    fn secret(&self, step: &Step, placed: &PlacedMount, draft: &Draft<'_>, supplies: &mut Supplies) -> Result<()> {
        let id = placed.mount.id.clone().unwrap_or_default();
        let value = match self.wanted.secrets.get(&id) {
            Some(Secret::File(path)) => Some(fs::read(path).doing(|| format!("cannot read the secret `{id}` from {}", path.display()))?),
            Some(Secret::Env(name)) => std::env::var_os(name).map(std::os::unix::ffi::OsStringExt::into_vec),
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
        let directory = self.home.build_run(draft.id());
        let writing = || format!("cannot write the secret `{id}`");
        fs::create_dir_all(&directory).doing(writing)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).doing(writing)?;
        supplies.secrets.get_or_insert(Scratch(directory.clone()));
        let file = directory.join(format!("secret-{}", supplies.mounts.len()));
        write(&file, &value, placed.mount.mode.unwrap_or(0o400)).doing(writing)?;
        chown(&file, Some(placed.mount.uid.unwrap_or(0)), Some(placed.mount.gid.unwrap_or(0))).doing(writing)?;
        supplies.mounts.push(JobMount::Bind { source: file, target: placed.target.clone(), access: Access::ReadOnly });
        Ok(())
    }

    /// /etc/hosts and /etc/resolv.conf, mounted over the image's own.
    fn name_files(&self, network: Network, draft: &Draft<'_>, supplies: &mut Supplies) -> Result<()> {
        let mut hosts = format!("127.0.0.1\tlocalhost {}\n::1\tlocalhost ip6-localhost ip6-loopback\n", worker::HOSTNAME);
        for (name, address) in &self.wanted.extra_hosts {
            hosts.push_str(&format!("{address}\t{name}\n"));
        }
        let resolvers = match network {
            Network::Host => fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
            Network::Bridge | Network::None => resolvers(),
        };
        for (name, text) in [("hosts", hosts), ("resolv.conf", resolvers)] {
            let file = draft.files().join(name);
            write(&file, text.as_bytes(), 0o644).doing(|| format!("cannot write /etc/{name} for RUN"))?;
            supplies.mounts.push(JobMount::Bind { source: file, target: format!("/etc/{name}"), access: Access::ReadOnly });
        }
        Ok(())
    }
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

/// Whether the Dockerfile itself gives the variable a value.
fn declared(env: &[String], proxy: &str) -> bool {
    let name = proxy.split('=').next();
    env.iter().any(|line| line.split('=').next() == name)
}

/// Writes a file with this mode, whatever the umask is.
fn write(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.set_permissions(fs::Permissions::from_mode(mode))
}
