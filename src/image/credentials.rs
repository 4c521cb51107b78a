//! Who we say we are: `~/.docker/config.json`, its credential helpers, and podman's auth.json.
//!
//! Looked through are, in this order, the file that `REGISTRY_AUTH_FILE` names, Docker's configuration (in
//! `DOCKER_CONFIG` or `~/.docker`) and podman's two places. `login` writes to the first of them that is named, as Docker
//! would. A login belongs to one registry, or in podman's files to a part of one; nobody else is ever shown it.

use std::env;
use std::fs;
use std::io;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use docker_credential::CredentialRetrievalError as Refusal;
use docker_credential::DockerCredential;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;
use crate::state::Lock;

/// `docker login` files the Hub under this name.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// What is presented to a registry.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    Anonymous,
    Password {
        user: String,
        password: String,
    },
    /// A token that stands for a password; it is only good for getting others.
    Identity(String),
}

/// What to present for this repository; nothing if nobody logged in.
pub(super) fn of(registry: &str, repository: &str) -> Result<Login> {
    for path in files() {
        let Some((bytes, config)) = read(&path)? else { continue };
        if let Some(login) = in_file(&bytes, &config, registry, repository)? {
            return Ok(login);
        }
    }
    Ok(Login::Anonymous)
}

/// A file of logins, whatever else is in it.
type Config = Map<String, Value>;

/// The files that may hold logins, the strongest first.
fn files() -> Vec<PathBuf> {
    let below =
        |variable: &str, rest: &str| env::var_os(variable).filter(|value| !value.is_empty()).map(|root| PathBuf::from(root).join(rest));
    let config = below("XDG_CONFIG_HOME", "containers/auth.json").or_else(|| below("HOME", ".config/containers/auth.json"));
    [named_file(), docker_file(), below("XDG_RUNTIME_DIR", "containers/auth.json"), config].into_iter().flatten().collect()
}

fn named_file() -> Option<PathBuf> {
    env::var_os("REGISTRY_AUTH_FILE").filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn docker_file() -> Option<PathBuf> {
    let directory = env::var_os("DOCKER_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    let directory = directory.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")));
    directory.map(|directory| directory.join("config.json"))
}

fn read(path: &Path) -> Result<Option<(Vec<u8>, Config)>> {
    let bytes = match fs::read(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        read => read.doing(|| format!("cannot read the logins in `{}`", path.display()))?,
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Some((b"{}".to_vec(), Map::new())));
    }
    let config = serde_json::from_slice(&bytes).doing(|| format!("cannot understand the logins in `{}`", path.display()))?;
    Ok(Some((bytes, config)))
}

/// The names a registry may be filed under, the usual one first.
fn keys(registry: &str) -> Vec<String> {
    if registry == "docker.io" {
        return [HUB_KEY, "docker.io", "index.docker.io", "https://index.docker.io/v1", "registry-1.docker.io"].map(str::to_owned).to_vec();
    }
    let forms = ["", "/", "/v1/", "/v2/", "/v1", "/v2"];
    let plain = std::iter::once(registry.to_owned());
    plain.chain(["https://", "http://"].iter().flat_map(|scheme| forms.map(|end| format!("{scheme}{registry}{end}")))).collect()
}

