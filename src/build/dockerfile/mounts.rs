//! `RUN --mount=…`: a list of `key=value`, read when the variables in it are known.
//!
//! Follows <https://github.com/moby/buildkit/blob/v0.26.0/frontend/dockerfile/instructions/commands_runmount.go>.

use serde::Deserialize;
use serde::Serialize;

use crate::build::dockerfile::flags::Fault;
use crate::build::dockerfile::source::nearest;
use crate::build::dockerfile::words::Word;
use crate::units;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

/// How two builds that run at once use one cache mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sharing {
    #[default]
    Shared,
    Private,
    Locked,
}

/// A mount of a RUN.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMount {
    pub kind: MountKind,
    /// A stage, image or named context; the build context if empty.
    pub from: String,
    pub source: String,
    pub target: String,
    pub read_only: bool,
    /// In bytes, for tmpfs.
    pub size: Option<u64>,
    pub id: Option<String>,
    pub sharing: Option<Sharing>,
    pub required: bool,
    /// The variable a secret is put in; empty means the secret's id.
    pub env: Option<String>,
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

/// Checks what can be checked before variables are known.
///
/// # Errors
/// Quotes that do not fit; `from` with a variable.
pub fn check(word: &Word) -> Result<(), Fault> {
    for value in froms(&fields(word)?) {
        if value.find('$').is_some_and(|at| at + 1 != value.len()) {
            let fault = Fault::new(word, "'from' doesn't support variable expansion, define alias stage instead");
            return Err(fault.hint("name a stage with `FROM … AS` and mount from it"));
        }
    }
    Ok(())
}

/// What a mount reads from, if it says so.
pub fn from(word: &Word) -> Option<String> {
    let from = froms(&fields(word).ok()?).last()?.to_owned();
    Some(from).filter(|from| !from.is_empty())
}

fn froms(fields: &[String]) -> impl DoubleEndedIterator<Item = &str> {
    fields.iter().filter_map(|field| field.split_once('=')).filter(|(key, _)| key.eq_ignore_ascii_case("from")).map(|(_, value)| value)
}

/// Reads a mount; `expand` replaces the variables in a value.
///
/// # Errors
/// An unknown key, a value that does not fit, keys that exclude each other.
pub fn read(word: &Word, expand: &dyn Fn(&str) -> Result<String, String>) -> Result<RunMount, Fault> {
    let mut mount = RunMount::default();
    let mut read_only = None;
    for field in fields(word)? {
        let outcome = match field.split_once('=') {
            None => bare(&mut mount, &mut read_only, &field),
            Some((key, value)) => expand(value).and_then(|value| set(&mut mount, &mut read_only, &key.to_lowercase(), &value)),
        };
        outcome.map_err(|what| with_hint(word, what, &field))?;
    }
    mount.read_only = read_only.unwrap_or(!matches!(mount.kind, MountKind::Cache | MountKind::Tmpfs));
    consistent(&mount).map_err(|what| Fault::new(word, what))?;
    Ok(mount)
}

fn with_hint(word: &Word, what: String, field: &str) -> Fault {
    let fault = Fault::new(word, what);
    let key = field.split('=').next().unwrap_or_default();
    match nearest(key, KEYS) {
        Some(meant) if !KEYS.contains(&key.to_lowercase().as_str()) => fault.hint(format!("did you mean `{meant}`?")),
        _ => fault.hint("the Dockerfile reference lists the options of each mount type under `RUN --mount`"),
    }
}

/// The fields of a line of comma separated values: one that begins with a quote ends with one, `""` in it is a quote.
fn fields(word: &Word) -> Result<Vec<String>, Fault> {
    let wrong = |what: &str| Fault::new(word, format!("failed to parse csv mounts: {what}")).hint("write `--mount=type=…,target=/…`");
    if word.text.is_empty() {
        return Err(wrong("there is nothing in it"));
    }
    let mut fields = Vec::new();
    let mut rest = word.text.as_str();
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (field, after) = rest.split_once(',').map_or((rest, None), |(field, after)| (field, Some(after)));
            if field.contains('"') {
                return Err(wrong("bare \" in non-quoted field"));
            }
            fields.push(field.to_owned());
            match after {
                Some(after) => rest = after,
                None => return Ok(fields),
            }
            continue;
        };
        let mut field = String::new();
        rest = quoted;
        loop {
            let (text, after) = rest.split_once('"').ok_or_else(|| wrong("a \" is missing"))?;
            field.push_str(text);
            let Some(more) = after.strip_prefix('"') else {
                rest = after;
                break;
            };
            field.push('"');
            rest = more;
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.is_empty() => return Ok(fields),
            None => return Err(wrong("extraneous \" in field")),
        }
    }
}

fn bare(mount: &mut RunMount, read_only: &mut Option<bool>, field: &str) -> Result<(), String> {
    match field.to_lowercase().as_str() {
        "readonly" | "ro" => *read_only = Some(true),
        "readwrite" | "rw" => *read_only = Some(false),
        "required" if matches!(mount.kind, MountKind::Secret | MountKind::Ssh) => mount.required = true,
        "required" => return Err(misplaced("required", mount.kind)),
        _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
    }
    Ok(())
}

