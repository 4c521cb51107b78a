//! Which platforms' programs this machine runs: its own, and those that binfmt_misc has an emulator for.

use std::fs;
use std::path::Path;

use crate::build::platform::Platform;

const REGISTERED: &str = "/proc/sys/fs/binfmt_misc";

/// Architectures, what `e_machine` of their programs is, and whether its low byte comes first.
const MACHINES: [(&str, u16, bool); 12] = [
    ("386", 3, true),
    ("amd64", 62, true),
    ("arm", 40, true),
    ("arm64", 183, true),
    ("loong64", 258, true),
    ("mips64", 8, false),
    ("mips64le", 8, true),
    ("ppc64le", 21, true),
    ("riscv64", 243, true),
    ("s390x", 22, false),
    ("sparc64", 43, false),
    ("ppc64", 21, false),
];

/// Whether programs of a platform can be run.
pub(super) fn runs(platform: &Platform) -> bool {
    let ours = Platform::ours().architecture;
    // The 32-bit programs of the same family run where the kernel lets them; if not, they say so themselves.
    let is_native = |architecture: &str| matches!((ours.as_str(), architecture), ("amd64", "386") | ("arm64", "arm"));
    platform.architecture == ours || is_native(&platform.architecture) || emulator(Path::new(REGISTERED), &platform.architecture)
}

/// All whose programs can be run, ours first.
pub(super) fn platforms() -> Vec<String> {
    let ours = Platform::ours();
    let other = |architecture: &str| Platform { architecture: architecture.to_owned(), variant: String::new(), ..ours.clone() };
    let others =
        MACHINES.iter().map(|(name, _, _)| other(name)).filter(|platform| platform.architecture != ours.architecture && runs(platform));
    std::iter::once(ours.text()).chain(others.map(|platform| platform.text())).collect()
}

fn emulator(registered: &Path, architecture: &str) -> bool {
    let Some((_, machine, low_first)) = MACHINES.iter().find(|(name, _, _)| *name == architecture) else { return false };
    let bytes = if *low_first { machine.to_le_bytes() } else { machine.to_be_bytes() };
    let Ok(entries) = fs::read_dir(registered) else { return false };
    let texts = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.filter(|text| text.starts_with("enabled")).any(|text| magic(&text).is_some_and(|magic| magic.get(18..20) == Some(&bytes)))
}

/// The first bytes of the programs that a registration is for; those of ELF only.
fn magic(text: &str) -> Option<Vec<u8>> {
    if text.lines().any(|line| line.strip_prefix("offset ").is_some_and(|offset| offset.trim() != "0")) {
        return None;
    }
    let hex = text.lines().find_map(|line| line.strip_prefix("magic "))?.trim();
    let bytes: Option<Vec<u8>> = (0..hex.len() / 2).map(|at| u8::from_str_radix(hex.get(at * 2..at * 2 + 2)?, 16).ok()).collect();
    bytes.filter(|bytes| bytes.starts_with(b"\x7fELF"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_is_known_by_the_programs_it_is_for() {
        let place = tempfile::tempdir().unwrap();
        let arm64 =
            "enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: F\noffset 0\nmagic 7f454c460201010000000000000000000200b700\nmask ffff\n";
        fs::write(place.path().join("qemu-aarch64"), arm64).unwrap();
        fs::write(place.path().join("qemu-riscv64"), arm64.replace("enabled", "disabled").replace("b700", "f300")).unwrap();
        fs::write(place.path().join("status"), "enabled\n").unwrap();
        assert!(emulator(place.path(), "arm64"));
        assert!(!emulator(place.path(), "riscv64"), "it is switched off");
        assert!(!emulator(place.path(), "s390x"));
        assert!(!emulator(Path::new("/no/such/place"), "arm64"));
    }
}
