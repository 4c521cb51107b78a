//! What a registry is given when it asks who we are: a token from its realm, or user and password.
//!
//! The two ways to a token are those of <https://distribution.github.io/distribution/spec/auth/token/> (GET, with the
//! password) and …/oauth/ (POST, with an identity token).

use std::time::Duration;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::StatusCode;
use reqwest::Url;
use reqwest::header::AUTHORIZATION;
use reqwest::header::CONTENT_TYPE;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use super::Access;
use super::Answer;
use super::Remote;
use super::challenge;
use super::challenge::Challenge;
use super::client::Use;
use super::header;
use super::host_of;
use super::trouble;
use super::trouble::Kind;
use super::trouble::Trouble;
use super::whole;
use crate::image::credentials::Login;
use crate::image::mirrors::Endpoint;

/// How long a token is good if nobody says it.
const USUAL_LIFE: u64 = 60;
/// A token that is about to end is not begun with.
const MARGIN: Duration = Duration::from_secs(10);
const LARGEST_ANSWER: usize = 1 << 20;
const CLIENT: &str = "coracle";

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    registry: String,
    scopes: Vec<String>,
}

impl Key {
    pub fn new(endpoint: &Endpoint, access: Access, also: Option<&str>) -> Key {
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let mut scopes = vec![format!("repository:{}:{actions}", endpoint.repository)];
        scopes.extend(also.map(|repository| format!("repository:{repository}:pull")));
        Key { registry: endpoint.registry.clone(), scopes }
    }
}

/// What is sent with requests.
#[derive(Debug, Clone)]
pub struct Token {
    pub header: HeaderValue,
    until: Option<Instant>,
    /// Stands for the password from now on.
    pub identity: Option<String>,
}

