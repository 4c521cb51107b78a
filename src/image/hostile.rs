//! What strangers send, and what becomes of it when it is not what it should be: mutations without end, for a second each.
//!
//! Always the same ones, so that a finding can be looked at; `CORACLE_FUZZ_SECONDS=600` goes on for ten minutes. Nothing may
//! panic, hang, or leave its directory.

use std::fs;
use std::time::Duration;
use std::time::Instant;

use super::archive::Archive;
use super::commit_layer;
use super::config::ImageConfig;
use super::contents::Contents;
use super::manifest::Document;
use super::reference::Reference;
use super::tar_writer::Writer;
use super::unpack::unpack;
use crate::place::Home;

fn time() -> Duration {
    let seconds = std::env::var("CORACLE_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1))
}

/// Numbers that look random and are the same each time (xorshift64*).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// Changes some bytes, drops some, doubles some, or puts in what parsers stumble over.
    fn mutate(&mut self, bytes: &mut Vec<u8>, pieces: &[&[u8]]) {
        for _ in 0..1 + self.below(4) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[at] = *self.of(&[0, 0xff, b'/', b'.', b'0', b'9', b' ', b'\n', b'"', b':', 0x80]),
                2 => bytes.truncate(at),
                3 => {
                    let end = (at + self.below(600)).min(bytes.len());
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
                4 => {
                    let end = (at + self.below(600)).min(bytes.len());
                    bytes.drain(at..end);
                }
                _ => {
                    let piece = self.of(pieces);
                    let end = (at + piece.len()).min(bytes.len());
                    bytes.splice(at..end, piece.iter().copied());
                }
            }
            if bytes.len() > 1 << 16 {
                bytes.truncate(1 << 16);
            }
        }
    }
}

/// Tries mutations of the seeds until the time is over; how many that were.
fn torment(seeds: &[Vec<u8>], pieces: &[&[u8]], mut subject: impl FnMut(&mut Dice, Vec<u8>)) -> u32 {
    let (begun, time, mut dice, mut rounds) = (Instant::now(), time(), Dice(0x0DD0_BA11), 0);
    while begun.elapsed() < time {
        let mut bytes = dice.of(seeds).clone();
        dice.mutate(&mut bytes, pieces);
        subject(&mut dice, bytes);
        rounds += 1;
    }
    println!("{rounds} mutations of {} seeds", seeds.len());
    rounds
}

// ---- tar ----

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    length = rest + length.to_string().len();
    [length.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
}

fn entry(name: &str, kind: u8, data: &[u8], link: &str) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    let bytes = name.as_bytes();
    header.as_old_mut().name[..bytes.len()].copy_from_slice(bytes);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o644);
    header.set_uid(1);
    header.set_gid(2);
    header.set_mtime(1_600_000_000);
    header.set_size(data.len() as u64);
    header.set_cksum();
    let mut whole = header.as_bytes().to_vec();
    whole.extend_from_slice(data);
    whole.resize(whole.len().next_multiple_of(512), 0);
    whole
}