fn in_file(bytes: &[u8], config: &Map<String, Value>, registry: &str, repository: &str) -> Result<Option<Login>> {
    let has = |table: &str, key: &str| config.get(table).and_then(|table| table.get(key)).is_some();
    // Podman may file a login for a part of a registry; the longest fits best.
    let whole = format!("{registry}/{repository}");
    let parts = whole.match_indices('/').map(|(at, _)| whole[..at].to_owned()).filter(|part| part.contains('/'));
    let mut candidates: Vec<String> = parts.chain([whole.clone()]).filter(|part| has("auths", part)).collect();
    candidates.reverse();
    let keys = keys(registry);
    candidates.extend(keys.iter().filter(|key| has("auths", key) || has("credHelpers", key)).cloned());
    if config.get("credsStore").and_then(Value::as_str).is_some_and(|store| !store.is_empty()) {
        candidates.extend(keys.first().cloned());
    }
    for key in candidates {
        match docker_credential::get_credential_from_reader(bytes, &key) {
            Ok(DockerCredential::UsernamePassword(user, password)) if user == "<token>" => return Ok(Some(Login::Identity(password))),
            Ok(DockerCredential::UsernamePassword(user, password)) => return Ok(Some(Login::Password { user, password })),
            Ok(DockerCredential::IdentityToken(token)) => return Ok(Some(Login::Identity(token))),
            Err(Refusal::NoCredentialConfigured | Refusal::ConfigNotFound | Refusal::ConfigReadError) => {}
            // A helper that does not know the registry says so with a failure; the registry decides whether it matters.
            Err(Refusal::HelperFailure { stdout, .. }) if stdout.contains("credentials not found") => {}
            Err(error) => return Err(Failure::new(format!("cannot read the login for `{registry}`")).because(error)),
        }
    }
    Ok(None)
}

// ---- login and logout ----

/// Where a login was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filed {
    /// In plain text.
    File(PathBuf),
    /// With a credential helper.
    Helper(String),
}

/// Files a login, in place of an older one for the registry.
pub(super) fn file(home: &Home, registry: &str, user: &str, login: &Login) -> Result<Filed> {
    let path = writable()?;
    let key = keys(registry).swap_remove(0);
    let _lock = Lock::alone(home, "logins")?;
    let mut config = read(&path)?.map(|(_, config)| config).unwrap_or_default();
    if let Some(helper) = helper_of(&config, &key) {
        let (user, secret) = match login {
            Login::Identity(token) => ("<token>", token.as_str()),
            Login::Password { password, .. } => (user, password.as_str()),
            Login::Anonymous => (user, ""),
        };
        let said = json!({ "ServerURL": key, "Username": user, "Secret": secret }).to_string();
        ask_helper(&helper, "store", &said)?;
        // Docker leaves a mark, so that `auths` names all the registries it is logged in to.
        entry(&mut config, "auths").insert(key, json!({}));
        write(&path, &config)?;
        return Ok(Filed::Helper(helper));
    }
    let filed = match login {
        Login::Password { user, password } => json!({ "auth": STANDARD.encode(format!("{user}:{password}")) }),
        Login::Identity(token) => json!({ "auth": STANDARD.encode(format!("{user}:")), "identitytoken": token }),
        Login::Anonymous => json!({}),
    };
    entry(&mut config, "auths").insert(key, filed);
    write(&path, &config)?;
    Ok(Filed::File(path))
}

/// Forgets the login for a registry; says whether there was one.
pub(super) fn forget(home: &Home, registry: &str) -> Result<bool> {
    let path = writable()?;
    let _lock = Lock::alone(home, "logins")?;
    let Some((_, mut config)) = read(&path)? else { return Ok(false) };
    let mut known = false;
    for key in keys(registry) {
        let filed = config.get("auths").and_then(|auths| auths.get(&key)).is_some();
        let helper = helper_of(&config, &key).filter(|_| filed || config.get("credHelpers").and_then(|all| all.get(&key)).is_some());
        if let Some(helper) = helper {
            ask_helper(&helper, "erase", &key)?;
            known = true;
        }
        if filed {
            entry(&mut config, "auths").shift_remove(&key);
            known = true;
        }
    }
    if known {
        write(&path, &config)?;
    }
    Ok(known)
}

fn writable() -> Result<PathBuf> {
    named_file().or_else(docker_file).ok_or_else(|| {
        Failure::new("cannot find a file for logins")
            .because("neither DOCKER_CONFIG nor HOME is set")
            .hint("name one with REGISTRY_AUTH_FILE")
    })
}

