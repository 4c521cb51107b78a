//! Deletes what was removed, and the bridges that a build has left, in a process of its own that nobody waits for.
//!
//! Removing takes a tree out of sight by one rename; deleting a large image takes seconds. The bridge of a build stays a moment for
//! the next RUN, and the kernel takes long to remove it. Should this process be killed, the next one that begins goes on.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::container;
use crate::image;
use crate::net;
use crate::place::Home;
use crate::state;
use crate::state::Lock;

const ROLE: &str = "@sweep";
const LOCK: &str = "trash";
/// Whoever waits for the disk comes first.
const LEISURE: i32 = 10;

/// Begins to delete, if there is something to delete. If no process can be started it is done here.
pub fn begin(home: &Home) {
    if !state::has_trash(home) && !has_idle_networks(home) {
        return;
    }
    if state::begin_tending(home, ROLE, &[]).is_err() {
        state::empty_trash(home);
    }
}

/// Whether there are bridges that nobody uses and that no supervisor is about to remove.
fn has_idle_networks(home: &Home) -> bool {
    net::is_any_idle(home) && matches!(net::Caretaker::appoint(home), Ok(Some(_)))
}

/// Removes idle bridges when they have been so for a moment; what cannot be removed is met again, and told, by the next command.
fn look_after_networks(home: &Home) {
    while let Ok(Some(left)) = net::settles_in(home) {
        let Ok(Some(caretaker)) = net::Caretaker::appoint(home) else { return };
        std::thread::sleep(left);
        if caretaker.remove_settled(home).is_err() {
            return;
        }
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
    look_after_networks(&home);
    // What cannot be taken away now is met again by the next one.
    let _ = image::remove_orphans(&home, None, &|| container::image_uses(&home));
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
