//! `--cache-from` and `--cache-to`: which caches of others are read, and where ours goes.

use std::path::PathBuf;

use crate::image::Packing;

/// A cache that is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheFrom {
    /// An image that holds a cache, or one that was built with one in it.
    Registry { name: String },
    /// A directory that [`CacheTo::Local`] was written to; None means the tag `latest`.
    Local { directory: PathBuf, version: Option<String> },
}

/// Where what steps came to is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheTo {
    /// Into the image itself: which layer is which step's.
    Inline,
    Registry {
        name: String,
        cache: CacheOptions,
    },
    Local {
        directory: PathBuf,
        tag: String,
        cache: CacheOptions,
    },
}

/// What is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheOptions {
    /// The steps of all stages, not only those whose layers the image has.
    pub is_whole: bool,
    pub packing: Option<Packing>,
    /// That it cannot be written is no failure of the build.
    pub ignores_errors: bool,
}

/// Cuts `a=b,c=d` into pairs, the keys in small letters; a value in double quotes may have commas.
pub fn fields(text: &str) -> Vec<(String, Option<String>)> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match (c, words.last_mut()) {
            ('"', _) => quoted = !quoted,
            (',', _) if !quoted => words.push(String::new()),
            (c, Some(word)) => word.push(c),
            (_, None) => {}
        }
    }
    let pair = |word: String| match word.split_once('=') {
        Some((key, value)) => (key.trim().to_lowercase(), Some(value.to_owned())),
        None => (word, None),
    };
    words.into_iter().filter(|word| !word.is_empty()).map(pair).collect()
}

#[derive(Default)]
struct Attributes {
    kind: String,
    name: Option<String>,
    place: Option<PathBuf>,
    tag: Option<String>,
    digest: Option<String>,
    compression: Option<String>,
    level: Option<String>,
    cache: CacheOptions,
}

/// Reads a switch among [`fields`]: `true`, `1`, `false` or `0`.
///
/// # Errors
/// Another value; the text names the key.
pub fn flag(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("`{key}` is true or false")),
    }
}

impl Attributes {
    fn read(text: &str) -> Result<Attributes, String> {
        let fields = fields(text);
        // The attributes of an unknown type are unknown, too, and that is not the point.
        match fields.iter().find(|(key, _)| key == "type").and_then(|(_, kind)| kind.as_deref()) {
            Some("registry" | "local" | "inline") => {}
            None | Some("") => return Err("type is required: registry, local or inline".to_owned()),
            Some(other) => return Err(format!("caches of the type `{other}` are not known here: there are registry, local and inline")),
        }
        let mut attributes = Attributes::default();
        for (key, value) in fields {
            let value = value.ok_or_else(|| format!("`{key}` is no pair NAME=VALUE"))?;
            attributes.set(&key, value)?;
        }
        Ok(attributes)
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), String> {
        match key {
            "type" => self.kind = value,
            "ref" => self.name = Some(value),
            "src" | "dest" => self.place = Some(value.into()),
            "tag" => self.tag = Some(value),
            "digest" => self.digest = Some(value),
            "mode" if value == "min" => self.cache.is_whole = false,
            "mode" if value == "max" => self.cache.is_whole = true,
            "mode" => return Err("mode is `min` or `max`".to_owned()),
            "compression" => self.compression = Some(value),
            "compression-level" => self.level = Some(value),
            "ignore-error" => self.cache.ignores_errors = flag(key, &value)?,
            // A cache is an image, with OCI's media types, and its compression is for all layers.
            "image-manifest" | "oci-mediatypes" if flag(key, &value)? => {}
            "image-manifest" | "oci-mediatypes" => {
                return Err(format!("a cache is an image with OCI's media types: leave out `{key}=false`"));
            }
            "force-compression" => drop(flag(key, &value)?),
            "registry.insecure" if !flag(key, &value)? => {}
            "registry.insecure" => return Err("which registries speak without TLS says registries.conf".to_owned()),
            _ => return Err(format!("`{key}` is unknown here")),
        }
        Ok(())
    }
}

