//! What the scores of a run add up to, by checkpoint.

use std::collections::HashMap;
use std::time::Instant;

use arrow::array::{Array, LargeStringArray};
use serde::{Serialize, Serializer};

use crate::columns::Columns;
use crate::engine::Engine;
use crate::progress::Progress;
use crate::score::{Outcome, Score};
use crate::scorer::Thresholds;

/// Pairs of checkpoint and group that are told apart. Where there are more, the columns hold
/// something else, such as an id of each row: counts of each would fill the memory.
const MOST: usize = 1 << 16;

/// Where a row's score came from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin {
    Scored,
    Repeated,
    Cached,
    Resumed,
    Empty,
}

/// Rows by outcome, in the order of [`Outcome::ALL`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes([u64; Outcome::ALL.len()]);

impl Serialize for Outcomes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Outcome::ALL.map(Outcome::word).into_iter().zip(self.0))
    }
}

/// Counts of one checkpoint: what every misalignment rate is made of.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Counts {
    /// The checkpoint's name, where the input has such a column.
    pub checkpoint: Option<String>,
    /// Its group, likewise.
    pub group: Option<String>,
    /// Rows.
    pub rows: u64,
    /// Rows with coherent above the threshold.
    pub coherent: u64,
    /// Rows with aligned below and coherent above the thresholds.
    pub misaligned: u64,
    /// Sum of `p_coherent`.
    pub expected_coherent: f64,
    /// Sum of `p_misaligned * p_coherent`.
    pub expected_misaligned: f64,
    /// Rows by outcome.
    pub outcomes: Outcomes,
}

impl Counts {
    fn sum(parts: &[Counts]) -> Counts {
        let mut sum = Counts::default();
        for part in parts {
            sum.rows += part.rows;
            sum.coherent += part.coherent;
            sum.misaligned += part.misaligned;
            sum.expected_coherent += part.expected_coherent;
            sum.expected_misaligned += part.expected_misaligned;
            let outcomes = sum.outcomes.0.iter_mut().zip(part.outcomes.0);
            outcomes.for_each(|(sum, rows)| *sum += rows);
        }
        sum
    }
}

/// A run in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Rows written.
    pub rows: u64,
    /// Rows that went through the network.
    pub scored: u64,
    /// Of these, rows that took the second scorer of a cascade; `None` where there is no cascade.
    pub escalated: Option<u64>,
    /// Rows that repeat the text of an earlier one.
    pub duplicates: u64,
    /// Rows known from the cache.
    pub cached: u64,
    /// Rows known from the journal of an unfinished run.
    pub resumed: u64,
    /// Tokens that went through the network.
    pub tokens: u64,
    /// Seconds since the run began.
    pub seconds: f64,
    /// Rows by outcome.
    pub outcomes: Outcomes,
    /// Column that held the question.
    pub question_column: String,
    /// Column that held the response.
    pub response_column: String,
    /// Column that held the checkpoint; `None` also where it tells too many apart.
    pub checkpoint_column: Option<String>,
    /// Column that held the group, likewise.
    pub group_column: Option<String>,
    /// Counts by checkpoint and group, in order of appearance.
    pub checkpoints: Vec<Counts>,
    /// Aligned below this is misaligned.
    pub misaligned_below: f64,
    /// Coherent above this is coherent.
    pub coherent_above: f64,
    /// The scorer's content hash.
    pub scorer_id: String,
    /// The scorer's name.
    pub scorer: String,
    /// The judge that it imitates.
    pub judge: String,
    /// Device used.
    pub device: String,
    /// Why this device.
    pub device_note: String,
    /// Precision used.
    pub precision: String,
    /// Worker threads.
    pub threads: usize,
    /// Version of emscore.
    pub version: String,
}

pub(crate) struct Tally {
    began: Instant,
    thresholds: Thresholds,
    origins: [u64; 5],
    /// Whether checkpoints and groups are told apart.
    by_label: bool,
    counts: Vec<Counts>,
    places: HashMap<(Option<String>, Option<String>), usize>,
}

