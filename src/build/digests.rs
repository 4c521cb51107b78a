//! What files hold, by digest; a file that has not changed since it was last read is not read again.
//!
//! A file is the same one while its device, inode, change time, modification time and size are. A change within the
//! same tick of the kernel's clock would not show, so what was changed just now is not remembered.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use rustix::fs::FileType;
use rustix::fs::OFlags;
use sha2::Digest as _;
use sha2::Sha256;

use crate::build::root::Meta;
use crate::build::root::attributes;
use crate::build::root::read_link;
use crate::build::tree::Item;
use crate::build::tree::Selection;
use crate::build::tree::Tree;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;

/// A SHA-256.
pub(super) type Sum = [u8; 32];

const MAGIC: &[u8; 8] = b"coracle1";

/// A remembered file: five numbers and a digest.
const RECORD: usize = 5 * 8 + 32;

/// The kernel's clock ticks every 1 to 10 ms; some file systems keep 10 ms too.
const TICK: i64 = 20_000_000;

/// The digests of the files of one directory.
#[derive(Debug)]
pub(super) struct Digests {
    /// None: nothing is remembered, as of a stage's files, which never change.
    file: Option<PathBuf>,
    known: HashMap<(u64, u64), Known>,
    fresh: Mutex<HashMap<(u64, u64), Known>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    changed: i64,
    modified: i64,
    size: u64,
    sum: Sum,
}

impl Digests {
    /// Reads what is remembered of a directory.
    pub(super) fn load(home: &Home, root: &Meta) -> Digests {
        let file = home.build().join("files").join(format!("{:x}-{:x}", root.device, root.inode));
        // What cannot be read is not remembered: then files are read again.
        let known = fs::read(&file).ok().and_then(|bytes| parse(&bytes)).unwrap_or_default();
        Digests { file: Some(file), known, fresh: Mutex::default() }
    }

    /// Remembers nothing.
    pub(super) fn forgetful() -> Digests {
        Digests { file: None, known: HashMap::new(), fresh: Mutex::default() }
    }

    /// Writes down what was learned; failing to do so costs only time.
    pub(super) fn store(&self) {
        let (Some(file), Ok(fresh)) = (&self.file, self.fresh.lock()) else { return };
        if fresh.is_empty() {
            return;
        }
        let mut bytes = MAGIC.to_vec();
        let old = self.known.iter().filter(|(key, _)| !fresh.contains_key(key));
        for ((device, inode), known) in old.chain(fresh.iter()) {
            for number in [*device, *inode, known.changed as u64, known.modified as u64, known.size] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.extend(known.sum);
        }
        let _ = state::write_whole(file, &bytes);
    }

    fn find(&self, meta: &Meta) -> Option<Sum> {
        let known = self.known.get(&(meta.device, meta.inode))?;
        let same = known.changed == meta.changed && known.modified == meta.modified && known.size == meta.size;
        same.then_some(known.sum)
    }

    fn remember(&self, meta: &Meta, sum: Sum) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as i64);
        if self.file.is_none() || meta.changed > now - TICK {
            return;
        }
        if let Ok(mut fresh) = self.fresh.lock() {
            let known = Known { changed: meta.changed, modified: meta.modified, size: meta.size, sum };
            fresh.insert((meta.device, meta.inode), known);
        }
    }

    /// The digest of a selection: paths, kinds, modes, owners, contents; not times.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn of(&self, tree: &Tree, selection: &Selection) -> Result<Sum> {
        let sums = self.contents(tree, selection)?;
        let mut whole = Sha256::new();
        for (item, sum) in selection.items.iter().zip(sums) {
            let path = item.path.as_os_str().as_bytes();
            whole.update((path.len() as u64).to_le_bytes());
            whole.update(path);
            let meta = &item.meta;
            for number in [meta.kind.as_raw_mode(), meta.mode, meta.uid, meta.gid, u32::from(item.chosen)] {
                whole.update(number.to_le_bytes());
            }
            whole.update(sum);
        }
        Ok(whole.finalize().into())
    }

    /// The digest of what each item holds, read by several threads where much is to be read.
    fn contents(&self, tree: &Tree, selection: &Selection) -> Result<Vec<Sum>> {
        let mut sums: Vec<Option<Sum>> = selection.items.iter().map(|item| self.find(&item.meta)).collect();
        let missing: Vec<usize> = (0..sums.len()).filter(|index| sums[*index].is_none()).collect();
        let next = AtomicUsize::new(0);
        let read = || {
            let mut mine = Vec::new();
            while let Some(index) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                let item = &selection.items[*index];
                let sum =
                    content(tree, &selection.base, item).doing(|| format!("cannot read {}", item.below(&selection.base).display()))?;
                self.remember(&item.meta, sum);
                mine.push((*index, sum));
            }
            Ok::<_, Failure>(mine)
        };
        let helpers = if missing.len() < 64 { 0 } else { std::thread::available_parallelism().map_or(1, usize::from).min(8) - 1 };
        let parts = std::thread::scope(|scope| {
            let others: Vec<_> = (0..helpers).map(|_| scope.spawn(read)).collect();
            let mut parts = vec![read()];
            parts.extend(others.into_iter().map(|other| other.join().expect("reading a file does not panic")));
            parts
        });
        for part in parts {
            for (index, sum) in part? {
                sums[index] = Some(sum);
            }
        }
        Ok(sums.into_iter().map(|sum| sum.expect("every item was either known or read")).collect())
    }
}

