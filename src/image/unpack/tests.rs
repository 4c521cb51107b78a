//! Corner cases of unpacking, each an archive of a few entries. Owners, devices and `trusted.*` need root.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tar::Builder;
use tar::EntryType;
use tar::Header;
use tempfile::TempDir;

use super::*;

/// An archive in the making.
struct Layer(Builder<Vec<u8>>);

impl Layer {
    fn new() -> Layer {
        Layer(Builder::new(Vec::new()))
    }

    fn add(mut self, kind: EntryType, name: &str, change: impl FnOnce(&mut Header), bytes: &[u8]) -> Layer {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_500_000_000);
        header.set_size(bytes.len() as u64);
        // Not set_path: it refuses the very names that we want to see refused.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        change(&mut header);
        header.set_cksum();
        self.0.append(&header, bytes).unwrap();
        self
    }

    fn file(self, name: &str, text: &str) -> Layer {
        self.add(EntryType::Regular, name, |_| {}, text.as_bytes())
    }

    fn directory(self, name: &str) -> Layer {
        self.add(EntryType::Directory, name, |_| {}, b"")
    }

    fn link(self, kind: EntryType, name: &str, target: &str) -> Layer {
        self.add(kind, name, |header| header.set_link_name_literal(target).unwrap(), b"")
    }

    fn records(self, records: &[u8]) -> Layer {
        self.add(EntryType::XHeader, "PaxHeaders/x", |_| {}, records)
    }

    fn unpack(self) -> (TempDir, io::Result<Unpacked>) {
        let directory = tempfile::tempdir().unwrap();
        let bytes = self.0.into_inner().unwrap();
        let unpacked = unpack(&mut Archive::new(&bytes[..]), directory.path());
        (directory, unpacked)
    }

    fn into_tree(self) -> TempDir {
        let (directory, unpacked) = self.unpack();
        unpacked.unwrap();
        directory
    }
}

fn text(tree: &TempDir, name: &str) -> String {
    fs::read_to_string(tree.path().join(name)).unwrap()
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.mode() & 0o170_000 == 0o020_000 && found.rdev() == 0)
}

#[test]
fn content_mode_owner_and_times_are_as_the_archive_says() {
    let tree = Layer::new()
        .add(EntryType::Directory, "d/", |header| header.set_mtime(7), b"")
        .add(EntryType::Regular, "d/su", |header| (header.set_mode(0o4755), header.set_uid(11), header.set_gid(12)).2, b"x")
        .into_tree();
    let found = fs::metadata(tree.path().join("d/su")).unwrap();
    assert_eq!((found.mode() & 0o7777, found.uid(), found.gid(), found.mtime()), (0o4755, 11, 12, 1_500_000_000));
    assert_eq!(fs::metadata(tree.path().join("d")).unwrap().mtime(), 7);
}

#[test]
fn a_group_that_a_directory_hands_down_does_not_stick() {
    let tree = Layer::new()
        .add(EntryType::Directory, "d/", |header| (header.set_mode(0o2755), header.set_gid(50)).1, b"")
        .file("d/f", "x")
        .into_tree();
    assert_eq!(fs::metadata(tree.path().join("d/f")).unwrap().gid(), 0);
}

#[test]
fn nothing_is_made_outside() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap();
    for layer in [
        Layer::new().file("../out", "x"),
        Layer::new().link(EntryType::Symlink, "d", target).file("d/out", "x"),
        Layer::new().link(EntryType::Symlink, "a", target).link(EntryType::Symlink, "d", "a").directory("d/out"),
        Layer::new().link(EntryType::Symlink, "d", target).file("d/.wh.keep", ""),
    ] {
        fs::write(outside.path().join("keep"), "keep").unwrap();
        // Refused or made inside, as it may be.
        let _ = layer.unpack();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }
    let (_, leak) = Layer::new().link(EntryType::Link, "leak", "/etc/passwd").unpack();
    assert_eq!(leak.unwrap().foreign_links, [(b"leak".to_vec(), b"etc/passwd".to_vec())]);
}

