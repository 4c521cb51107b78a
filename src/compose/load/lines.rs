//! The lines of a text, found by their numbers without reading what is before them.

#[derive(Debug, Clone)]
pub(super) struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    pub(super) fn of(text: &str) -> Lines {
        Lines { starts: std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect() }
    }

    /// Where the line with this number begins, counted from 1; nothing after the last one.
    pub(super) fn start(&self, number: usize) -> Option<usize> {
        self.starts.get(number.checked_sub(1)?).copied()
    }

    /// The line with this number of the text that these are the lines of, without its break; empty after the last one.
    pub(super) fn get<'t>(&self, text: &'t str, number: usize) -> &'t str {
        let Some(start) = self.start(number) else { return "" };
        let end = self.start(number + 1).map_or(text.len(), |next| next - 1);
        let line = &text[start..end];
        line.strip_suffix('\r').unwrap_or(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_number() {
        let text = "one\r\n\né\nlast";
        let lines = Lines::of(text);
        assert_eq!([0, 1, 2, 3, 4, 5].map(|number| lines.get(text, number)), ["", "one", "", "é", "last", ""]);
        assert_eq!((lines.start(3), lines.start(5)), (Some(6), None));
    }
}
