//! The local registry that `scripts/base-images` fills and starts.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// `127.0.0.1:5000`, as the host has it; the registry answers there.
///
/// # Panics
/// `scripts/base-images` fails.
pub fn address() -> &'static str {
    static ADDRESS: OnceLock<String> = OnceLock::new();
    ADDRESS.get_or_init(|| {
        let rule = Path::new(env!("CARGO_TARGET_TMPDIR")).join("registries.conf");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/base-images");
        let output = Command::new(script).arg(&rule).output().expect("scripts/base-images can be started");
        assert!(output.status.success(), "scripts/base-images fails:\n{}", String::from_utf8_lossy(&output.stderr));
        let text = fs::read_to_string(&rule).expect("it has written the rule");
        let location = text.lines().find_map(|line| line.strip_prefix("location = \"")).expect("a rule has a location");
        location.trim_end_matches("/library\"").to_owned()
    })
}
