//! `WWW-Authenticate`: what a registry asks for before it answers, and to whom a login may be shown for it.

use reqwest::Url;
use reqwest::header::HeaderMap;
use reqwest::header::WWW_AUTHENTICATE;

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token from `realm`.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// The strongest challenge of an answer: a token is shown to nobody but the registry, a password is.
pub fn of(headers: &HeaderMap) -> Option<Challenge> {
    let all: Vec<Challenge> = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).flat_map(parse).collect();
    let bearer = all.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
    bearer.or(all.first()).cloned()
}

/// Reads `Bearer realm="…",service="…", Basic realm="…"`: schemes, each with parameters.
fn parse(text: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after = after.trim_start();
        if let Some(value) = after.strip_prefix('=') {
            let (value, next) = value_of(value.trim_start());
            if let Some((_, parameters)) = found.last_mut() {
                parameters.push((word.to_ascii_lowercase(), value));
            }
            rest = next;
        } else {
            if !word.is_empty() {
                found.push((word.to_ascii_lowercase(), Vec::new()));
            }
            rest = after;
        }
        rest = rest.trim_start_matches([',', ' ', '\t']);
    }
    let challenge = |(scheme, parameters): (String, Vec<(String, String)>)| {
        let find = |name: &str| parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        match scheme.as_str() {
            "basic" => Some(Challenge::Basic),
            "bearer" => Some(Challenge::Bearer { realm: find("realm")?, service: find("service"), scope: find("scope") }),
            _ => None,
        }
    };
    found.into_iter().filter_map(challenge).collect()
}

/// A value, quoted or not, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            letter => value.push(letter),
        }
    }
    (value, "")
}

/// Whether a login for the registry at `base` may be shown to whom it names as the giver of its tokens.
///
/// It must be the same host, or a relative of it: `auth.docker.io` for `registry-1.docker.io`, `gitlab.com` for
/// `registry.gitlab.com`. And what came over TLS does not go on without.
pub fn may_see_login(base: &Url, realm: &Url) -> bool {
    let secure = realm.scheme() == "https" || base.scheme() == "http" && realm.scheme() == "http";
    let (Some(base), Some(realm)) = (base.host_str(), realm.host_str()) else { return false };
    secure && (base == realm || are_relatives(base, realm))
}

/// Whether two names share all but their first label, or one is under the other; addresses have no relatives.
fn are_relatives(one: &str, other: &str) -> bool {
    let is_address = |host: &str| host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
    if is_address(one) || is_address(other) {
        return false;
    }
    let family = |host: &str| host.split_once('.').map(|(_, family)| family.to_owned()).unwrap_or_default();
    let under = |host: &str, above: &str| above.contains('.') && host.ends_with(&format!(".{above}"));
    // `example.co.uk` and `other.co.uk` share two labels and are strangers; three must be shared where the last is short.
    let is_family = |family: &str| {
        let labels: Vec<&str> = family.split('.').collect();
        match labels[..] {
            [.., second, last] => labels.len() > 2 || last.len() > 2 || second.len() > 3,
            _ => false,
        }
    };
    under(one, other) || under(other, one) || family(one) == family(other) && is_family(&family(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned), scope: scope.map(str::to_owned) }
    }

    #[test]
    fn challenges_are_read_in_all_their_forms() {
        for (text, expected) in [
            (
                r#"Bearer realm="https://a/token",service="s",scope="repository:x:pull,push""#,
                vec![bearer("https://a/token", Some("s"), Some("repository:x:pull,push"))],
            ),
            (r#"bearer realm=https://a/token"#, vec![bearer("https://a/token", None, None)]),
            (r#"Basic realm="r", Bearer realm="https://a" , service="s""#, vec![Challenge::Basic, bearer("https://a", Some("s"), None)]),
            (r#"Negotiate"#, vec![]),
            (r#"Bearer service="s""#, vec![]),
            (r#"Bearer realm="a\"b"#, vec![bearer("a\"b", None, None)]),
            ("", vec![]),
            ("=,=,\"", vec![]),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, "Basic realm=\"x\"".parse().unwrap());
        headers.append(WWW_AUTHENTICATE, "Bearer realm=\"https://a\"".parse().unwrap());
        assert_eq!(of(&headers), Some(bearer("https://a", None, None)));
    }

    #[test]
    fn a_login_is_shown_to_the_registry_and_its_relatives_only() {
        for (base, realm, may) in [
            ("https://registry-1.docker.io/v2/", "https://auth.docker.io/token", true),
            ("https://registry.gitlab.com/v2/", "https://gitlab.com/jwt/auth", true),
            ("https://registry.shop.example.co.uk/v2/", "https://auth.shop.example.co.uk/token", true),
            ("https://r.example.com:5000/v2/", "https://r.example.com/token", true),
            ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5001/token", true),
            ("http://127.0.0.1:5000/v2/", "https://127.0.0.1/token", true),
            ("https://r.example.com/v2/", "http://r.example.com/token", false),
            ("https://r.example.com/v2/", "https://evil.net/token", false),
            ("https://r.com/v2/", "https://evil.com/token", false),
            ("https://example.co.uk/v2/", "https://evil.co.uk/token", false),
            ("https://10.0.0.1/v2/", "https://11.0.0.1/token", false),
            ("https://com/v2/", "https://evil.com/token", false),
        ] {
            assert_eq!(may_see_login(&Url::parse(base).unwrap(), &Url::parse(realm).unwrap()), may, "{base} {realm}");
        }
    }
}
