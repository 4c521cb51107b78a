//! An order for things that wait for each other, found in time that grows with what is said about them.

/// An order in which each comes after those that it waits for: in rounds, each of which has all that wait for nothing that is left,
/// as they were given. Those that wait for each other in a circle come last, for then the order does not matter.
pub(super) fn in_rounds(waits_for: &[Vec<usize>]) -> Vec<usize> {
    let mut open: Vec<usize> = waits_for.iter().map(Vec::len).collect();
    let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); waits_for.len()];
    for (at, before) in waits_for.iter().enumerate() {
        before.iter().for_each(|before| waiting[*before].push(at));
    }
    let mut order = Vec::with_capacity(waits_for.len());
    let mut round: Vec<usize> = (0..open.len()).filter(|at| open[*at] == 0).collect();
    while !round.is_empty() {
        let mut next = Vec::new();
        for after in round.iter().flat_map(|at| &waiting[*at]) {
            open[*after] -= 1;
            if open[*after] == 0 {
                next.push(*after);
            }
        }
        next.sort_unstable();
        order.append(&mut round);
        round = next;
    }
    order.extend((0..open.len()).filter(|at| open[*at] > 0));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_keep_the_given_order_and_circles_come_last() {
        let table: [(&[&[usize]], &[usize]); 4] = [
            (&[], &[]),
            (&[&[], &[], &[]], &[0, 1, 2]),
            // 3 waits for 0 and 1, 0 for 2: 3 has its turn in the third round only.
            (&[&[2], &[], &[], &[0, 1], &[]], &[1, 2, 4, 0, 3]),
            (&[&[1], &[0], &[], &[1]], &[2, 0, 1, 3]),
        ];
        for (waits_for, order) in table {
            let waits_for: Vec<Vec<usize>> = waits_for.iter().map(|before| before.to_vec()).collect();
            assert_eq!(in_rounds(&waits_for), order);
        }
    }
}
