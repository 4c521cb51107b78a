//! Which step is begun when.

use std::collections::BTreeSet;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::compose::apply::AfterFault;
use crate::compose::apply::Work;
use crate::compose::apply::ready;
use crate::compose::plan::Action;
use crate::compose::plan::Plan;
use crate::container;
use crate::failure::Failure;
use crate::failure::Result;

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Waiting,
    Running,
    /// A container that is being removed has ended; those that it needed may end too.
    Halted,
    Done,
    Failed,
}

impl Progress {
    /// Whether a step has come so far that this action, which comes after it, may be begun.
    fn lets_begin(self, action: &Action) -> bool {
        match self {
            Progress::Done => true,
            // The order of removals is that of the programs' ends.
            Progress::Halted => matches!(action, Action::RemoveContainer { .. }),
            Progress::Waiting | Progress::Running | Progress::Failed => false,
        }
    }
}

/// Between two looks at conditions that somebody else fulfils.
const GLANCE: Duration = Duration::from_millis(50);

/// Between two looks at whether who should fulfil them is there: it may have been killed together with its guardian.
const SECOND_GLANCE: Duration = Duration::from_secs(1);

/// The exit status of a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// The number of a step and how far it has come.
type Report = (usize, Result<Progress>);

/// The steps of a plan and how far each is. What could be counted anew at every turn is kept: a plan has thousands of steps.
struct Board<'a> {
    work: &'a Work<'a>,
    plan: &'a Plan,
    progress: Vec<Progress>,
    /// How many steps each is still held up by.
    held_by: Vec<usize>,
    /// The steps that come after each.
    holds: Vec<Vec<usize>>,
    /// What can be begun: with a thread, and without.
    ready: (BTreeSet<usize>, BTreeSet<usize>),
    /// Those whose conditions are looked at.
    looking: BTreeSet<usize>,
    /// When it was last seen to that somebody fulfils them.
    revived: Instant,
    /// How many threads are busy with what others wait for, and how many there are.
    busy: usize,
    threads: usize,
    faults: Vec<Failure>,
}

/// Carries out all steps, or says which were done and which not.
pub(super) fn run(work: &Work<'_>, plan: &Plan) -> Result<()> {
    let mut board = Board::new(work, plan);
    let (sender, reports) = channel::<Report>();
    thread::scope(|scope| {
        loop {
            let mut moved = false;
            while let Some(at) = board.begin_next() {
                moved = true;
                let action = &plan.steps[at].action;
                match how(action) {
                    How::Thread => {
                        let sender = sender.clone();
                        scope.spawn(move || report(&sender, at, carry_out(work, action, || report(&sender, at, Ok(Progress::Halted)))));
                    }
                    How::Here => board.settle((at, work.perform(action).map(|()| Progress::Done))),
                    How::Look => ready::announce(work, &plan.steps[at]),
                }
            }
            moved |= board.look_at_conditions();
            for report in reports.try_iter() {
                moved = true;
                board.settle(report);
            }
            if !moved && !board.has_more() {
                break;
            }
            if !moved && let Ok(report) = reports.recv_timeout(GLANCE) {
                board.settle(report);
            }
        }
    });
    board.conclude()
}

/// How a step is carried out.
#[derive(PartialEq, Eq)]
enum How {
    /// By a thread of its own, for it waits for others.
    Thread,
    /// At once.
    Here,
    /// By looking again and again.
    Look,
}

fn how(action: &Action) -> How {
    match action {
        Action::PullImage { .. }
        | Action::BuildImage { .. }
        | Action::StopContainer { .. }
        | Action::RemoveContainer { .. }
        | Action::RecreateContainer { .. }
        | Action::RunPreStart { .. } => How::Thread,
        Action::Await { .. } => How::Look,
        _ => How::Here,
    }
}

/// Carries out a step that has a thread of its own; says when a removal is half done.
fn carry_out(work: &Work<'_>, action: &Action, halted: impl Fn()) -> Result<Progress> {
    match action {
        Action::RemoveContainer { name } => {
            work.halt(name)?;
            halted();
            work.remove(name)?;
        }
        other => work.perform(other)?,
    }
    Ok(Progress::Done)
}

fn report(sender: &Sender<Report>, at: usize, outcome: Result<Progress>) {
    // The receiver outlives the scope that this thread is in.
    let _ = sender.send((at, outcome));
}

