//! Makes an image of a file system that comes as one tar stream.

use std::io::Cursor;
use std::io::Read;
use std::sync::atomic::AtomicBool;

use super::Image;
use super::ImageConfig;
use super::Watch;
use super::compression;
use super::layer_records::LayerRecord;
use super::layers;
use super::layers::Draft;
use super::store;
use super::stream;
use super::stream::Keeping;
use super::stream::Order;
use super::stream::Supply;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;

/// See [`super::import()`].
pub(super) fn import(home: &Home, stream: &mut (dyn Read + Send), mut config: ImageConfig, watch: &dyn Watch) -> Result<Image> {
    let _arriving = store::arriving(home)?;
    if layers::sweep(home) {
        state::empty_trash(home);
    }
    let draft = Draft::begin(home)?;
    let (stop, cut, full) = (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
    let order = Order {
        home,
        label: "of the file system",
        short: "import",
        blob: None,
        diff_id: None,
        keeping: Keeping::Yes,
        watch,
        stop: &stop,
        cut: &cut,
        full: &full,
    };
    let received = stream::receive(&order, Supply::Stream(decompressed(stream)?), draft.path())?;
    if let Some((name, target)) = received.unpacked.foreign_links.first() {
        let because = format!("the hard link `{}` leads to `{}`, which is not in it", name.escape_ascii(), target.escape_ascii());
        return Err(Failure::new("cannot import the file system").because(because));
    }
    let mut record = LayerRecord::new(&received.diff_id, received.unpacked.size, received.tar_size);
    record.root = received.unpacked.root;
    record.opaque_root = received.unpacked.opaque_root;
    let _lock = layers::lock(home, &received.diff_id, watch)?;
    draft.commit(received.diff_id.hex(), &record, received.kept)?;
    config.rootfs.kind = "layers".to_owned();
    config.rootfs.diff_ids = vec![received.diff_id.to_string()];
    super::commit_image(home, &config)
}

/// Undoes what layers are not compressed with, but archives are.
fn decompressed<'a>(stream: &'a mut (dyn Read + Send)) -> Result<Box<dyn Read + Send + 'a>> {
    let mut start = Vec::new();
    stream.take(6).read_to_end(&mut start).doing(|| "cannot read the archive")?;
    let whole = Cursor::new(start.clone()).chain(stream);
    Ok(compression::foreign_to_plain(&start, whole))
}
