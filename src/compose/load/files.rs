//! Which files make a project, where it lives, what it is called and which variables it sees.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::compose::Sources;

use super::environment;
use super::environment::Environment;
use super::paths;
use super::session::Fault;
use super::session::Session;

/// The names a Compose file is looked for under, the first wins.
const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// The names of the file that is merged over it, the first wins.
const OVERRIDES: [&str; 4] =
    ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];

/// Standard input in place of a file.
pub(super) const INPUT: &str = "-";

/// What is settled before a file is read.
#[derive(Debug)]
pub(super) struct Setting {
    /// What relative paths are relative to; absolute.
    pub directory: PathBuf,
    /// Absolute, or [`INPUT`].
    pub files: Vec<PathBuf>,
    pub environment: Environment,
    pub profiles: Vec<String>,
    /// The name that `-p` or `COMPOSE_PROJECT_NAME` gives.
    pub name: Option<String>,
}

/// Settles it; what is wrong is reported.
pub(super) fn settle(session: &Session<'_>, sources: &Sources) -> Option<Setting> {
    let here = &session.surroundings.directory;
    let mut environment = session.surroundings.variables.clone();
    environment.entry("PWD".to_owned()).or_insert_with(|| here.display().to_string());
    if let Some(trace) = &session.trace {
        trace.shell(&environment);
    }
    let named = sources.project_directory.as_ref().filter(|directory| !directory.as_os_str().is_empty());
    let named = named.map(|directory| PathBuf::from(paths::join(here, &directory.to_string_lossy())));
    let mut files: Vec<PathBuf> = sources.files.iter().map(|file| at(here, file)).collect();
    let directory = |files: &[PathBuf]| named.clone().unwrap_or_else(|| beside(files).unwrap_or_else(|| here.clone()));

    read_variables(session, sources, &directory(&files), &mut environment)?;
    if files.is_empty() {
        files = files_of_environment(session, &environment)?;
    }
    if files.is_empty() {
        files = search(session, &directory(&files))?;
    }
    let directory = directory(&files);
    read_variables(session, sources, &directory, &mut environment)?;

    let profiles = if sources.profiles.is_empty() {
        // Without a list it is one of an empty name, which a service may have.
        let list = environment.get("COMPOSE_PROFILES").map_or("", String::as_str);
        list.split(',').map(|name| name.trim().to_owned()).collect()
    } else {
        sources.profiles.clone()
    };
    let given = |name: Option<&String>| name.filter(|name| !name.is_empty()).cloned();
    let name = given(sources.project_name.as_ref()).or_else(|| given(environment.get("COMPOSE_PROJECT_NAME")));
    Some(Setting { directory, files, environment, profiles, name })
}

fn at(here: &Path, file: &str) -> PathBuf {
    if file == INPUT { PathBuf::from(INPUT) } else { PathBuf::from(paths::join(here, file)) }
}

/// The directory of the first file that is one.
fn beside(files: &[PathBuf]) -> Option<PathBuf> {
    files.iter().find(|file| file.as_os_str() != INPUT).and_then(|file| file.parent()).map(Path::to_owned)
}

/// Adds the variables of `--env-file` or `COMPOSE_ENV_FILES`, or else of `.env` in the project's directory.
fn read_variables(session: &Session<'_>, sources: &Sources, directory: &Path, environment: &mut Environment) -> Option<()> {
    let own = &session.surroundings.variables;
    let listed = own.get("COMPOSE_ENV_FILES").map(|list| list.split(',').filter(|file| !file.is_empty()).map(str::to_owned).collect());
    let (mut kind, listed): (_, Vec<String>) = if sources.env_files.is_empty() {
        ("COMPOSE_ENV_FILES", listed.unwrap_or_default())
    } else {
        ("--env-file", sources.env_files.clone())
    };
    let mut files: Vec<PathBuf> = listed.iter().map(|file| at(&session.surroundings.directory, file)).collect();
    if files.is_empty() {
        if is_disabled(session, own)? {
            return Some(());
        }
        kind = ".env";
        files.extend(Some(directory.join(".env")).filter(|file| file.exists() && !file.is_dir()));
    }
    let found = environment::read_files(session, environment, (kind, &files))?;
    environment::add(environment, &found);
    Some(())
}

/// `COMPOSE_DISABLE_ENV_FILE`; nothing if it is no boolean.
fn is_disabled(session: &Session<'_>, own: &Environment) -> Option<bool> {
    let Some(text) = own.get("COMPOSE_DISABLE_ENV_FILE") else { return Some(false) };
    match text.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => {
            session.report(Fault::nowhere(format!("`COMPOSE_DISABLE_ENV_FILE` must be `true` or `false`, not `{text}`")));
            None
        }
    }
}

fn files_of_environment(session: &Session<'_>, environment: &Environment) -> Option<Vec<PathBuf>> {
    let Some(list) = environment.get("COMPOSE_FILE") else { return Some(Vec::new()) };
    let separator = environment.get("COMPOSE_PATH_SEPARATOR").filter(|separator| !separator.is_empty()).map_or(":", String::as_str);
    let files: Vec<PathBuf> = list.split(separator).map(|file| at(&session.surroundings.directory, file)).collect();
    for file in files.iter().filter(|file| file.as_os_str() != INPUT) {
        if let Err(error) = fs::metadata(file) {
            let fault = Fault::nowhere(format!("cannot read the Compose file `{}`, which `COMPOSE_FILE` names", session.shown(file)));
            session.report(fault.because(error));
            return None;
        }
    }
    Some(files)
}

/// Looks for a Compose file in a directory, then in those above it.
fn search(session: &Session<'_>, directory: &Path) -> Option<Vec<PathBuf>> {
    for place in directory.ancestors() {
        let Some(file) = choose(session, place, &NAMES) else { continue };
        let override_file = choose(session, place, &OVERRIDES);
        return Some(std::iter::once(file).chain(override_file).collect());
    }
    let fault = Fault::nowhere(format!("there is no Compose file in `{}` or above it", directory.display()));
    session.report(
        fault.because(format!("looked for {}", NAMES.join(", "))).hint("go to the project's directory, or name its file with `-f`"),
    );
    None
}

fn choose(session: &Session<'_>, place: &Path, names: &[&str]) -> Option<PathBuf> {
    let found: Vec<&str> = names.iter().copied().filter(|name| place.join(name).exists()).collect();
    let first = found.first()?;
    if found.len() > 1 {
        session.warn(format!("`{}` holds {}: using `{first}`", place.display(), found.join(", ")));
    }
    Some(place.join(first))
}

/// What is left of a name when all that a project's name cannot hold is taken out.
pub(super) fn project_name(text: &str) -> String {
    let kept: String = text
        .to_lowercase()
        .chars()
        .filter(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || matches!(char, '_' | '-'))
        .collect();
    kept.trim_start_matches(['_', '-']).to_owned()
}