fn set(mount: &mut RunMount, read_only: &mut Option<bool>, key: &str, value: &str) -> Result<(), String> {
    match key {
        "type" => mount.kind = kind_of(value)?,
        "from" => mount.from = value.to_owned(),
        "source" | "src" => mount.source = value.to_owned(),
        "target" | "dst" | "destination" => mount.target = value.to_owned(),
        "readonly" | "ro" => *read_only = Some(bool_of(key, value)?),
        "readwrite" | "rw" => *read_only = Some(!bool_of(key, value)?),
        "required" if matches!(mount.kind, MountKind::Secret | MountKind::Ssh) => mount.required = bool_of(key, value)?,
        "size" if mount.kind == MountKind::Tmpfs => {
            mount.size = Some(units::bytes(value).map_err(|_| format!("invalid value for {key}: {value}"))?);
        }
        "required" | "size" => return Err(misplaced(key, mount.kind)),
        "id" => mount.id = Some(value.to_owned()).filter(|id| !id.is_empty()),
        "sharing" => mount.sharing = Some(sharing_of(value)?),
        "mode" => mount.mode = Some(number(value, 8).ok_or_else(|| format!("invalid value {value} for mode"))?),
        "uid" => mount.uid = Some(number(value, 10).ok_or_else(|| format!("invalid value {value} for uid"))?),
        "gid" => mount.gid = Some(number(value, 10).ok_or_else(|| format!("invalid value {value} for gid"))?),
        "env" => mount.env = Some(value.to_owned()),
        _ => return Err(format!("unexpected key '{key}' in '{key}={value}'")),
    }
    Ok(())
}

fn misplaced(key: &str, kind: MountKind) -> String {
    format!("unexpected key '{key}' for mount type '{}'", name_of(kind))
}

fn name_of(kind: MountKind) -> &'static str {
    match kind {
        MountKind::Bind => "bind",
        MountKind::Cache => "cache",
        MountKind::Tmpfs => "tmpfs",
        MountKind::Secret => "secret",
        MountKind::Ssh => "ssh",
    }
}

fn kind_of(value: &str) -> Result<MountKind, String> {
    [MountKind::Bind, MountKind::Cache, MountKind::Tmpfs, MountKind::Secret, MountKind::Ssh]
        .into_iter()
        .find(|kind| name_of(*kind).eq_ignore_ascii_case(value))
        .ok_or_else(|| format!("unsupported mount type {value:?}"))
}

fn sharing_of(value: &str) -> Result<Sharing, String> {
    match value.to_lowercase().as_str() {
        "shared" => Ok(Sharing::Shared),
        "private" => Ok(Sharing::Private),
        "locked" => Ok(Sharing::Locked),
        _ => Err(format!("unsupported sharing value {value:?}")),
    }
}

/// Go's `strconv.ParseBool`.
fn bool_of(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("invalid value for {key}: {value}")),
    }
}

/// A number without a sign.
fn number(value: &str, radix: u32) -> Option<u32> {
    if value.starts_with('+') { None } else { u32::from_str_radix(value, radix).ok() }
}

fn consistent(mount: &RunMount) -> Result<(), String> {
    let kind = name_of(mount.kind);
    if !matches!(mount.kind, MountKind::Secret | MountKind::Ssh | MountKind::Cache) {
        for (key, there) in [("mode", mount.mode.is_some()), ("uid", mount.uid.is_some()), ("gid", mount.gid.is_some())] {
            if there {
                return Err(format!("{key} not allowed for {kind:?} type mounts"));
            }
        }
    }
    if mount.sharing.is_some() && !matches!(mount.kind, MountKind::Cache | MountKind::Secret) {
        return Err(format!("invalid cache sharing set for {kind} mount"));
    }
    if mount.kind == MountKind::Secret {
        let refusals = [
            (!mount.from.is_empty(), "secret mount should not have a from"),
            (mount.sharing.is_some(), "secret mount should not define sharing"),
            (
                mount.source.is_empty() && mount.target.is_empty() && mount.id.is_none(),
                "invalid secret mount. one of source, target required",
            ),
            (!mount.source.is_empty() && mount.id.is_some(), "both source and id can't be set"),
        ];
        if let Some((_, what)) = refusals.into_iter().find(|(refused, _)| *refused) {
            return Err(what.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(text: &str) -> Result<RunMount, String> {
        let word = Word { text: text.to_owned(), at: 0, len: text.len() };
        read(&word, &|value| Ok(value.to_owned())).map_err(|fault| fault.what)
    }

    #[test]
    fn a_bind_is_read_only_and_a_cache_is_not() {
        assert!(mount("target=/x").unwrap().read_only);
        assert!(!mount("type=bind,target=/x,rw").unwrap().read_only);
        assert!(!mount("type=cache,target=/x").unwrap().read_only);
        assert_eq!(mount("type=tmpfs,size=64m,target=/x").unwrap().size, Some(64 << 20));
        assert_eq!(mount("type=tmpfs,size=1.5 GiB,target=/x").unwrap().size, Some(3 << 29));
    }

    #[test]
    fn fields_are_quoted_as_a_whole() {
        assert_eq!(mount("\"source=a,\"\"b\",target=/x").unwrap().source, "a,\"b");
        for bad in ["", "target=\"/x\"", "\"target=/x", "\"target=/x\"y"] {
            assert!(mount(bad).unwrap_err().starts_with("failed to parse csv mounts"), "{bad}");
        }
        let text = "from=a,target=/x,\"from=b\"";
        assert_eq!(from(&Word { text: text.to_owned(), at: 0, len: text.len() }).as_deref(), Some("b"));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(mount("foo=bar").unwrap_err(), "unexpected key 'foo' in 'foo=bar'");
        assert_eq!(mount("type=bind,size=3").unwrap_err(), "unexpected key 'size' for mount type 'bind'");
        assert_eq!(mount("type=cache,uid=+3,target=/x").unwrap_err(), "invalid value +3 for uid");
        assert!(mount("type=tmpfs,size=64mi,target=/x").is_err());
        assert_eq!(mount("type=secret").unwrap_err(), "invalid secret mount. one of source, target required");
        assert_eq!(mount("type=tmpfs,uid=3").unwrap_err(), "uid not allowed for \"tmpfs\" type mounts");
    }
}
