//! Which step is begun when.

use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::compose::apply::AfterFault;
use crate::compose::apply::Work;
use crate::compose::apply::ready;
use crate::compose::plan::Action;
use crate::compose::plan::Plan;
use crate::compose::plan::Step;
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

/// Between two looks at conditions that somebody else fulfils.
const GLANCE: Duration = Duration::from_millis(50);

/// The exit status of a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// The number of a step and how far it has come.
type Report = (usize, Result<Progress>);

/// The steps of a plan and how far each is.
struct Board<'a> {
    work: &'a Work<'a>,
    plan: &'a Plan,
    progress: Vec<Progress>,
    faults: Vec<Failure>,
}

/// Carries out all steps, or says which were done and which not.
pub(super) fn run(work: &Work<'_>, plan: &Plan) -> Result<()> {
    let mut board = Board { work, plan, progress: vec![Progress::Waiting; plan.steps.len()], faults: Vec::new() };
    let (sender, reports) = channel::<Report>();
    thread::scope(|scope| {
        loop {
            let mut moved = false;
            while let Some(at) = board.next_ready() {
                moved = true;
                board.progress[at] = Progress::Running;
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

impl Board<'_> {
    fn settle(&mut self, (at, outcome): Report) {
        self.progress[at] = *outcome.as_ref().unwrap_or(&Progress::Failed);
        self.faults.extend(outcome.err());
    }

    /// Whether nothing new is begun any more.
    fn is_over(&self) -> bool {
        let failed = !self.faults.is_empty() && self.work.job.manner.after_fault == AfterFault::Stop;
        failed || self.work.job.watch.interrupted()
    }

    fn next_ready(&self) -> Option<usize> {
        if self.is_over() {
            return None;
        }
        let is_ready = |step: &Step| step.after.iter().all(|before| self.lets_go_on(*before, &step.action));
        let has_room = self.work.job.manner.at_once.is_none_or(|most| self.threads() < most);
        let may = |step: &Step| has_room || how(&step.action) != How::Thread;
        let mut waiting = self.plan.steps.iter().enumerate().filter(|(at, _)| self.progress[*at] == Progress::Waiting);
        waiting.find(|(_, step)| is_ready(step) && may(step)).map(|(at, _)| at)
    }

    /// How many steps have a thread now.
    fn threads(&self) -> usize {
        let running = self.plan.steps.iter().zip(&self.progress).filter(|(_, progress)| **progress == Progress::Running);
        running.filter(|(step, _)| how(&step.action) == How::Thread).count()
    }

    /// Whether a step has come so far that this action, which comes after it, may be begun.
    fn lets_go_on(&self, before: usize, action: &Action) -> bool {
        match self.progress[before] {
            Progress::Done => true,
            // The order of removals is that of the programs' ends.
            Progress::Halted => matches!(action, Action::RemoveContainer { .. }),
            Progress::Waiting | Progress::Running | Progress::Failed => false,
        }
    }

    /// Whether something is under way that must be waited for, or can be begun.
    fn has_more(&self) -> bool {
        let under_way = self.plan.steps.iter().zip(&self.progress).any(|(step, progress)| {
            matches!(progress, Progress::Running | Progress::Halted) && (how(&step.action) == How::Thread || !self.is_over())
        });
        under_way || self.next_ready().is_some()
    }

    fn look_at_conditions(&mut self) -> bool {
        let mut moved = false;
        for at in 0..self.plan.steps.len() {
            let step = &self.plan.steps[at];
            if self.progress[at] != Progress::Running || how(&step.action) != How::Look {
                continue;
            }
            match ready::is_ready(self.work, step) {
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
