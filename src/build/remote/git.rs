//! Git repositories, through the program `git`: its protocols and its trust in hosts and keys are its own.
//!
//! What a revision means, and what a checkout holds, follows
//! <https://github.com/moby/buildkit/blob/v0.26.0/source/git/source.go>.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use crate::build::copy::set_time;
use crate::build::draft::Draft;
use crate::build::limit;
use crate::build::records;
use crate::build::records::Key;
use crate::build::records::Used;
use crate::build::remote::Remotes;
use crate::build::remote::reference::GitReference;
use crate::build::remote::reference::Times;
use crate::build::root::Root;
use crate::build::root::names_in;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::state;
use crate::state::Lock;

/// What a revision means now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::build) struct Commit {
    /// `refs/heads/main`, or a commit's own number.
    pub revision: String,
    /// What it leads to: a commit, or an annotated tag.
    pub object: String,
    /// The commit behind an annotated tag.
    pub commit: Option<String>,
}

impl Commit {
    /// What tells a checkout from all others.
    pub(in crate::build) fn identity(&self, reference: &GitReference) -> String {
        let keep = reference.keep_git.unwrap_or(false);
        let object = if keep { &self.object } else { self.commit.as_ref().unwrap_or(&self.object) };
        let mut key = Key::new("checkout").text(object).text(&reference.directory);
        if keep {
            key = key.text("with git").text(&self.revision).text(&reference.remote);
        }
        key.text(&format!("{:?} {:?}", reference.submodules.unwrap_or(true), reference.times)).finish()
    }
}

/// Runs git for one build.
pub(super) struct Git<'a> {
    remotes: &'a Remotes<'a>,
}

/// Where a command works.
#[derive(Default)]
struct At<'a> {
    git: Option<&'a Path>,
    tree: Option<&'a Path>,
    remote: &'a str,
}