#[test]
fn the_last_entry_of_a_name_wins() {
    let tree = Layer::new().file("a", "1").link(EntryType::Link, "b", "a").file("a", "22").into_tree();
    assert_eq!((text(&tree, "a"), text(&tree, "b")), ("22".into(), "1".into()));
    let tree = Layer::new().directory("a").file("a/in", "1").file("a", "2").into_tree();
    assert_eq!(text(&tree, "a"), "2");
    let tree = Layer::new().add(EntryType::Fifo, "p", |_| {}, b"").file("p", "x").into_tree();
    assert_eq!(text(&tree, "p"), "x");
    let tree = Layer::new().link(EntryType::Symlink, "d", "/").directory("d").file("d/f", "x").into_tree();
    assert!(fs::symlink_metadata(tree.path().join("d")).unwrap().is_dir());
}

#[test]
fn a_whiteout_becomes_what_overlayfs_takes_for_one() {
    let tree = Layer::new().file("d/.wh.gone", "ignored").file(".wh.x", "").file("x", "new").into_tree();
    assert!(is_whiteout(&tree.path().join("d/gone")));
    assert_eq!(attribute(&tree.path().join("d"), ORIGIN_XATTR), Some(Vec::new()));
    assert_eq!(text(&tree, "x"), "new");
    for bad in [".wh.", ".wh..", ".wh...", "d/.wh..."] {
        assert!(Layer::new().directory("d").file(bad, "").unpack().1.is_err(), "{bad}");
    }
}

#[test]
fn a_directory_made_anew_hides_what_was_below_it() {
    for layer in [
        Layer::new().directory("d").file("d/.wh..wh..opq", ""),
        Layer::new().file("d/.wh..wh..opq", "").directory("d"),
        Layer::new().file(".wh.d", "").directory("d"),
        Layer::new().file(".wh.d", "").file("d/f", ""),
        Layer::new().directory("d").file(".wh.d", ""),
        Layer::new().file("d", "").directory("d"),
    ] {
        let tree = layer.into_tree();
        assert_eq!(attribute(&tree.path().join("d"), OPAQUE_XATTR), Some(b"y".to_vec()));
    }
    assert!(Layer::new().file(".wh..wh..opq", "").unpack().1.unwrap().opaque_root);
}

#[test]
fn overlayfs_own_marks_are_not_taken_from_an_archive() {
    let tree = Layer::new().records(b"39 SCHILY.xattr.trusted.overlay.opaq=y\n").directory("d").into_tree();
    assert_eq!(attribute(&tree.path().join("d"), "trusted.overlay.opaq"), None);
    assert!(Layer::new().add(EntryType::Char, "c", |header| header.set_device_major(0).unwrap(), b"").unpack().1.is_err());
}

#[test]
fn attributes_are_set_after_what_would_clear_them() {
    let value = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let records = [&b"54 SCHILY.xattr.security.capability="[..], &value[..], &b"\n"[..]].concat();
    let records = [format!("{}", records.len()).as_bytes(), &records[2..]].concat();
    let tree = Layer::new().records(&records).add(EntryType::Regular, "c", |header| header.set_uid(9), b"x").into_tree();
    assert_eq!(attribute(&tree.path().join("c"), "security.capability").as_deref(), Some(&value[..]));
}

#[test]
fn holes_stay_holes() {
    let records = b"28 GNU.sparse.size=1073741824\n31 GNU.sparse.map=1073741312,512\n22 GNU.sparse.name=s\n";
    let records: Vec<u8> = records.split_inclusive(|byte| *byte == b'\n').flat_map(renumbered).collect();
    let tree = Layer::new().records(&records).add(EntryType::Regular, "GNUSparseFile.0/s", |_| {}, &[7; 512]).into_tree();
    let found = fs::metadata(tree.path().join("s")).unwrap();
    assert_eq!(found.len(), 1 << 30);
    assert!(found.blocks() < 64, "{}", found.blocks());
}

/// The record with the length it has.
fn renumbered(record: &[u8]) -> Vec<u8> {
    let rest = &record[record.iter().position(|byte| *byte == b' ').unwrap()..];
    [format!("{}", rest.len() + 2).as_bytes(), rest].concat()
}

#[test]
fn directories_without_write_permission_can_be_filled() {
    let tree = Layer::new().add(EntryType::Directory, "z/", |header| header.set_mode(0), b"").file("z/in", "x").into_tree();
    assert_eq!(fs::metadata(tree.path().join("z")).unwrap().permissions().mode() & 0o7777, 0);
    assert_eq!(text(&tree, "z/in"), "x");
}

#[test]
fn a_name_in_the_message_is_the_entrys() {
    let (_, refused) = Layer::new().file("a", "").file("a/b", "").unpack();
    let message = refused.unwrap_err().to_string();
    assert!(message.starts_with("`a/b`: "), "{message}");
}
