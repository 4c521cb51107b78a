//! Deletes what was removed, in a process of its own that nobody waits for.
//!
//! Removing takes a tree out of sight by one rename; deleting a large image takes seconds. Should this process be killed,
//! the next one that begins goes on.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;

use crate::place::Home;
use crate::state;
use crate::state::Lock;

const ROLE: &str = "@sweep";
const LOCK: &str = "trash";
/// Whoever waits for the disk comes first.
const LEISURE: i32 = 10;

/// Begins to delete, if there is something to delete. If no process can be started it is done here.
pub fn begin(home: &Home) {
    if !state::has_trash(home) {
        return;
    }
    let begun = Command::new("/proc/self/exe")
        .arg0("coracle")
        .arg(ROLE)
        .args([home.root(), home.run()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env_clear()
        .current_dir("/")
        // A Ctrl-C is for the one who began it.
        .process_group(0)
        .spawn();
    if begun.is_err() {
        state::empty_trash(home);
    }
}

/// Plays the role if the command line says so.
pub fn role(args: &[OsString]) -> Option<ExitCode> {
    let [_, role, root, run] = args else { return None };
    if role != ROLE {
        return None;
    }
    let _ = rustix::process::nice(LEISURE); // it is only a courtesy
    let home = Home::at(PathBuf::from(root), PathBuf::from(run));
    // What came while another one was about to end is ours.
    while state::has_trash(&home) {
        let Ok(Some(lock)) = Lock::attempt(&home, LOCK) else { break };
        state::empty_trash(&home);
        drop(lock);
        if state::has_trash(&home) {
            // Something that cannot be deleted, or that came just now; once more, and no oftener.
            state::empty_trash(&home);
            break;
        }
    }
    Some(ExitCode::SUCCESS)
}
