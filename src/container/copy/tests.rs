//! Docker's rules for `cp`, case by case, and what a hostile root could try.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::symlink;

use super::*;

struct Two {
    place: tempfile::TempDir,
}

impl Two {
    /// A root `from` with some files, and a root `to` with a directory and a file.
    fn new() -> Two {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        for directory in ["from/dir/sub", "to/there"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        for file in ["from/file", "from/dir/a", "from/dir/sub/b", "to/old"] {
            fs::write(at(file), file).unwrap();
        }
        fs::hard_link(at("from/dir/a"), at("from/dir/again")).unwrap();
        symlink("/file", at("from/link")).unwrap();
        symlink("there", at("to/way")).unwrap();
        fs::write(place.path().join("secret"), "the host's").unwrap();
        Two { place }
    }

    fn copy(&self, from: &str, to: &str, links: Links) -> io::Result<u64> {
        let root = |name: &str| OwnedFd::from(File::open(self.place.path().join(name)).unwrap());
        copy((&root("from"), from), (&root("to"), to), (links, Owners::Kept))
    }

    fn has(&self, path: &str) -> bool {
        self.place.path().join("to").join(path).symlink_metadata().is_ok()
    }
}

#[test]
fn the_end_of_a_path_says_what_is_meant() {
    let table = [
        ("file", "there", "there/file"),
        ("file", "there/", "there/file"),
        ("/file", "new", "new"),
        ("file", "old", "old"),
        ("file", "way", "there/file"),
        ("link", "there", "there/link"),
        ("dir", "there", "there/dir/sub/b"),
        ("dir", "new", "new/sub/b"),
        ("dir/", "there", "there/dir/a"),
        ("dir/.", "there", "there/sub/b"),
        ("dir/.", "new", "new/a"),
        ("/", "there", "there/dir/a"),
        ("dir/..", "there", "there/file"),
    ];
    for (from, to, made) in table {
        let two = Two::new();
        two.copy(from, to, Links::Kept).unwrap_or_else(|error| panic!("{from} {to}: {error}"));
        assert!(two.has(made), "{from} {to}");
    }
    let two = Two::new();
    for (from, to) in [("none", "there"), ("file/", "there"), ("dir", "old"), ("file", "new/"), ("file", "none/x"), ("link/", "there")] {
        assert!(two.copy(from, to, Links::Kept).is_err(), "{from} {to}");
    }
}

#[test]
fn links_are_kept_or_followed_and_names_stay_joined() {
    let two = Two::new();
    assert_eq!(two.copy("link", "kept", Links::Kept).unwrap(), 0);
    assert!(fs::symlink_metadata(two.place.path().join("to/kept")).unwrap().is_symlink());
    assert_eq!(two.copy("link", "there", Links::Followed).unwrap(), 9);
    assert!(fs::symlink_metadata(two.place.path().join("to/there/link")).unwrap().is_file());
    two.copy("dir", "there", Links::Kept).unwrap();
    let inode = |name: &str| fs::metadata(two.place.path().join("to/there/dir").join(name)).unwrap().ino();
    assert_eq!(inode("a"), inode("again"));
}

#[test]
fn a_file_and_a_directory_do_not_take_each_others_place() {
    let two = Two::new();
    fs::create_dir_all(two.place.path().join("to/there/file")).unwrap();
    assert!(two.copy("file", "there", Links::Kept).is_err());
    fs::write(two.place.path().join("to/there/dir"), "").unwrap();
    assert!(two.copy("dir", "there", Links::Kept).is_err());
    // A link in the target's place is replaced, not followed.
    symlink("../old", two.place.path().join("to/there/link")).unwrap();
    two.copy("link", "there/", Links::Followed).unwrap();
    assert_eq!(fs::read_to_string(two.place.path().join("to/old")).unwrap(), "to/old");
}

#[test]
fn no_link_leads_out_of_its_root() {
    let two = Two::new();
    for (name, text) in [("absolute", "/secret"), ("relative", "../../secret"), ("up", "..")] {
        symlink(text, two.place.path().join("from").join(name)).unwrap();
        symlink(text, two.place.path().join("to").join(name)).unwrap();
    }
    for from in ["absolute", "relative", "up/secret", "../secret"] {
        assert!(two.copy(from, "stolen", Links::Followed).is_err(), "{from}");
    }
    for to in ["absolute", "relative", "up/secret", "../secret"] {
        two.copy("file", to, Links::Kept).unwrap();
        assert_eq!(fs::read_to_string(two.place.path().join("secret")).unwrap(), "the host's", "{to}");
    }
    assert_eq!(fs::read_to_string(two.place.path().join("to/secret")).unwrap(), "from/file");
}
