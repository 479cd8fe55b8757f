//! What one run on a GPU gets: batches of rows of like length, under a token budget.

use crate::encode::Encoded;

/// Lengths are padded to a multiple of this, so that the device's memory pool meets few shapes.
const STEP: usize = 16;

/// Rows padded to one length, row after row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Padded {
    /// Number of rows.
    pub rows: usize,
    /// Tokens a row.
    pub length: usize,
    /// Token ids, 0 where there is none.
    pub ids: Vec<i64>,
    /// 1 on tokens, 0 on padding.
    pub mask: Vec<i64>,
    /// 0 in the question, 1 in the response.
    pub types: Vec<i64>,
}

impl Padded {
    /// Pads `rows`.
    pub fn new(rows: &[&Encoded]) -> Padded {
        let longest = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
        let length = longest.next_multiple_of(STEP);
        let size = rows.len() * length;
        let mut padded = Padded {
            rows: rows.len(),
            length,
            ids: vec![0; size],
            mask: vec![0; size],
            types: vec![0; size],
        };
        for (row, start) in rows.iter().zip((0..).step_by(length.max(1))) {
            let end = start + row.ids.len();
            padded.ids[start..end].copy_from_slice(&row.ids);
            padded.mask[start..end].fill(1);
            padded.types[start + row.response_at..end].fill(1);
        }
        padded
    }
}

/// Cuts a window of rows into batches: longest first, each within `budget` tokens after padding
/// (a row longer than the budget goes alone).
///
/// Longest first lets the device's memory pool grow once, at the start.
pub fn plan<T>(mut window: Vec<T>, budget: usize, length: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    window.sort_by_key(|row| std::cmp::Reverse(length(row)));
    let mut batches: Vec<Vec<T>> = Vec::new();
    let mut width = 0;
    for row in window {
        match batches.last_mut() {
            Some(batch) if (batch.len() + 1) * width <= budget => batch.push(row),
            _ => {
                width = length(&row).next_multiple_of(STEP);
                batches.push(vec![row]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_row_is_planned_once_within_the_budget(
            lengths in prop::collection::vec(1_usize..600, 0..300),
            budget in 1_usize..5000,
        ) {
            let rows: Vec<(usize, usize)> = lengths.iter().copied().enumerate().collect();
            let batches = plan(rows, budget, |row| row.1);
            let mut seen: Vec<usize> = batches.iter().flatten().map(|row| row.0).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for batch in &batches {
                let width = batch[0].1.next_multiple_of(STEP);
                prop_assert!(batch.len() == 1 || batch.len() * width <= budget);
                prop_assert!(batch.iter().all(|row| row.1 <= width));
            }
        }

        #[test]
        fn padding_keeps_every_token(
            lengths in prop::collection::vec(1_usize..40, 1..20),
        ) {
            let rows: Vec<Encoded> = lengths
                .iter()
                .map(|&n| Encoded { ids: (1..=n as i64).collect(), response_at: n / 2, too_long: false })
                .collect();
            let padded = Padded::new(&rows.iter().collect::<Vec<_>>());
            prop_assert_eq!(padded.ids.len(), padded.rows * padded.length);
            for (row, encoded) in rows.iter().enumerate() {
                let at = row * padded.length;
                let n = encoded.ids.len();
                prop_assert_eq!(&padded.ids[at..at + n], &encoded.ids[..]);
                prop_assert_eq!(padded.mask[at..at + padded.length].iter().sum::<i64>(), n as i64);
                prop_assert!(padded.mask[at..at + n].iter().all(|&m| m == 1));
                prop_assert_eq!(padded.types[at..at + padded.length].iter().sum::<i64>(), (n - n / 2) as i64);
            }
        }
    }
}
