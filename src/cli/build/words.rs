//! The small languages of `build`'s flags.

use std::path::Path;
use std::path::PathBuf;

use crate::build::Secret;
use crate::build::fields;
use crate::compose::short;

/// Reads `id=token,src=token.txt` or `id=token,env=TOKEN`; without a source it is the variable of that name, or the file.
pub fn secret(text: &str) -> Result<(String, Secret), String> {
    let (mut id, mut kind, mut file, mut variable) = (None, None, None, None);
    for (key, value) in fields(text) {
        let value = value.ok_or_else(|| format!("`{key}` is no pair NAME=VALUE"))?;
        match key.as_str() {
            "id" => id = Some(value),
            "type" if matches!(value.as_str(), "file" | "env") => kind = Some(value),
            "type" => return Err(format!("there are secrets of type file and env, not `{value}`")),
            "src" | "source" => file = Some(PathBuf::from(value)),
            "env" => variable = Some(value),
            _ => return Err(format!("`{key}` is unknown here")),
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or("a secret needs an id")?;
    let secret = match (kind.as_deref(), file, variable) {
        // With `type=env` the source is a variable, too.
        (Some("env"), Some(name), None) => Secret::Env(name.to_string_lossy().into_owned()),
        (_, Some(file), None) => Secret::File(file),
        (_, None, Some(variable)) => Secret::Env(variable),
        (_, Some(_), Some(_)) => return Err("a secret is a file or a variable, not both".to_owned()),
        (Some("file"), None, None) => Secret::File(PathBuf::from(&id)),
        (_, None, None) if std::env::var_os(&id).is_some() || !Path::new(&id).exists() => Secret::Env(id.clone()),
        (_, None, None) => Secret::File(PathBuf::from(&id)),
    };
    Ok((id, secret))
}

/// Reads `default`, `id=socket` or `id=key,key`.
pub fn ssh(text: &str) -> Result<(String, Vec<PathBuf>), String> {
    let (id, paths) = text.split_once('=').unwrap_or((text, ""));
    if id.is_empty() {
        return Err("an agent needs an id".to_owned());
    }
    let words = paths.split(',').filter(|path| !path.is_empty() && !path.starts_with("raw="));
    Ok((id.to_owned(), words.map(PathBuf::from).collect()))
}

/// Reads `name=place`.
pub fn build_context(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, place)) if !name.is_empty() && !place.is_empty() => Ok((name.to_owned(), place.to_owned())),
        _ => Err("a context is NAME=PLACE".to_owned()),
    }
}

/// Reads one of the rights that a build can be given.
pub fn right(text: &str) -> Result<String, String> {
    match text {
        "network.host" | "security.insecure" | "device" => Ok(text.to_owned()),
        _ if text.starts_with("device=") => Ok(text.to_owned()),
        _ => Err("the rights are network.host, security.insecure and device[=NAME]".to_owned()),
    }
}

/// Reads the path of a control group that others are made below.
pub fn cgroup_parent(text: &str) -> Result<String, String> {
    short::cgroup_parent(text).map(|()| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_file_or_a_variable() {
        assert_eq!(secret("id=a,src=f"), Ok(("a".to_owned(), Secret::File("f".into()))));
        assert_eq!(secret("type=env,id=a,src=B"), Ok(("a".to_owned(), Secret::Env("B".to_owned()))));
        assert_eq!(secret("id=a,env=B"), Ok(("a".to_owned(), Secret::Env("B".to_owned()))));
        assert_eq!(secret("id=no_such_thing"), Ok(("no_such_thing".to_owned(), Secret::Env("no_such_thing".to_owned()))));
        assert_eq!(secret("\"id=a,b\",src=f"), Ok(("a,b".to_owned(), Secret::File("f".into()))));
        for wrong in ["src=f", "id=a,what=b", "id=a,type=x", "id=a,src=f,env=B"] {
            assert!(secret(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_agent_is_by_default_the_users() {
        assert_eq!(ssh("default"), Ok(("default".to_owned(), Vec::new())));
        assert_eq!(ssh("git=a,b"), Ok(("git".to_owned(), vec!["a".into(), "b".into()])));
        assert!(ssh("=x").is_err());
    }
}