impl<'a> Git<'a> {
    pub(super) fn new(remotes: &'a Remotes<'a>) -> Git<'a> {
        Git { remotes }
    }

    fn cannot(reference: &GitReference) -> String {
        format!("cannot fetch the git repository `{}`", without_password(&reference.remote))
    }

    /// Finds out which commit a revision means.
    pub(super) fn commit(&self, reference: &GitReference) -> Result<Commit> {
        let refuse = |reason: String| Failure::new(Git::cannot(reference)).because(reason);
        let checksum = reference.checksum.as_deref().unwrap_or_default();
        if !checksum.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(refuse(format!("invalid checksum {checksum} for Git URL, expected hex commit hash")));
        }
        if reference.revision.starts_with('-') {
            return Err(refuse(format!("invalid git ref {:?}", reference.revision)));
        }
        if is_commit(&reference.revision) {
            if !reference.revision.starts_with(checksum) {
                return Err(refuse(format!("expected checksum to match {checksum}, got {}", reference.revision)));
            }
            let object = reference.revision.clone();
            return Ok(Commit { revision: object.clone(), object, commit: None });
        }
        if reference.by_commit {
            if !is_commit(checksum) {
                return Err(refuse(format!("fetch-by-commit requires a full commit SHA checksum, got {checksum:?}")));
            }
            return Ok(Commit { revision: full_name(reference), object: checksum.to_owned(), commit: None });
        }
        let found = self.look_up(reference)?;
        let is_it = |object: &String| object.starts_with(checksum);
        if !is_it(&found.object) && !found.commit.as_ref().is_some_and(is_it) {
            return Err(refuse(format!("expected checksum to match {checksum}, got {}", found.object)));
        }
        Ok(found)
    }

    fn look_up(&self, reference: &GitReference) -> Result<Commit> {
        let at = At { remote: &reference.remote, ..At::default() };
        let cannot = || Git::cannot(reference);
        let mut name = reference.revision.clone();
        if name.is_empty() {
            let said = self.run(&at, &["ls-remote", "--symref", "--", &reference.remote, "HEAD"]).doing(cannot)?;
            let branch = said.lines().find_map(|line| line.strip_prefix("ref: ")?.split_whitespace().next());
            name = branch.ok_or_else(|| Failure::new(cannot()).because("it has no branch of its own choice"))?.to_owned();
        }
        let peeled = format!("{name}^{{}}");
        let said = self.run(&at, &["ls-remote", "--", &reference.remote, &name, &peeled]).doing(cannot)?;
        let object = |full: &str| {
            let found = said.lines().filter_map(|line| line.split_once('\t')).find(|(_, known)| *known == full);
            found.map(|(object, _)| object.to_owned())
        };
        let full = |kind: &str| {
            format!("refs/{kind}{}", name.strip_prefix("refs/").map_or(name.as_str(), |name| name.strip_prefix(kind).unwrap_or(name)))
        };
        // As git-checkout(1): a branch before a tag of the same name.
        for candidate in [format!("refs/{}", name.trim_start_matches("refs/")), full("heads/"), full("tags/")] {
            let Some(found) = object(&candidate) else { continue };
            let commit = object(&format!("{candidate}^{{}}")).filter(|_| candidate.starts_with("refs/tags/"));
            return Ok(Commit { revision: candidate, object: found, commit });
        }
        let failure = Failure::new(cannot()).because(format!("repository does not contain ref {name}"));
        Err(failure.hint(format!("list what it has with `git ls-remote {}`", without_password(&reference.remote))))
    }

    /// Brings a commit's files here.
    pub(super) fn checkout(&self, reference: &GitReference, commit: &Commit) -> Result<PathBuf> {
        let home = self.remotes.home;
        let identity = commit.identity(reference);
        let place = Used::Checkout.path(home, &identity);
        let remote = Key::new("git").text(&reference.remote).finish();
        let shown = without_password(&reference.remote);
        records::note_use(home, Used::Checkout, &identity, &format!("{shown}#{}", reference.revision));
        let _turn = Lock::alone(home, &format!("build-git-{}", &remote[..16]))?;
        if place.is_dir() {
            return Ok(place);
        }
        let cannot = || Git::cannot(reference);
        records::note_use(home, Used::Repository, &remote, &shown);
        let bare = Used::Repository.path(home, &remote);
        self.fetch(reference, commit, &bare).doing(cannot)?;
        let draft = Draft::begin(home)?;
        let tree = draft.files().join("checkout");
        make_directory(&tree).doing(cannot)?;
        let mut git = bare.clone();
        if reference.keep_git == Some(true) && reference.directory.is_empty() {
            git = tree.join(".git");
            self.copy_repository(reference, commit, (&bare, &tree))?;
        } else {
            let at = At { git: Some(&bare), tree: Some(&tree), remote: &reference.remote };
            // The index is of another checkout, or none.
            let _ = fs::remove_file(bare.join("index"));
            self.run(&at, &["checkout", "--no-overlay", &commit.object, "--", "."]).doing(cannot)?;
        }
        let at = At { git: Some(&git), tree: Some(&tree), remote: &reference.remote };
        if reference.submodules != Some(false) && tree.join(".gitmodules").is_file() {
            self.run(&at, &["submodule", "update", "--init", "--recursive", "--depth=1"]).doing(cannot)?;
        }
        let chosen = directory_of(&tree, &reference.directory).doing(cannot)?;
        if reference.times == Times::Commit {
            let said = self.run(&at, &["log", "-1", "--format=%ct", &format!("{}^{{commit}}", commit.object)]).doing(cannot)?;
            let time = said.trim().parse::<i64>().unwrap_or(0).saturating_mul(1_000_000_000);
            set_times(&chosen, time).doing(cannot)?;
        }
        fs::create_dir_all(home.build().join("checkouts")).and_then(|()| fs::rename(&chosen, &place)).doing(cannot)?;
        limit::grown(home, state::weight(&place));
        Ok(place)
    }

    /// Makes sure that the bare repository has the commit.
    fn fetch(&self, reference: &GitReference, commit: &Commit, bare: &Path) -> Result<()> {
        let at = At { git: Some(bare), tree: None, remote: &reference.remote };
        if !bare.join("HEAD").is_file() {
            fs::create_dir_all(bare).doing(|| format!("cannot make {}", bare.display()))?;
            let format = if commit.object.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
            self.run(&at, &["-c", "init.defaultBranch=master", "init", "--bare", "--quiet", format])?;
        }
        let object = format!("{}^{{}}", commit.object);
        let has_it = || self.run(&at, &["cat-file", "-e", &object]).is_ok();
        if has_it() {
            return Ok(());
        }
        let _ = fs::remove_file(bare.join("shallow.lock"));
        let named = if is_commit(&commit.revision) || reference.by_commit { &commit.object } else { &commit.revision };
        let shallow = self.run(&at, &["fetch", "--quiet", "--depth=1", "--no-tags", "--force", "--", &reference.remote, named]);
        if shallow.is_ok() && has_it() {
            return Ok(());
        }
        // A server may refuse to be shallow, or to send what nothing of its own points to; then all of it is fetched.
        let mut whole = vec!["fetch", "--quiet", "--tags", "--force"];
        if bare.join("shallow").is_file() {
            whole.push("--unshallow");
        }
        whole.extend(["--", &reference.remote, "+refs/heads/*:refs/remotes/origin/*"]);
        let fetched = self.run(&at, &whole);
        if has_it() {
            return Ok(());
        }
        Err(shallow.and(fetched).err().unwrap_or_else(|| Failure::new(format!("the commit {} is not there", commit.object))))
    }

    /// Makes a checkout that is a repository itself.
    fn copy_repository(&self, reference: &GitReference, commit: &Commit, (bare, tree): (&Path, &Path)) -> Result<()> {
        let git = tree.join(".git");
        let at = At { git: Some(&git), tree: Some(tree), remote: &reference.remote };
        let format = if commit.object.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
        self.run(&at, &["-c", "init.defaultBranch=master", "init", "--quiet", format])?;
        // By the protocol, not by the path: git takes nothing from a path but what it asks for.
        self.run(&at, &["remote", "add", "origin", &format!("file://{}", bare.display())])?;
        let source = At { git: Some(bare), tree: None, remote: &reference.remote };
        let name = format!("refs/coracle/{}", commit.object);
        self.run(&source, &["update-ref", &name, &commit.object])?;
        let short = commit.revision.trim_start_matches("refs/heads/").trim_start_matches("refs/tags/");
        let into = match (is_commit(&commit.revision), commit.commit.is_some()) {
            (true, _) => String::new(),
            (false, true) => format!(":refs/tags/{short}"),
            (false, false) => format!(
                ":refs/heads/{}",
                if reference.revision.is_empty() { short } else { reference.revision.trim_start_matches("refs/heads/") }
            ),
        };
        self.run(&at, &["fetch", "--quiet", "-u", "--depth=1", "--", "origin", &format!("{name}{into}")])?;
        self.run(&at, &["checkout", "--quiet", "FETCH_HEAD"])?;
        self.run(&at, &["remote", "set-url", "origin", &without_password(&reference.remote)])?;
        self.run(&at, &["reflog", "expire", "--all", "--expire=now"])?;
        let _ = fs::remove_file(git.join("FETCH_HEAD"));
        Ok(())
    }

    /// Runs git and returns what it says.
    fn run(&self, at: &At<'_>, args: &[&str]) -> Result<String> {
        let place = place_of_git().ok_or_else(|| {
            let failure = Failure::new("the program `git` is not installed");
            failure.hint("install git, or give the address of an archive instead of a repository")
        })?;
        // The modes of a checkout follow the umask, and those of an image do not follow the user's.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "umask 022 && exec \"$0\" \"$@\""]).arg(place).args(["-c", "protocol.file.allow=user"]);
        for (flag, directory) in [("--work-tree", at.tree), ("--git-dir", at.git)] {
            if let Some(directory) = directory {
                command.arg(flag).arg(directory);
            }
        }
        command.args(args).current_dir(at.tree.unwrap_or(Path::new("/")));
        self.set_environment(&mut command, at.remote);
        let output = command.stdin(Stdio::null()).output().doing(|| "cannot run git")?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "\n           ");
        let failure = Failure::new(format!("`git {}` ended with {}", args.first().unwrap_or(&""), output.status)).because(said.clone());
        Err(if said.contains("Permission denied (publickey") || said.contains("Host key verification") {
            failure.hint("pass an agent with the key on: `--ssh default`")
        } else {
            failure
        })
    }

    /// Nothing of this machine's configuration shall change what is fetched.
    fn set_environment(&self, command: &mut Command, remote: &str) {
        let names = ["PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"];
        let kept: Vec<_> = names.iter().filter_map(|name| Some((name, std::env::var_os(name)?))).collect();
        // ssh finds its known hosts by the passwd file, not by HOME.
        let ssh = "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new";
        command.env_clear().envs(kept).envs([
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_SSH_COMMAND", ssh),
            ("LC_ALL", "C"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("HOME", "/dev/null"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ]);
        if let Some(agent) = &self.remotes.agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        if let Some(header) = self.authorization(remote) {
            // Not as an argument, which everybody on the machine could read.
            let scope =
                remote.find("://").and_then(|at| remote[at + 3..].find('/').map(|end| &remote[..at + 3 + end + 1])).unwrap_or(remote);
            command.envs([("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", &format!("http.{scope}.extraheader"))]);
            command.env("GIT_CONFIG_VALUE_0", format!("Authorization: {header}"));
        }
    }

    /// The secrets `GIT_AUTH_HEADER` and `GIT_AUTH_TOKEN`, those with the host's name after a dot first.
    fn authorization(&self, remote: &str) -> Option<String> {
        use base64::Engine;
        let rest = remote.strip_prefix("https://").or_else(|| remote.strip_prefix("http://"))?;
        let host = rest.split('/').next().unwrap_or_default();
        let find = |name: &str| self.remotes.secret(&format!("{name}.{host}")).or_else(|| self.remotes.secret(name));
        let basic = |token: String| {
            let pair = base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{token}"));
            format!("basic {pair}")
        };
        find("GIT_AUTH_HEADER").or_else(|| find("GIT_AUTH_TOKEN").map(basic))
    }
}

fn place_of_git() -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|directory| directory.join("git")).find(|program| program.is_file())
}