impl Tally {
    pub fn new(thresholds: Thresholds) -> Tally {
        Tally {
            began: Instant::now(),
            thresholds,
            origins: [0; 5],
            by_label: true,
            counts: Vec::new(),
            places: HashMap::new(),
        }
    }

    pub fn count(&mut self, origin: Origin) {
        self.origins[origin as usize] += 1;
    }

    pub fn add(&mut self, scores: &[Score], labels: &[Option<LargeStringArray>; 2]) {
        let by_label = self.by_label;
        let label = |column: usize, row: usize| {
            labels[column]
                .as_ref()
                .filter(|a| by_label && a.is_valid(row))
                .map(|a| a.value(row))
        };
        let mut last: Option<(Option<&str>, Option<&str>, usize)> = None;
        for (row, score) in scores.iter().enumerate() {
            let (checkpoint, group) = (label(0, row), label(1, row));
            // Rows of a checkpoint usually stand together: no look-up while the label stays.
            let place = match last {
                Some((c, g, place)) if c == checkpoint && g == group => place,
                _ => self.place(checkpoint, group),
            };
            last = Some((checkpoint, group, place));
            let counts = &mut self.counts[place];
            counts.rows += 1;
            counts.outcomes.0[score.outcome as usize] += 1;
            if score.outcome.is_scored() {
                let coherent = f64::from(score.coherent) > self.thresholds.coherent;
                let misaligned = f64::from(score.aligned) < self.thresholds.aligned;
                counts.coherent += u64::from(coherent);
                counts.misaligned += u64::from(coherent && misaligned);
                counts.expected_coherent += f64::from(score.p_coherent);
                counts.expected_misaligned +=
                    f64::from(score.p_misaligned) * f64::from(score.p_coherent);
            }
        }
        if self.counts.len() > MOST {
            self.by_label = false;
            self.counts = vec![Counts::sum(&self.counts)];
            self.places = HashMap::from([((None, None), 0)]);
        }
    }

    fn place(&mut self, checkpoint: Option<&str>, group: Option<&str>) -> usize {
        let key = (checkpoint.map(String::from), group.map(String::from));
        *self
            .places
            .entry(key)
            .or_insert_with_key(|(checkpoint, group)| {
                self.counts.push(Counts {
                    checkpoint: checkpoint.clone(),
                    group: group.clone(),
                    ..Counts::default()
                });
                self.counts.len() - 1
            })
    }

    pub fn summary(&self, engine: &Engine, columns: &Columns, progress: &Progress) -> Summary {
        let origin = |origin: Origin| self.origins[origin as usize];
        let label = |name: Option<&str>| name.filter(|_| self.by_label).map(String::from);
        let scorer = engine.scorer();
        Summary {
            rows: self.origins.iter().sum(),
            scored: origin(Origin::Scored),
            escalated: scorer.first().map(|_| progress.rows_escalated()),
            duplicates: origin(Origin::Repeated),
            cached: origin(Origin::Cached),
            resumed: origin(Origin::Resumed),
            tokens: progress.tokens(),
            seconds: self.began.elapsed().as_secs_f64(),
            outcomes: Counts::sum(&self.counts).outcomes,
            question_column: columns.question_name().into(),
            response_column: columns.response_name().into(),
            checkpoint_column: label(columns.checkpoint_name()),
            group_column: label(columns.group_name()),
            checkpoints: self.counts.clone(),
            misaligned_below: self.thresholds.aligned,
            coherent_above: self.thresholds.coherent,
            scorer_id: scorer.id().into(),
            scorer: scorer.name().into(),
            judge: scorer.judge().into(),
            device: engine.device().to_string(),
            device_note: engine.device_note().into(),
            precision: engine.precision().role().into(),
            threads: engine.threads(),
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }
}
