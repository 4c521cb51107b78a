//! `up` in the foreground: shows what the services write, and stops them all on Ctrl-C.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session::Stage;
use crate::cli::compose::session::short_name;
use crate::cli::compose::watch::watch_beside;
use crate::cli::out;
use crate::cli::out::Reader;
use crate::cli::status_of;
use crate::cli::streams::Followers;
use crate::cli::streams::Look;
use crate::cli::streams::News;
use crate::cli::streams::Printer;
use crate::cli::streams::Silence;
use crate::cli::streams::Source;
use crate::compose;
use crate::compose::AfterFault;
use crate::compose::Manner;
use crate::compose::model::Project;
use crate::compose::observe;
use crate::compose::observe::FoundContainer;
use crate::compose::plan::Operation;
use crate::compose::watch;
use crate::container::LogRange;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::units;

#[derive(Debug, Args)]
pub struct AttachOptions {
    /// Stop everything as soon as one container ends
    #[arg(long)]
    abort_on_container_exit: bool,
    /// Stop everything as soon as one container ends with a failure
    #[arg(long, conflicts_with = "abort_on_container_exit")]
    abort_on_container_failure: bool,
    /// End with the exit code of this service's container, as soon as one ends
    #[arg(long, value_name = "SERVICE", conflicts_with = "detach")]
    exit_code_from: Option<String>,
    /// Show only the output of this service
    #[arg(long, value_name = "SERVICE")]
    attach: Vec<String>,
    /// Show the output of what the named services depend on, too
    #[arg(long, conflicts_with = "attach")]
    attach_dependencies: bool,
    /// Do not show the output of this service
    #[arg(long, value_name = "SERVICE")]
    no_attach: Vec<String>,
    /// Show when each line was written
    #[arg(long)]
    timestamps: bool,
    /// No colours
    #[arg(long)]
    no_color: bool,
    /// No names before the lines
    #[arg(long)]
    no_log_prefix: bool,
    /// Watch files and do what `develop.watch` says about their changes
    #[arg(short, long)]
    watch: bool,
    /// Keys for this and that: there is no such menu, and none is missed
    #[arg(long, hide = true, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    menu: Option<bool>,
}

/// How long the news are waited for before the signals are looked at.
const GLANCE: Duration = Duration::from_millis(100);

impl AttachOptions {
    /// Refuses services that are not there, and flags that mean nothing without output to show.
    ///
    /// # Errors
    /// Names the first.
    pub fn check(&self, project: &Project, in_background: bool) -> Result<()> {
        let shown = [
            ("--abort-on-container-exit", self.abort_on_container_exit),
            ("--abort-on-container-failure", self.abort_on_container_failure),
            ("--exit-code-from", self.exit_code_from.is_some()),
            ("--attach", !self.attach.is_empty()),
            ("--attach-dependencies", self.attach_dependencies),
            ("--watch", self.watch),
        ];
        if let Some((flag, _)) = shown.iter().find(|(_, given)| *given && in_background) {
            return Err(Failure::new(format!("cannot use `{flag}` together with `--detach` or `--wait`"))
                .because("nothing is watched once everything runs in the background"));
        }
        if self.watch && !watch::is_wanted(project, &[])? {
            return Err(Failure::new("none of the selected services is configured for watch")
                .hint("write rules below `develop.watch` of a service, or leave `--watch` out"));
        }
        let named = self.attach.iter().chain(&self.no_attach).chain(&self.exit_code_from);
        match named.into_iter().find(|name| !project.services.contains_key(*name)) {
            Some(name) => Err(Failure::new(format!("no such service: {name}"))),
            None => Ok(()),
        }
    }