impl<'a> Board<'a> {
    fn new(work: &'a Work<'a>, plan: &'a Plan) -> Board<'a> {
        let count = plan.steps.len();
        let mut board = Board {
            work,
            plan,
            progress: vec![Progress::Waiting; count],
            held_by: plan.steps.iter().map(|step| step.after.len()).collect(),
            holds: vec![Vec::new(); count],
            ready: Default::default(),
            looking: BTreeSet::new(),
            revived: Instant::now(),
            busy: 0,
            threads: 0,
            faults: Vec::new(),
        };
        for (at, step) in plan.steps.iter().enumerate() {
            step.after.iter().for_each(|before| board.holds[*before].push(at));
            if step.after.is_empty() {
                board.is_ready(at);
            }
        }
        board
    }

    fn how(&self, at: usize) -> How {
        how(&self.plan.steps[at].action)
    }

    /// Puts a step that nothing holds up any more where it will be begun from.
    fn is_ready(&mut self, at: usize) {
        match self.how(at) {
            How::Thread => self.ready.0.insert(at),
            How::Here | How::Look => self.ready.1.insert(at),
        };
    }

    fn settle(&mut self, (at, outcome): Report) {
        let before = self.progress[at];
        let now = *outcome.as_ref().unwrap_or(&Progress::Failed);
        self.progress[at] = now;
        self.faults.extend(outcome.err());
        if self.how(at) == How::Thread {
            self.busy -= usize::from(before == Progress::Running);
            self.threads -= usize::from(now != Progress::Halted);
        }
        self.looking.remove(&at);
        for later in std::mem::take(&mut self.holds[at]) {
            let action = &self.plan.steps[later].action;
            if !now.lets_begin(action) {
                self.holds[at].push(later);
                continue;
            }
            self.held_by[later] -= 1;
            if self.held_by[later] == 0 {
                self.is_ready(later);
            }
        }
    }

    /// Whether nothing new is begun any more.
    fn is_over(&self) -> bool {
        let failed = !self.faults.is_empty() && self.work.job.manner.after_fault == AfterFault::Stop;
        failed || self.work.job.watch.interrupted()
    }

    /// The first step that can be begun now.
    fn next_ready(&self) -> Option<usize> {
        if self.is_over() {
            return None;
        }
        let has_room = self.work.job.manner.at_once.is_none_or(|most| self.busy < most);
        let with_thread = self.ready.0.first().filter(|_| has_room);
        with_thread.into_iter().chain(self.ready.1.first()).min().copied()
    }

    fn begin_next(&mut self) -> Option<usize> {
        let at = self.next_ready()?;
        self.progress[at] = Progress::Running;
        match self.how(at) {
            How::Thread => {
                self.ready.0.remove(&at);
                self.busy += 1;
                self.threads += 1;
            }
            How::Here => drop(self.ready.1.remove(&at)),
            How::Look => {
                self.ready.1.remove(&at);
                self.looking.insert(at);
            }
        }
        Some(at)
    }

    /// Whether something is under way that must be waited for, or can be begun.
    fn has_more(&self) -> bool {
        self.threads > 0 || (!self.looking.is_empty() && !self.is_over()) || self.next_ready().is_some()
    }

    fn look_at_conditions(&mut self) -> bool {
        let mut moved = false;
        if !self.looking.is_empty() && self.revived.elapsed() > SECOND_GLANCE {
            self.revived = Instant::now();
            if let Err(failure) = container::revive(self.work.job.home) {
                self.work.job.watch.warn(failure.what());
            }
        }
        for at in self.looking.clone() {
            match ready::is_ready(self.work, &self.plan.steps[at]) {
                Ok(false) => continue,
                Ok(true) => self.settle((at, Ok(Progress::Done))),
                Err(failure) => self.settle((at, Err(failure))),
            }
            moved = true;
        }
        moved
    }

    fn conclude(mut self) -> Result<()> {
        if self.faults.is_empty() && self.progress.iter().any(|progress| *progress != Progress::Done) {
            self.faults.push(Failure::new("interrupted").exit(INTERRUPTED));
        }
        if self.faults.is_empty() {
            return Ok(());
        }
        let done = self.named(|progress| progress == Progress::Done);
        if !done.is_empty() {
            self.work.job.watch.note(&format!("done: {done}"));
        }
        if self.plan.steps.len() > 1 {
            self.work.job.watch.note(&format!("not done: {}", self.named(|progress| progress != Progress::Done)));
        }
        match self.faults.len() {
            1 => Err(self.faults.remove(0)),
            _ => Err(Failure::several(format!("cannot do all that is to be done for project `{}`", self.work.job.name), self.faults)),
        }
    }

    fn named(&self, wanted: impl Fn(Progress) -> bool) -> String {
        let steps = self.plan.steps.iter().zip(&self.progress).filter(|(_, progress)| wanted(**progress));
        steps.map(|(step, _)| step.action.to_string()).collect::<Vec<_>>().join(", ")
    }
}
