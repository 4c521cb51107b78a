//! `develop.watch`: what files of the host change, and what is done about it.
//!
//! ```text
//! rules     what the files say: path, action, target, what is left out
//! tree      inotify(7) on all directories that a rule is about
//! here      a batch of changed paths -> work, by service; the work
//! ```

mod rules;
mod tree;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use crate::compose::apply::Manner;
use crate::compose::apply::Watch;
use crate::compose::labels;
use crate::compose::model::Project;
use crate::compose::observe;
use crate::compose::observe::FoundContainer;
use crate::compose::plan::Action;
use crate::compose::plan::Dependencies;
use crate::compose::plan::Operation;
use crate::compose::plan::Options;
use crate::compose::plan::Orphans;
use crate::compose::up;
use crate::container;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::place::Home;
use crate::state::Lock;

use rules::Act;
use rules::Hook;
use rules::Rule;
use tree::Tree;

/// Docker's: what changes within so short a time is one change.
const QUIET: Duration = Duration::from_millis(500);

/// Watches the files of a project.
pub struct Watching<'a> {
    home: &'a Home,
    project: &'a Project,
    rules: Vec<Rule>,
    tree: Tree,
    /// What has changed and not been handled, and when the last of it did.
    changed: BTreeSet<PathBuf>,
    last: Instant,
    _lock: Lock,
}

/// What is to be done about a batch of changes, by service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work {
    pub rebuild: BTreeSet<String>,
    /// Paths of the host and where they belong in the containers.
    pub sync: BTreeMap<String, Vec<(PathBuf, String)>>,
    pub restart: BTreeSet<String>,
    /// Numbers of the rules whose commands are run.
    exec: BTreeSet<usize>,
}

/// What becomes of an image that a rebuild has taken the name from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftovers {
    Removed,
    Kept,
}

/// What a project's services want watched, in words; for a dry run.
///
/// # Errors
/// As [`Watching::begin`].
pub fn described(project: &Project, services: &[String]) -> Result<Vec<String>> {
    Ok(rules::of(project, services)?.iter().map(Rule::described).collect())
}

/// Whether any of these services wants files watched.
///
/// # Errors
/// As [`Watching::begin`].
pub fn is_wanted(project: &Project, services: &[String]) -> Result<bool> {
    Ok(!rules::of(project, services)?.is_empty())
}

impl<'a> Watching<'a> {
    /// Begins to watch what these services, or all, want watched.
    ///
    /// # Errors
    /// No service wants anything watched; another command watches this project; a rule that cannot be carried out; too
    /// many directories.
    pub fn begin(home: &'a Home, project: &'a Project, services: &[String]) -> Result<Watching<'a>> {
        let rules = rules::of(project, services)?;
        if rules.is_empty() {
            return Err(Failure::new("none of the selected services is configured for watch")
                .hint("write rules below `develop.watch` of a service"));
        }
        let lock = Lock::attempt(home, &format!("watch-{}", project.name))?.ok_or_else(|| {
            Failure::new(format!("cannot watch the files of project `{}`", project.name)).because("another command watches them already")
        })?;
        let mut tree = Tree::new()?;
        for rule in &rules {
            tree.add(&rule.path, &|directory| is_ignored(&rules, directory))?;
        }
        Ok(Watching { home, project, rules, tree, changed: BTreeSet::new(), last: Instant::now(), _lock: lock })
    }

    /// What files that are there already mean, for rules that want an initial sync.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn initial(&self) -> Result<Work> {
        let mut work = Work::default();
        for (number, rule) in self.rules.iter().enumerate().filter(|(_, rule)| rule.initial_sync) {
            for path in tree::files(&rule.path, &|path| rule.is_ignored(path))? {
                if rule.concerns(&path) {
                    work.add(number, rule, &path);
                }
            }
        }
        work.restart.clear();
        work.exec.clear();
        Ok(work)
    }

    /// Waits no longer than `limit` for changes that have come to rest, and says what they mean.
    ///
    /// # Errors
    /// What inotify(7) says.
    pub fn next(&mut self, limit: Duration) -> Result<Option<Work>> {
        let heard = {
            let rules = &self.rules;
            self.tree.heard(limit, &|directory| is_ignored(rules, directory))?
        };
        if !heard.is_empty() {
            self.last = Instant::now();
            self.changed.extend(heard);
        }
        if self.changed.is_empty() || self.last.elapsed() < QUIET {
            return Ok(None);
        }
        let batch = std::mem::take(&mut self.changed);
        let work = sorted(&self.rules, &batch);
        Ok((work != Work::default()).then_some(work))
    }

    /// Does what is to be done; what goes wrong is said, and the watch goes on.
    pub fn carry_out(&self, work: &Work, (leftovers, manner, watch): (Leftovers, &Manner, &dyn Watch)) {
        for outcome in [
            self.rebuild(&work.rebuild, (leftovers, manner, watch)),
            self.sync(&work.sync, watch),
            self.restart(&work.restart, (manner, watch)),
            self.exec(&work.exec, watch),
        ] {
            if let Err(failure) = outcome {
                watch.note(&failure.to_string());
            }
        }
    }

    fn rebuild(&self, services: &BTreeSet<String>, (leftovers, manner, watch): (Leftovers, &Manner, &dyn Watch)) -> Result<()> {
        if services.is_empty() {
            return Ok(());
        }
        watch.note(&format!("Rebuilding service(s) {} after changes were detected...", listed(services)));
        let name = |service: &String| labels::image_name(self.project, (service, &self.project.services[service]));
        let id = |service: &String| image::find(self.home, &name(service)).ok().flatten().map(|image| image.id);
        // Only their ids: an image that somebody has found cannot be removed.
        let before: Vec<String> = services.iter().filter_map(id).collect();
        let actions = services.iter().map(|service| Action::BuildImage { service: service.clone(), image: name(service) }).collect();
        up::bring_images(self.home, self.project, actions, (manner.clone(), watch))?;
        watch.note(&format!("service(s) {} successfully built", listed(services)));
        let options = Options {
            services: services.iter().cloned().collect(),
            dependencies: Dependencies::Left,
            orphans: Orphans::Ignore,
            ..Options::default()
        };
        up::up(self.home, self.project, &options, (manner.clone(), watch))?;
        for old in before.iter().filter(|_| leftovers == Leftovers::Removed) {
            let listed = image::list(self.home)?;
            if listed.iter().any(|image| image.id == *old && image.repository == "<none>") {
                // One that somebody else needs stays.
                let _ = image::remove(self.home, old, &|| container::image_uses(self.home), false);
            }
        }
        Ok(())
    }

    fn sync(&self, paths: &BTreeMap<String, Vec<(PathBuf, String)>>, watch: &dyn Watch) -> Result<()> {
        for (service, paths) in paths {
            watch.note(&format!("Syncing service \"{service}\" after {} changes were detected", paths.len()));
            for found in self.containers(service)? {
                container::sync(self.home, &found.id, paths)?;
            }
        }
        Ok(())
    }

    fn restart(&self, services: &BTreeSet<String>, (manner, watch): (&Manner, &dyn Watch)) -> Result<()> {
        if services.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = services.iter().cloned().collect();
        up::operate(self.home, &self.project.name, (&names, Operation::Restart), (manner.clone(), watch))?;
        watch.note(&format!("service(s) {} restarted", listed(services)));
        Ok(())
    }

    fn exec(&self, numbers: &BTreeSet<usize>, watch: &dyn Watch) -> Result<()> {
        for rule in numbers.iter().filter_map(|number| self.rules.get(*number)) {
            let Act::SyncExec(hook) = &rule.act else { continue };
            for found in self.containers(&rule.service)?.iter().filter(|found| found.is_up()) {
                let code = run_inside(self.home, &found.id, hook)?;
                if code != 0 {
                    watch.note(&format!("{} in service \"{}\" exited with code {code}", hook.command.join(" "), rule.service));
                }
            }
        }
        Ok(())
    }

    fn containers(&self, service: &str) -> Result<Vec<FoundContainer>> {
        let found = observe::observe_by_name(self.home, &self.project.name)?;
        Ok(found.containers.into_iter().filter(|container| container.service == service && !container.one_off).collect())
    }
}

