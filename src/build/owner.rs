//! `--chown` and the owner of a WORKDIR: names are looked up in the files of the root, not of this machine.

use std::io;
use std::io::Read;
use std::path::Path;

use crate::build::root::Root;

/// No passwd file of a sane image is larger.
const LONGEST_FILE: u64 = 4 << 20;

/// Finds user and group of `user`, `user:group`, `:group`; a number stands for itself, and a lone one for both.
///
/// A name that is not there means root, as BuildKit has it; the second value names it so that someone can be told.
/// Nothing before or behind the colon is root's, too: `alice:` has the group 0.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn find(root: &Root, text: &str) -> io::Result<((u32, u32), Option<String>)> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let mut unknown = None;
    let (uid, mut gid) = match number(user) {
        Some(uid) => (uid, uid),
        None => look_up(root, "etc/passwd", user)?.unwrap_or_else(|| {
            unknown = Some(user.to_owned());
            (0, 0)
        }),
    };
    if let Some(group) = group {
        gid = match number(group) {
            Some(gid) => gid,
            None => match look_up(root, "etc/group", group)? {
                Some((found, _)) => found,
                None => {
                    unknown = Some(group.to_owned());
                    gid
                }
            },
        };
    }
    Ok(((uid, gid), unknown))
}

/// Whether resolving this needs the root's files.
pub(super) fn has_name(text: &str) -> bool {
    text.splitn(2, ':').any(|part| number(part).is_none())
}

/// What stands for itself; a number beyond 31 bits is a name.
fn number(text: &str) -> Option<u32> {
    match text {
        "" | "root" => Some(0),
        text => text.parse::<i32>().ok().and_then(|id| u32::try_from(id).ok()),
    }
}

/// The third and fourth field of the line that begins with a name; a group's fourth is none of ours.
fn look_up(root: &Root, path: &str, name: &str) -> io::Result<Option<(u32, u32)>> {
    let mut text = String::new();
    match root.read(Path::new(path)) {
        Ok(file) => file.take(LONGEST_FILE).read_to_string(&mut text)?,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(text.lines().find_map(|line| {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let first = (fields.first() == Some(&name)).then(|| fields.get(2)?.parse().ok()).flatten()?;
        Some((first, fields.get(3).and_then(|field| field.parse().ok()).unwrap_or(0)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_root() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("etc")).unwrap();
        std::fs::write(directory.path().join("etc/passwd"), "root:x:0:0::/:\nalice:x:1000:1001::/:\n").unwrap();
        std::fs::write(directory.path().join("etc/group"), "devs:x:2000:alice\n").unwrap();
        let root = Root::at(directory.path()).unwrap();
        for (text, owner, unknown) in [
            ("alice", (1000, 1001), None),
            ("alice:devs", (1000, 2000), None),
            (":devs", (0, 2000), None),
            ("7", (7, 7), None),
            ("7:8", (7, 8), None),
            ("ghost", (0, 0), Some("ghost")),
            ("alice:", (1000, 0), None),
            ("7:root", (7, 0), None),
            ("4294967295", (0, 0), Some("4294967295")),
        ] {
            assert_eq!(find(&root, text).unwrap(), (owner, unknown.map(str::to_owned)), "{text}");
        }
    }
}
