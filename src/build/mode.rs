//! `--chmod`: octal, or symbolic as chmod(1) has it.

/// What becomes of a file's mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    Octal(u32),
    Symbolic(Vec<Change>),
}

/// One `u+rX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// Bits of the classes: 0o700, 0o070, 0o007 and the special bits that belong to them.
    who: u32,
    operator: char,
    permissions: String,
}

impl Mode {
    /// Reads a mode.
    ///
    /// # Errors
    /// A sentence that names the fault.
    pub(super) fn parse(text: &str) -> Result<Mode, String> {
        let octal = || format!("invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777");
        if text.chars().all(|c| c.is_ascii_digit()) {
            return match u32::from_str_radix(text, 8) {
                Ok(mode) if mode <= 0o7777 => Ok(Mode::Octal(mode)),
                _ => Err(octal()),
            };
        }
        let mut changes = Vec::new();
        for clause in text.split(',') {
            changes.extend(clause_of(clause).ok_or_else(|| format!("invalid chmod parameter: '{text}'"))?);
        }
        Ok(Mode::Symbolic(changes))
    }

    /// The mode for new directories on the way to a destination.
    pub(super) fn for_parents(&self) -> Option<u32> {
        match self {
            Mode::Octal(mode) => Some(*mode & 0o777),
            Mode::Symbolic(_) => None,
        }
    }

    /// The mode of a file that had `mode`.
    pub(super) fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Mode::Octal(octal) => *octal,
            Mode::Symbolic(changes) => {
                let old = mode & 0o7777;
                let may_execute = is_directory || old & 0o111 != 0;
                changes.iter().fold(old, |mode, change| change.apply(mode, may_execute))
            }
        }
    }
}

fn clause_of(clause: &str) -> Option<Vec<Change>> {
    let at = clause.find(['+', '-', '='])?;
    let who = clause[..at].chars().try_fold(0, |who, c| {
        Some(
            who | match c {
                'u' => 0o4700,
                'g' => 0o2070,
                'o' => 0o007,
                'a' => 0o6777,
                _ => return None,
            },
        )
    })?;
    let who = if at == 0 { 0o6777 } else { who };
    let mut changes = Vec::new();
    let mut rest = &clause[at..];
    while let Some(operator) = rest.chars().next() {
        rest = &rest[1..];
        let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
        let permissions = rest[..end].to_owned();
        let copy = matches!(permissions.as_str(), "u" | "g" | "o");
        if !copy && !permissions.chars().all(|c| matches!(c, 'r' | 'w' | 'x' | 'X' | 's' | 't')) {
            return None;
        }
        changes.push(Change { who, operator, permissions });
        rest = &rest[end..];
    }
    Some(changes)
}

impl Change {
    /// Whether it may be executed is asked of the mode before all changes.
    fn apply(&self, mode: u32, may_execute: bool) -> u32 {
        // The sticky bit is nobody's; it is changed where it is named, but not for others alone.
        let is_sticky = self.permissions.contains('t') && self.who != 0o007;
        let who = if is_sticky { self.who | 0o1000 } else { self.who };
        let bits = self.permissions.chars().fold(0, |bits, permission| {
            bits | match permission {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                'X' if may_execute || self.operator == '-' => 0o111,
                's' => 0o6000,
                't' => 0o1000,
                'u' => (mode >> 6 & 7) * 0o111,
                'g' => (mode >> 3 & 7) * 0o111,
                'o' => (mode & 7) * 0o111,
                _ => 0,
            }
        }) & who;
        match self.operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            // `u=rx` takes away what the class had.
            _ => mode & !who | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_change_as_chmod_changes_them() {
        for (text, before, directory, after) in [
            ("755", 0o600, false, 0o755),
            ("u=rwX,go=rX", 0o640, false, 0o644),
            ("u=rwX,go=rX", 0o750, true, 0o755),
            ("u+x", 0o644, false, 0o744),
            ("a-w", 0o666, false, 0o444),
            ("g=u", 0o700, false, 0o770),
            ("u+s", 0o755, false, 0o4755),
            ("+t", 0o777, true, 0o1777),
            ("o+t", 0o644, false, 0o644),
            ("=r", 0o1755, true, 0o1444),
            ("u=rwx", 0o4755, true, 0o755),
            ("u+x,g+X", 0o644, false, 0o744),
            ("a-X", 0o755, false, 0o644),
        ] {
            assert_eq!(Mode::parse(text).unwrap().apply(before, directory), after, "{text} {before:o}");
        }
        for bad in ["8", "77777", "u~x", "z+r", "u+q"] {
            assert!(Mode::parse(bad).is_err(), "{bad}");
        }
    }
}
