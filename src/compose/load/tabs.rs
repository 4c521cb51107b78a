//! Lines of nothing but blanks and tabs, where docker compose's reader takes the tab for indentation and refuses it.
//!
//! A strict YAML parser passes over such a line. The other reader does so only within a text or brackets, and after a
//! plain text if the tab stands further right than the line of that text begins.

use saphyr_parser::Event;
use saphyr_parser::ScalarStyle;
use saphyr_parser::Span;

use super::lines::Lines;

/// The lines of a text that may be refused; mostly none.
pub(super) struct Tabs<'t> {
    text: &'t str,
    /// The number of the line, from 1, and the column of the tab, from 0.
    lines: Vec<(usize, usize)>,
    /// Known if there are some.
    all: Option<Lines>,
    /// How many brackets are open, and the line of the first.
    open: (usize, usize),
    /// A plain text's last line, and where its first begins.
    plain: Option<(usize, usize)>,
}

impl<'t> Tabs<'t> {
    pub(super) fn new(text: &'t str) -> Tabs<'t> {
        let tab =
            |(index, line): (usize, &str)| line.trim().is_empty().then(|| line.find('\t')).flatten().map(|column| (index + 1, column));
        let lines = if text.contains('\t') { text.lines().enumerate().filter_map(tab).collect() } else { Vec::new() };
        let all = (!lines.is_empty()).then(|| Lines::of(text));
        Tabs { text, lines, all, open: (0, 0), plain: None }
    }

    /// Passes the lines that the event lets pass.
    pub(super) fn see(&mut self, event: &Event<'_>, range: Span) {
        if self.lines.is_empty() {
            return;
        }
        let (start, end) = (range.start.line(), range.end.line());
        if let Some((last, indent)) = self.plain.take() {
            self.lines.retain(|(line, column)| !(last < *line && *line < start && *column > indent));
        }
        match event {
            Event::Scalar(_, ScalarStyle::Plain, ..) => {
                self.pass(start, end);
                self.plain = Some((end, self.indent(start)));
            }
            // In a block text a tab may stand within a line, not before it.
            Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) => {
                let indent = range.start.col();
                self.lines.retain(|(line, column)| !(start <= *line && *line <= end && *column >= indent));
            }
            Event::Scalar(..) => self.pass(start, end),
            Event::SequenceStart(..) | Event::MappingStart(..) if self.open.0 > 0 || self.is_bracket(range) => {
                let first = if self.open.0 == 0 { start } else { self.open.1 };
                self.open = (self.open.0 + 1, first);
            }
            Event::SequenceEnd | Event::MappingEnd if self.open.0 > 0 => {
                self.open.0 -= 1;
                self.pass(self.open.1, end);
            }
            _ => {}
        }
    }

    /// The first line that is refused.
    pub(super) fn refused(&self) -> Option<(usize, usize)> {
        self.lines.first().copied()
    }

    fn pass(&mut self, start: usize, end: usize) {
        self.lines.retain(|(line, _)| !(start < *line && *line <= end));
    }

    fn line(&self, number: usize) -> &'t str {
        self.all.as_ref().map_or("", |all| all.get(self.text, number))
    }

    fn indent(&self, line: usize) -> usize {
        let line = self.line(line);
        line.len() - line.trim_start_matches(' ').len()
    }

    fn is_bracket(&self, range: Span) -> bool {
        self.line(range.start.line()).chars().nth(range.start.col()).is_some_and(|char| matches!(char, '[' | '{'))
    }
}

#[cfg(test)]
mod tests {
    use saphyr_parser::Parser;

    use super::*;

    fn refused(text: &str) -> Option<(usize, usize)> {
        let mut tabs = Tabs::new(text);
        for next in Parser::new_from_str(text) {
            let (event, range) = next.unwrap();
            tabs.see(&event, range);
        }
        tabs.refused()
    }

    #[test]
    fn a_tab_alone_on_a_line_is_refused_as_docker_compose_does() {
        assert_eq!(refused("a:\n  b: c\n\t"), Some((3, 0)));
        assert_eq!(refused("a:\n  b: 'c'\n     \t\nd: e\n"), Some((3, 5)));
        assert_eq!(refused("a:\n\t\n  b: c\n"), Some((2, 0)));
        assert_eq!(refused("a: {b: c}\n\t\n"), Some((2, 0)));
        assert_eq!(refused("a: b\n  \t\nc: d\n"), None);
        assert_eq!(refused("a: [b,\n\t\n c]\n"), None);
        assert_eq!(refused("a: |\n  b\n\t\n"), Some((3, 0)));
        assert_eq!(refused("a: |\n  b\n  \t\n  c\n"), None);
        assert_eq!(refused("a:\n  b: c\n  \nd: e\n"), None);
    }
}
