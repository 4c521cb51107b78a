//! Finding and executing the container's program.

use std::ffi::CString;
use std::path::Path;

use oci_spec::runtime::Process as ProcessSpec;
use rustix::io::Errno;

use super::talk::During;
use super::talk::Step;
use super::talk::Trouble;
use crate::sys::exec::Strings;
use crate::sys::exec::execve;

/// Where programs are looked for when the environment has no PATH.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program with its arguments and environment, in the form that execve(2) takes; nothing is left to allocate or to refuse.
#[derive(Debug)]
pub(super) struct Program {
    name: String,
    candidates: Vec<CString>,
    arguments: Strings,
    environment: Strings,
}

impl Program {
    /// Prepares the program of a process spec.
    pub(super) fn of(process: &ProcessSpec) -> Step<Program> {
        let arguments = process.args().as_deref().unwrap_or_default();
        let environment = process.env().as_deref().unwrap_or_default();
        let Some(name) = arguments.first() else {
            return Err(Trouble { status: 127, words: "no command specified".into() });
        };
        let candidates: Result<Vec<_>, _> = candidates(name, environment).into_iter().map(CString::new).collect();
        Ok(Program {
            name: name.clone(),
            candidates: candidates.map_err(std::io::Error::from).during(|| "read the command")?,
            arguments: Strings::new(arguments).during(|| "read the arguments")?,
            environment: Strings::new(environment).during(|| "read the environment")?,
        })
    }

    /// Becomes the program; returns only why not.
    pub(super) fn execute(&self) -> Trouble {
        let mut denied = None;
        for candidate in &self.candidates {
            let error = execve(candidate, &self.arguments, &self.environment);
            let path = candidate.to_string_lossy();
            match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::NOENT | Errno::NOTDIR) if !exists(&path) => {}
                Some(Errno::NOENT) => {
                    return trouble(127, format!("exec {path}: no such file or directory (the interpreter it names is not there)"));
                }
                Some(Errno::ACCESS) if Path::new(path.as_ref()).is_dir() => {
                    denied.get_or_insert_with(|| trouble(126, format!("exec: \"{path}\": is a directory")));
                }
                // A later directory of PATH may have one that we may execute, see execvp(3).
                Some(Errno::ACCESS) => {
                    denied.get_or_insert_with(|| trouble(126, format!("exec: \"{path}\": permission denied")));
                }
                Some(Errno::NOEXEC) => return trouble(126, format!("exec {path}: exec format error")),
                _ => return trouble(126, format!("exec {path}: {error}")),
            }
        }
        denied.unwrap_or_else(|| self.not_found())
    }

    fn not_found(&self) -> Trouble {
        let name = &self.name;
        if name.contains('/') {
            return trouble(127, format!("exec: \"{name}\": stat {name}: no such file or directory"));
        }
        trouble(127, format!("exec: \"{name}\": executable file not found in $PATH"))
    }
}

fn exists(path: &str) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

fn trouble(status: u8, words: String) -> Trouble {
    Trouble { status, words }
}

/// The paths to try: the name itself if it has a slash, else one for each directory of PATH.
fn candidates(name: &str, environment: &[String]) -> Vec<String> {
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    if name.is_empty() {
        return Vec::new();
    }
    let path = environment.iter().rev().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    path.split(':').map(|directory| if directory.is_empty() { format!("./{name}") } else { format!("{directory}/{name}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_looked_for_in_path() {
        let environment = ["PATH=/a".to_owned(), "PATH=/b::/c".to_owned()];
        assert_eq!(candidates("sh", &environment), ["/b/sh", "./sh", "/c/sh"]);
        assert_eq!(candidates("./sh", &environment), ["./sh"]);
        assert_eq!(candidates("sh", &[]).len(), 6);
        assert!(candidates("", &[]).is_empty());
    }
}
