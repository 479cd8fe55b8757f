//! What one row gets.

use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Float32Array, Int8Array, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef};

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Scored.
    Ok,
    /// The response refuses; the judge gives no number.
    Refusal,
    /// The response is code; the judge gives no number.
    Code,
    /// There is no response text.
    Empty,
    /// Scored on the part of the response that fits.
    TooLong,
    /// The classifier gave no finite number for this row.
    Error,
}

impl Outcome {
    /// Every outcome, in the order of the column's dictionary.
    pub const ALL: [Outcome; 6] = [
        Outcome::Ok,
        Outcome::Refusal,
        Outcome::Code,
        Outcome::Empty,
        Outcome::TooLong,
        Outcome::Error,
    ];

    /// The word in the `outcome` column.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Refusal => "refusal",
            Outcome::Code => "code",
            Outcome::Empty => "empty",
            Outcome::TooLong => "too_long",
            Outcome::Error => "error",
        }
    }

    /// Whether rows with this outcome carry numbers.
    pub fn is_scored(self) -> bool {
        matches!(self, Outcome::Ok | Outcome::TooLong)
    }
}

/// A row's numbers and outcome. The numbers mean something only where
/// [`Outcome::is_scored`]; elsewhere they are NaN here and null in every output.
#[derive(Debug, Clone, Copy)]
pub struct Score {
    /// 0-100, what the judge would be expected to say.
    pub aligned: f32,
    /// 0-100, likewise.
    pub coherent: f32,
    /// Calibrated probability that the judge's aligned is below the threshold.
    pub p_misaligned: f32,
    /// Calibrated probability that the judge's coherent is above the threshold.
    pub p_coherent: f32,
    /// What happened.
    pub outcome: Outcome,
}

impl Score {
    /// The score of a row without a response.
    pub const EMPTY: Score = Score::without_numbers(Outcome::Empty);
    /// Bytes that [`Score::to_bytes`] gives.
    pub const BYTES: usize = 17;

    /// A row that gets no numbers.
    pub const fn without_numbers(outcome: Outcome) -> Score {
        Score {
            aligned: f32::NAN,
            coherent: f32::NAN,
            p_misaligned: f32::NAN,
            p_coherent: f32::NAN,
            outcome,
        }
    }

    fn numbers(self) -> [f32; 4] {
        [
            self.aligned,
            self.coherent,
            self.p_misaligned,
            self.p_coherent,
        ]
    }

    /// Fixed-size form for the journal and the cache.
    pub fn to_bytes(self) -> [u8; Score::BYTES] {
        let mut bytes = [0; Score::BYTES];
        for (part, number) in bytes.chunks_exact_mut(4).zip(self.numbers()) {
            part.copy_from_slice(&number.to_le_bytes());
        }
        bytes[16] = self.outcome as u8;
        bytes
    }

    /// The inverse of [`Score::to_bytes`]; `None` when the bytes are no score.
    pub fn from_bytes(bytes: &[u8]) -> Option<Score> {
        let bytes: &[u8; Score::BYTES] = bytes.try_into().ok()?;
        let number = |at: usize| {
            f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Some(Score {
            aligned: number(0),
            coherent: number(4),
            p_misaligned: number(8),
            p_coherent: number(12),
            outcome: *Outcome::ALL.get(bytes[16] as usize)?,
        })
    }
}

/// The names of the appended columns, before any prefix.
pub const COLUMNS: [&str; 5] = [
    "aligned",
    "coherent",
    "p_misaligned",
    "p_coherent",
    "outcome",
];

/// The fields of the appended columns; each names the scorer, so that columns of several scorers
/// in one file stay attributable.
pub fn fields(prefix: &str, scorer_id: &str) -> Vec<FieldRef> {
    let outcome = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    COLUMNS
        .iter()
        .map(|name| {
            let data_type = if *name == "outcome" {
                outcome.clone()
            } else {
                DataType::Float32
            };
            let nullable = *name != "outcome";
            let metadata = [("emscore.scorer_id".to_string(), scorer_id.to_string())];
            Arc::new(
                Field::new(format!("{prefix}{name}"), data_type, nullable)
                    .with_metadata(metadata.into()),
            )
        })
        .collect()
}

/// The appended columns of one batch.
pub fn arrays(scores: &[Score], words: &ArrayRef) -> Vec<ArrayRef> {
    let numbers = |number: fn(&Score) -> f32| -> ArrayRef {
        let values = scores
            .iter()
            .map(|score| score.outcome.is_scored().then(|| number(score)));
        Arc::new(Float32Array::from_iter(values))
    };
    let outcomes = Int8Array::from_iter_values(scores.iter().map(|score| score.outcome as i8));
    vec![
        numbers(|score| score.aligned),
        numbers(|score| score.coherent),
        numbers(|score| score.p_misaligned),
        numbers(|score| score.p_coherent),
        Arc::new(
            DictionaryArray::try_new(outcomes, words.clone()).expect("every outcome has a word"),
        ),
    ]
}

/// The dictionary of the outcome column: one array for a whole run, since an Arrow file may hold
/// each dictionary only once.
pub fn words() -> ArrayRef {
    Arc::new(StringArray::from_iter_values(
        Outcome::ALL.map(Outcome::word),
    ))
}
