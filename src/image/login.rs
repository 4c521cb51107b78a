//! `login`: asks the registry first, and files what it accepts.

use super::credentials;
use super::credentials::Filed;
use super::credentials::Login;
use super::mirrors::Rules;
use super::reference::Reference;
use super::registry::Access;
use super::registry::Kind;
use super::registry::Protocol;
use super::registry::Remote;
use super::registry::Session;
use super::registry::Trouble;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

const HUB: &str = "docker.io";

/// A login that the registry has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    pub user: String,
    /// Where it was put; none if it was there.
    pub filed: Option<Filed>,
}

/// See [`super::registry_of`].
pub(super) fn registry_of(text: &str) -> Result<String> {
    let bare = text.trim_start_matches("https://").trim_start_matches("http://");
    let host = bare.split('/').next().unwrap_or_default();
    if host.is_empty() || matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io") {
        return Ok(HUB.to_owned());
    }
    // A name of an image can only be made with a host that is one.
    let good =
        Reference::parse(&format!("{host}/x")).is_ok_and(|name| name.domain == host) || Reference::parse(&format!("{host}:443/x")).is_ok();
    if good {
        return Ok(host.to_owned());
    }
    Err(Failure::new(format!("cannot use `{text}` as a registry")).hint("write its host and port, such as `registry.example:5000`"))
}

/// See [`super::login()`].
pub(super) fn login(home: &Home, registry: &str, user: &str, password: &str) -> Result<LoggedIn> {
    let registry = registry_of(registry)?;
    let given = Login::Password { user: user.to_owned(), password: password.to_owned() };
    let identity = check(home, &registry, given.clone())?;
    let login = identity.map_or(given, Login::Identity);
    let filed = credentials::file(home, &registry, user, &login)?;
    Ok(LoggedIn { user: user.to_owned(), filed: Some(filed) })
}

/// See [`super::login_on_file`].
pub(super) fn on_file(home: &Home, registry: &str) -> Result<Option<LoggedIn>> {
    let registry = registry_of(registry)?;
    let login = credentials::of(&registry, "")?;
    let user = match &login {
        Login::Anonymous => return Ok(None),
        Login::Password { user, .. } => user.clone(),
        Login::Identity(_) => "<token>".to_owned(),
    };
    check(home, &registry, login)?;
    Ok(Some(LoggedIn { user, filed: None }))
}

/// The identity token that the registry gives for the password, if it gives one.
fn check(home: &Home, registry: &str, login: Login) -> Result<Option<String>> {
    let session = Session::begin(home)?;
    let endpoint = Rules::load(home)?.place(&format!("{registry}/"));
    let mut last = Trouble::new(Kind::Unreachable, "it cannot be spoken to");
    for protocol in Protocol::for_trust(endpoint.trust) {
        let remote = Remote::with_login(&session, &endpoint, *protocol, Access::Pull, login.clone())?;
        match remote.check_login() {
            Ok(identity) => return Ok(identity),
            Err(trouble) => {
                let unreachable = trouble.kind == Kind::Unreachable;
                last = trouble;
                if !unreachable {
                    break;
                }
            }
        }
    }
    let failure = Failure::new(format!("cannot log in to {registry}")).because(&last.text);
    Err(match last.kind {
        Kind::Denied => failure.hint("check user name and password"),
        Kind::Unreachable | Kind::Silent | Kind::Passing => failure.hint("check the network and the registry's name"),
        Kind::Certificate => failure.hint(last.certificate_hint(registry)),
        _ => failure,
    })
}