    /// Shows output until all containers have ended, or stops them when told to.
    ///
    /// # Errors
    /// What the logs or a stop could not do.
    pub fn run(
        &self,
        home: &Home,
        (project, services_of): (&Project, &[String]),
        (flags, stage, manner): (&ProjectFlags, &Stage, Manner),
        begun: u64,
    ) -> Outcome {
        let found = observe::observe_by_name(home, &project.name)?;
        let shown: Vec<&FoundContainer> = found.containers.iter().filter(|container| self.shows(project, services_of, container)).collect();
        let count = shown.len();
        let mut followed = shown;
        // Its end is to be seen even if its output is not.
        let deciding = found.containers.iter().filter(|container| self.exit_code_from.as_ref() == Some(&container.service));
        for container in deciding.filter(|container| !container.one_off) {
            if !followed.iter().any(|known| known.id == container.id) {
                followed.push(container);
            }
        }
        let name = |container: &FoundContainer| short_name(&project.name, &container.name);
        let sources: Vec<Source> = followed.iter().map(|container| Source { id: container.id.clone(), name: name(container) }).collect();
        let names: Vec<_> = sources[..count].iter().map(|source| source.name.as_str()).collect();
        out::say(&format!("Attaching to {}", names.join(", ")));
        let look = Look { timestamps: self.timestamps, colour: flags.has_colour() && !self.no_color, prefix: !self.no_log_prefix };
        let range = LogRange { since: Some(begun), ..LogRange::default() };
        let followers = Followers::begin(home, &sources, range)?;
        let printer = Printer::new(&sources, look);
        let (names, live) =
            (sources.into_iter().map(|source| source.name).collect(), followed.iter().map(|found| found.id.clone()).collect());
        let services = followed.iter().map(|found| found.service.clone()).collect();
        let shown = Shown { followers, printer, names, services, live, hidden: count..followed.len(), looked: Instant::now() };
        let attached = Attached { home, options: self, project, named: services_of, stage, manner };
        attached.follow(shown)
    }

    /// Whether an end with this code, of this service, ends all; and then whether the code is ours.
    fn on_end(&self, service: &str, code: i32) -> Option<bool> {
        let aborts = match self.abort_on_container_failure {
            true => code != 0,
            false => self.abort_on_container_exit || self.exit_code_from.is_some(),
        };
        aborts.then(|| self.exit_code_from.as_ref().is_none_or(|wanted| wanted == service))
    }

    fn shows(&self, project: &Project, services: &[String], container: &FoundContainer) -> bool {
        let name = &container.service;
        let is_wanted = match (self.attach.is_empty(), services.is_empty()) {
            (false, _) => self.attach.contains(name),
            (true, false) if self.attach_dependencies => project.needs(services).contains(name),
            (true, false) => services.contains(name),
            (true, true) => true,
        };
        let may = project.services.get(name).is_some_and(|service| service.attach != Some(false) || self.attach.contains(name));
        !container.one_off && is_wanted && may && !self.no_attach.contains(name)
    }
}

/// What is shown of which containers.
struct Shown {
    followers: Followers,
    printer: Printer,
    /// By number, as are the services.
    names: Vec<String>,
    services: Vec<String>,
    /// Ids of those that have not ended.
    live: BTreeSet<String>,
    /// The numbers of those whose output is not shown.
    hidden: Range<usize>,
    /// When new ones were last looked for.
    looked: Instant,
}

struct Attached<'a> {
    home: &'a Home,
    options: &'a AttachOptions,
    project: &'a Project,
    /// The services that were named.
    named: &'a [String],
    stage: &'a Stage,
    manner: Manner,
}

/// How often new containers are looked for while files are watched.
const LOOK: Duration = Duration::from_secs(1);

