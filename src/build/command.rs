//! RUN: its key, its job, and how its end is told.

use std::sync::Mutex;
use std::sync::PoisonError;

use crate::build::chain::Chain;
use crate::build::dockerfile::instruction::RunNetwork;
use crate::build::dockerfile::mounts::MountKind;
use crate::build::draft::Draft;
use crate::build::emulation;
use crate::build::job;
use crate::build::job::Ended;
use crate::build::job::Job;
use crate::build::job::Limits;
use crate::build::job::Network;
use crate::build::job::Rights;
use crate::build::job::Talk;
use crate::build::records::Key;
use crate::build::solve::Solver;
use crate::build::steps::Origin;
use crate::build::steps::RunWork;
use crate::build::steps::Step;
use crate::build::supplies::Supplies;
use crate::build::worker;
use crate::container;
use crate::failure::Failure;
use crate::failure::Result;
use crate::net;

impl Solver<'_> {
    /// The key of a RUN; None if a stage it reads from failed.
    pub(super) fn run_key(&self, step: &Step, work: &RunWork, chain: &Chain) -> Result<Option<Key>> {
        let mut key = Key::new("run").texts(chain.diff_ids()).texts(&work.args).texts(&work.env);
        key = key.text(&work.directory).text(&work.user).text(&format!("{:?}", self.network(work)));
        if work.rights == Rights::All {
            key = key.text("insecure");
        }
        for (name, address) in &self.wanted.extra_hosts {
            key = key.text(name).text(address);
        }
        for device in &work.devices {
            key = key.text("device").text(&device.name).text(if device.required { "required" } else { "optional" });
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
                (MountKind::Cache, _) => {
                    let Some(base) = self.cache_base(step, placed)? else { return Ok(None) };
                    key = if base.is_empty() { key } else { key.texts(&base) };
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
            (RunNetwork::Default, None | Some("" | "default" | "bridge")) => Network::Plug(net::DEFAULT_NETWORK.to_owned()),
            (RunNetwork::Default, Some(name)) => Network::Plug(name.to_owned()),
        }
    }

    /// Carries out a RUN; false if the build was stopped meanwhile.
    pub(super) fn run(&self, number: usize, (step, work): (&Step, &RunWork), chain: &Chain, draft: &Draft<'_>) -> Result<bool> {
        if !emulation::runs(&work.platform) {
            let what = format!("cannot run a command of {} on this machine", work.platform.text());
            let failure = self.source.fault(step.place, what).because("binfmt_misc has no emulator for it");
            return Err(
                failure.hint("register one, such as qemu-user-static, or do this work in a stage with `FROM --platform=$BUILDPLATFORM`")
            );
        }
        let mut supplies = Supplies::default();
        let Some(()) = self.supply(step, work, draft, &mut supplies)? else { return Ok(false) };
        let network = self.network(work);
        self.name_files(&network, draft, &mut supplies)?;
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
            talk: Talk::Heard,
            env,
            directory: work.directory.clone(),
            user: work.user.clone(),
            network,
            mounts: std::mem::take(&mut supplies.mounts),
            rights: work.rights,
            devices: self.devices(step, work)?,
            limits: Limits {
                shm_size: self.wanted.shm_size,
                ulimits: self.wanted.ulimits.clone(),
                cgroup_parent: self.wanted.cgroup_parent.clone(),
            },
        };
        let ended = job::run(&job, &self.reins, self.watch, number).map_err(|failure| {
            // It could not tidy up after itself; what resists is met again by the next sweep of the store.
            let _ = worker::clean(self.home, draft.id(), &draft.files());
            failure.at(self.source.spot(step.place))
        })?;
        if self.is_stopped() {
            return Ok(false);
        }
        match ended.report.status {
            Some(0) => Ok(true),
            _ => {
                let failure = self.failed(step, work, ended);
                if self.wanted.debug {
                    self.debug(job, &failure);
                }
                Err(failure)
            }
        }
    }

    /// The devices that are there of those a RUN asks for.
    fn devices(&self, step: &Step, work: &RunWork) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for device in &work.devices {
            let meant = container::meant_cdi_devices(&device.name);
            let name = &device.name;
            if meant.is_empty() && device.required {
                let fault = self.source.fault(step.place, format!("required device {name:?} is not registered"));
                return Err(fault.hint("put a spec of it into /etc/cdi or /var/run/cdi, or remove `required`"));
            }
            if meant.is_empty() {
                self.watch.note(&format!("line {}: there is no device {name:?}: the command does without", step.place.line));
            }
            for container::MeantDevice { name: found, is_free } in meant {
                let kind = found.split('=').next().unwrap_or_default();
                let rights = ["device".to_owned(), format!("device={found}"), format!("device={kind}"), format!("device={name}")];
                if !is_free && !rights.iter().any(|right| self.wanted.allow.contains(right)) {
                    let fault = self.source.fault(step.place, format!("device {found:?} is requested by the build but not allowed"));
                    return Err(fault.hint(format!("allow it with `--allow device={found}`, or remove the flag")));
                }
                if !names.contains(&found) {
                    names.push(found);
                }
            }
        }
        Ok(names)
    }

    /// Opens a shell in the root of a step that failed, as the step left it; the user's exit ends it.
    fn debug(&self, mut job: Job, failure: &Failure) {
        static ONE: Mutex<()> = Mutex::new(());
        // Two stages may fail at once, and there is one terminal.
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_stopped() {
            return;
        }
        self.stop();
        self.watch.handed_over(&format!("{failure}\na shell in the root of the failed step; `exit` ends it and the build"));
        job.args = vec!["/bin/sh".to_owned()];
        job.talk = Talk::Terminal;
        if let Ok(term) = std::env::var("TERM")
            && !job.env.iter().any(|line| line.starts_with("TERM="))
        {
            job.env.push(format!("TERM={term}"));
        }
        if let Err(failure) = job::converse(&job) {
            self.watch.note(&failure.to_string());
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
}

/// Whether the Dockerfile itself gives the variable a value.
fn declared(env: &[String], proxy: &str) -> bool {
    let name = proxy.split('=').next();
    env.iter().any(|line| line.split('=').next() == name)
}
