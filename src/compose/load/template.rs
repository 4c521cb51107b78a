//! Variables in a text: `$NAME`, `${NAME}`, `${NAME:-word}` and its kin, `$$`.
//!
//! The rules are those of compose-go, oddities included: what follows an operator runs to the last `}` of the line,
//! and only then is the brace looked for that closes the expression.

/// Why a text could not be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfilled {
    /// `${` without a name or an end; the text it stands in.
    Malformed(String),
    /// `${NAME?reason}` of a variable that is not set.
    Required { name: String, reason: String },
    /// The text would be longer than [`LONGEST`].
    Long,
}

/// Where variables come from, and where it is said that one is not set.
pub(super) trait Variables {
    fn value(&self, name: &str) -> Option<String>;

    /// The variable is not set and nothing stands in for it.
    fn unset(&self, _name: &str) {}
}

/// No text is longer than this with its variables filled in, in bytes.
pub(super) const LONGEST: usize = 8 << 20;

/// How deep defaults may hold further expressions.
const DEEPEST: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `:?`, `?`
    Required,
    /// `:-`, `-`
    Default,
    /// `:+`, `+`
    Alternative,
}

/// The operators in the order in which docker compose looks for them.
const OPERATORS: [(&str, Form); 6] = [
    (":?", Form::Required),
    ("?", Form::Required),
    (":-", Form::Default),
    ("-", Form::Default),
    (":+", Form::Alternative),
    ("+", Form::Alternative),
];

/// One expression found in a text.
enum Found<'t> {
    /// `$$`
    Escaped,
    Named(&'t str),
    /// From `${` to the last `}` that can close it.
    Braced(&'t str),
    Malformed,
}

/// Fills in all variables of `text`.
pub(super) fn substitute(text: &str, variables: &dyn Variables) -> Result<String, Unfilled> {
    substitute_within(text, variables, 0)
}

fn substitute_within(text: &str, variables: &dyn Variables, depth: usize) -> Result<String, Unfilled> {
    if depth > DEEPEST {
        return Err(Unfilled::Malformed(text.to_owned()));
    }
    let mut filled = String::with_capacity(text.len());
    let mut last = LastBrace::default();
    let mut at = 0;
    while let Some(dollar) = text[at..].find('$') {
        filled.push_str(&text[at..at + dollar]);
        at += dollar;
        let Some((found, length)) = find(text, at, &mut last) else {
            filled.push('$');
            at += 1;
            continue;
        };
        at += match found {
            Found::Braced(whole) => closing_brace(whole).map_or(length, |end| end + 1),
            _ => length,
        };
        match found {
            Found::Escaped => filled.push('$'),
            Found::Named(name) => filled.push_str(&plain(name, variables)),
            Found::Braced(whole) => filled.push_str(&braced(whole, variables, depth).map_err(|error| within(error, text))?),
            Found::Malformed => return Err(Unfilled::Malformed(text.to_owned())),
        }
        if filled.len() > LONGEST {
            return Err(Unfilled::Long);
        }
    }
    filled.push_str(&text[at..]);
    Ok(filled)
}

/// A malformed part is shown with the text around it.
fn within(error: Unfilled, text: &str) -> Unfilled {
    match error {
        Unfilled::Malformed(part) if part.is_empty() => Unfilled::Malformed(text.to_owned()),
        other => other,
    }
}

/// Where the last `}` of a line stands; known for a whole line, which may hold thousands of expressions.
#[derive(Default)]
struct LastBrace {
    end: usize,
    place: Option<usize>,
}

impl LastBrace {
    /// The last one of the line from here on. What is asked for goes forward.
    fn from(&mut self, text: &str, at: usize) -> Option<usize> {
        if at >= self.end {
            self.end = text[at..].find('\n').map_or(text.len(), |length| at + length);
            self.place = text[at..self.end].rfind('}').map(|place| at + place);
        }
        self.place.filter(|place| *place >= at)
    }
}

/// The expression that begins with the `$` at this place, and its length.
fn find<'t>(text: &'t str, at: usize, last: &mut LastBrace) -> Option<(Found<'t>, usize)> {
    let after = &text[at + 1..];
    if after.starts_with('$') {
        return Some((Found::Escaped, 2));
    }
    let name = name_length(after);
    if name > 0 {
        return Some((Found::Named(&after[..name]), 1 + name));
    }
    let inside = after.strip_prefix('{')?;
    let name = at + 2 + name_length(inside);
    let end = match &text[name..] {
        _ if name == at + 2 => None,
        rest if has_operator(rest) => last.from(text, name),
        rest => rest.starts_with('}').then_some(name),
    };
    let Some(end) = end else { return Some((Found::Malformed, 2)) };
    Some((Found::Braced(&text[at..=end]), end + 1 - at))
}

fn has_operator(text: &str) -> bool {
    OPERATORS.iter().any(|(operator, _)| text.starts_with(operator))
}