impl Token {
    pub fn is_fresh(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

#[derive(Deserialize)]
struct Given {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
    refresh_token: Option<String>,
}

/// Gets what the challenge of an answer asks for.
///
/// # Errors
/// The realm refuses, or may not see our login.
pub async fn obtain(remote: &Remote<'_>, answer: &HeaderMap, key: &Key) -> Answer<Token> {
    let mut scopes = key.scopes.clone();
    match challenge::of(answer) {
        None => Err(Trouble::new(Kind::Denied, "the registry asks for a login (HTTP status 401) and does not say for which")),
        Some(Challenge::Basic) => basic(&remote.login),
        Some(Challenge::Bearer { realm, service, scope }) => {
            scopes.extend(scope.filter(|scope| !covered(scope, &key.scopes)));
            bearer(remote, (&realm, service.as_deref()), &scopes, Purpose::Access).await
        }
    }
}

/// The same for `login`, which asks for nothing but to be known.
///
/// # Errors
/// As [`obtain`].
pub async fn obtain_for_login(remote: &Remote<'_>, answer: &HeaderMap) -> Answer<Token> {
    match challenge::of(answer) {
        None => Err(Trouble::new(Kind::Denied, "the registry asks for a login (HTTP status 401) and does not say for which")),
        Some(Challenge::Basic) => basic(&remote.login),
        Some(Challenge::Bearer { realm, service, .. }) => bearer(remote, (&realm, service.as_deref()), &[], Purpose::Login).await,
    }
}

/// Whether the scope a registry names is one that we ask for anyway.
fn covered(scope: &str, scopes: &[String]) -> bool {
    let Some((name, actions)) = scope.rsplit_once(':') else { return false };
    scopes.iter().any(|known| {
        known.rsplit_once(':').is_some_and(|(known, more)| known == name && actions.split(',').all(|a| more.split(',').any(|b| a == b)))
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Access,
    Login,
}

fn basic(login: &Login) -> Answer<Token> {
    match login {
        Login::Password { user, password } => Ok(Token { header: basic_header(user, password)?, until: None, identity: None }),
        Login::Anonymous => Err(Trouble::new(Kind::Denied, "the registry asks for a login (HTTP status 401)")),
        Login::Identity(_) => {
            Err(Trouble::new(Kind::Denied, "the login on file is an identity token; this registry wants user and password"))
        }
    }
}

fn basic_header(user: &str, password: &str) -> Answer<HeaderValue> {
    let mut value = header(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))?;
    value.set_sensitive(true);
    Ok(value)
}

async fn bearer(remote: &Remote<'_>, (realm, service): (&str, Option<&str>), scopes: &[String], purpose: Purpose) -> Answer<Token> {
    let url = Url::parse(realm).map_err(|_| Trouble::new(Kind::Denied, format!("the registry's token server `{realm}` is no address")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Trouble::new(Kind::Denied, format!("the registry's token server `{realm}` is no web address")));
    }
    if remote.login != Login::Anonymous && !challenge::may_see_login(&remote.base, &url) {
        let (registry, host) = (remote.registry(), host_of(&url));
        let why = format!("the login for {registry} is not shown to `{host}`, where the registry sends us for a token");
        return Err(Trouble::new(Kind::Denied, why));
    }
    let client = remote.session.client(&host_of(&url), remote.protocol_of(&url)?, Use::Ask)?;
    let request = match &remote.login {
        Login::Identity(identity) => {
            let scope = scopes.join(" ");
            let mut fields = vec![("grant_type", "refresh_token"), ("refresh_token", identity), ("client_id", CLIENT), ("scope", &scope)];
            fields.extend(service.map(|service| ("service", service)));
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            client.request(Method::POST, url).header(CONTENT_TYPE, form).body(encoded(&fields))
        }
        Login::Password { user, password } => {
            let request = client.request(Method::GET, asking(url, (service, Some(user)), scopes, purpose));
            request.header(AUTHORIZATION, basic_header(user, password)?)
        }
        Login::Anonymous => client.request(Method::GET, asking(url, (service, None), scopes, purpose)),
    };
    let response = request.send().await.map_err(|error| trouble::of_request(&error))?;
    let response = trouble::expect(response, &[StatusCode::OK]).await.map_err(refused)?;
    given(&whole(response, LARGEST_ANSWER).await?)
}

/// The address of a token server with what is asked for.
fn asking(mut url: Url, (service, account): (Option<&str>, Option<&str>), scopes: &[String], purpose: Purpose) -> Url {
    let given = service.map(|service| ("service", service)).into_iter();
    let given = given.chain(scopes.iter().map(|scope| ("scope", scope.as_str()))).chain(account.map(|user| ("account", user)));
    url.query_pairs_mut().extend_pairs(given);
    if purpose == Purpose::Login {
        url.query_pairs_mut().append_pair("client_id", CLIENT).append_pair("offline_token", "true");
    }
    url
}

fn refused(trouble: Trouble) -> Trouble {
    if trouble.is_of_the_network() {
        return trouble;
    }
    Trouble { kind: Kind::Denied, text: format!("the registry gives us no token: {}", trouble.text), retry_after: None }
}

fn given(bytes: &[u8]) -> Answer<Token> {
    let none = || Trouble::new(Kind::Denied, "the registry's token server answers with something that is no token");
    let given: Given = serde_json::from_slice(bytes).map_err(|_| none())?;
    let text = given.token.filter(|token| !token.is_empty()).or(given.access_token).filter(|token| !token.is_empty()).ok_or_else(none)?;
    let mut value = header(&format!("Bearer {text}")).map_err(|_| none())?;
    value.set_sensitive(true);
    let life = Duration::from_secs(given.expires_in.unwrap_or(USUAL_LIFE).clamp(USUAL_LIFE, 86_400));
    let until = Some(Instant::now() + life.saturating_sub(MARGIN));
    Ok(Token { header: value, until, identity: given.refresh_token.filter(|token| !token.is_empty()) })
}

fn encoded(fields: &[(&str, &str)]) -> String {
    // A query string is the same form; the address around it is of no meaning.
    let mut url = Url::parse("http://form/").expect("a constant that is an address");
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_under_both_names() {
        for text in [r#"{"token":"t"}"#, r#"{"access_token":"t"}"#, r#"{"token":"","access_token":"t","expires_in":300}"#] {
            assert_eq!(given(text.as_bytes()).unwrap().header, "Bearer t", "{text}");
        }
        for bad in ["{}", "[]", r#"{"token":"a\nb"}"#, "<html>"] {
            assert!(given(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_scope_is_asked_for_once() {
        let scopes = ["repository:a/b:pull,push".to_owned()];
        assert!(covered("repository:a/b:pull", &scopes));
        assert!(covered("repository:a/b:push,pull", &scopes));
        assert!(!covered("repository:a/c:pull", &scopes));
        assert!(!covered("repository:a/b:delete", &scopes));
    }

    #[test]
    fn a_form_is_encoded() {
        assert_eq!(encoded(&[("scope", "repository:a:pull push"), ("x", "ä&=")]), "scope=repository%3Aa%3Apull+push&x=%C3%A4%26%3D");
    }
}
