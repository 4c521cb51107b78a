//! `up` in the foreground: shows what the services write, and stops them all on Ctrl-C.

use std::thread;
use std::time::Duration;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session::Stage;
use crate::cli::compose::session::short_name;
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
use crate::container::LogRange;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

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
        ];
        if let Some((flag, _)) = shown.iter().find(|(_, given)| *given && in_background) {
            return Err(Failure::new(format!("cannot use `{flag}` together with `--detach` or `--wait`"))
                .because("nothing is watched once everything runs in the background"));
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
        (project, services): (&Project, &[String]),
        (flags, stage, manner): (&ProjectFlags, &Stage, Manner),
        begun: u64,
    ) -> Outcome {
        let found = observe::observe_by_name(home, &project.name)?;
        let shown: Vec<&FoundContainer> = found.containers.iter().filter(|container| self.shows(project, services, container)).collect();
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
        let mut stage = Attached { home, name: &project.name, stage, manner, shown: count, told: 0, exit: None };
        let code_from = self.exit_code_from.as_ref();
        let aborts = |code: i32| match self.abort_on_container_failure {
            true => code != 0,
            false => self.abort_on_container_exit || code_from.is_some(),
        };
        stage.follow((&followers, &sources, &mut Printer::new(&sources[..count], look)), |at, code| {
            aborts(code).then(|| code_from.is_none_or(|service| followed[at].service == *service))
        })
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

struct Attached<'a> {
    home: &'a Home,
    name: &'a str,
    stage: &'a Stage,
    manner: Manner,
    /// How many of the sources are shown; the rest is only watched.
    shown: usize,
    /// How many signals have been heeded.
    told: u32,
    /// The exit status, once it is known.
    exit: Option<u8>,
}

impl Attached<'_> {
    /// Prints news. `on_end` says whether the end of a container ends all, and whether its code is ours.
    fn follow(
        &mut self,
        (followers, sources, printer): (&Followers, &[Source], &mut Printer),
        on_end: impl Fn(usize, i32) -> Option<bool>,
    ) -> Outcome {
        let (home, name, stage, manner) = (self.home, self.name, self.stage, &self.manner.clone());
        thread::scope(|scope| {
            let mut stopping = None;
            loop {
                let mut must_stop = false;
                match followers.next(GLANCE) {
                    Ok(News::Line(at, line)) if at < self.shown => must_stop = printer.line(at, &line)? == Reader::Gone,
                    Ok(News::Line(..)) => {}
                    Ok(News::Ended(at, code)) => {
                        if at < self.shown {
                            printer.finish(at)?;
                            out::say(&format!("{} exited with code {code}", sources[at].name));
                        }
                        if let Some(is_ours) = on_end(at, code) {
                            must_stop = true;
                            self.exit = self.exit.or(is_ours.then(|| status_of(code)));
                        }
                    }
                    Err(Silence::Nothing) => {}
                    Err(Silence::AllEnded) => break,
                }
                let signals = self.stage.interrupt.count();
                if signals > self.told {
                    must_stop = true;
                    self.exit = self.exit.or(Some(130));
                }
                if must_stop && stopping.is_none() {
                    self.told = signals;
                    out::say("Gracefully stopping... (press Ctrl+C again to force)");
                    stopping = Some(scope.spawn(move || stop_all(home, name, (stage, manner))));
                } else if signals > self.told {
                    self.told = signals;
                    kill_all(home, name, (stage, manner))?;
                }
            }
            if let Some(stopping) = stopping {
                stopping.join().unwrap_or(Ok(()))?;
            }
            Ok(self.exit.unwrap_or(0))
        })
    }
}

/// Stops all containers of a project.
///
/// # Errors
/// What could not be stopped.
pub fn stop_all(home: &Home, name: &str, (stage, manner): (&Stage, &Manner)) -> Result<()> {
    let manner = Manner { after_fault: AfterFault::GoOn, ..manner.clone() };
    compose::operate(home, name, (&[], Operation::Stop), (manner, &stage.steady_watch())).map(drop)
}

fn kill_all(home: &Home, name: &str, (stage, manner): (&Stage, &Manner)) -> Result<()> {
    let manner = Manner { after_fault: AfterFault::GoOn, ..manner.clone() };
    // One that ended meanwhile cannot be killed, and need not be.
    let _ = compose::operate(home, name, (&[], Operation::Kill), (manner, &stage.steady_watch()));
    Ok(())
}