impl Work {
    fn add(&mut self, number: usize, rule: &Rule, path: &Path) {
        let service = || rule.service.clone();
        let copy = || (path.to_owned(), rule.place_of(path));
        match &rule.act {
            Act::Rebuild => drop(self.rebuild.insert(service())),
            Act::Restart => drop(self.restart.insert(service())),
            Act::Sync => self.sync.entry(service()).or_default().push(copy()),
            Act::SyncRestart => {
                self.sync.entry(service()).or_default().push(copy());
                self.restart.insert(service());
            }
            Act::SyncExec(_) => {
                self.sync.entry(service()).or_default().push(copy());
                self.exec.insert(number);
            }
        }
    }
}

/// What a batch of changed paths means.
fn sorted(rules: &[Rule], batch: &BTreeSet<PathBuf>) -> Work {
    let mut work = Work::default();
    for path in batch {
        for (number, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.concerns(path)) {
            work.add(number, rule, path);
        }
    }
    // What is built anew has the files already, and is started anew.
    work.sync.retain(|service, _| !work.rebuild.contains(service));
    work.restart.retain(|service| !work.rebuild.contains(service));
    work
}

/// Whether no rule wants anything of a directory.
fn is_ignored(rules: &[Rule], directory: &Path) -> bool {
    let mut about = rules.iter().filter(|rule| directory.starts_with(&rule.path)).peekable();
    about.peek().is_some() && about.all(|rule| rule.ignores_all_of(directory))
}

/// Runs a command in a container by a process of its own: who clones has one thread, and we may have more.
fn run_inside(home: &Home, id: &str, hook: &Hook) -> Result<i32> {
    let mut command = Command::new("/proc/self/exe");
    if home.run() == home.root().join("run") {
        command.arg("--root").arg(home.root());
    }
    command.arg("exec");
    for (name, value) in &hook.environment {
        command.arg("-e").arg(value.as_ref().map_or(name.clone(), |value| format!("{name}={value}")));
    }
    for (flag, value) in [("-u", &hook.user), ("-w", &hook.working_dir)] {
        if !value.is_empty() {
            command.args([flag, value]);
        }
    }
    if hook.privileged {
        command.arg("--privileged");
    }
    let status = command.arg(id).args(&hook.command).status().doing(|| "cannot run a command in a container")?;
    Ok(status.code().unwrap_or(1))
}

fn listed(services: &BTreeSet<String>) -> String {
    format!("[{}]", services.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests;