/// Where the last `}` stands that can close the expression whose inside begins here.
fn braced_end(inside: &str) -> Option<usize> {
    let name = name_length(inside);
    if name == 0 {
        return None;
    }
    let after = &inside[name..];
    if has_operator(after) {
        let line = after.split('\n').next().unwrap_or_default();
        return line.rfind('}').map(|end| name + end);
    }
    after.starts_with('}').then_some(name)
}

/// How long the variable's name at the start of `text` is.
pub(super) fn name_length(text: &str) -> usize {
    let length = text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    if text.starts_with(|first: char| first.is_ascii_digit()) { 0 } else { length }
}

fn plain(name: &str, variables: &dyn Variables) -> String {
    variables.value(name).unwrap_or_else(|| {
        variables.unset(name);
        String::new()
    })
}

/// The value of the first expression of `${…}…}`: up to the brace that closes it.
fn braced(whole: &str, variables: &dyn Variables, depth: usize) -> Result<String, Unfilled> {
    let expression = closing_brace(whole).map_or(whole, |end| &whole[..=end]);
    let inside = expression.strip_prefix("${").and_then(|inside| braced_end(inside).map(|end| &inside[..end]));
    let inside = inside.ok_or_else(|| Unfilled::Malformed(String::new()))?;
    match operator(expression).filter(|(operator, _)| inside.contains(operator)) {
        Some((operator, form)) => {
            let (name, word) = inside.split_once(operator).unwrap_or((inside, ""));
            let strict = !operator.starts_with(':');
            let value = variables.value(name).filter(|value| strict || !value.is_empty());
            // Filled in even where it is not wanted: what is wrong in it is said in any case.
            let word = substitute_within(word, variables, depth + 1)?;
            Ok(match (form, value) {
                (Form::Alternative, Some(_)) | (Form::Default, None) => word,
                (Form::Alternative, None) => variables.value(name).unwrap_or_default(),
                (Form::Default | Form::Required, Some(value)) => value,
                (Form::Required, None) => return Err(Unfilled::Required { name: name.to_owned(), reason: word }),
            })
        }
        None => Ok(plain(inside, variables)),
    }
}

/// The operator that comes first in the expression.
fn operator(expression: &str) -> Option<(&'static str, Form)> {
    let found = OPERATORS.iter().filter_map(|(operator, form)| Some((expression.find(operator)?, *operator, *form)));
    found.min_by_key(|(place, ..)| *place).map(|(_, operator, form)| (operator, form))
}

/// The brace that closes the first one. As in docker compose the character after an opening brace is not looked at.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 0_i64;
    let mut bytes = text.bytes().enumerate();
    while let Some((index, byte)) = bytes.next() {
        if byte == b'}' {
            open -= 1;
            if open == 0 {
                return Some(index);
            }
        }
        if byte == b'{' {
            open += 1;
            bytes.next();
        }
    }
    None
}

/// A variable that a text names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Variable {
    pub name: String,
    pub default: String,
    pub alternative: String,
    pub required: bool,
}

/// All variables that `text` names, those inside defaults and alternatives too.
pub(crate) fn variables_of(text: &str, found: &mut Vec<Variable>) {
    variables_within(text, found, 0);
}

/// As in docker compose, what follows an expression up to the last `}` of its line comes before it.
fn variables_within(text: &str, found: &mut Vec<Variable>, depth: usize) {
    let mut last = LastBrace::default();
    let (mut waiting, mut until): (Vec<&str>, usize) = (Vec::new(), 0);
    let mut at = 0;
    while let Some(dollar) = text[at..].find('$') {
        at += dollar;
        if at >= until {
            waiting.drain(..).rev().for_each(|expression| variables_in_braces(expression, found, depth));
        }
        at += match find(text, at, &mut last) {
            Some((Found::Named(name), length)) => {
                found.push(Variable { name: name.to_owned(), ..Variable::default() });
                length
            }
            Some((Found::Braced(whole), length)) => {
                let own = closing_brace(whole).map_or(length, |end| end + 1);
                if own < length {
                    until = until.max(at + length);
                    waiting.push(&whole[..own]);
                } else {
                    variables_in_braces(whole, found, depth);
                }
                own
            }
            Some((Found::Escaped | Found::Malformed, length)) => length,
            None => 1,
        };
    }
    waiting.drain(..).rev().for_each(|expression| variables_in_braces(expression, found, depth));
}

/// The expressions of `text` that name one variable and where they begin, those inside defaults and alternatives too.
pub(super) fn expressions<'t>(text: &'t str, name: &str) -> Vec<(usize, &'t str)> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut last = LastBrace::default();
    while let Some(dollar) = text[at..].find('$') {
        at += dollar;
        at += match find(text, at, &mut last) {
            Some((Found::Named(known), length)) => {
                found.extend((known == name).then_some((at, &text[at..at + length])));
                length
            }
            Some((Found::Braced(whole), _)) => {
                let inside = 2 + name_length(&whole[2..]);
                let end = closing_brace(whole).map_or(whole.len(), |end| end + 1);
                found.extend((whole[2..inside] == *name).then_some((at, &whole[..end])));
                inside
            }
            Some((Found::Escaped | Found::Malformed, length)) => length,
            None => 1,
        };
    }
    found
}

