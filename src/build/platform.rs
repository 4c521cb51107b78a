//! Platforms, `linux/arm/v7`, in the many ways they are written.
//!
//! Follows <https://github.com/containerd/platforms/blob/v1.0.0/platforms.go>.

use serde::Deserialize;
use serde::Serialize;

use crate::image::ImageConfig;

/// An operating system, a processor and its variant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Platform {
    pub os: String,
    pub architecture: String,
    /// Empty if there is only one.
    pub variant: String,
}

impl Platform {
    /// The machine we run on.
    pub(super) fn ours() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: String::new() }
    }

    /// The one that an image is for.
    pub(super) fn of(config: &ImageConfig) -> Platform {
        let variant = config.variant.clone().unwrap_or_default();
        Platform { os: config.os.clone(), architecture: config.architecture.clone(), variant }
    }

    /// Reads `os`, `architecture`, `os/architecture` or `os/architecture/variant`.
    ///
    /// # Errors
    /// A sentence that names the fault.
    pub(super) fn parse(text: &str) -> Result<Platform, String> {
        if text.contains('*') {
            return Err(format!("{text:?}: wildcards not yet supported"));
        }
        let parts: Vec<&str> = text.split('/').collect();
        for (index, part) in parts.iter().enumerate() {
            let is_word =
                |part: &str, more: &[char]| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(&c));
            let good = match (index, part.split_once('(')) {
                (0, None) => is_word(part, &['_', '-']),
                // Version and features of the system.
                (0, Some((os, version))) => is_word(os, &['_', '-']) && version.strip_suffix(')').is_some_and(is_version),
                _ => is_word(part, &['_', '.', '-']),
            };
            if !good {
                return Err(format!("{part:?} is an invalid component of {text:?}"));
            }
        }
        let os_of = |text: &str| normal_os(text.split('(').next().unwrap_or_default());
        let platform = match parts.as_slice() {
            [one] if is_os(&os_of(one)) => Platform { os: os_of(one), ..Platform::ours() },
            [one] => {
                let (architecture, variant) = normal_architecture(one, "");
                if !is_architecture(&architecture) {
                    return Err(format!("{text:?}: unknown operating system or architecture"));
                }
                let variant = if architecture == "arm" && variant == "v7" { String::new() } else { variant };
                Platform { os: "linux".to_owned(), architecture, variant }
            }
            [os, architecture] => {
                let (architecture, variant) = normal_architecture(architecture, "");
                let variant = if architecture == "arm" && variant == "v7" { String::new() } else { variant };
                Platform { os: os_of(os), architecture, variant }
            }
            [os, architecture, variant] => {
                let (architecture, mut variant) = normal_architecture(architecture, variant);
                if architecture == "arm64" && variant.is_empty() {
                    variant = "v8".to_owned();
                }
                Platform { os: os_of(os), architecture, variant }
            }
            _ => return Err(format!("{text:?}: cannot parse platform specifier")),
        };
        Ok(platform)
    }

    /// With what goes without saying said or left out: `arm` is `arm/v7`, `arm64/v8` is `arm64`.
    pub(super) fn normalized(&self) -> Platform {
        let (architecture, mut variant) = normal_architecture(&self.architecture, &self.variant);
        if architecture == "arm" && variant.is_empty() {
            variant = "v7".to_owned();
        }
        Platform { os: normal_os(&self.os), architecture, variant }
    }

    /// `os/architecture[/variant]`.
    pub(super) fn text(&self) -> String {
        let parts = [&self.os, &self.architecture, &self.variant];
        parts.into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("/")
    }
}

/// `10.0.17763+win32k`: characters beyond these are written as `%2F`.
fn is_version(text: &str) -> bool {
    let word = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '%' | '-'));
    let escaped = |text: &str| text.split('%').skip(1).all(|text| text.get(..2).is_some_and(|hex| u8::from_str_radix(hex, 16).is_ok()));
    text.split('+').enumerate().all(|(index, part)| word(part) && escaped(part) && (index == 0 || !part.is_empty()))
}

fn normal_os(os: &str) -> String {
    match os.to_lowercase().as_str() {
        "macos" => "darwin".to_owned(),
        other => other.to_owned(),
    }
}

fn normal_architecture(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (architecture.to_lowercase(), variant.to_lowercase());
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        (architecture, variant) => (architecture, variant),
    };
    (architecture.to_owned(), variant.to_owned())
}

fn is_os(os: &str) -> bool {
    const KNOWN: [&str; 17] = [
        "aix",
        "android",
        "darwin",
        "dragonfly",
        "freebsd",
        "hurd",
        "illumos",
        "ios",
        "js",
        "linux",
        "nacl",
        "netbsd",
        "openbsd",
        "plan9",
        "solaris",
        "windows",
        "zos",
    ];
    KNOWN.contains(&os)
}

fn is_architecture(architecture: &str) -> bool {
    const KNOWN: [&str; 24] = [
        "386",
        "amd64",
        "amd64p32",
        "arm",
        "armbe",
        "arm64",
        "arm64be",
        "ppc64",
        "ppc64le",
        "loong64",
        "mips",
        "mipsle",
        "mips64",
        "mips64le",
        "mips64p32",
        "mips64p32le",
        "ppc",
        "riscv",
        "riscv64",
        "s390",
        "s390x",
        "sparc",
        "sparc64",
        "wasm",
    ];
    KNOWN.contains(&architecture)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::oracle;

    #[test]
    fn platforms_are_read_as_containerd_reads_them() {
        let Some(rows) = oracle::table("platforms") else { return };
        let mut wrong = Vec::new();
        for row in &rows {
            let ours = Platform::parse(row["platform"].as_str().unwrap());
            let fits = match &ours {
                Ok(ours) => {
                    let parsed = &row["parsed"];
                    parsed["os"] == *ours.os
                        && parsed["arch"] == *ours.architecture
                        && parsed["variant"] == *ours.variant
                        && row["normalized"] == *ours.normalized().text()
                }
                Err(_) => row["parsed"].is_null(),
            };
            if !fits {
                wrong.push(format!("{row}: got {ours:?}"));
            }
        }
        assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    }
}
