//! The small languages of `build`'s flags.

use std::path::Path;
use std::path::PathBuf;

use crate::build::Output;
use crate::build::Secret;

/// Cuts `a=b,c=d` into pairs; a value in double quotes may have commas.
fn fields(text: &str) -> Vec<(String, Option<String>)> {
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
        "network.host" | "security.insecure" => Ok(text.to_owned()),
        _ => Err("the rights are network.host and security.insecure".to_owned()),
    }
}

/// Reads `dir`, `-` or `type=local,dest=dir`.
pub fn output(text: &str) -> Result<Output, String> {
    if text == "-" {
        return Ok(Output::Tar { dest: PathBuf::from("/dev/stdout"), split: None });
    }
    if !text.contains('=') {
        return Ok(Output::Directory { dest: PathBuf::from(text), split: None });
    }
    let (mut kind, mut dest, mut split) = (None, None, None);
    for (key, value) in fields(text) {
        let value = value.ok_or_else(|| format!("`{key}` is no pair NAME=VALUE"))?;
        match key.as_str() {
            "type" => kind = Some(value),
            "dest" => dest = Some(value),
            "platform-split" => split = Some(value == "true"),
            _ => return Err(format!("`{key}` is unknown here")),
        }
    }
    let dest_of = |dest: Option<String>| dest.filter(|dest| !dest.is_empty()).ok_or("dest is required for this type");
    Ok(match kind.as_deref() {
        Some("local") => Output::Directory { dest: dest_of(dest)?.into(), split },
        Some("tar") => {
            let dest = dest.filter(|dest| !dest.is_empty() && dest != "-").unwrap_or_else(|| "/dev/stdout".to_owned());
            Output::Tar { dest: dest.into(), split }
        }
        Some("docker" | "image") if dest.is_none() => Output::Store,
        Some(other) => return Err(format!("the type `{other}` is unknown here")),
        None => return Err("type is required for output".to_owned()),
    })
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
    fn an_output_has_a_type_or_is_a_directory() {
        assert_eq!(output("out"), Ok(Output::Directory { dest: "out".into(), split: None }));
        assert_eq!(output("-"), Ok(Output::Tar { dest: "/dev/stdout".into(), split: None }));
        let split = Output::Directory { dest: "o".into(), split: Some(false) };
        assert_eq!(output("type=local,dest=o,platform-split=false"), Ok(split));
        assert_eq!(output("type=image"), Ok(Output::Store));
        for wrong in ["type=local", "dest=x", "type=what,dest=x", "type=local,dest=x,colour=red"] {
            assert!(output(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_agent_is_by_default_the_users() {
        assert_eq!(ssh("default"), Ok(("default".to_owned(), Vec::new())));
        assert_eq!(ssh("git=a,b"), Ok(("git".to_owned(), vec!["a".into(), "b".into()])));
        assert!(ssh("=x").is_err());
    }
}
