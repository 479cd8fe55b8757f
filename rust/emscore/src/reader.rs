//! The thread that reads: batches in order, and which of their rows need the network.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::cache;
use crate::columns::Columns;
use crate::journal::Rows;
use crate::memo::{self, Key, Place};
use crate::score::Score;
use crate::source::Source;
use crate::workers::{Answer, Shared, Task};
use crate::{Error, Result};

/// A batch with what the reader knows of its rows.
pub(crate) struct Chunk {
    pub batch: RecordBatch,
    pub keys: Vec<Key>,
    pub fates: Vec<Fate>,
    /// So many rows, the first ones, are known from a journal.
    pub resumed: usize,
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
    pub journal: Option<Rows>,
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
                Ok(both) => both,
                Err(error) => return drop(self.to_collect.send(Err(error))),
            };
            if self.to_collect.send(Ok(chunk)).is_err() {
                return;
            }
            for task in tasks {
                if self.to_work.send(task).is_err() {
                    return;
                }
            }
        }
        if let Some(Err(error)) = self.journal.as_mut().map(Rows::ended) {
            let _ = self.to_collect.send(Err(error));
        }
    }

    fn chunk(&mut self, batch: RecordBatch) -> Result<(Chunk, Vec<Task>)> {
        let texts = Arc::new(self.columns.texts(&batch)?);
        let rows = batch.num_rows();
        let keys: Vec<Key> = (0..rows)
            .map(|row| memo::key(texts.question(row), texts.response(row)))
            .collect();
        let mut fates = Vec::with_capacity(rows);
        let mut resumed = 0;
        for (row, &key) in keys.iter().enumerate() {
            let journaled = match &mut self.journal {
                Some(rows) => rows.next(key)?,
                None => None,
            };
            resumed += usize::from(journaled.is_some());
            fates.push(if texts.response(row).trim().is_empty() {
                Fate::Empty
            } else {
                match self.seen.place(key) {
                    Place::Seen(slot) => Fate::Repeat(slot),
                    Place::New(slot) => {
                        let known = match (journaled, &self.cache) {
                            (None, Some(cache)) => cache.get(key)?,
                            (known, _) => known,
                        };
                        known.map_or(Fate::Fresh(slot), |score| Fate::Known(slot, score))
                    }
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
                fates,
                resumed,
                answers,
            },
            tasks,
        ))
    }
}
