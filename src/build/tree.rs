//! What COPY reads from: a directory of the user's, less what is ignored, or the root of a stage.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;

use crate::build::glob;
use crate::build::ignore::Matched;
use crate::build::ignore::Patterns;
use crate::build::root::Meta;
use crate::build::root::Root;
use crate::build::root::meta_at;
use crate::build::root::names_in;

/// Whose the files are in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owners {
    /// Root's: the user's ids on this machine mean nothing in an image.
    Root,
    Kept,
}

/// A tree to read from.
#[derive(Debug)]
pub(super) struct Tree {
    pub root: Root,
    pub owners: Owners,
    pub ignore: Patterns,
}

/// One file or directory of a selection.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Below the selection's base; empty for the base itself.
    pub path: PathBuf,
    pub meta: Meta,
    /// False for a directory that is only there for what `--parents` or `--exclude` chose in it.
    pub chosen: bool,
}

impl Item {
    /// Its path below a base; without the `/` that joining an empty path would leave.
    pub(super) fn below(&self, base: &Path) -> PathBuf {
        if self.path.as_os_str().is_empty() { base.to_owned() } else { base.join(&self.path) }
    }
}

/// What a source of COPY comes to.
#[derive(Debug)]
pub(super) struct Selection {
    /// Where it is in the tree, links followed.
    pub base: PathBuf,
    /// The last name as it was asked for: a link's own name.
    pub name: std::ffi::OsString,
    /// Parents before what is in them; the first is the base.
    pub items: Vec<Item>,
}

/// Which files below a base are wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Choice {
    /// Only what matches; all if empty.
    pub include: Patterns,
    pub exclude: Patterns,
}

impl Tree {
    /// The paths a source means: itself, or what its wildcards match, sorted.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub(super) fn expand(&self, source: &str) -> io::Result<Vec<PathBuf>> {
        if !glob::has_wildcard(source) {
            return Ok(vec![PathBuf::from(source.trim_start_matches('/'))]);
        }
        let parts: Vec<&str> = source.split('/').filter(|part| !part.is_empty()).collect();
        let plain = parts.iter().take_while(|part| !glob::has_wildcard(part)).count();
        let start = self.root.resolve(Path::new(&parts[..plain].join("/")))?;
        let mut found = vec![start];
        for part in &parts[plain..] {
            let mut next = Vec::new();
            for directory in &found {
                self.matching(directory, part, &mut next)?;
            }
            found = next;
        }
        found.sort();
        Ok(found)
    }

    fn matching(&self, directory: &Path, pattern: &str, found: &mut Vec<PathBuf>) -> io::Result<()> {
        if !self.root.find(directory)?.is_some_and(|meta| meta.is_dir()) {
            return Ok(());
        }
        let open = self.root.open(directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
        for name in names_in(&open)? {
            let path = directory.join(&name);
            if glob::matches(pattern, name.as_encoded_bytes()).unwrap_or(false) && self.is_there(&path)? {
                found.push(path);
            }
        }
        Ok(())
    }

    /// Whether a path is there and not ignored; a directory counts if anything in it does.
    fn is_there(&self, path: &Path) -> io::Result<bool> {
        if self.ignore.is_empty() || !self.ignore.matches(&path.to_string_lossy()) {
            return Ok(self.root.find(path)?.is_some());
        }
        if !self.ignore.has_exceptions() || !self.root.find(path)?.is_some_and(|meta| meta.is_dir()) {
            return Ok(false);
        }
        Ok(self.list(path, &Choice::default())?.len() > 1)
    }

    /// Whether something is at a path, links followed, and is not ignored.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub(super) fn holds(&self, path: &Path) -> io::Result<bool> {
        let resolved = self.root.resolve(path)?;
        Ok(resolved.as_os_str().is_empty() || self.is_there(&resolved)?)
    }

    /// Selects what is at a path, links followed; None if nothing is, or it is ignored.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub(super) fn select(&self, path: &Path, choice: &Choice) -> io::Result<Option<Selection>> {
        let base = self.root.resolve(path)?;
        if !base.as_os_str().is_empty() && !self.is_there(&base)? {
            return Ok(None);
        }
        let items = self.list(&base, choice)?;
        Ok(Some(Selection { base, name: path.file_name().unwrap_or_default().to_owned(), items }))
    }

    /// Everything at and below a path that has no links in it.
    fn list(&self, base: &Path, choice: &Choice) -> io::Result<Vec<Item>> {
        let Some(meta) = self.root.find(base)? else { return Ok(Vec::new()) };
        let mut items = vec![Item { path: PathBuf::new(), meta: self.owned(meta), chosen: true }];
        if meta.is_dir() {
            let open = self.root.open(base, OFlags::RDONLY | OFlags::DIRECTORY)?;
            let marks = Marks { ignore: self.marks_of(base), ..Marks::default() };
            let mut walk = Walk { tree: self, base, choice, items };
            walk.directory(&open, Path::new(""), &marks)?;
            items = walk.items;
        }
        Ok(items)
    }

    fn owned(&self, meta: Meta) -> Meta {
        match self.owners {
            Owners::Kept => meta,
            Owners::Root => Meta { uid: 0, gid: 0, ..meta },
        }
    }

    /// What the ignore patterns say of a directory, for its children.
    fn marks_of(&self, directory: &Path) -> Matched {
        let mut marks = Matched::default();
        let mut so_far = String::new();
        for part in directory.iter() {
            if !so_far.is_empty() {
                so_far.push('/');
            }
            so_far.push_str(&part.to_string_lossy());
            marks = self.ignore.matches_below(&so_far, &marks).1;
        }
        marks
    }
}

