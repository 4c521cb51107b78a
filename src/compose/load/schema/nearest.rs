//! The known word that a mistyped one was meant to be.

/// Longer words are compared by their beginnings.
const LONGEST: usize = 64;

/// The nearest of `words`, if one is near enough to be meant.
pub(in crate::compose) fn nearest<'w>(typed: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let limit = (typed.chars().count() / 3).clamp(1, 3);
    let typed: Vec<char> = typed.to_lowercase().replace('-', "_").chars().take(LONGEST).collect();
    words.filter_map(|word| Some((distance(&typed, word, limit)?, word))).min().map(|(_, word)| word)
}

/// How many letters must be put in, taken out, changed or swapped with their neighbour; nothing if more than `limit`.
fn distance(one: &[char], two: &str, limit: usize) -> Option<usize> {
    let mut letters = ['\0'; LONGEST];
    let length = two.chars().take(LONGEST).zip(&mut letters).map(|(char, letter)| *letter = char).count();
    let two = &letters[..length];
    if one.len().abs_diff(length) > limit {
        return None;
    }
    // The rows before last, last and this; a project may have thousands of names, so none is made anew.
    let mut rows = [[0_usize; LONGEST + 1]; 3];
    rows[1] = std::array::from_fn(|column| column);
    let mut least_before = 0;
    for row in 1..=one.len() {
        let [older, last, next] = &mut rows;
        next[0] = row;
        for column in 1..=length {
            let change = usize::from(one[row - 1] != two[column - 1]);
            let mut best = (last[column] + 1).min(next[column - 1] + 1).min(last[column - 1] + change);
            if row > 1 && column > 1 && one[row - 1] == two[column - 2] && one[row - 2] == two[column - 1] {
                best = best.min(older[column - 2] + 1);
            }
            next[column] = best;
        }
        let least = next[..=length].iter().copied().min().unwrap_or_default();
        if least.min(least_before) > limit {
            return None;
        }
        least_before = least;
        rows.rotate_left(1);
    }
    Some(rows[1][length]).filter(|distance| *distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_word_finds_the_one_that_was_meant() {
        let words = ["image", "environment", "ports", "expose", "env_file"];
        let cases = [
            ("imagee", Some("image")),
            ("iamge", Some("image")),
            ("enviroment", Some("environment")),
            ("port", Some("ports")),
            ("env-file", Some("env_file")),
            ("Image", Some("image")),
            ("foo", None),
            ("b", None),
        ];
        for (typed, expected) in cases {
            assert_eq!(nearest(typed, words.iter().copied()), expected, "{typed}");
        }
    }
}
