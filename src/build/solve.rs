//! Carries out the steps: stages side by side, each step only if its key is new.
//!
//! Every stage has a thread. It waits for the stage it stands on, and at a `COPY --from` or a mount for the stage that
//! reads from; nothing waits for a stage that comes later, so nothing waits for ever.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use crate::build::Wanted;
use crate::build::Watch;
use crate::build::agent::Agents;
use crate::build::chain::Chain;
use crate::build::context;
use crate::build::context::Files;
use crate::build::copy;
use crate::build::dockerfile::source::Source;
use crate::build::draft::Draft;
use crate::build::exchange::Caches;
use crate::build::exchange::Done;
use crate::build::ground::Ground;
use crate::build::ground::Place;
use crate::build::job::Reins;
use crate::build::limit;
use crate::build::platform::Platform;
use crate::build::records;
use crate::build::records::StepRecord;
use crate::build::remote::Remotes;
use crate::build::steps::Origin;
use crate::build::steps::SourceKind;
use crate::build::steps::Step;
use crate::build::steps::Work;
use crate::build::turn::Bell;
use crate::build::whole::Scene;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::place::Home;

/// What a stage begins on.
#[derive(Debug, Clone)]
pub(super) enum Begin {
    Nothing,
    Stage(usize),
    Layers(Chain),
    /// A directory, only to be read from.
    Directory(Place),
}

/// A stage to be carried out.
#[derive(Debug)]
pub(super) struct Task {
    pub begin: Begin,
    /// With the number each is shown by.
    pub steps: Vec<(usize, Step)>,
    /// Nothing is taken from the cache.
    pub fresh: bool,
}

/// What a stage has come to.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub chain: Chain,
    /// Each step since the base image.
    pub steps: Vec<Done>,
}

/// A value that comes later, or never.
#[derive(Debug, Default)]
struct Later {
    outcome: Mutex<Option<Option<Outcome>>>,
    told: Condvar,
}