/// Archives with everything in them that the reader knows.
fn archives() -> Vec<Vec<u8>> {
    let end = vec![0; 1024];
    let kinds = [
        entry("./", b'5', b"", ""),
        entry("dir/", b'5', b"", ""),
        entry("dir/file", b'0', &[7; 700], ""),
        entry("dir/hard", b'1', b"", "dir/file"),
        entry("link", b'2', b"", "../../etc"),
        entry("link/through", b'0', b"x", ""),
        entry("dir/.wh.file", b'0', b"", ""),
        entry("dir/.wh..wh..opq", b'0', b"", ""),
        entry("fifo", b'6', b"", ""),
        entry("lower", b'1', b"", "not/here"),
    ];
    let pax = [record("path", b"long/name"), record("SCHILY.xattr.user.a", b"\0\xff\n"), record("mtime", b"1.5"), record("size", b"3")];
    let extended = [entry("x", b'x', &pax.concat(), ""), entry("short", b'0', b"abc", "")];
    let sparse = [record("GNU.sparse.major", b"1"), record("GNU.sparse.name", b"holes"), record("GNU.sparse.realsize", b"8192")];
    let mut map = b"2\n0\n512\n4096\n512\n".to_vec();
    map.resize(512 + 1024, 9);
    let holes = [entry("x", b'x', &sparse.concat(), ""), entry("holes", b'0', &map, "")];
    let old = [record("GNU.sparse.size", b"8192"), record("GNU.sparse.map", b"0,512,4096,512")];
    let old = [entry("x", b'x', &old.concat(), ""), entry("holes", b'0', &[5; 1024], "")];
    let gnu = [entry("L", b'L', b"a/long/name\0", ""), entry("K", b'K', b"a/long/target\0", ""), entry("s", b'2', b"", "t")];
    [kinds.concat(), extended.concat(), holes.concat(), old.concat(), gnu.concat()].map(|archive| [archive, end.clone()].concat()).to_vec()
}