impl CacheFrom {
    /// Reads `name` or `type=registry|local,…`.
    ///
    /// # Errors
    /// A sentence that names the fault.
    pub fn read(text: &str) -> Result<CacheFrom, String> {
        if !text.contains('=') {
            return Ok(CacheFrom::Registry { name: text.to_owned() });
        }
        let Attributes { kind, name, place, tag, digest, .. } = Attributes::read(text)?;
        match (kind.as_str(), name, place) {
            ("registry", Some(name), _) => Ok(CacheFrom::Registry { name }),
            ("registry", None, _) => Err("a cache in a registry has a name: ref=NAME".to_owned()),
            ("local", _, Some(directory)) => Ok(CacheFrom::Local { directory, version: digest.or(tag) }),
            ("local", _, None) => Err("a local cache has a directory: src=DIRECTORY".to_owned()),
            _ => Err("a cache inside of an image is read by the image's name: type=registry,ref=NAME".to_owned()),
        }
    }
}

impl CacheTo {
    /// Reads `type=registry|local|inline,…`, `inline` or a name.
    ///
    /// # Errors
    /// A sentence that names the fault.
    pub fn read(text: &str) -> Result<CacheTo, String> {
        if text == "inline" {
            return Ok(CacheTo::Inline);
        }
        if !text.contains('=') {
            return Ok(CacheTo::Registry { name: text.to_owned(), cache: CacheOptions::default() });
        }
        let Attributes { kind, name, place, tag, compression, level, mut cache, .. } = Attributes::read(text)?;
        cache.packing = match (compression, level) {
            (Some(name), Some(level)) => Some(Packing::parse(&format!("{name}:{level}"))?),
            (Some(name), None) => Some(Packing::parse(&name)?),
            (None, Some(_)) => return Err("a level needs a compression, too".to_owned()),
            (None, None) => None,
        };
        match (kind.as_str(), name, place) {
            ("registry", Some(name), _) => Ok(CacheTo::Registry { name, cache }),
            ("registry", None, _) => Err("a cache in a registry has a name: ref=NAME".to_owned()),
            ("local", _, Some(directory)) => Ok(CacheTo::Local { directory, tag: tag.unwrap_or_else(|| "latest".to_owned()), cache }),
            ("local", _, None) => Err("a local cache has a directory: dest=DIRECTORY".to_owned()),
            _ if cache.is_whole => Err("an image has room for its own layers only: a cache inside of it has mode=min".to_owned()),
            _ => Ok(CacheTo::Inline),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Compression;

    #[test]
    fn a_cache_is_read_from_a_name_or_a_directory() {
        let registry = CacheFrom::Registry { name: "a/b:c".to_owned() };
        assert_eq!(CacheFrom::read("a/b:c"), Ok(registry.clone()));
        assert_eq!(CacheFrom::read("type=registry,ref=a/b:c"), Ok(registry));
        let local = CacheFrom::Local { directory: "d".into(), version: Some("t".to_owned()) };
        assert_eq!(CacheFrom::read("type=local,src=d,tag=t"), Ok(local));
        for wrong in ["type=gha", "type=local", "type=registry", "type=inline", "src=d", "type=local,src=d,colour=red"] {
            assert!(CacheFrom::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_cache_is_written_with_its_manner() {
        assert_eq!(CacheTo::read("inline"), Ok(CacheTo::Inline));
        assert_eq!(CacheTo::read("type=inline"), Ok(CacheTo::Inline));
        assert!(CacheTo::read("type=inline,mode=max").is_err());
        let packing = Some(Packing { compression: Compression::Zstd, level: Some(3) });
        let cache = CacheOptions { is_whole: true, packing, ignores_errors: true };
        let text = "type=local,dest=d,mode=max,compression=zstd,compression-level=3,ignore-error=true";
        assert_eq!(CacheTo::read(text), Ok(CacheTo::Local { directory: "d".into(), tag: "latest".to_owned(), cache }));
        assert!(CacheTo::read("type=s3,bucket=b").unwrap_err().contains("type `s3`"));
    }
}
