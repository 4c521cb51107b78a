//! Go's `filepath.Match` and `filepath.Clean`, on which COPY's wildcards and `.dockerignore` stand.
//!
//! Own code: globs of other crates know `{a,b}`, `**` or `!` where Go knows none.

/// A pattern that Go would not accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadPattern;

/// Whether `name` matches `pattern`: `*` and `?` take anything but `/`, `[a-z]`, `[^a]`, `\` escapes.
///
/// # Errors
/// A pattern with a bracket that does not end, or an escape of nothing.
pub(super) fn matches(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    let tokens = tokens(pattern)?;
    let name: Vec<char> = name.chars().collect();
    Ok(matches_from(&tokens, &name))
}

/// Whether a path has a wildcard in it.
pub(super) fn has_wildcard(path: &str) -> bool {
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' | '?' | '[' => return true,
            '\\' => {
                chars.next();
            }
            _ => {}
        }
    }
    false
}

#[derive(Debug)]
enum Token {
    Any,
    One,
    Char(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

fn tokens(pattern: &str) -> Result<Vec<Token>, BadPattern> {
    let mut tokens = Vec::new();
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            '*' => Token::Any,
            '?' => Token::One,
            '\\' => Token::Char(rest.next().ok_or(BadPattern)?),
            '[' => {
                let negated = rest.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                while ranges.is_empty() || rest.next_if_eq(&']').is_none() {
                    let low = class_char(&mut rest)?;
                    let high = if rest.next_if_eq(&'-').is_some() { class_char(&mut rest)? } else { low };
                    ranges.push((low, high));
                }
                Token::Class { negated, ranges }
            }
            c => Token::Char(c),
        });
    }
    Ok(tokens)
}

fn class_char(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, BadPattern> {
    match rest.next() {
        None | Some('-' | ']') => Err(BadPattern),
        Some('\\') => rest.next().ok_or(BadPattern),
        Some(c) => Ok(c),
    }
}

fn matches_from(tokens: &[Token], name: &[char]) -> bool {
    // The place to come back to: after the last `*`, one character further each time.
    let mut retry: Option<(usize, usize)> = None;
    let (mut token, mut at) = (0, 0);
    loop {
        let fits = match tokens.get(token) {
            None => at == name.len(),
            Some(Token::Any) => {
                retry = Some((token + 1, at));
                token += 1;
                continue;
            }
            Some(one) => name.get(at).is_some_and(|c| fits(one, *c)),
        };
        if fits && token == tokens.len() {
            return true;
        }
        if fits {
            (token, at) = (token + 1, at + 1);
            continue;
        }
        match retry {
            Some((after, from)) if name.get(from).is_some_and(|c| *c != '/') => {
                retry = Some((after, from + 1));
                (token, at) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

fn fits(token: &Token, c: char) -> bool {
    match token {
        Token::Any => false,
        Token::One => c != '/',
        Token::Char(expected) => *expected == c,
        Token::Class { negated, ranges } => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, name, expected) in [
            ("*.txt", "a.txt", Ok(true)),
            ("*.txt", "d/a.txt", Ok(false)),
            ("d/*/f", "d/x/f", Ok(true)),
            ("a*b*c", "axxbyybc", Ok(true)),
            ("[a-c]?", "b1", Ok(true)),
            ("[^a]", "a", Ok(false)),
            ("\\*", "*", Ok(true)),
            ("[a", "a", Err(BadPattern)),
            ("a\\", "a", Err(BadPattern)),
            ("[]a]", "a", Err(BadPattern)),
            ("*", "", Ok(true)),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
