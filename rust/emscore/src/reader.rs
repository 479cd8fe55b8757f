//! The thread that reads: batches in order, and which of their rows need the network.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::cache;
use crate::columns::Columns;
use crate::journal::{Block, Blocks};
use crate::memo::{self, Key, Place};
use crate::score::Score;
use crate::source::Source;
use crate::workers::{Answer, Shared, Task};
use crate::{Error, Result};

/// A batch with what the reader knows of its rows.
pub(crate) struct Chunk {
    pub batch: RecordBatch,
    pub keys: Vec<Key>,
    /// Of the keys.
    pub digest: u64,
    pub fates: Vec<Fate>,
    pub resumed: bool,
    pub answers: Receiver<Answer>,
}

/// What becomes of a row.
#[derive(Clone, Copy)]
pub(crate) enum Fate {
    /// No text to score.
    Empty,
    /// Known from a journal or a cache; kept in the slot for later repeats.
    Known(u32, Score),
    /// The network answers; kept in the slot.
    Fresh(u32),
    /// Repeats the row whose score is in the slot.
    Repeat(u32),
}

/// The reading thread.
pub(crate) struct Reader {
    pub columns: Columns,
    pub seen: memo::Seen,
    pub journal: Option<Blocks>,
    pub cache: Option<cache::Reader>,
    pub task_rows: usize,
    pub to_collect: Sender<Result<Chunk>>,
    pub to_work: Sender<Task>,
    pub shared: Shared,
}

impl Reader {
    /// Reads at most `limit` rows.
    pub fn read(mut self, mut source: Source, limit: u64) {
        let mut left = limit;
        while left > 0 && !self.shared.stop.is_set() {
            // A reader of a malformed file may panic; that must not pass for the end of the file.
            let batch = catch_unwind(AssertUnwindSafe(|| source.next())).unwrap_or_else(|_| {
                Some(Err(Error::Input(
                    "the input is damaged: its reader gave up".into(),
                )))
            });
            let Some(batch) = batch else { break };
            let chunk = batch.and_then(|batch| {
                let rows = usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(batch.num_rows());
                left -= rows as u64;
                self.chunk(batch.slice(0, rows))
            });
            let (chunk, tasks) = match chunk {
                Ok((chunk, tasks)) => (Ok(chunk), tasks),
                Err(error) => (Err(error), Vec::new()),
            };
            let ends = chunk.is_err();
            if self.to_collect.send(chunk).is_err() || ends {
                return;
            }
            for task in tasks {
                if self.to_work.send(task).is_err() {
                    return;
                }
            }
        }
        if let Some(Err(error)) = self.journal.as_mut().map(Blocks::ended) {
            let _ = self.to_collect.send(Err(error));
        }
    }

    fn chunk(&mut self, batch: RecordBatch) -> Result<(Chunk, Vec<Task>)> {
        let texts = Arc::new(self.columns.texts(&batch)?);
        let rows = batch.num_rows();
        let keys: Vec<Key> = (0..rows)
            .map(|row| memo::key(texts.question(row), texts.response(row)))
            .collect();
        let digest = digest(&keys);
        let journaled = match &mut self.journal {
            Some(blocks) => blocks.next_block(rows, digest)?,
            None => None,
        };
        let mut fates = Vec::with_capacity(rows);
        for (row, &key) in keys.iter().enumerate() {
            fates.push(if texts.response(row).trim().is_empty() {
                Fate::Empty
            } else {
                match self.seen.place(key) {
                    Place::Seen(slot) => Fate::Repeat(slot),
                    Place::New(slot) => match self.recall(journaled.as_ref(), row, key)? {
                        Some(score) => Fate::Known(slot, score),
                        None => Fate::Fresh(slot),
                    },
                }
            });
        }
        let fresh: Vec<u32> = (0..rows as u32)
            .filter(|&row| matches!(fates[row as usize], Fate::Fresh(_)))
            .collect();
        self.shared.progress.known(rows - fresh.len());
        let (answer, answers) = unbounded();
        let tasks = fresh
            .chunks(self.task_rows)
            .map(|rows| Task {
                texts: texts.clone(),
                rows: rows.to_vec(),
                answer: answer.clone(),
            })
            .collect();
        Ok((
            Chunk {
                batch,
                keys,
                digest,
                fates,
                resumed: journaled.is_some(),
                answers,
            },
            tasks,
        ))
    }

    fn recall(&self, journaled: Option<&Block>, row: usize, key: Key) -> Result<Option<Score>> {
        match (journaled, &self.cache) {
            (Some(block), _) => Ok(Some(block.scores[row])),
            (None, Some(cache)) => cache.get(key),
            (None, None) => Ok(None),
        }
    }
}

fn digest(keys: &[Key]) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3Default::new();
    keys.iter()
        .for_each(|key| hasher.update(&key.to_le_bytes()));
    hasher.digest()
}
