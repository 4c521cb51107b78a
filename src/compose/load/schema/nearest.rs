//! The known word that a mistyped one was meant to be.

/// The nearest of `words`, if one is near enough to be meant.
pub(in crate::compose) fn nearest<'w>(typed: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let typed_lower = typed.to_lowercase().replace('-', "_");
    let limit = (typed.chars().count() / 3).clamp(1, 3);
    words.map(|word| (distance(&typed_lower, word), word)).filter(|(distance, _)| *distance <= limit).min().map(|(_, word)| word)
}

/// How many letters must be put in, taken out, changed or swapped with their neighbour.
fn distance(one: &str, two: &str) -> usize {
    let one: Vec<char> = one.chars().take(64).collect();
    let two: Vec<char> = two.chars().take(64).collect();
    let mut rows = vec![vec![0; two.len() + 1]; one.len() + 1];
    for (row, cells) in rows.iter_mut().enumerate() {
        cells[0] = row;
    }
    rows[0] = (0..=two.len()).collect();
    for row in 1..=one.len() {
        for column in 1..=two.len() {
            let change = usize::from(one[row - 1] != two[column - 1]);
            let mut best = (rows[row - 1][column] + 1).min(rows[row][column - 1] + 1).min(rows[row - 1][column - 1] + change);
            if row > 1 && column > 1 && one[row - 1] == two[column - 2] && one[row - 2] == two[column - 1] {
                best = best.min(rows[row - 2][column - 2] + 1);
            }
            rows[row][column] = best;
        }
    }
    rows[one.len()][two.len()]
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
