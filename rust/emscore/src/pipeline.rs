//! Wires reading, encoding, inference and collecting together with bounded channels.
//!
//! ```text
//! reader ──chunks in order──────────────────────────▶ collector (the caller's thread)
//!    └──tasks──▶ workers: encode, run ──answers by chunk──▶┘
//! ```
//!
//! The reader decides in row order which rows need the network: not those without text, not those
//! seen before, not those that a journal or a cache knows. The collector meets the chunks in the
//! same order and waits for each one's answers. Memory is bounded by the chunks in flight.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use crossbeam_channel::{Receiver, bounded};

use crate::cache::Cache;
use crate::engine::{Engine, Layout};
use crate::journal::Rows;
use crate::memo::{self, Key};
use crate::plan::{Options, Plan};
use crate::progress::{Progress, Stop, next};
use crate::reader::{Chunk, Fate, Reader};
use crate::score::{self, Score};
use crate::source::Source;
use crate::tally::{Origin, Summary, Tally};
use crate::workers::{self, Shared};
use crate::{Error, Result};

/// A run under way: an iterator of scored batches in row order.
///
/// Dropping it stops the run.
pub struct Scoring {
    engine: Arc<Engine>,
    plan: Plan,
    chunks: Receiver<Result<Chunk>>,
    workers: Vec<JoinHandle<()>>,
    memo: memo::Scores,
    words: ArrayRef,
    tally: Tally,
    progress: Arc<Progress>,
    stop: Stop,
    failed: bool,
}

/// One scored batch, with what the journal needs.
pub(crate) struct Scored {
    pub batch: RecordBatch,
    pub keys: Vec<Key>,
    pub scores: Vec<Score>,
    /// So many rows, the first ones, are in the journal already.
    pub resumed: usize,
}

/// Starts scoring `source`.
///
/// # Errors
/// [`Error::Input`] when columns are missing or in the way; errors of the cache.
pub fn score(
    engine: &Arc<Engine>,
    source: Source,
    options: &Options,
    progress: Arc<Progress>,
    stop: Stop,
) -> Result<Scoring> {
    let plan = Plan::new(engine, &source, options)?;
    start(engine, source, plan, options.limit, progress, stop, None)
}

pub(crate) fn start(
    engine: &Arc<Engine>,
    source: Source,
    plan: Plan,
    limit: Option<u64>,
    progress: Arc<Progress>,
    stop: Stop,
    journal: Option<Rows>,
) -> Result<Scoring> {
    let at_most = limit.unwrap_or(u64::MAX);
    progress.set_total(source.rows.map(|rows| rows.min(at_most)).or(limit));

    let in_flight = match engine.layout {
        Layout::Rows => 4,
        Layout::Batches(_) => 32,
    };
    let (to_collect, chunks) = bounded(in_flight);
    let (to_work, tasks) = bounded(2 * engine.threads());
    let shared = Shared {
        engine: engine.clone(),
        progress: progress.clone(),
        stop: stop.clone(),
    };
    let workers = workers::start(&shared, &tasks);
    let reader = Reader {
        columns: plan.columns.clone(),
        seen: memo::Seen::new(),
        journal,
        cache: plan.cache.as_ref().map(Cache::reader).transpose()?,
        task_rows: workers::task_rows(engine.layout),
        to_collect,
        to_work,
        shared,
    };
    thread::spawn(move || reader.read(source, at_most));
    let tally = Tally::new(engine.scorer().thresholds());
    Ok(Scoring {
        engine: engine.clone(),
        plan,
        chunks,
        workers,
        memo: memo::Scores::new(),
        words: score::words(),
        tally,
        progress,
        stop,
        failed: false,
    })
}

impl Scoring {
    /// Schema of the scored batches: the input's columns, then the scores.
    pub fn schema(&self) -> SchemaRef {
        self.plan.schema.clone()
    }

    /// What the rows so far add up to.
    pub fn summary(&self) -> Summary {
        self.tally
            .summary(&self.engine, &self.plan.columns, &self.progress)
    }

    pub(crate) fn next_scored(&mut self) -> Option<Result<Scored>> {
        if self.failed {
            return None;
        }
        let result = match next(&self.chunks, &self.stop) {
            Some(chunk) => chunk.and_then(|chunk| self.collect(chunk)),
            None if self.stop.is_set() => Err(Error::Interrupted),
            None => return self.flush_cache().err().map(Err),
        };
        if result.is_err() {
            self.failed = true;
            self.stop.set();
        }
        Some(result)
    }

    fn collect(&mut self, chunk: Chunk) -> Result<Scored> {
        let mut scores = vec![Score::EMPTY; chunk.fates.len()];
        let mut waiting = chunk
            .fates
            .iter()
            .filter(|fate| matches!(fate, Fate::Fresh(_)))
            .count();
        while waiting > 0 {
            let answer =
                next(&chunk.answers, &self.stop).ok_or_else(|| match self.stop.is_set() {
                    true => Error::Interrupted,
                    false => Error::Device(
                        "a worker stopped without an answer; please report this".into(),
                    ),
                })?;
            for (row, score) in answer? {
                scores[row as usize] = score;
                waiting -= 1;
            }
        }
        for (row, fate) in chunk.fates.iter().enumerate() {
            let resumed = row < chunk.resumed;
            let (origin, new) = match *fate {
                Fate::Empty => (Origin::Empty, false),
                Fate::Repeat(slot) => {
                    scores[row] = self.memo.get(slot);
                    (Origin::Repeated, false)
                }
                Fate::Known(slot, score) => {
                    scores[row] = score;
                    self.memo.set(slot, score);
                    // What a journal knew may not be in the cache: its run was interrupted.
                    (Origin::Cached, resumed)
                }
                Fate::Fresh(slot) => {
                    self.memo.set(slot, scores[row]);
                    (Origin::Scored, true)
                }
            };
            if let Some(cache) = self.plan.cache.as_mut().filter(|_| new) {
                cache.keep(chunk.keys[row], scores[row])?;
            }
            self.tally
                .count(if resumed { Origin::Resumed } else { origin });
        }
        self.tally
            .add(&scores, &self.plan.columns.labels(&chunk.batch)?);
        let mut arrays: Vec<ArrayRef> = self
            .plan
            .kept
            .iter()
            .map(|&at| chunk.batch.column(at).clone())
            .collect();
        arrays.extend(score::arrays(&scores, &self.words));
        let batch = RecordBatch::try_new(self.plan.schema.clone(), arrays)
            .map_err(|e| Error::Input(format!("a batch does not fit the schema: {e}")))?;
        Ok(Scored {
            batch,
            keys: chunk.keys,
            scores,
            resumed: chunk.resumed,
        })
    }

    fn flush_cache(&mut self) -> Result<()> {
        self.plan.cache.as_mut().map_or(Ok(()), Cache::flush)
    }
}

impl Iterator for Scoring {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        self.next_scored()
            .map(|scored| scored.map(|scored| scored.batch))
    }
}

impl Drop for Scoring {
    /// Stops the run, and keeps what was scored in the cache. Workers are awaited, so that none
    /// runs on while the process ends; the reader is not, since its input may block for ever.
    fn drop(&mut self) {
        self.stop.set();
        self.chunks = crossbeam_channel::never();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        let _ = self.flush_cache();
    }
}
