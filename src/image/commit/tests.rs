//! What a committed layer is must not depend on who looks; whiteouts and `trusted.*` need root.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::Timespec;
use rustix::fs::Timestamps;
use rustix::fs::XattrFlags;

use super::super::archive::Archive;
use super::super::unpack::OPAQUE_XATTR;
use super::super::unpack::unpack;
use super::*;

/// Makes a tree with one of each, always with the same times.
fn tree(at: &Path) {
    fs::create_dir_all(at.join("b/sub")).unwrap();
    fs::write(at.join("b/file"), "text").unwrap();
    fs::hard_link(at.join("b/file"), at.join("a-link")).unwrap();
    fs::write(at.join("n".repeat(120)), "long").unwrap();
    symlink("t".repeat(150), at.join("long-link")).unwrap();
    rustix::fs::mknodat(CWD, at.join("gone"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    rustix::fs::lsetxattr(at.join("b/sub"), OPAQUE_XATTR, b"y", XattrFlags::empty()).unwrap();
    rustix::fs::lsetxattr(at.join("b/file"), "user.a", b"\0\n", XattrFlags::empty()).unwrap();
    let time = Timespec { tv_sec: 1_600_000_000, tv_nsec: 5 };
    for name in ["b/sub", "b/file", "b", &"n".repeat(120), "long-link"] {
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, at.join(name), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn home(directory: &tempfile::TempDir) -> Home {
    Home::at(directory.path().join("root"), directory.path().join("run"))
}

#[test]
fn the_same_tree_is_the_same_layer() {
    let directory = tempfile::tempdir().unwrap();
    let home = home(&directory);
    let (one, other) = (directory.path().join("one"), directory.path().join("other"));
    tree(&one);
    tree(&other);
    let layer = commit_layer(&home, &one).unwrap();
    assert_eq!(commit_layer(&home, &other).unwrap(), layer);
    assert!(!one.exists() && !other.exists());
    assert!(home.layers().join(layer.diff_id.trim_start_matches("sha256:")).join("b/file").is_file());
}

/// The stream is never stored, so this is the only place that sees whether others could read it.
#[test]
fn the_stream_unpacks_to_the_tree_it_was_made_of() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    tree(&from);
    fs::create_dir(&to).unwrap();
    let stream = |tree: &Path| {
        let mut kept = Vec::new();
        let mut writer = Writer::new(|bytes: &[u8]| {
            kept.extend_from_slice(bytes);
            Ok(())
        });
        writer.tree(tree).unwrap();
        let (written, content) = writer.finish().unwrap();
        assert_eq!((kept.len() as u64, content), (written, 8));
        kept
    };
    let first = stream(&from);
    unpack(&mut Archive::new(&first[..]), &to).unwrap();
    assert!(first == stream(&to), "the tree made of the stream makes another stream");
    assert_eq!(fs::read_link(to.join("long-link")).unwrap().as_os_str().len(), 150);
}

#[test]
fn an_empty_upper_is_the_known_empty_layer() {
    let directory = tempfile::tempdir().unwrap();
    let upper = directory.path().join("upper");
    fs::create_dir(&upper).unwrap();
    let layer = commit_layer(&home(&directory), &upper).unwrap();
    // The digest that Docker has for a layer without a change: 1,024 zero bytes.
    assert_eq!(layer.diff_id, "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef");
    assert_eq!(layer.size, 1024);
}
