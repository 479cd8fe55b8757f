//! The same text is scored once a run: a fixed-size memory of texts seen and their scores.
//!
//! The reading thread decides in row order which rows repeat an earlier one; the collecting thread
//! meets the rows in the same order, so both halves agree on what each slot holds without sharing
//! anything. The size is fixed so that memory does not grow with the input: beyond
//! [`SLOTS`] different texts the oldest are forgotten, and scored again if they come back.

use crate::score::Score;

/// Texts remembered: 2^20 (about 34 MB).
const SLOTS: usize = 1 << 20;
const WAYS: usize = 8;

/// Hash of a (question, response) text.
pub type Key = u128;

/// The key of a pair. The question's length keeps ("ab", "c") and ("a", "bc") apart.
pub fn key(question: &str, response: &str) -> Key {
    let mut hasher = xxhash_rust::xxh3::Xxh3Default::new();
    hasher.update(&(question.len() as u64).to_le_bytes());
    hasher.update(question.as_bytes());
    hasher.update(response.as_bytes());
    hasher.digest128()
}

/// The reader's half: which texts have been seen, and in which slot.
pub struct Seen {
    keys: Vec<Key>,
    next_way: Vec<u8>,
}

/// What the reader knows of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// New: its score belongs in this slot.
    New(u32),
    /// Seen: its score is in this slot by the time the row is collected.
    Seen(u32),
}

impl Seen {
    /// An empty memory.
    pub fn new() -> Seen {
        Seen {
            keys: vec![0; SLOTS],
            next_way: vec![0; SLOTS / WAYS],
        }
    }

    /// Looks `key` up, and takes the set's oldest slot for it when it is new.
    pub fn place(&mut self, key: Key) -> Place {
        let set = (key >> 64) as usize % (SLOTS / WAYS);
        let slots = set * WAYS..(set + 1) * WAYS;
        // 0 marks a free slot; a text whose hash is 0 is merely scored each time.
        if let Some(way) = self.keys[slots.clone()]
            .iter()
            .position(|&k| k == key && key != 0)
        {
            return Place::Seen((slots.start + way) as u32);
        }
        let way = self.next_way[set];
        self.next_way[set] = (way + 1) % WAYS as u8;
        let slot = slots.start + way as usize;
        self.keys[slot] = key;
        Place::New(slot as u32)
    }
}

/// The collector's half: the scores, by slot. As bytes, since zeroed memory costs nothing until it
/// is touched: a run of ten rows must not fill 2^20 slots first.
pub struct Scores(Vec<[u8; Score::BYTES]>);

impl Scores {
    /// An empty memory.
    pub fn new() -> Scores {
        Scores(vec![[0; Score::BYTES]; SLOTS])
    }

    /// Keeps `score` in `slot`.
    pub fn set(&mut self, slot: u32, score: Score) {
        self.0[slot as usize] = score.to_bytes();
    }

    /// The score in `slot`.
    pub fn get(&self, slot: u32) -> Score {
        Score::from_bytes(&self.0[slot as usize]).expect("slots hold what `set` wrote")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reader_and_collector_agree_far_beyond_capacity() {
        // Each text's score is made from its number: a slot that was reused too early would show.
        let mut seen = Seen::new();
        let mut scores = Scores::new();
        let mut repeats = 0;
        let mut random = 1_u64;
        for row in 0..4_000_000_u64 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let text = if row % 3 == 0 {
                row
            } else {
                (random >> 33) % (row + 1)
            };
            let expected = text as f32;
            match seen.place(key(&text.to_string(), "")) {
                Place::New(slot) => {
                    scores.set(
                        slot,
                        Score {
                            aligned: expected,
                            ..Score::EMPTY
                        },
                    );
                }
                Place::Seen(slot) => {
                    repeats += 1;
                    assert_eq!(scores.get(slot).aligned, expected);
                }
            }
        }
        assert!(repeats > 100_000);
    }
}
