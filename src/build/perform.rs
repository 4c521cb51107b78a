//! Keys of steps, and the steps that only write files: COPY, ADD, WORKDIR.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::build::chain::Chain;
use crate::build::context;
use crate::build::context::Files;
use crate::build::copy::CopyFault;
use crate::build::copy::Writer;
use crate::build::dockerfile::source::Place;
use crate::build::dockerfile::source::nearest;
use crate::build::draft::Draft;
use crate::build::glob;
use crate::build::ignore::Patterns;
use crate::build::owner;
use crate::build::records;
use crate::build::records::Key;
use crate::build::remote::GitReference;
use crate::build::remote::WebSource;
use crate::build::root::Root;
use crate::build::root::names_in;
use crate::build::sent;
use crate::build::sent::Sent;
use crate::build::solve::Solver;
use crate::build::steps::DirectoryWork;
use crate::build::steps::FileSource;
use crate::build::steps::Origin;
use crate::build::steps::SourceKind;
use crate::build::steps::Step;
use crate::build::steps::TransferWork;
use crate::build::steps::Work;
use crate::build::tree::Choice;
use crate::build::tree::Item;
use crate::build::tree::Selection;
use crate::build::unpack;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::runtime;

impl Solver<'_> {
    /// The key of a step: its definition, the layers below it and the content it reads; None if the build was stopped.
    pub(super) fn key(&self, step: &Step, chain: &Chain) -> Result<Option<String>> {
        let mut key = match &step.work {
            Work::Directory(work) => {
                let key = Key::new("directory").texts(chain.diff_ids()).text(&work.path).text(&work.user);
                self.epoch.map_or_else(|| key.clone(), |epoch| key.clone().text(&epoch.to_string()))
            }
            Work::Transfer(work) => match self.transfer_key(step, work, chain)? {
                Some(key) => key,
                None => return Ok(None),
            },
            Work::Run(work) => match self.run_key(step, work, chain)? {
                Some(key) => key,
                None => return Ok(None),
            },
        };
        if let Some(epoch) = self.epoch.filter(|_| self.wanted.rewrite_timestamps) {
            key = key.text(&format!("not younger than {epoch}"));
        }
        Ok(Some(key.finish()))
    }

    fn transfer_key(&self, step: &Step, work: &TransferWork, chain: &Chain) -> Result<Option<Key>> {
        let mut key = Key::new("transfer").text(&work.dest).text(&format!("{:?} {:?}", work.chown, work.chmod));
        // Linked, it is the same layer whatever is below it.
        key = if work.link { key.text("link") } else { key.text("on").texts(chain.diff_ids()) };
        key = key.text(if work.unpack { "unpack" } else { "" }).texts(&work.excludes);
        for (name, content) in &work.documents {
            key = key.text(name).text(content);
        }
        for source in &work.sources {
            let bad = |failure: Failure| failure.at(self.source.spot(source.place));
            key = match &source.kind {
                SourceKind::Files(source) => {
                    let Some(files) = self.files(work.from)? else { return Ok(None) };
                    key.text(&self.content(&files, step, work, source)?)
                }
                SourceKind::Web { source, name, unpack } => {
                    let file = self.remotes.file(source).map_err(bad)?;
                    key.text("web").text(name).text(&file.digest).text(&format!("{:?} {unpack}", file.last_modified))
                }
                SourceKind::Git(reference) => key.text("git").text(&self.remotes.commit(reference).map_err(bad)?.identity(reference)),
            };
        }
        Ok(Some(key))
    }

    /// The digest of what a source comes to.
    fn content(&self, files: &Files, step: &Step, work: &TransferWork, source: &FileSource) -> Result<String> {
        let fact = files.identity.as_ref().map(|identity| {
            let key = Key::new("content").texts(identity).text(&source.path).texts(&work.excludes);
            key.text(source.include.as_deref().unwrap_or_default()).text(source.required.as_deref().unwrap_or_default()).finish()
        });
        if let Some(known) = fact.as_ref().and_then(|fact| records::find_fact(self.home, "contents", fact)) {
            return Ok(known);
        }
        let mut key = Key::new("files");
        for selection in self.select(files, step, work, source)? {
            let name = selection.name.to_string_lossy();
            key = key.text(&name).bytes(&files.digests.of(&files.tree, &selection)?);
        }
        let digest = key.finish();
        if let Some(fact) = fact {
            records::store_fact(self.home, "contents", &fact, &digest);
        }
        Ok(digest)
    }

    /// What a source comes to: several selections if it has wildcards.
    fn select(&self, files: &Files, step: &Step, work: &TransferWork, source: &FileSource) -> Result<Vec<Selection>> {
        let reading = || format!("cannot read `{}`", source.path);
        let bad = |what: String| self.source.fault(step.place, what);
        let choice =
            Choice { include: Patterns::new(source.include.iter()).map_err(bad)?, exclude: Patterns::new(&work.excludes).map_err(bad)? };
        let pattern = source.path.trim_start_matches('/');
        let has_wildcard = glob::has_wildcard(pattern);
        let read = Patterns::new(if has_wildcard || pattern.contains('\\') { Some(pattern) } else { None });
        let read = read.map_err(|what| bad(format!("invalid includepatterns: [{pattern}]: {what}")))?;
        let mut selections = Vec::new();
        for path in files.tree.expand(&source.path).doing(reading)? {
            match files.tree.select(&path, &choice).doing(reading)? {
                // A pivot's pattern is looked for below directories only.
                Some(selection) if source.include.is_some() && !selection.items.first().is_some_and(|item| item.meta.is_dir()) => {}
                Some(selection) => selections.push(selection),
                None => return Err(self.missing(files, work.from, step.place, &source.path)),
            }
        }
        if let Some(required) = source.required.as_ref().filter(|required| !is_chosen(&selections, source, required)) {
            return Err(self.missing(files, work.from, step.place, required));
        }
        let sent = || Sent::of(self.tasks.iter().flatten().flat_map(|task| task.steps.iter().map(|(_, step)| step)));
        let is_empty = !selections.iter().any(|selection| source.include.is_none() || selection.items.len() > 1);
        let there = match (work.from, sent::base(&source.path)) {
            // What is sent is asked for by patterns, and a name is one, too.
            (Origin::Context, path) if !has_wildcard && pattern.contains('\\') => {
                read.matches(pattern) || sent().is_all() || path.is_empty()
            }
            (Origin::Context, base) if is_empty => sent().holds(&files.tree, &base).doing(reading)?,
            (_, base) if is_empty => files.tree.holds(Path::new(base.trim_start_matches('/'))).doing(reading)?,
            _ => true,
        };
        if there { Ok(selections) } else { Err(self.missing(files, work.from, step.place, &sent::base(&source.path))) }
    }

    /// Checks that every literal source of a step in the context is there, before anything is carried out.
    ///
    /// # Errors
    /// All that are missing.
    pub(super) fn missing_sources(&self) -> Result<Vec<Failure>> {
        let mut missing = Vec::new();
        for (_, step) in self.tasks.iter().flatten().flat_map(|task| &task.steps) {
            let Work::Transfer(work) = &step.work else { continue };
            if work.from != Origin::Context || work.sources.is_empty() {
                continue;
            }
            let Some(files) = self.files(Origin::Context)? else { continue };
            for transfer in &work.sources {
                let SourceKind::Files(source) = &transfer.kind else { continue };
                let path = source.required.as_deref().unwrap_or(&source.path);
                if !glob::has_wildcard(path)
                    && !files.tree.holds(Path::new(path.trim_start_matches('/'))).doing(|| format!("cannot read `{path}`"))?
                {
                    missing.push(self.missing(&files, work.from, transfer.place, path));
                }
            }
        }
        Ok(missing)
    }

    fn missing(&self, files: &Files, from: Origin, at: Place, path: &str) -> Failure {
        let place = match from {
            Origin::Stage(_) => "the stage it is copied from".to_owned(),
            _ => format!("the build context `{}`", self.ground.shown),
        };
        let fault = self.source.fault(at, format!("cannot copy `{path}`")).because(format!("\"{path}\": not found in {place}"));
        let relative = Path::new(path.trim_start_matches('/'));
        let there = files.tree.root.resolve(relative).and_then(|path| files.tree.root.find(&path));
        if from == Origin::Context && there.is_ok_and(|found| found.is_some()) {
            return fault.hint("`.dockerignore` excludes it: add a line with `!` before its name there");
        }
        let parent = relative.parent().unwrap_or(Path::new(""));
        let names = files.tree.root.open(parent, rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY).and_then(names_in);
        let names: Vec<String> = names.unwrap_or_default().iter().map(|name| name.to_string_lossy().into_owned()).collect();
        let name = relative.file_name().unwrap_or_default().to_string_lossy();
        match nearest(&name, names.iter().map(String::as_str)) {
            Some(meant) => fault.hint(format!("did you mean `{}`?", parent.join(meant).display())),
            None => fault.hint("paths of COPY are relative to the build context, not to the Dockerfile"),
        }
    }

    /// Opens the root that a step writes to; what it writes ends up in the draft's upper directory.
    fn open(&self, chain: &Chain, draft: &Draft<'_>) -> Result<Root> {
        let (layers, upper, work) = (chain.paths().to_vec(), draft.upper(), draft.work());
        if layers.is_empty() {
            return Root::at(&upper).doing(|| format!("cannot open {}", upper.display()));
        }
        Ok(Root::of(runtime::open_root(&runtime::Root::Scratch { layers, upper, work })?))
    }

    fn owner(&self, step: &Step, root: &Root, chain: &Chain, text: &str) -> Result<(u32, u32)> {
        if chain.paths().is_empty() && owner::has_name(text) {
            let fault = self.source.fault(step.place, format!("cannot find the user or group of `{text}`"));
            let fault = fault.because("there is no /etc/passwd to find it in (invalid user index: -1)");
            return Err(fault.hint("write numbers, as `1000:1000`"));
        }
        let (owner, unknown) = owner::find(root, text).doing(|| "cannot read the users of the image")?;
        if let Some(name) = unknown {
            self.watch.note(&format!("line {}: the image has no user or group `{name}`: root is taken", step.place.line));
        }
        Ok(owner)
    }

    pub(super) fn directory(&self, step: &Step, work: &DirectoryWork, chain: &Chain, draft: &Draft<'_>) -> Result<bool> {
        let root = self.open(chain, draft)?;
        let owner = match work.user.as_str() {
            "" => None,
            user => Some(self.owner(step, &root, chain, user)?),
        };
        let writer = Writer { dest: &root, owner, mode: None };
        let made = writer.make_directories(Path::new(&work.path), 0o755);
        let made = made.and_then(|made| match self.epoch {
            Some(epoch) => made.iter().try_for_each(|path| writer.date(path, epoch)),
            None => Ok(()),
        });
        made.map_err(|error| self.source.fault(step.place, format!("cannot make the directory `{}`", work.path)).because(error))?;
        Ok(true)
    }

    pub(super) fn transfer(&self, step: &Step, work: &TransferWork, chain: &Chain, draft: &Draft<'_>) -> Result<bool> {
        let nothing = Chain::default();
        let below = if work.link { &nothing } else { chain };
        let root = self.open(below, draft)?;
        let owner = work.chown.as_ref().map(|chown| self.owner(step, &root, below, chown)).transpose()?;
        let writer = Writer { dest: &root, owner, mode: work.chmod.as_ref() };
        for source in &work.sources {
            match &source.kind {
                SourceKind::Files(source) => {
                    let Some(files) = self.files(work.from)? else { return Ok(false) };
                    for selection in self.select(&files, step, work, source)? {
                        self.place(step, work, &writer, (&files, &selection))?;
                    }
                }
                SourceKind::Web { source: web, name, unpack } => {
                    let placed = self.place_web(step, work, &writer, (web, name, *unpack));
                    placed.map_err(|failure| failure.at(self.source.spot(source.place)))?;
                }
                SourceKind::Git(reference) => {
                    let placed = self.place_git(step, work, &writer, reference);
                    placed.map_err(|failure| failure.at(self.source.spot(source.place)))?;
                }
            }
        }
        for (name, content) in &work.documents {
            writer.document(name, content.as_bytes(), &work.dest).map_err(|fault| self.copy_fault(step, fault))?;
        }
        Ok(true)
    }

    fn place(&self, step: &Step, work: &TransferWork, writer: &Writer<'_>, (files, selection): (&Files, &Selection)) -> Result<()> {
        let is_file = selection.items.first().is_some_and(|item| item.meta.is_file());
        if work.unpack && is_file {
            let shown = selection.base.display().to_string();
            let file = files.tree.root.read(&selection.base).doing(|| format!("cannot read `{shown}`"))?;
            if self.unpacked(step, work, writer, (file, &shown))? {
                return Ok(());
            }
        }
        writer.copy(&files.tree, selection, &work.dest).map_err(|fault| self.copy_fault(step, fault))
    }

    /// Unpacks a file if it is an archive; false if it is none.
    fn unpacked(&self, step: &Step, work: &TransferWork, writer: &Writer<'_>, (file, shown): (File, &str)) -> Result<bool> {
        let cannot = || self.source.fault(step.place, format!("cannot unpack `{shown}`"));
        match unpack::kind(file).doing(|| format!("cannot read `{shown}`"))? {
            unpack::Kind::Plain => Ok(false),
            unpack::Kind::Archive(archive) => {
                unpack::unpack(writer, archive, &work.dest).map(|()| true).map_err(|error| cannot().because(error))
            }
        }
    }

    fn place_web(&self, step: &Step, work: &TransferWork, writer: &Writer<'_>, web: (&WebSource, &str, bool)) -> Result<()> {
        let (source, name, unpack) = web;
        let file = self.remotes.file(source)?;
        let (path, modified) = self.remotes.content(source, &file)?;
        let open = || File::open(&path).doing(|| format!("cannot read {}", path.display()));
        if unpack && self.unpacked(step, work, writer, (open()?, &source.url))? {
            return Ok(());
        }
        writer.file(name, (open()?, modified), &work.dest).map_err(|fault| self.copy_fault(step, fault))
    }

    fn place_git(&self, step: &Step, work: &TransferWork, writer: &Writer<'_>, reference: &GitReference) -> Result<()> {
        let commit = self.remotes.commit(reference)?;
        let files = context::of_checkout(&self.remotes.checkout(reference, &commit)?)?;
        let selection = files.tree.select(Path::new(""), &Choice::default()).doing(|| "cannot read the checkout")?;
        let Some(selection) = selection else { return Ok(()) };
        writer.copy(&files.tree, &selection, &work.dest).map_err(|fault| self.copy_fault(step, fault))
    }

    pub(super) fn copy_fault(&self, step: &Step, fault: CopyFault) -> Failure {
        match fault {
            CopyFault::Refused(what) => self.source.fault(step.place, what),
            CopyFault::Io(path, error) => {
                let what = format!("cannot write `/{}`", path.to_string_lossy().trim_start_matches('/'));
                let failure = self.source.fault(step.place, what).because(&error);
                if error.kind() == io::ErrorKind::StorageFull {
                    failure.hint("make room on the disk that holds the store")
                } else {
                    failure
                }
            }
        }
    }
}

/// Whether `--parents` found the path that it must find. An empty pattern finds nothing, and links on the way are not followed.
fn is_chosen(selections: &[Selection], source: &FileSource, required: &str) -> bool {
    let below = |item: &Item| item.below(Path::new(&source.path)).to_string_lossy().starts_with(required);
    let mut chosen = selections.iter().flat_map(|selection| &selection.items).filter(|item| item.chosen);
    source.include.as_ref().is_some_and(|include| !include.is_empty()) && chosen.any(below)
}
