//! A Dockerfile's text and the places in it.

use std::path::PathBuf;

use crate::failure::Failure;
use crate::failure::Spot;

/// A Dockerfile as it was read.
#[derive(Debug, Clone)]
pub struct Source {
    /// As the user knows it.
    pub file: PathBuf,
    lines: Vec<String>,
}

/// A stretch of one physical line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// In characters.
    pub width: usize,
}

impl Source {
    pub fn new(file: impl Into<PathBuf>, text: &str) -> Source {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Source { file: file.into(), lines: text.split('\n').map(|line| line.trim_end_matches('\r').to_owned()).collect() }
    }

    /// The place as a failure shows it.
    pub fn spot(&self, place: Place) -> Spot {
        let text = self.lines.get(place.line.saturating_sub(1)).cloned().unwrap_or_default();
        let left = text.chars().count().saturating_sub(place.column.saturating_sub(1));
        Spot {
            file: self.file.clone(),
            line: place.line.max(1),
            column: place.column.max(1),
            // What goes on over a continuation is marked to the end of its first line.
            width: place.width.min(left).max(1),
            skipped: 0,
            text,
        }
    }

    /// A fault at a place.
    pub fn fault(&self, place: Place, what: impl Into<String>) -> Failure {
        Failure::new(what).at(self.spot(place))
    }
}

/// The one of `known` that someone who wrote `word` most likely meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out, changed or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_the_one_meant() {
        for (written, meant) in [("FORM", Some("FROM")), ("RUNN", Some("RUN")), ("workdri", Some("WORKDIR")), ("apt-get", None)] {
            assert_eq!(nearest(written, ["FROM", "RUN", "WORKDIR", "COPY"]), meant, "{written}");
        }
    }

    #[test]
    fn a_spot_never_reaches_past_its_line() {
        let spot = Source::new("Dockerfile", "FROM x\r\nRUN a \\\r\n b\r\n").spot(Place { line: 2, column: 5, width: 40 });
        assert_eq!((spot.text.as_str(), spot.width), ("RUN a \\", 3));
    }
}
