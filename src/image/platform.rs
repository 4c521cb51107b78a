//! Platforms: which image of an index runs here.

use std::fmt;

use super::ImageConfig;
use super::manifest::IndexEntry;
use crate::failure::Failure;
use crate::failure::Result;

/// `linux/arm/v7` in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Platform {
    pub(super) os: String,
    pub(super) architecture: String,
    pub(super) variant: Option<String>,
}

impl Platform {
    /// The one this program runs on.
    pub(super) fn of_host() -> Platform {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
    }

    /// The one an image says it is for.
    pub(super) fn of(config: &ImageConfig) -> Platform {
        let os = if config.os.is_empty() { "linux".to_owned() } else { config.os.clone() };
        Platform { os, architecture: config.architecture.clone(), variant: config.variant.clone() }
    }

    /// Reads `--platform`: `linux/amd64`, `linux/arm/v7`, or one part alone.
    pub(super) fn parse(text: &str) -> Result<Platform> {
        let refuse =
            || Failure::new(format!("cannot use `{text}` as a platform")).hint("write it as OS/ARCHITECTURE, for example linux/amd64");
        let lower = text.to_lowercase();
        let parts: Vec<&str> = lower.split('/').collect();
        if parts
            .iter()
            .any(|part| part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')))
        {
            return Err(refuse());
        }
        let host = Platform::of_host();
        let (os, architecture, variant) = match parts[..] {
            ["linux" | "windows" | "darwin" | "freebsd"] => (parts[0], host.architecture.as_str(), host.variant.as_deref()),
            [architecture] => ("linux", architecture, None),
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(refuse()),
        };
        Ok(Platform::normal(os, architecture, variant))
    }

    /// The one spelling of the many in use, as containerd's `platforms.Normalize` has it.
    fn normal(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
        let (architecture, variant) = match (architecture, variant) {
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant.filter(|variant| *variant != "v1")),
            ("i386" | "i486" | "i586" | "i686", _) => ("386", None),
            ("aarch64" | "arm64", None | Some("8" | "v8")) => ("arm64", Some("v8")),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) | ("arm", None | Some("7")) => ("arm", Some("v7")),
            ("armel", _) | ("arm", Some("6")) => ("arm", Some("v6")),
            other => other,
        };
        let os = if os == "macos" { "darwin" } else { os };
        Platform { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
    }

    /// How well an image for `other` runs where this is wanted: smaller is better, none is not at all.
    pub(super) fn distance(&self, other: &Platform) -> Option<u32> {
        let wanted = Platform::normal(&self.os, &self.architecture, self.variant.as_deref());
        let other = Platform::normal(&other.os, &other.architecture, other.variant.as_deref());
        if wanted.os != other.os || wanted.architecture != other.architecture {
            return None;
        }
        let level =
            |platform: &Platform| platform.variant.as_deref().and_then(|v| v.trim_start_matches('v').parse::<u32>().ok()).unwrap_or(1);
        level(&wanted).checked_sub(level(&other))
    }

    /// Says that an image runs where `wanted` is meant: in the store a name has one image, for one platform.
    pub(super) fn check(wanted: &str, config: &ImageConfig) -> Result<()> {
        let (wanted, has) = (Platform::parse(wanted)?, Platform::of(config));
        if wanted.distance(&has).is_some() {
            return Ok(());
        }
        Err(Failure::new(format!("the image is for {has}, not for {wanted}")))
    }

    /// Chooses the image to take from an index.
    pub(super) fn choose<'a>(&self, entries: &'a [IndexEntry]) -> Result<&'a IndexEntry> {
        let fitting = entries.iter().filter_map(|entry| Some((self.distance(entry.platform.as_ref()?)?, entry)));
        if let Some((_, entry)) = fitting.min_by_key(|(distance, _)| *distance) {
            return Ok(entry);
        }
        // An index that says nothing of platforms leaves it to us.
        if let Some(entry) = entries.iter().find(|entry| entry.platform.is_none()) {
            return Ok(entry);
        }
        let mut there: Vec<String> = entries.iter().filter_map(|entry| entry.platform.as_ref()).map(Platform::to_string).collect();
        there.retain(|platform| platform != "unknown/unknown");
        there.dedup();
        there.truncate(12);
        let failure = Failure::new(format!("no matching manifest for {self} in the manifest list entries"));
        Err(if there.is_empty() { failure } else { failure.because(format!("the image is there for {}", there.join(", "))) })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_variant_that_runs_is_chosen() {
        let platform = |text: &str| Platform::parse(text).unwrap();
        assert_eq!(platform("linux/arm/v7").distance(&platform("linux/arm/v6")), Some(1));
        assert_eq!(platform("linux/arm/v6").distance(&platform("linux/arm/v7")), None);
        assert_eq!(platform("linux/arm64").distance(&platform("linux/arm64/v8")), Some(0));
        assert_eq!(platform("linux/amd64").distance(&platform("linux/amd64/v4")), None);
        assert_eq!(platform("linux/amd64").distance(&platform("linux/s390x")), None);
        assert_eq!(platform("aarch64").to_string(), "linux/arm64/v8");
        assert!(Platform::parse("linux//x").is_err());
        assert!(Platform::parse("a/b/c/d").is_err());
    }
}