/// A build at work.
pub(super) struct Solver<'a> {
    pub home: &'a Home,
    pub wanted: &'a Wanted,
    pub watch: &'a dyn Watch,
    pub ground: &'a Ground<'a>,
    pub source: &'a Source,
    pub remotes: &'a Remotes<'a>,
    pub agents: &'a Agents,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch: Option<i64>,
    /// By the number of the node; those that are not needed have none.
    pub tasks: Vec<Option<Task>>,
    caches: Caches<'a>,
    begun: SystemTime,
    /// The number of all steps.
    pub total: usize,
    outcomes: Vec<Later>,
    files: Vec<OnceLock<Arc<Files>>>,
    context: OnceLock<Arc<Files>>,
    failed: Mutex<Option<Failure>>,
    stopped: AtomicBool,
    /// Wakes those who wait for what another build does.
    pub(super) bell: Bell,
    pub(super) reins: Reins,
    /// Layers that something stands on.
    used: Mutex<BTreeSet<PathBuf>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked has left plain values.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Solver<'a> {
    pub(super) fn new(scene: &'a Scene<'a>, (platform, epoch): (&Platform, Option<i64>)) -> Solver<'a> {
        Solver {
            home: scene.home,
            wanted: scene.wanted,
            watch: scene.watch,
            ground: scene.ground,
            source: &scene.ground.source,
            remotes: scene.remotes,
            agents: scene.agents,
            epoch,
            tasks: Vec::new(),
            caches: Caches::new(scene, platform.text()),
            begun: SystemTime::now(),
            total: 0,
            outcomes: Vec::new(),
            files: Vec::new(),
            context: OnceLock::new(),
            failed: Mutex::new(None),
            stopped: AtomicBool::new(false),
            bell: Bell::default(),
            reins: Reins::default(),
            used: Mutex::default(),
        }
    }

    /// Gives the solver its stages.
    pub(super) fn with(mut self, tasks: Vec<Option<Task>>) -> Solver<'a> {
        self.total = tasks.iter().flatten().map(|task| task.steps.len()).sum();
        self.outcomes.resize_with(tasks.len(), Later::default);
        self.files.resize_with(tasks.len(), OnceLock::default);
        self.tasks = tasks;
        self
    }

    /// Carries out all stages and returns what `target` came to.
    ///
    /// # Errors
    /// The first step that failed; the others are stopped.
    pub(super) fn solve(&self, target: usize) -> Result<Outcome> {
        std::thread::scope(|scope| {
            for source in self.tasks.iter().flatten().flat_map(|task| &task.steps).flat_map(|(_, step)| step.remote_sources()) {
                scope.spawn(move || self.ask_early(source));
            }
            for (index, task) in self.tasks.iter().enumerate() {
                if let Some(task) = task.as_ref().filter(|_| index != target) {
                    scope.spawn(move || self.stage(index, task));
                }
            }
            if let Some(task) = &self.tasks[target] {
                self.stage(target, task);
            }
        });
        for files in self.files.iter().chain([&self.context]).filter_map(OnceLock::get) {
            files.digests.store();
        }
        if let Some(failure) = locked(&self.failed).take() {
            return Err(failure);
        }
        self.outcome(target).ok_or_else(|| Failure::new("cannot build the image").because("the build was stopped"))
    }

    /// Asks for what is elsewhere before its step comes to need it; that step will hear of a failure.
    fn ask_early(&self, source: &SourceKind) {
        match source {
            SourceKind::Files(_) => {}
            SourceKind::Web { source, .. } => {
                let _ = self.remotes.file(source);
            }
            SourceKind::Git(reference) => {
                let _ = self.remotes.commit(reference);
            }
        }
    }

    fn stage(&self, index: usize, task: &Task) {
        let outcome = self.carry_out(task).unwrap_or_else(|failure| {
            locked(&self.failed).get_or_insert(failure);
            self.stop();
            None
        });
        *locked(&self.outcomes[index].outcome) = Some(outcome);
        self.outcomes[index].told.notify_all();
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.reins.drop_all();
        self.bell.ring();
    }

    /// Whether somebody has removed an image whose layers this build stands on.
    pub(super) fn has_lost_layers(&self) -> bool {
        locked(&self.used).iter().any(|path| !path.is_dir())
    }

    /// Whether another stage has failed.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Waits for a stage; None if it failed or was stopped.
    pub(super) fn outcome(&self, index: usize) -> Option<Outcome> {
        let later = &self.outcomes[index];
        let mut outcome = locked(&later.outcome);
        loop {
            match &*outcome {
                Some(outcome) => return outcome.clone(),
                None => outcome = later.told.wait(outcome).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn carry_out(&self, task: &Task) -> Result<Option<Outcome>> {
        let (mut chain, mut steps) = match &task.begin {
            Begin::Nothing | Begin::Directory(_) => (Chain::default(), Vec::new()),
            Begin::Layers(chain) => (chain.clone(), Vec::new()),
            Begin::Stage(base) => match self.outcome(*base) {
                Some(outcome) => (outcome.chain, outcome.steps),
                None => return Ok(None),
            },
        };
        locked(&self.used).extend(chain.paths().iter().cloned());
        for (number, step) in &task.steps {
            if self.is_stopped() {
                return Ok(None);
            }
            let done = self.step(*number, (step, task.fresh), &chain);
            let Some(done) = done.inspect_err(|failure| self.watch.broke(*number, failure.what()))? else { return Ok(None) };
            chain = chain.with(self.home, &done.record.layer);
            steps.push(done);
            locked(&self.used).extend(chain.paths().last().cloned());
        }
        Ok(Some(Outcome { chain, steps }))
    }

    /// Answers a step from the cache, or carries it out; None if the build was stopped.
    fn step(&self, number: usize, (step, fresh): (&Step, bool), chain: &Chain) -> Result<Option<Done>> {
        let Some(key) = self.key(step, chain)? else { return Ok(None) };
        self.watch.step(number, self.total, &step.shown);
        if let Some(record) = self.known(&key, fresh) {
            records::note_step(self.home, &key, self.begun);
            self.watch.cached(number);
            return Ok(Some(Done { key, record }));
        }
        // Two builds that come to the same step at once do it once. Nothing below waits for another stage.
        let Some(_turn) = self.bell.lock(self.home, &format!("build-{}", &key[..4]))? else { return Ok(None) };
        let found = self.known(&key, fresh).or_else(|| if self.is_anew(fresh) { None } else { self.caches.find(&key, &step.shown) });
        if let Some(record) = found {
            records::note_step(self.home, &key, self.begun);
            self.watch.cached(number);
            return Ok(Some(Done { key, record }));
        }
        let draft = Draft::begin(self.home)?;
        let worked = match &step.work {
            Work::Transfer(work) => self.transfer(step, work, chain, &draft),
            Work::Directory(work) => self.directory(step, work, chain, &draft),
            Work::Run(work) => self.run(number, (step, work), chain, &draft),
        };
        if !worked.inspect_err(|_| draft.empty())? {
            return Ok(None);
        }
        if let Some(epoch) = self.epoch.filter(|_| self.wanted.rewrite_timestamps) {
            copy::age(&draft.upper(), epoch).doing(|| "cannot date the files of a layer")?;
        }
        let layer = image::commit_layer(self.home, &draft.upper())?;
        image::claim_layer(self.home, &layer.diff_id)?;
        let record = StepRecord::new(layer, now(), &step.shown);
        records::store_step(self.home, &key, &record)?;
        records::note_step(self.home, &key, self.begun);
        limit::grown(self.home, record.layer.size);
        self.watch.ended(number);
        Ok(Some(Done { key, record }))
    }

    fn is_anew(&self, fresh: bool) -> bool {
        self.wanted.no_cache || fresh
    }

    fn known(&self, key: &str, fresh: bool) -> Option<StepRecord> {
        if self.is_anew(fresh) { None } else { records::find_step(self.home, key) }
    }

    /// What all stages came to, each step once.
    pub(super) fn all_steps(&self) -> Vec<Done> {
        let mut known = BTreeSet::new();
        let outcomes = self.outcomes.iter().filter_map(|later| locked(&later.outcome).clone().flatten());
        outcomes.flat_map(|outcome| outcome.steps).filter(|done| known.insert(done.key.clone())).collect()
    }

    /// The files an origin stands for; None if the stage failed.
    ///
    /// # Errors
    /// A directory that cannot be opened.
    pub(super) fn files(&self, origin: Origin) -> Result<Option<Arc<Files>>> {
        let (slot, opened) = match origin {
            Origin::Nothing => return Ok(None),
            Origin::Context => (&self.context, self.context.get().cloned()),
            Origin::Stage(index) => (&self.files[index], self.files[index].get().cloned()),
        };
        if opened.is_some() {
            return Ok(opened);
        }
        let files = match origin {
            Origin::Stage(index) => match self.tasks[index].as_ref().map(|task| &task.begin) {
                Some(Begin::Directory(place)) => context::open(self.home, place, None)?,
                _ => match self.outcome(index) {
                    Some(outcome) => context::of_stage(&outcome.chain)?,
                    None => return Ok(None),
                },
            },
            _ => context::open(self.home, &self.ground.place, self.ground.dockerfile.as_deref())?,
        };
        Ok(Some(slot.get_or_init(|| Arc::new(files)).clone()))
    }
}

/// RFC 3339, in UTC.
pub(super) fn now() -> String {
    jiff::Timestamp::now().to_string()
}