fn entry<'a>(config: &'a mut Map<String, Value>, table: &str) -> &'a mut Map<String, Value> {
    let value = config.entry(table).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("it was made an object above")
}

fn helper_of(config: &Map<String, Value>, key: &str) -> Option<String> {
    let own = config.get("credHelpers").and_then(|all| all.get(key)).and_then(Value::as_str);
    own.or_else(|| config.get("credsStore").and_then(Value::as_str)).filter(|name| !name.is_empty()).map(str::to_owned)
}

fn ask_helper(helper: &str, verb: &str, said: &str) -> Result<()> {
    let program = format!("docker-credential-{helper}");
    let cannot = || format!("cannot {verb} the login with `{program}`");
    let mut child =
        Command::new(&program).arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().doing(cannot)?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read says with its status what it thinks.
        let _ = input.write_all(said.as_bytes());
    }
    let output = child.wait_with_output().doing(cannot)?;
    if output.status.success() {
        return Ok(());
    }
    let told = [output.stdout, output.stderr].concat();
    Err(Failure::new(cannot()).because(String::from_utf8_lossy(&told).trim()))
}

/// Replaces the file; only its owner may read it. A symbolic link stays, what it leads to is replaced.
fn write(path: &Path, config: &Map<String, Value>) -> Result<()> {
    let cannot = || format!("cannot write the logins to `{}`", path.display());
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).doing(cannot)?;
    let draft = directory.join(format!(".{}", &state::random_hex()[..16]));
    let text = serde_json::to_string_pretty(config).doing(cannot)?.replace("  ", "\t") + "\n";
    let written = (|| {
        let mut file = fs::File::create_new(&draft)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        fs::rename(&draft, &path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written.doing(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(config: Value, registry: &str, repository: &str) -> Login {
        let bytes = config.to_string().into_bytes();
        in_file(&bytes, config.as_object().unwrap(), registry, repository).unwrap().unwrap_or(Login::Anonymous)
    }

    fn password(user: &str) -> Login {
        Login::Password { user: user.to_owned(), password: "secret".to_owned() }
    }

    #[test]
    fn a_login_belongs_to_its_registry_and_to_no_other() {
        let auth = |user: &str| json!({ "auth": STANDARD.encode(format!("{user}:secret")) });
        let config = json!({ "auths": {
            "https://index.docker.io/v1/": auth("hub"),
            "reg.example": auth("all"),
            "reg.example/shop": auth("shop"),
            "https://old.example/v1/": auth("old"),
            "token.example": { "auth": STANDARD.encode("x:"), "identitytoken": "id" },
        }});
        for (registry, repository, expected) in [
            ("docker.io", "library/redis", password("hub")),
            ("reg.example", "other/x", password("all")),
            ("reg.example", "shop/web", password("shop")),
            ("reg.example", "shopping/web", password("all")),
            ("old.example", "x", password("old")),
            ("token.example", "x", Login::Identity("id".to_owned())),
            ("reg.example:5000", "x", Login::Anonymous),
            ("evilreg.example", "x", Login::Anonymous),
            ("index.docker.io.evil.example", "x", Login::Anonymous),
        ] {
            assert!(login(config.clone(), registry, repository) == expected, "{registry}/{repository}");
        }
    }

    #[test]
    fn what_else_is_in_the_file_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        let link = directory.path().join("link.json");
        fs::write(&path, r#"{"psFormat":"x","auths":{"a":{"auth":"eDp5"}},"z":1}"#).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let (_, mut config) = read(&link).unwrap().unwrap();
        entry(&mut config, "auths").insert("b".to_owned(), json!({}));
        write(&link, &config).unwrap();
        let (_, config) = read(&path).unwrap().unwrap();
        assert_eq!(config.keys().collect::<Vec<_>>(), ["psFormat", "auths", "z"]);
        assert_eq!(config["auths"].as_object().unwrap().len(), 2);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
