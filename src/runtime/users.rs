//! Who `user: ...` means, by the files of the container's root.

use std::fs::File;
use std::io;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::OFlags;

use super::open_in_root;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;

/// A passwd or group file longer than this is not read to its end: an image could make us read for ever.
const LONGEST: u64 = 16 << 20;

/// A user as the passwd and group files of the root know it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub additional_gids: Vec<u32>,
    pub home: Option<String>,
    pub name: Option<String>,
}

/// Resolves `user`, `uid`, `user:group`, `uid:gid` (and extra groups) by the files inside the root, as Docker does.
///
/// Numbers need no line in passwd. The groups that list the user count unless a group is named.
///
/// # Errors
/// A name that the root's files do not have: "unable to find user NAME: no matching entries in passwd file".
pub fn resolve_user(root: &OwnedFd, text: &str, group_add: &[String]) -> Result<User> {
    let passwd = read(root, "/etc/passwd")?;
    let group = read(root, "/etc/group")?;
    resolve(&passwd, &group, text, group_add).map_err(|failure| failure.exit(125))
}

/// A file that is not there is empty.
fn read(root: &OwnedFd, path: &str) -> Result<String> {
    let open = || -> io::Result<String> {
        // Not blocking: in an image's place of passwd there may be a FIFO.
        let file = File::from(open_in_root(root, Path::new(path), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?);
        if !file.metadata()?.is_file() {
            return Ok(String::new());
        }
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    match open() {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(String::new()),
        outcome => outcome.doing(|| format!("cannot read {path} of the container")),
    }
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// passwd(5); lines that are none are passed over.
fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Account { name, uid, gid, home: fields.nth(1).unwrap_or("") })
    })
}

/// group(5).
fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
        Some(Group { name, gid, members: fields.next().unwrap_or("") })
    })
}

fn resolve(passwd: &str, group: &str, text: &str, group_add: &[String]) -> Result<User> {
    let (wanted_user, wanted_group) = text.split_once(':').unwrap_or((text, ""));
    let mut user = find_user(passwd, wanted_user)?;
    if wanted_group.is_empty() {
        let name = user.name.clone().unwrap_or_default();
        let listed = groups(group).filter(|group| group.members.split(',').any(|member| member == name && !name.is_empty()));
        user.additional_gids = listed.map(|group| group.gid).collect();
    } else {
        user.gid = find_group(group, wanted_group)?;
    }
    for extra in group_add {
        let gid = find_group(group, extra)?;
        if !user.additional_gids.contains(&gid) {
            user.additional_gids.push(gid);
        }
    }
    Ok(user)
}

fn find_user(passwd: &str, wanted: &str) -> Result<User> {
    let number = number(wanted);
    // No user is root. A name wins over a number only in its own line: the first line that fits counts.
    let fits = |account: &Account<'_>| match wanted {
        "" => account.uid == 0,
        _ => account.name == wanted || number == Some(account.uid),
    };
    let found = accounts(passwd).find(fits);
    if let Some(account) = found {
        let home = Some(account.home.to_owned()).filter(|home| !home.is_empty());
        return Ok(User { uid: account.uid, gid: account.gid, additional_gids: Vec::new(), home, name: Some(account.name.to_owned()) });
    }
    match (wanted, number) {
        ("", _) => Ok(User::default()),
        (_, Some(uid)) => Ok(User { uid, ..User::default() }),
        _ => Err(Failure::new(format!("unable to find user {wanted}: no matching entries in passwd file"))),
    }
}

fn find_group(group: &str, wanted: &str) -> Result<u32> {
    let number = number(wanted);
    let found = groups(group).find(|group| group.name == wanted || number == Some(group.gid));
    let unknown = || Failure::new(format!("unable to find group {wanted}: no matching entries in group file"));
    found.map(|group| group.gid).or(number).ok_or_else(unknown)
}

/// Ids end at 2³¹-1, as in Docker: above it, -1 and its neighbours have meanings of their own.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number <= i32::MAX as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken line\nredis:x:999:1000::/data:/bin/false\n1234:x:5:6::/odd:\n";
    const GROUP: &str = "root:x:0:\nredis:x:1000:\naudio:x:29:redis,other\nvideo:x:44:others,redis\nlone:x:7\n";

    fn resolved(text: &str, extra: &[&str]) -> (u32, u32, Vec<u32>, Option<String>) {
        let extra: Vec<String> = extra.iter().map(|group| (*group).to_owned()).collect();
        let user = resolve(PASSWD, GROUP, text, &extra).unwrap();
        (user.uid, user.gid, user.additional_gids, user.home)
    }

    #[test]
    fn users_are_found_as_docker_finds_them() {
        let home = |path: &str| Some(path.to_owned());
        assert_eq!(resolved("", &[]), (0, 0, vec![], home("/root")));
        assert_eq!(resolved("redis", &[]), (999, 1000, vec![29, 44], home("/data")));
        assert_eq!(resolved("999", &[]), (999, 1000, vec![29, 44], home("/data")));
        assert_eq!(resolved("redis:audio", &[]), (999, 29, vec![], home("/data")));
        assert_eq!(resolved("redis:77", &[]), (999, 77, vec![], home("/data")));
        assert_eq!(resolved("4242", &[]), (4242, 0, vec![], None));
        assert_eq!(resolved("4242:lone", &[]), (4242, 7, vec![], None));
        assert_eq!(resolved(":video", &[]), (0, 44, vec![], home("/root")));
        assert_eq!(resolved("1234", &[]), (5, 6, vec![], home("/odd")));
        assert_eq!(resolved("redis", &["audio", "500"]), (999, 1000, vec![29, 44, 500], home("/data")));
    }

    #[test]
    fn an_unknown_name_is_refused_in_dockers_words() {
        let failure = resolve(PASSWD, GROUP, "nobody", &[]).unwrap_err();
        assert_eq!(failure.what(), "unable to find user nobody: no matching entries in passwd file");
        let failure = resolve(PASSWD, GROUP, "redis:nogroup", &[]).unwrap_err();
        assert_eq!(failure.what(), "unable to find group nogroup: no matching entries in group file");
        assert!(resolve(PASSWD, GROUP, "4294967295", &[]).is_err());
    }

    #[test]
    fn a_root_without_passwd_knows_numbers_and_root() {
        assert_eq!(resolve("", "", "", &[]).unwrap(), User::default());
        assert_eq!(resolve("", "", "10:20", &[]).unwrap().gid, 20);
        assert!(resolve("", "", "root", &[]).is_err());
    }
}
