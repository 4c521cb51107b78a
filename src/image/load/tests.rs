//! From `save` to `load` and back, and archives that are not what they say.

use std::fs;
use std::fs::File;
use std::io::Seek;
use std::io::Write;
use std::path::Path;

use super::super::RootFs;
use super::super::commit_image;
use super::super::commit_layer;
use super::super::find;
use super::super::list;
use super::super::save;
use super::super::tag;
use super::*;

struct Deaf;

impl Watch for Deaf {
    fn layer(&self, _: &str, _: u64, _: bool) {}
    fn progress(&self, _: &str, _: u64) {}
    fn done(&self, _: &str) {}
    fn note(&self, _: &str) {}
}

fn home(directory: &Path) -> Home {
    Home::at(directory.join("root"), directory.join("run"))
}

/// An image of layers that each hold one file of that name.
fn image(home: &Home, files: &[&str]) -> String {
    let mut diff_ids = Vec::new();
    for file in files {
        let upper = home.making().join("upper");
        fs::create_dir_all(&upper).unwrap();
        fs::write(upper.join(file), file.repeat(3000)).unwrap();
        diff_ids.push(commit_layer(home, &upper).unwrap().diff_id);
    }
    let rootfs = RootFs { kind: "layers".into(), diff_ids };
    let config = ImageConfig { os: "linux".into(), architecture: "amd64".into(), rootfs, ..ImageConfig::default() };
    commit_image(home, &config).unwrap().id
}

fn as_file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn archive(home: &Home, names: &[&str]) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut bytes = Vec::new();
    save(home, &names, None, &mut bytes).unwrap();
    bytes
}

fn layers_of(home: &Home) -> usize {
    fs::read_dir(home.layers()).map_or(0, |entries| entries.flatten().filter(|entry| entry.path().is_dir()).count())
}

#[test]
fn what_is_saved_is_loaded_with_its_names_and_saved_again_to_the_byte() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (home(from.path()), home(to.path()));
    let (one, other) = (image(&from, &["base", "one"]), image(&from, &["base", "other"]));
    for name in ["shop/web:1", "shop/web:2"] {
        tag(&from, &one, name).unwrap();
    }
    tag(&from, &other, "other").unwrap();
    let bytes = archive(&from, &["shop/web", "other"]);
    let loaded = load(&to, as_file(&bytes), None, &Deaf).unwrap();
    let names: Vec<_> = loaded.iter().map(|image| (image.id.as_str(), image.names.join(" "))).collect();
    assert_eq!(names, [(one.as_str(), "shop/web:1 shop/web:2".to_owned()), (other.as_str(), "other:latest".to_owned())]);
    assert_eq!(layers_of(&to), 3, "the shared layer is there once");
    let layer = &find(&to, "other").unwrap().unwrap().layers[1];
    assert_eq!(fs::read_to_string(layer.join("other")).unwrap(), "other".repeat(3000));
    assert!(archive(&to, &["shop/web", "other"]) == bytes, "another archive");
    assert_eq!(fs::read_dir(to.making()).unwrap().count(), 0);
}

#[test]
fn compressed_archives_are_loaded_too() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (home(from.path()), home(to.path()));
    let id = image(&from, &["a"]);
    let bytes = archive(&from, &[&id]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&bytes).unwrap();
    for packed in [gzip.finish().unwrap(), zstd::encode_all(&bytes[..], 1).unwrap()] {
        let loaded = load(&to, as_file(&packed), None, &Deaf).unwrap();
        assert_eq!((loaded[0].id.as_str(), loaded[0].names.len()), (id.as_str(), 0));
    }
    assert_eq!(list(&to).unwrap().len(), 1);
}

/// The form of `docker save` before 25: names of directories, and links in place of layers that come twice.
#[test]
fn an_old_docker_archive_is_loaded() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (home(from.path()), home(to.path()));
    let id = image(&from, &["a", "b", "a"]);
    let config = store::find_blob(&from, &Digest::parse(&id).unwrap()).unwrap().unwrap();
    let record = store::find_image(&from, &id).unwrap().unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    for (name, key) in [("one/layer.tar", &record.layers[0]), ("two/layer.tar", &record.layers[1])] {
        let mut bytes = Vec::new();
        let mut sink = |part: &[u8]| {
            bytes.extend_from_slice(part);
            Ok(())
        };
        super::super::layer_blob::LayerBlob::find(&from, key).unwrap().write_plain(&mut sink).unwrap();
        add(name, &bytes);
    }
    add("c.json", &config);
    add("manifest.json", br#"[{"Config":"c.json","RepoTags":["old:1"],"Layers":["one/layer.tar","two/layer.tar","three/layer.tar"]}]"#);
    let mut link = tar::Header::new_ustar();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    tar.append_link(&mut link, "three/layer.tar", "../one/layer.tar").unwrap();
    let loaded = load(&to, as_file(&tar.into_inner().unwrap()), None, &Deaf).unwrap();
    assert_eq!((loaded[0].id.clone(), loaded[0].names.clone()), (id, vec!["old:1".to_owned()]));
}

#[test]
fn a_damaged_archive_leaves_nothing() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (home(from.path()), home(to.path()));
    let id = image(&from, &["a"]);
    let bytes = archive(&from, &[&id]);
    let at = bytes.windows(9).position(|window| window == b"aaaaaaaaa").unwrap();
    let mut flipped = bytes.clone();
    flipped[at] ^= 1;
    let config = bytes.windows(14).rposition(|window| window == b"\"architecture\"").unwrap();
    let mut other_config = bytes.clone();
    other_config[config + 17] = b'x';
    for bad in [&flipped[..], &other_config, &bytes[..bytes.len() / 2], &bytes[..700], b"no archive at all", b""] {
        assert!(load(&to, as_file(bad), None, &Deaf).is_err());
        assert_eq!((list(&to).unwrap().len(), layers_of(&to)), (0, 0));
    }
    assert_eq!(load(&to, as_file(&bytes), None, &Deaf).unwrap()[0].id, id);
    assert!(load(&to, as_file(&bytes), Some("linux/arm64"), &Deaf).is_err());
}