impl Attached<'_> {
    /// Prints news until all have ended, or are stopped as they are to be.
    fn follow(&self, mut shown: Shown) -> Outcome {
        let over = AtomicBool::new(false);
        let (home, stage, over) = (self.home, self.stage, &over);
        thread::scope(|scope| {
            let watch = stage.steady_watch();
            if self.options.watch {
                scope.spawn(move || watch_beside(home, (self.project, self.named), (&self.manner, &watch), over));
            }
            let outcome = self.follow_in(scope, &mut shown, over);
            over.store(true, Ordering::Relaxed);
            outcome
        })
    }

    fn follow_in<'s>(&'s self, scope: &'s thread::Scope<'s, '_>, shown: &mut Shown, over: &AtomicBool) -> Outcome {
        let (mut stopping, mut told, mut exit) = (None, 0, None);
        loop {
            let mut must_stop = false;
            match shown.followers.next(GLANCE) {
                Ok(News::Line(at, line)) if !shown.hidden.contains(&at) => must_stop = shown.printer.line(at, &line)? == Reader::Gone,
                Ok(News::Line(..)) => {}
                Ok(News::Ended(at, code)) => {
                    shown.ended(at, code)?;
                    if let Some(is_ours) = self.options.on_end(&shown.services[at], code) {
                        must_stop = true;
                        exit = exit.or(is_ours.then(|| status_of(code)));
                    }
                }
                Err(Silence::AllEnded) if !self.options.watch || stopping.is_some() => break,
                // With all of them ended there is nothing to wait for but the signals.
                Err(Silence::AllEnded) => thread::sleep(GLANCE),
                Err(Silence::Nothing) => {}
            }
            if self.options.watch && stopping.is_none() && shown.looked.elapsed() > LOOK {
                self.look_for_new(shown)?;
            }
            let signals = self.stage.interrupt.count();
            if signals > told {
                must_stop = true;
                exit = exit.or(Some(130));
            }
            if must_stop && stopping.is_none() {
                told = signals;
                over.store(true, Ordering::Relaxed);
                out::say("Gracefully stopping... (press Ctrl+C again to force)");
                stopping = Some(scope.spawn(|| stop(self.home, (self.project, self.named), (self.stage, &self.manner))));
            } else if signals > told {
                told = signals;
                kill(self.home, (self.project, self.named), (self.stage, &self.manner));
            }
        }
        if let Some(stopping) = stopping {
            stopping.join().unwrap_or(Ok(()))?;
        }
        Ok(exit.unwrap_or(0))
    }

    /// Follows containers too that have been made or started anew.
    fn look_for_new(&self, shown: &mut Shown) -> Result<()> {
        shown.looked = Instant::now();
        let found = observe::observe_by_name(self.home, &self.project.name)?;
        let wanted = found.containers.iter().filter(|container| self.options.shows(self.project, self.named, container));
        for container in wanted.filter(|container| container.is_up()) {
            if !shown.live.insert(container.id.clone()) {
                continue;
            }
            let source = Source { id: container.id.clone(), name: short_name(&self.project.name, &container.name) };
            let since = units::now_nanoseconds().saturating_sub(2 * LOOK.as_nanos() as u64);
            shown.followers.add(&source, LogRange { since: Some(since), ..LogRange::default() })?;
            shown.printer.add(&source);
            shown.names.push(source.name);
            shown.services.push(container.service.clone());
        }
        Ok(())
    }
}

impl Shown {
    fn ended(&mut self, at: usize, code: i32) -> Result<()> {
        self.live.remove(self.followers.id(at));
        if !self.hidden.contains(&at) {
            self.printer.finish(at)?;
            out::say(&format!("{} exited with code {code}", self.names[at]));
        }
        Ok(())
    }
}

/// Stops the containers of the named services, of all that are enabled if none is named; what else the project runs stays.
///
/// # Errors
/// What could not be stopped.
pub fn stop(home: &Home, (project, named): (&Project, &[String]), (stage, manner): (&Stage, &Manner)) -> Result<()> {
    let manner = Manner { after_fault: AfterFault::GoOn, ..manner.clone() };
    compose::operate(home, &project.name, (&ours(project, named), Operation::Stop), (manner, &stage.steady_watch())).map(drop)
}

fn kill(home: &Home, (project, named): (&Project, &[String]), (stage, manner): (&Stage, &Manner)) {
    let manner = Manner { after_fault: AfterFault::GoOn, ..manner.clone() };
    // One that ended meanwhile cannot be killed, and need not be.
    let _ = compose::operate(home, &project.name, (&ours(project, named), Operation::Kill), (manner, &stage.steady_watch()));
}

/// The services that this `up` answers for.
fn ours(project: &Project, named: &[String]) -> Vec<String> {
    if named.is_empty() { project.services.keys().cloned().collect() } else { named.to_vec() }
}
