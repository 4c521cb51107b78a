//! How a layer is compressed.

use std::io::BufReader;
use std::io::Read;

use serde::Deserialize;
use serde::Serialize;

/// The compressions of layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Tells by the first bytes; none of those we know is none at all.
    pub(super) fn of_start(start: &[u8]) -> Compression {
        match start {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            // A frame, or one that may be skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }

    /// The media type of a layer in an OCI manifest.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Compression::None => "application/vnd.oci.image.layer.v1.tar",
            Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// A compression that archives may have and layers have not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    Bzip2,
    Xz,
}

impl Foreign {
    pub(super) fn name(self) -> &'static str {
        match self {
            Foreign::Bzip2 => "bzip2",
            Foreign::Xz => "xz",
        }
    }
}

/// Which of them it is, if these are its first bytes.
pub(super) fn foreign(start: &[u8]) -> Option<Foreign> {
    match start {
        [b'B', b'Z', b'h', ..] => Some(Foreign::Bzip2),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Some(Foreign::Xz),
        _ => None,
    }
}

/// Undoes such a compression of a stream that begins with `start`; others stay.
pub(super) fn foreign_to_plain<'a>(start: &[u8], whole: impl Read + Send + 'a) -> Box<dyn Read + Send + 'a> {
    let whole = BufReader::new(whole);
    match foreign(start) {
        Some(Foreign::Bzip2) => Box::new(bzip2::bufread::MultiBzDecoder::new(whole)),
        Some(Foreign::Xz) => Box::new(lzma_rust2::XzReader::new(whole, true)),
        None => Box::new(whole),
    }
}
