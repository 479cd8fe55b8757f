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

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::cache::Cache;
use crate::columns::{ColumnNames, Columns};
use crate::engine::{Engine, Layout};
use crate::journal::{Block, Blocks};
use crate::memo::{self, Key, Place};
use crate::progress::{Progress, Stop, next};
use crate::score::{self, Score};
use crate::source::Source;
use crate::tally::{Summary, Tally};
use crate::workers::{self, Answer, Shared, Task};
use crate::{Error, Result};

/// What a run does with its input.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Columns of question and response, where the user named them.
    pub columns: ColumnNames,
    /// Goes before the name of each appended column.
    pub prefix: String,
    /// Replace columns (and files) that exist, instead of refusing.
    pub overwrite: bool,
    /// Only this many rows.
    pub limit: Option<u64>,
    /// Folder of the score cache.
    pub cache: Option<PathBuf>,
}

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

/// A batch with what the reader knows of its rows.
struct Chunk {
    batch: RecordBatch,
    keys: Vec<Key>,
    fates: Vec<Fate>,
    resumed: bool,
    answers: Receiver<Answer>,
}

/// What becomes of a row.
#[derive(Clone, Copy)]
enum Fate {
    /// No text to score.
    Empty,
    /// Known from a journal or a cache; kept in the slot for later repeats.
    Known(u32, Score),
    /// The network answers; kept in the slot.
    Fresh(u32),
    /// Repeats the row whose score is in the slot.
    Repeat(u32),
}

/// One scored batch, with what the journal needs.
pub(crate) struct Scored {
    pub batch: RecordBatch,
    pub block: Block,
    pub resumed: bool,
}

/// What is settled before a run begins: all that can be refused is refused by then.
pub(crate) struct Plan {
    columns: Columns,
    /// The columns that stay, then the scores.
    pub schema: SchemaRef,
    kept: Vec<usize>,
    cache: Option<Cache>,
}

impl Plan {
    /// Looks at the columns, and opens the cache.
    ///
    /// # Errors
    /// [`Error::Input`] when columns are missing or in the way; errors of the cache, and
    /// [`Error::Device`] where the engine's sessions were left behind by a fork.
    pub fn new(engine: &Engine, source: &Source, options: &Options) -> Result<Plan> {
        let columns = Columns::detect(&source.schema, &options.columns)?;
        for (what, keys) in columns.keys() {
            source.check_text(what, keys)?;
        }
        let (schema, kept) = output_schema(engine, &source.schema, options)?;
        engine.require_whole()?;
        let open =
            |folder: &PathBuf| Cache::open(folder, engine.scorer().id(), engine.precision().role());
        Ok(Plan {
            columns,
            schema,
            kept,
            cache: options.cache.as_ref().map(open).transpose()?,
        })
    }
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
    journal: Option<Blocks>,
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

    /// How far the run is.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
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
            match *fate {
                Fate::Empty => {}
                Fate::Repeat(slot) => scores[row] = self.memo.get(slot),
                Fate::Known(slot, score) => {
                    scores[row] = score;
                    self.memo.set(slot, score);
                }
                Fate::Fresh(slot) => self.memo.set(slot, scores[row]),
            }
            // What a journal knew may not be in the cache: the run that scored it was interrupted.
            let new = match fate {
                Fate::Known(..) => chunk.resumed,
                Fate::Fresh(_) => true,
                Fate::Empty | Fate::Repeat(_) => false,
            };
            if let Some(cache) = self.plan.cache.as_mut().filter(|_| new) {
                cache.keep(chunk.keys[row], scores[row])?;
            }
            self.tally.count(match fate {
                _ if chunk.resumed => Origin::Resumed,
                Fate::Empty => Origin::Empty,
                Fate::Repeat(_) => Origin::Repeated,
                Fate::Known(..) => Origin::Cached,
                Fate::Fresh(_) => Origin::Scored,
            });
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
        let block = Block {
            digest: digest(&chunk.keys),
            scores,
        };
        Ok(Scored {
            batch,
            block,
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

/// Where a row's score came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    Scored,
    Repeated,
    Cached,
    Resumed,
    Empty,
}

/// The reading thread.
struct Reader {
    columns: Columns,
    seen: memo::Seen,
    journal: Option<Blocks>,
    cache: Option<crate::cache::Reader>,
    task_rows: usize,
    to_collect: Sender<Result<Chunk>>,
    to_work: Sender<Task>,
    shared: Shared,
}

impl Reader {
    fn read(mut self, mut source: Source, limit: u64) {
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
        let journaled = match &mut self.journal {
            Some(blocks) => blocks.next_block(rows, digest(&keys))?,
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

/// The input's fields that stay, their positions, and the score fields after them.
fn output_schema(
    engine: &Engine,
    input: &SchemaRef,
    options: &Options,
) -> Result<(SchemaRef, Vec<usize>)> {
    let scorer = engine.scorer();
    let appended = score::fields(&options.prefix, scorer.id());
    let taken = |field: &FieldRef| appended.iter().any(|new| new.name() == field.name());
    let in_the_way: Vec<&str> = input
        .fields()
        .iter()
        .filter(|field| taken(field))
        .map(|field| field.name().as_str())
        .collect();
    if !in_the_way.is_empty() && !options.overwrite {
        return Err(Error::Input(format!(
            "the input already has the column{} {}. Give the new ones other names (--prefix, in Python prefix=), or allow them to be replaced (--overwrite, overwrite=True)",
            if in_the_way.len() == 1 { "" } else { "s" },
            in_the_way.join(", ")
        )));
    }
    let kept: Vec<usize> = (0..input.fields().len())
        .filter(|&at| !taken(&input.fields()[at]))
        .collect();
    let fields: Vec<FieldRef> = kept
        .iter()
        .map(|&at| input.fields()[at].clone())
        .chain(appended)
        .collect();
    let thresholds = scorer.thresholds();
    let mut metadata: HashMap<String, String> = input.metadata().clone();
    for (name, value) in [
        ("scorer_id", scorer.id().to_string()),
        ("scorer", scorer.name().to_string()),
        ("judge", scorer.judge().to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_string()),
        ("device", engine.device().to_string()),
        ("precision", engine.precision().role().to_string()),
        ("misaligned_below", thresholds.aligned.to_string()),
        ("coherent_above", thresholds.coherent.to_string()),
    ] {
        metadata.insert(format!("emscore.{}{name}", options.prefix), value);
    }
    Ok((Arc::new(Schema::new_with_metadata(fields, metadata)), kept))
}