/// Adds the variable of one expression, `${…}`, and those of its word.
fn variables_in_braces(expression: &str, found: &mut Vec<Variable>, depth: usize) {
    let inside = &expression[2..(expression.len() - 1).max(2)];
    let (name, rest) = inside.split_at(name_length(inside));
    let mut variable = Variable { name: name.to_owned(), ..Variable::default() };
    let word = rest.strip_prefix(':').unwrap_or(rest);
    let mut nested = "";
    if word.starts_with('?') {
        variable.required = true;
    } else if let Some(default) = word.strip_prefix('-') {
        variable.default = default.to_owned();
        nested = default;
    } else if let Some(alternative) = word.strip_prefix('+') {
        variable.alternative = alternative.to_owned();
        nested = alternative;
    }
    found.push(variable);
    if depth < DEEPEST {
        variables_within(nested, found, depth + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known;

    impl Variables for Known {
        fn value(&self, name: &str) -> Option<String> {
            match name {
                "FOO" => Some("first".to_owned()),
                "BAR" => Some(String::new()),
                _ => None,
            }
        }
    }

    #[test]
    fn every_form_is_filled_in() {
        let cases = [
            ("$FOO", "first"),
            ("${FOO}", "first"),
            ("a${FOO}b", "afirstb"),
            ("$$FOO", "$FOO"),
            ("$${FOO}", "${FOO}"),
            ("$", "$"),
            ("a$1", "a$1"),
            ("${NO}", ""),
            ("${NO-word}", "word"),
            ("${BAR-word}", ""),
            ("${BAR:-word}", "word"),
            ("${FOO:-word}", "first"),
            ("${FOO+word}", "word"),
            ("${BAR+word}", "word"),
            ("${BAR:+word}", ""),
            ("${NO+word}", ""),
            ("${FOO:?no}", "first"),
            ("${BAR?no}", ""),
            ("${NO:-${FOO}}", "first"),
            ("${NO:-${NO:-x}-y}z", "x-yz"),
            ("${NO:-{a}}", "{a}"),
            ("${FOO:-a} ${NO:-b}", "first b"),
            ("${NO:-a:?b}", "a:?b"),
            ("${NO:-$$x}", "$x"),
            ("${NO-}", ""),
            ("${NO:-a\nb", "error"),
            ("${}", "error"),
            ("${ NO }", "error"),
            ("${NO", "error"),
            ("${NO?why}", "required NO: why"),
            ("${NO:?}", "required NO: "),
            ("${FOO:-${NO:?why}}", "required NO: why"),
        ];
        for (text, expected) in cases {
            let found = match substitute(text, &Known) {
                Ok(text) => text,
                Err(Unfilled::Malformed(_)) => "error".to_owned(),
                Err(Unfilled::Required { name, reason }) => format!("required {name}: {reason}"),
                Err(Unfilled::Long) => "long".to_owned(),
            };
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn expressions_are_found_in_their_order() {
        let text = "$FOO $$FOO ${NO:-a${FOO:+b}} é${FOO} $FOOD ${FOO:?";
        let found = expressions(text, "FOO");
        assert_eq!(found.iter().map(|(_, expression)| *expression).collect::<Vec<_>>(), ["$FOO", "${FOO:+b}", "${FOO}"]);
        assert!(found.iter().all(|(at, expression)| text[*at..].starts_with(expression)));
    }

    #[test]
    fn deep_nesting_ends_in_an_error() {
        let text = "${A:-".repeat(5000) + &"}".repeat(5000);
        assert!(matches!(substitute(&text, &Known), Err(Unfilled::Malformed(_))));
        variables_of(&text, &mut Vec::new());
    }

    /// More than 64 on one line were refused, and named in a stack as deep.
    #[test]
    fn a_line_may_have_any_number_of_expressions() {
        assert_eq!(substitute(&"${A:-x}$FOO ".repeat(10_000), &Known).unwrap(), "xfirst ".repeat(10_000));
        let mut found = Vec::new();
        variables_of(&"${A:-${B}}${C}".repeat(50_000), &mut found);
        assert_eq!(found.len(), 150_000);
    }

    #[test]
    fn variables_that_follow_in_a_line_come_first() {
        let mut found = Vec::new();
        variables_of("${A:-1} $B ${C:-${D}} ${E}\n$F ${G-2}", &mut found);
        let names: Vec<&str> = found.iter().map(|variable| variable.name.as_str()).collect();
        assert_eq!(names, ["B", "E", "C", "D", "A", "F", "G"]);
    }

    #[test]
    fn a_text_does_not_grow_without_a_limit() {
        struct Large;
        impl Variables for Large {
            fn value(&self, _: &str) -> Option<String> {
                Some("x".repeat(1 << 20))
            }
        }
        assert_eq!(substitute(&"$A".repeat(100_000), &Large), Err(Unfilled::Long));
    }
}