/// A whole SHA-1 or SHA-256.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn full_name(reference: &GitReference) -> String {
    let (name, checksum) = (&reference.revision, reference.checksum.clone().unwrap_or_default());
    match name.as_str() {
        "" => checksum,
        full if full.starts_with("refs/") => full.to_owned(),
        short => format!("refs/heads/{short}"),
    }
}

/// An address as it may be shown and stored.
pub(super) fn without_password(remote: &str) -> String {
    let Some((scheme, rest)) = remote.split_once("://") else { return remote.to_owned() };
    let Some((who, host)) = rest.split_once('@').filter(|(who, _)| !who.contains('/')) else { return remote.to_owned() };
    match who.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:xxxxx@{host}"),
        None => remote.to_owned(),
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// A directory of the checkout; only directories lead there, no link of the repository, and nothing leads out of it.
fn directory_of(tree: &Path, directory: &str) -> io::Result<PathBuf> {
    let mut path = tree.to_owned();
    for part in crate::paths::clean(&format!("/{directory}")).split('/').filter(|part| !part.is_empty()) {
        path.push(part);
        let found =
            fs::symlink_metadata(&path).map_err(|error| io::Error::new(error.kind(), format!("subdir not found: {directory:?}")))?;
        if !found.is_dir() {
            return Err(io::Error::other(format!("git subpath {directory:?} contains non-directory {part:?}")));
        }
    }
    Ok(path)
}

/// Gives everything in a tree one time, the deepest first.
fn set_times(tree: &Path, nanoseconds: i64) -> io::Result<()> {
    let root = Root::at(tree)?;
    let directory = root.open(Path::new(""), rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY)?;
    for name in names_in(&directory)? {
        if fs::symlink_metadata(tree.join(&name))?.is_dir() {
            set_times(&tree.join(&name), nanoseconds)?;
        } else {
            set_time(&directory, &name, nanoseconds)?;
        }
    }
    set_time(&directory, std::ffi::OsStr::new("."), nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for (remote, shown) in [
            ("https://me:secret@h/x.git", "https://me:xxxxx@h/x.git"),
            ("https://h/x@y.git", "https://h/x@y.git"),
            ("git@h:x.git", "git@h:x.git"),
        ] {
            assert_eq!(without_password(remote), shown);
        }
    }

    #[test]
    fn a_link_does_not_lead_to_a_directory() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink("/etc", place.path().join("out")).unwrap();
        assert_eq!(directory_of(place.path(), "a/b").unwrap(), place.path().join("a/b"));
        assert!(directory_of(place.path(), "out").unwrap_err().to_string().contains("non-directory"));
        for whole in ["", ".", "/", "..", "../..", "a/../.."] {
            assert_eq!(directory_of(place.path(), whole).unwrap(), place.path(), "{whole}");
        }
        assert!(directory_of(place.path(), "none").unwrap_err().to_string().contains("subdir not found"));
    }
}