fn parse(bytes: &[u8]) -> Option<HashMap<(u64, u64), Known>> {
    let records = bytes.strip_prefix(MAGIC)?.chunks_exact(RECORD);
    let mut known = HashMap::with_capacity(records.len());
    for record in records {
        let number = |index: usize| Some(u64::from_le_bytes(record.get(index * 8..index * 8 + 8)?.try_into().ok()?));
        let entry =
            Known { changed: number(2)? as i64, modified: number(3)? as i64, size: number(4)?, sum: record.get(40..)?.try_into().ok()? };
        known.insert((number(0)?, number(1)?), entry);
    }
    Some(known)
}

/// The digest of what a file holds, its extended attributes with it.
fn content(tree: &Tree, base: &Path, item: &Item) -> io::Result<Sum> {
    let path = item.below(base);
    let mut sum = Sha256::new();
    match item.meta.kind {
        FileType::RegularFile => {
            let mut file = tree.root.read(&path)?;
            attributes_into(&mut sum, &file);
            let mut buffer = vec![0; 128 * 1024];
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    length => sum.update(&buffer[..length]),
                }
            }
        }
        FileType::Directory => attributes_into(&mut sum, &tree.root.open(&path, OFlags::RDONLY | OFlags::DIRECTORY)?),
        FileType::Symlink => {
            let (parent, name) = tree.root.parent(&path)?;
            sum.update(read_link(&parent, &name)?.as_bytes());
        }
        _ => sum.update(item.meta.rdev.to_le_bytes()),
    }
    Ok(sum.finalize().into())
}

fn attributes_into(sum: &mut Sha256, file: impl std::os::fd::AsFd) {
    for (name, value) in attributes(file) {
        sum.update((name.len() as u64).to_le_bytes());
        sum.update(name.as_bytes());
        sum.update((value.len() as u64).to_le_bytes());
        sum.update(value);
    }
    // Where the attributes end and the content begins.
    sum.update(u64::MAX.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::build::ignore::Patterns;
    use crate::build::root::Root;
    use crate::build::tree::Choice;
    use crate::build::tree::Owners;

    fn sum(home: &Home, directory: &Path) -> Sum {
        let tree = Tree { root: Root::at(directory).unwrap(), owners: Owners::Root, ignore: Patterns::default() };
        let digests = Digests::load(home, &tree.root.find(Path::new("")).unwrap().unwrap());
        let selection = tree.select(Path::new(""), &Choice::default()).unwrap().unwrap();
        let sum = digests.of(&tree, &selection).unwrap();
        digests.store();
        sum
    }

    #[test]
    fn content_and_mode_count_and_times_do_not() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path().join("root"), place.path().join("run"));
        let context = place.path().join("context");
        let file = context.join("a");
        fs::create_dir(&context).unwrap();
        fs::write(&file, "one").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(30));
        let first = sum(&home, &context);
        assert_eq!(sum(&home, &context), first);
        fs::write(&file, "two").unwrap();
        assert_ne!(sum(&home, &context), first, "same size, and perhaps the same tick");
        fs::write(&file, "one").unwrap();
        assert_eq!(sum(&home, &context), first);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(sum(&home, &context), first);
    }

    #[test]
    fn a_remembered_file_is_not_read() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path().join("root"), place.path().join("run"));
        let context = place.path().join("context");
        fs::create_dir(&context).unwrap();
        fs::write(context.join("a"), "one").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(30));
        sum(&home, &context);
        let tree = Tree { root: Root::at(&context).unwrap(), owners: Owners::Root, ignore: Patterns::default() };
        let digests = Digests::load(&home, &tree.root.find(Path::new("")).unwrap().unwrap());
        let meta = tree.root.find(Path::new("a")).unwrap().unwrap();
        assert!(digests.find(&meta).is_some());
        assert!(digests.find(&Meta { changed: meta.changed + 1, ..meta }).is_none());
    }
}
