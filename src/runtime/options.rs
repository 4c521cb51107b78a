//! Mount options, as mount(8) and the OCI runtime specification spell them.

use rustix::mount::MountPropagationFlags;

use crate::sys::mount::MountAttributes;
use crate::sys::mount::Reach;

/// `MOUNT_ATTR__ATIME`: the three access-time modes are one field, not bits.
const ATIME_FIELD: u64 = 0x70;

/// `MOUNT_ATTR_*` of linux/mount.h, by the option that sets them.
const FLAGS: &[(&str, u64)] =
    &[("ro", 0x1), ("nosuid", 0x2), ("nodev", 0x4), ("noexec", 0x8), ("nodiratime", 0x80), ("nosymfollow", 0x20_0000)];

/// The options that take a flag away again.
const OPPOSITES: &[(&str, &str)] =
    &[("rw", "ro"), ("suid", "nosuid"), ("dev", "nodev"), ("exec", "noexec"), ("diratime", "nodiratime"), ("symfollow", "nosymfollow")];

/// The access-time modes, as values of their field.
const ATIME: &[(&str, u64)] =
    &[("relatime", 0), ("norelatime", 0x20), ("noatime", 0x10), ("atime", 0), ("strictatime", 0x20), ("nostrictatime", 0)];

/// Options that say nothing to the kernel, or what is so anyway.
const IGNORED: &[&str] = &["defaults", "newinstance", "z", "Z", "nofail", "silent", "loud", "copy", "nocopy"];

/// What the options of one mount come to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Options {
    /// For the mount itself.
    pub(super) own: MountAttributes,
    /// For it and all below it (`rro`, `rnosuid`, ...).
    pub(super) tree: MountAttributes,
    /// The directory or file of the host shows up, alone or with what is mounted below it.
    pub(super) bind: Option<Reach>,
    /// `MS_PRIVATE` and the like.
    pub(super) propagation: Option<(u64, Reach)>,
    /// For the file system: `size=64m`, `nr_inodes`, ...
    pub(super) parameters: Vec<(String, Option<String>)>,
}

impl Options {
    /// Reads them; a later option wins over an earlier one.
    pub(super) fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Options {
        let mut options = Options::default();
        for text in texts.into_iter().filter(|text| !text.is_empty() && !IGNORED.contains(text)) {
            options.take(text);
        }
        options
    }

    fn take(&mut self, text: &str) {
        if let Some(bind) = bind(text) {
            self.bind = Some(bind);
        } else if let Some(propagation) = propagation(text) {
            self.propagation = Some(propagation);
        } else if apply(&mut self.own, text) || text.strip_prefix('r').is_some_and(|rest| apply(&mut self.tree, rest)) {
            // Done in the condition: `ro` is for the mount, `rro` for the tree.
        } else {
            let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value.to_owned())));
            self.parameters.push((key.to_owned(), value));
        }
    }
}

fn bind(text: &str) -> Option<Reach> {
    match text {
        "bind" => Some(Reach::One),
        "rbind" => Some(Reach::Tree),
        _ => None,
    }
}

fn propagation(text: &str) -> Option<(u64, Reach)> {
    let (word, reach) = match text.strip_prefix('r') {
        Some(word) if propagation_bits(word).is_some() => (word, Reach::Tree),
        _ => (text, Reach::One),
    };
    propagation_bits(word).map(|bits| (bits, reach))
}

fn propagation_bits(word: &str) -> Option<u64> {
    let flags = match word {
        "private" => MountPropagationFlags::PRIVATE,
        "slave" => MountPropagationFlags::DOWNSTREAM,
        "shared" => MountPropagationFlags::SHARED,
        "unbindable" => MountPropagationFlags::UNBINDABLE,
        _ => return None,
    };
    Some(u64::from(flags.bits()))
}

/// Applies one option; `false` if it is none of these.
fn apply(attributes: &mut MountAttributes, text: &str) -> bool {
    if let Some((_, flag)) = FLAGS.iter().find(|(name, _)| *name == text) {
        attributes.set |= flag;
        attributes.clear &= !flag;
        return true;
    }
    if let Some((_, opposite)) = OPPOSITES.iter().find(|(name, _)| *name == text) {
        let flag = FLAGS.iter().find(|(name, _)| name == opposite).map_or(0, |(_, flag)| *flag);
        attributes.set &= !flag;
        attributes.clear |= flag;
        return true;
    }
    if let Some((_, mode)) = ATIME.iter().find(|(name, _)| *name == text) {
        attributes.set = (attributes.set & !ATIME_FIELD) | mode;
        attributes.clear |= ATIME_FIELD;
        return true;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_to_flags() {
        // set, clear of the mount; set, clear of the tree
        let cases: &[(&str, [u64; 4])] = &[
            ("ro,nosuid,nodev", [0x7, 0, 0, 0]),
            ("ro,rw", [0, 0x1, 0, 0]),
            ("rro", [0, 0, 0x1, 0]),
            ("rw", [0, 0x1, 0, 0]),
            ("noatime", [0x10, 0x70, 0, 0]),
            ("noatime,relatime", [0, 0x70, 0, 0]),
            ("rnoexec,exec", [0, 0x8, 0x8, 0]),
            ("defaults", [0, 0, 0, 0]),
        ];
        for (text, wanted) in cases {
            let options = Options::parse(text.split(','));
            assert_eq!([options.own.set, options.own.clear, options.tree.set, options.tree.clear], *wanted, "{text}");
            assert!(options.parameters.is_empty(), "{text}");
        }
    }

    /// `relatime` begins with an r, and so does `rslave`.
    #[test]
    fn the_r_of_a_tree_is_told_from_the_r_of_a_word() {
        let options = Options::parse(["relatime", "rslave", "rbind"]);
        assert_eq!(options.tree, MountAttributes::default());
        assert_eq!(options.propagation, Some((u64::from(MountPropagationFlags::DOWNSTREAM.bits()), Reach::Tree)));
        assert_eq!(options.bind, Some(Reach::Tree));
    }

    #[test]
    fn what_is_left_is_for_the_file_system() {
        let options = Options::parse(["size=64m", "mode=1777", "noswap"]);
        let wanted = [("size", Some("64m")), ("mode", Some("1777")), ("noswap", None)];
        let found: Vec<_> = options.parameters.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        assert_eq!(found, wanted);
    }
}
