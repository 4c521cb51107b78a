//! A container's record and state on disk, and how they are found.
//!
//! `containers/<id>/record.json` is written once. `state.json` beside it is written by the supervisor alone, whole each time;
//! readers check it against the kernel.

use std::fs;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::place::Home;
use crate::state;

use super::Container;
use super::State;
use super::Status;
use super::client;
use super::process::Process;

/// The version that records are written with.
pub(super) const VERSION: u32 = 1;

/// The exit code of a run whose end nobody saw, as Docker has it.
pub(super) const UNSEEN_EXIT: i32 = 255;

/// All containers, the newest first. A record that cannot be read is left out.
///
/// # Errors
/// The store cannot be read.
pub fn list(home: &Home) -> Result<Vec<Container>> {
    let mut containers: Vec<Container> = ids(home)?.iter().filter_map(|id| load(home, id).ok().flatten()).collect();
    containers.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
    Ok(containers)
}

/// Which containers need which images.
///
/// # Errors
/// The store cannot be read.
pub fn image_uses(home: &Home) -> Result<Vec<image::Use>> {
    let uses = list(home)?.into_iter().flat_map(|container| {
        let running = state(home, &container.id).is_ok_and(|state| state.is_up());
        let of = |image| image::Use { image, container: container.id.clone(), running };
        container.wanted.images().into_iter().map(of).collect::<Vec<_>>()
    });
    Ok(uses.collect())
}

/// Finds a container by name, id or unique beginning of its id.
///
/// # Errors
/// "no such container: NAME"; a beginning that is not unique.
pub fn find(home: &Home, name_or_id: &str) -> Result<Container> {
    let name_or_id = name_or_id.strip_prefix('/').unwrap_or(name_or_id);
    let missing = || Failure::new(format!("no such container: {name_or_id}")).hint("`coracle ps -a` lists all containers");
    if is_id(name_or_id)
        && let Some(container) = load(home, name_or_id)?
    {
        return Ok(container);
    }
    if let Some(id) = id_of_name(home, name_or_id)?
        && let Some(container) = load(home, &id)?
    {
        return Ok(container);
    }
    if name_or_id.is_empty() || !name_or_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(missing());
    }
    let mut beginning_so: Vec<String> = ids(home)?.into_iter().filter(|id| id.starts_with(name_or_id)).collect();
    match (beginning_so.pop(), beginning_so.is_empty()) {
        (None, _) => Err(missing()),
        (Some(id), true) => load(home, &id)?.ok_or_else(missing),
        (Some(_), false) => Err(Failure::new(format!("cannot tell which container `{name_or_id}` is"))
            .because("several ids begin with it")
            .hint("give more digits of the id")),
    }
}

/// What a container is doing now, checked against the kernel (a record that says "running" of a dead process does not count).
///
/// # Errors
/// The record cannot be read.
pub fn state(home: &Home, id: &str) -> Result<State> {
    let mut state = recorded_state(home, id)?;
    if !state.is_up() || state.status == Status::Restarting {
        return Ok(state);
    }
    if Process::named(state.pid, state.start_time).is_alive() {
        return Ok(state);
    }
    // Its supervisor is about to write the end down: until then what it wrote last counts.
    let Some(container) = load(home, id)? else { return Err(gone(id)) };
    if client::is_watched(home, &container) {
        return Ok(state);
    }
    state.status = Status::Exited;
    state.pid = 0;
    state.exit_code = UNSEEN_EXIT;
    Ok(state)
}

/// What the supervisor wrote last, believed.
pub(super) fn recorded_state(home: &Home, id: &str) -> Result<State> {
    match state::find_json(&state_path(home, id))? {
        Some(state) => Ok(state),
        None if home.container(id).exists() => Ok(State::default()),
        None => Err(gone(id)),
    }
}

fn gone(id: &str) -> Failure {
    Failure::new(format!("no such container: {id}"))
}

/// Reads one record; a container that is not there is `Ok(None)`.
pub(super) fn load(home: &Home, id: &str) -> Result<Option<Container>> {
    state::find_json(&record_path(home, id))
}

/// The ids of all containers, in no order.
pub(super) fn ids(home: &Home) -> Result<Vec<String>> {
    let directory = home.containers();
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.doing(|| format!("cannot read {}", directory.display()))?,
    };
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| is_id(name)).collect())
}

/// Which container a name belongs to, whether that is there or not.
pub(super) fn id_of_name(home: &Home, name: &str) -> Result<Option<String>> {
    if !is_name(name) {
        return Ok(None);
    }
    match fs::read_to_string(home.names().join(name)) {
        Ok(id) => Ok(Some(id).filter(|id| is_id(id))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(format!("cannot read the name `{name}`")).because(error)),
    }
}

/// What a file system gives to a file at a time, or less than that.
const BLOCK: usize = 4096;

/// Writes what a container is doing. Only its supervisor may.
pub(super) fn write_state(home: &Home, id: &str, state: &State) -> Result<()> {
    if !home.container(id).exists() {
        return Err(gone(id)); // or it would come back as a directory with nothing but a state
    }
    let mut bytes = serde_json::to_vec(state).doing(|| format!("cannot write the state of {id}"))?;
    let path = state_path(home, id);
    state::write_whole(&path, &bytes).or_else(|failure| {
        // On a full disk what is known is written over what was known, if it fits there: a container that has ended must not stay one
        // that runs. Who reads just now may see some of both; blanks say nothing.
        let over = (|| {
            let file = OpenOptions::new().write(true).open(&path)?;
            let room = usize::try_from(file.metadata()?.len()).unwrap_or(0);
            if room.next_multiple_of(BLOCK) < bytes.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            bytes.resize(room.max(bytes.len()), b' ');
            file.write_all_at(&bytes, 0)
        })();
        over.map_err(|_| failure)
    })
}

pub(super) fn record_path(home: &Home, id: &str) -> PathBuf {
    home.container(id).join("record.json")
}

pub(super) fn state_path(home: &Home, id: &str) -> PathBuf {
    home.container(id).join("state.json")
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Docker's rule for names: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub(super) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.len() > 1
        && text.len() <= 255
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

impl State {
    /// Whether it has a process now or will have one again without being asked.
    pub fn is_up(&self) -> bool {
        matches!(self.status, Status::Running | Status::Paused | Status::Restarting)
    }

    /// Whether it has a process.
    pub fn has_process(&self) -> bool {
        matches!(self.status, Status::Running | Status::Paused)
    }
}

impl Default for State {
    /// A container that was never started.
    fn default() -> State {
        State {
            status: Status::Created,
            pid: 0,
            start_time: 0,
            exit_code: 0,
            oom_killed: false,
            error: String::new(),
            started: String::new(),
            finished: String::new(),
            restarts: 0,
            stopped_by_hand: false,
            health: None,
            plugged: Vec::new(),
            ports: Vec::new(),
        }
    }
}
