//! Go's `filepath.Match` and `filepath.Clean`, on which COPY's wildcards and `.dockerignore` stand.
//!
//! Own code: globs of other crates know `{a,b}`, `**` or `!` where Go knows none.

/// A pattern that Go would not accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadPattern;

/// Whether `name` matches `pattern`: `*` and `?` take anything but `/`, `[a-z]`, `[^a]`, `\` escapes.
///
/// As in Go the first way through a `*` is the only one, and what comes after the place where it is clear that nothing
/// matches is not looked at: a fault there is none.
///
/// # Errors
/// A pattern with a bracket that does not end, or an escape of nothing.
pub(super) fn matches(pattern: impl AsRef<[u8]>, name: impl AsRef<[u8]>) -> Result<bool, BadPattern> {
    let (mut pattern, mut name) = (pattern.as_ref(), name.as_ref());
    'pattern: while !pattern.is_empty() {
        let (star, chunk, rest) = cut(pattern);
        pattern = rest;
        if star && chunk.is_empty() {
            return Ok(!name.contains(&b'/'));
        }
        let ends = |left: &[u8]| left.is_empty() || !rest.is_empty();
        if let Some(left) = matches_start(chunk, name)?.filter(|left| ends(left)) {
            name = left;
            continue;
        }
        let reach = if star { name.iter().take_while(|byte| **byte != b'/').count() } else { 0 };
        for skipped in 1..=reach {
            if let Some(left) = matches_start(chunk, &name[skipped..])?.filter(|left| ends(left)) {
                name = left;
                continue 'pattern;
            }
        }
        return Ok(false);
    }
    Ok(name.is_empty())
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

/// Cuts off the stars at the beginning, if there are any, and what follows up to the next one.
fn cut(pattern: &[u8]) -> (bool, &[u8], &[u8]) {
    let stars = pattern.iter().take_while(|byte| **byte == b'*').count();
    let rest = &pattern[stars..];
    let (mut at, mut class) = (0, false);
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 1,
            b'[' => class = true,
            b']' => class = false,
            b'*' if !class => break,
            _ => {}
        }
        at += 1;
    }
    let (chunk, rest) = rest.split_at(at.min(rest.len()));
    (stars > 0, chunk, rest)
}

/// Matches a piece without stars at the beginning of a name; gives what is left of the name, None if it does not match.
fn matches_start<'n>(mut chunk: &[u8], mut name: &'n [u8]) -> Result<Option<&'n [u8]>, BadPattern> {
    // The piece is read to its end even if nothing can match any more: it may be faulty.
    let mut failed = false;
    while let Some((&first, rest)) = chunk.split_first() {
        failed |= name.is_empty();
        match first {
            b'[' => {
                let (c, len) = if failed { ('\0', 0) } else { first_char(name) };
                name = &name[len..];
                let (fits, rest) = class(rest, c)?;
                failed |= !fits;
                chunk = rest;
            }
            b'?' => {
                if !failed {
                    failed = name[0] == b'/';
                    name = &name[first_char(name).1..];
                }
                chunk = rest;
            }
            plain => {
                let (&wanted, rest) = if plain == b'\\' { rest.split_first().ok_or(BadPattern)? } else { (&plain, rest) };
                if !failed {
                    failed = wanted != name[0];
                    name = &name[1..];
                }
                chunk = rest;
            }
        }
    }
    Ok((!failed).then_some(name))
}

/// Whether a character is of the class whose text, without `[`, a piece begins with; and what comes behind it.
fn class(chunk: &[u8], c: char) -> Result<(bool, &[u8]), BadPattern> {
    let (negated, mut chunk) = chunk.strip_prefix(b"^").map_or((false, chunk), |rest| (true, rest));
    let (mut found, mut is_first) = (false, true);
    loop {
        if let Some(rest) = chunk.strip_prefix(b"]").filter(|_| !is_first) {
            return Ok((found != negated, rest));
        }
        let (low, rest) = class_char(chunk)?;
        let (high, rest) = match rest.strip_prefix(b"-") {
            Some(rest) => class_char(rest)?,
            None => (low, rest),
        };
        found |= (low..=high).contains(&c);
        (chunk, is_first) = (rest, false);
    }
}

fn class_char(chunk: &[u8]) -> Result<(char, &[u8]), BadPattern> {
    let chunk = match chunk.first() {
        None | Some(b'-' | b']') => return Err(BadPattern),
        Some(b'\\') => &chunk[1..],
        Some(_) => chunk,
    };
    if chunk.is_empty() {
        return Err(BadPattern);
    }
    let (c, len) = first_char(chunk);
    // A class must end.
    if len == chunk.len() { Err(BadPattern) } else { Ok((c, &chunk[len..])) }
}

/// The first character and how many bytes it takes; a byte that begins none counts as one.
fn first_char(bytes: &[u8]) -> (char, usize) {
    let longest = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(longest) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&longest[..error.valid_up_to()]).unwrap_or_default(),
    };
    valid.chars().next().map_or((char::REPLACEMENT_CHARACTER, 1), |c| (c, c.len_utf8()))
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
            ("[é-ü]?", "öx", Ok(true)),
            ("a[b*]c", "a*c", Ok(true)),
            // Nothing of it can match, so the fault behind the star is not found.
            ("b*[a", "a", Ok(false)),
            ("b*\\", "a", Ok(false)),
            ("*", "", Ok(true)),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