/// Which patterns matched a directory.
#[derive(Debug, Clone, Default)]
struct Marks {
    ignore: Matched,
    include: Matched,
    exclude: Matched,
}

struct Walk<'a> {
    tree: &'a Tree,
    base: &'a Path,
    choice: &'a Choice,
    items: Vec<Item>,
}

impl Walk<'_> {
    fn directory(&mut self, open: &OwnedFd, path: &Path, marks: &Marks) -> io::Result<()> {
        for name in names_in(open)? {
            self.entry(open, &name, &path.join(&name), marks)?;
        }
        Ok(())
    }

    fn entry(&mut self, directory: &OwnedFd, name: &OsStr, path: &Path, above: &Marks) -> io::Result<()> {
        let (verdict, marks) = self.judge(path, above);
        if !verdict.itself && !verdict.inside {
            return Ok(());
        }
        let meta = match meta_at(directory.as_fd(), name) {
            // Editors and compilers make and remove files while we look.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            meta => meta?,
        };
        if meta.kind == FileType::Socket || (!verdict.itself && !meta.is_dir()) {
            return Ok(());
        }
        self.items.push(Item { path: path.to_owned(), meta: self.tree.owned(meta), chosen: verdict.chosen });
        if meta.is_dir() {
            let before = self.items.len();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let open = rustix::fs::openat(directory, name, flags, Mode::empty())?;
            self.directory(&open, path, &marks)?;
            if !verdict.itself && self.items.len() == before {
                self.items.pop();
            }
        }
        Ok(())
    }

    fn judge(&self, path: &Path, above: &Marks) -> (Verdict, Marks) {
        let mut marks = Marks::default();
        let mut verdict = Verdict { itself: true, inside: false, chosen: true };
        if !self.tree.ignore.is_empty() {
            let (ignored, own) = self.tree.ignore.matches_below(&self.base.join(path).to_string_lossy(), &above.ignore);
            marks.ignore = own;
            verdict.itself = !ignored;
            verdict.inside = ignored && self.tree.ignore.has_exceptions();
        }
        if self.choice.include.is_empty() && self.choice.exclude.is_empty() {
            return (verdict, marks);
        }
        let text = path.to_string_lossy();
        if !self.choice.include.is_empty() {
            let (included, own) = self.choice.include.matches_below(&text, &above.include);
            marks.include = own;
            verdict.inside |= verdict.itself && !included;
            verdict.itself &= included;
            verdict.chosen = included;
        }
        if !self.choice.exclude.is_empty() {
            let (excluded, own) = self.choice.exclude.matches_below(&text, &above.exclude);
            marks.exclude = own;
            if excluded {
                verdict.inside = (verdict.itself || verdict.inside) && self.choice.exclude.has_exceptions();
                verdict.itself = false;
                verdict.chosen = false;
            }
        }
        (verdict, marks)
    }
}

/// What becomes of an entry.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    /// It is wanted for its own sake.
    itself: bool,
    /// Something in it may be.
    inside: bool,
    /// See [`Item::chosen`]: what an ignore file leaves of a directory is a directory like any other.
    chosen: bool,
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(ignore: &str) -> (tempfile::TempDir, Tree) {
        let directory = tempfile::tempdir().unwrap();
        for path in ["a.txt", "docs/README.md", "docs/img/x.png", "src/main.go", "src/deep/y.go"] {
            fs::create_dir_all(directory.path().join(path).parent().unwrap()).unwrap();
            fs::write(directory.path().join(path), path).unwrap();
        }
        let ignore = Patterns::new(crate::build::ignore::lines(ignore)).unwrap();
        let tree = Tree { root: Root::at(directory.path()).unwrap(), owners: Owners::Root, ignore };
        (directory, tree)
    }

    fn paths(tree: &Tree, path: &str, choice: &Choice) -> Vec<String> {
        let selection = tree.select(Path::new(path), choice).unwrap().unwrap();
        selection.items.iter().map(|item| item.path.display().to_string()).collect()
    }

    #[test]
    fn what_is_ignored_is_not_there() {
        let (_directory, tree) = tree("docs\n!docs/README.md\n**/*.go\n");
        assert_eq!(paths(&tree, "", &Choice::default()), ["", "a.txt", "docs", "docs/README.md", "src", "src/deep"]);
        assert!(tree.select(Path::new("src/main.go"), &Choice::default()).unwrap().is_none());
        assert_eq!(paths(&tree, "docs", &Choice::default()), ["", "README.md"]);
    }

    #[test]
    fn wildcards_match_level_by_level() {
        let (_directory, tree) = tree("");
        let shown = |source: &str| tree.expand(source).unwrap().iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        assert_eq!(shown("/src/*"), ["src/deep", "src/main.go"]);
        assert_eq!(shown("/*/*.md"), ["docs/README.md"]);
        assert_eq!(shown("/nothing*"), Vec::<String>::new());
    }

    #[test]
    fn parents_of_what_is_included_come_along() {
        let (_directory, tree) = tree("");
        let choice = Choice { include: Patterns::new(["src/deep/y.go"]).unwrap(), exclude: Patterns::default() };
        assert_eq!(paths(&tree, "", &choice), ["", "src", "src/deep", "src/deep/y.go"]);
    }
}