/// Without this few mutations would come further than the first header.
fn mend_checksums(bytes: &mut [u8]) {
    for block in bytes.as_chunks_mut::<512>().0 {
        if &block[257..262] == b"ustar" {
            let sum: u32 = block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

const TAR_PIECES: &[&[u8]] = &[
    b"../../../canary",
    b"/canary",
    b"77777777777",
    &[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0xff; 12],
    b"00000000000",
    b".wh..",
    b".wh...",
    b"9999999999 path=x\n",
    b"0 x=y\n",
    b"18446744073709551615",
    b"GNU.sparse.map=0,9223372036854775807",
];

/// Nothing is made outside, nothing grows without bound, nothing panics.
#[test]
fn no_archive_leaves_its_directory() {
    let place = tempfile::tempdir().unwrap();
    let canary = place.path().join("canary");
    fs::write(&canary, "alive").unwrap();
    let mut number = 0;
    let rounds = torment(&archives(), TAR_PIECES, |dice, mut bytes| {
        if dice.below(4) > 0 {
            mend_checksums(&mut bytes);
        }
        number += 1;
        let inside = place.path().join(format!("layer-{number}"));
        fs::create_dir(&inside).unwrap();
        let _ = unpack(&mut Archive::new(&bytes[..]), &inside);
        assert!(fs::read(&canary).is_ok_and(|text| text == b"alive"), "archive {number} has touched what is outside");
        assert!(fs::read_dir(place.path()).unwrap().count() == 2, "archive {number} has made something outside");
        // By the root it may have made itself unreadable for anybody but us.
        fs::remove_dir_all(&inside).unwrap();
    });
    assert!(rounds > 50, "{rounds}");
}

/// What our own writer says is understood in every mutation or refused, and read to its end.
#[test]
fn no_archive_hangs_its_reader() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    fs::write(tree.join("a/b/c"), [1; 2000]).unwrap();
    fs::write(tree.join("n".repeat(140)), "x").unwrap();
    let mut stream = Vec::new();
    let mut writer = Writer::new(|bytes: &[u8]| {
        stream.extend_from_slice(bytes);
        Ok(())
    });
    writer.tree(&tree).unwrap();
    writer.finish().unwrap();
    let mut seeds = archives();
    seeds.push(stream);
    let rounds = torment(&seeds, TAR_PIECES, |dice, mut bytes| {
        if dice.below(4) > 0 {
            mend_checksums(&mut bytes);
        }
        let mut archive = Archive::new(&bytes[..]);
        let mut entries = 0;
        while let Ok(Some(entry)) = archive.next() {
            entries += 1;
            assert!(entries <= bytes.len() / 512, "more entries than blocks");
            assert!(entry.pieces.is_none_or(|pieces| pieces.len() <= bytes.len()), "more pieces than bytes");
        }
    });
    assert!(rounds > 1000, "{rounds}");
}

/// An archive of images: members, links between them, and documents that speak of them.
#[test]
fn no_archive_of_images_panics_its_reader() {
    let place = tempfile::tempdir().unwrap();
    let home = Home::at(place.path().join("root"), place.path().join("run"));
    let upper = place.path().join("upper");
    fs::create_dir(&upper).unwrap();
    fs::write(upper.join("f"), "x").unwrap();
    commit_layer(&home, &upper).unwrap();
    let index = br#"{"schemaVersion":2,"manifests":[]}"#;
    let seed = [
        entry("oci-layout", b'0', br#"{"imageLayoutVersion":"1.0.0"}"#, ""),
        entry("index.json", b'0', index, ""),
        entry("manifest.json", b'0', br#"[{"Config":"c","Layers":["a/layer.tar","b"]}]"#, ""),
        entry("a/layer.tar", b'0', &[1; 1000], ""),
        entry("b", b'1', b"", "a/layer.tar"),
        entry("d/e", b'2', b"", "../b"),
        vec![0; 1024],
    ];
    let rounds = torment(&[seed.concat()], TAR_PIECES, |dice, mut bytes| {
        if dice.below(4) > 0 {
            mend_checksums(&mut bytes);
        }
        let path = place.path().join("images.tar");
        fs::write(&path, &bytes).unwrap();
        let Ok(contents) = Contents::read(&home, fs::File::open(&path).unwrap()) else { return };
        for name in ["a/layer.tar", "b", "d/e", "manifest.json"] {
            let _ = contents.small(name, 1 << 20);
        }
    });
    assert!(rounds > 100, "{rounds}");
}

// ---- documents ----

const JSON_PIECES: &[&[u8]] =
    &[b"null", b"[]", b"{}", b"-1", b"1e999", b"18446744073709551616", b"\"sha256:\"", b"\"../../x\"", b"\\ud800", b"{\"a\":", b"[[[[[[[["];

#[test]
fn no_manifest_panics_its_reader() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let blob = |kind: &str| format!(r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{digest}","size":2}}"#);
    let manifest = format!(r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#, blob("config.v1+json"), blob("layer.v1.tar+gzip"));
    let platform = r#""platform":{"os":"linux","architecture":"arm","variant":"v7"},"annotations":{"a":"b"}"#;
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{},{platform}}}]}}"#, blob("manifest.v1+json").trim_end_matches('}'));
    let config =
        format!(r#"{{"os":"linux","config":{{"Env":["A=b"],"Healthcheck":{{"Test":["NONE"]}}}},"rootfs":{{"diff_ids":["{digest}"]}}}}"#);
    assert!(Document::parse(manifest.as_bytes()).is_ok() && Document::parse(index.as_bytes()).is_ok());
    let rounds = torment(&[manifest.into(), index.into(), config.into()], JSON_PIECES, |_, bytes| {
        let _ = Document::parse(&bytes);
        let _ = super::manifest::media_type(&bytes);
        let _ = serde_json::from_slice::<ImageConfig>(&bytes);
    });
    assert!(rounds > 1000, "{rounds}");
}

/// What is understood is written so that it is understood again, as the same.
#[test]
fn no_reference_panics_its_reader() {
    let seeds = ["redis", "docker.io/library/redis:8", "localhost:5000/a/b__c:tag", "[::1]:5000/a@sha256:"];
    let mut seeds: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    seeds.push(format!("a.b/c:t@sha256:{}", "a".repeat(64)).into());
    let pieces: &[&[u8]] = &[b"@", b":", b"//", b"sha256:", b"\xc3\xa9", b"__", b"..", b"-", b"A", b"index.docker.io/"];
    let rounds = torment(&seeds, pieces, |_, bytes| {
        let text = String::from_utf8_lossy(&bytes);
        let Ok(name) = Reference::parse(&text) else { return };
        for written in [name.canonical(), name.familiar()] {
            assert_eq!(Reference::parse(&written).ok().as_ref(), Some(&name), "`{text}` is written as `{written}`");
        }
    });
    assert!(rounds > 1000, "{rounds}");
}
