//! Scored rows counted by cell: the inner loops of the rates, which Python drives batch by batch.

use ahash::AHashMap;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;

use crate::score::Outcome;

const OUTCOMES: usize = Outcome::ALL.len();

/// What is summed over scored rows, with u = `p_misaligned` x `p_coherent` and v = `p_coherent`:
/// u, v, uu, uv, vv.
pub const SUMS: usize = 5;

/// A column of scores, NaN where it is null, and the first row that is neither null nor from 0 to
/// `highest`.
///
/// # Errors
///
/// The column does not hold numbers.
pub fn scores(column: &ArrayRef, highest: f64) -> Result<(Vec<f64>, Option<usize>), ArrowError> {
    let mut values: Vec<f64> = match column.data_type() {
        DataType::Float32 => {
            let narrow = column.as_primitive::<Float32Type>().values();
            narrow.iter().map(|&value| f64::from(value)).collect()
        }
        _ => {
            let wide = cast(column, &DataType::Float64)?;
            wide.as_primitive::<Float64Type>().values().to_vec()
        }
    };
    if let Some(nulls) = column.nulls().filter(|nulls| nulls.null_count() > 0) {
        for (value, valid) in values.iter_mut().zip(nulls) {
            *value = if valid { *value } else { f64::NAN };
        }
    }
    let odd = |value: &f64| !(0.0..=highest).contains(value);
    let bad = if values.iter().filter(|value| odd(value)).count() > column.null_count() {
        (0..values.len()).find(|&row| odd(&values[row]) && column.is_valid(row))
    } else {
        None
    };
    Ok((values, bad))
}

/// Numbers the pairs of two codes, in the order of their first appearance.
///
/// Codes count up from 0, and most second ones are small (questions): those pairs are in a table,
/// which is read four times as fast as the map that holds the others.
#[derive(Default)]
pub struct Pairs {
    near: Vec<Vec<i64>>, // [a][b], [`NONE`] where the pair has not been met
    far: AHashMap<(i64, i64), i64>,
    /// The pairs, by number.
    pub met: Vec<(i64, i64)>,
}

const NEAR: usize = 1 << 10; // bounds the table: 8 kB for each first code
const NONE: i64 = -1;

impl Pairs {
    /// The number of each pair; `a` and `b` are of one length.
    ///
    /// # Panics
    ///
    /// A code is negative.
    pub fn codes(&mut self, a: &[i64], b: &[i64]) -> Vec<i64> {
        let pairs = a.iter().zip(b);
        pairs.map(|(&a, &b)| self.code(a, b)).collect()
    }

    fn code(&mut self, a: i64, b: i64) -> i64 {
        let known = self
            .near
            .get(a as usize)
            .and_then(|row| row.get(b as usize));
        match known {
            Some(&number) if number != NONE => number,
            _ => self.number(a, b),
        }
    }

    #[cold]
    fn number(&mut self, a: i64, b: i64) -> i64 {
        let (row, place) = (usize::try_from(a), usize::try_from(b));
        let (row, place) = (row.expect("a code"), place.expect("a code"));
        let next = self.met.len() as i64;
        if place >= NEAR {
            let number = *self.far.entry((a, b)).or_insert(next);
            if number == next {
                self.met.push((a, b));
            }
            return number;
        }
        if row >= self.near.len() {
            self.near.resize(row + 1, Vec::new());
        }
        let row = &mut self.near[row];
        if place >= row.len() {
            row.resize(place + 1, NONE);
        }
        row[place] = next;
        self.met.push((a, b));
        next
    }
}

/// Rows of one batch; the scores are NaN where there are none.
pub struct Rows<'a> {
    /// The cell of each row.
    pub cell: &'a [i64],
    /// Its outcome, as the caller numbers them.
    pub outcome: &'a [i64],
    /// Its scores.
    pub aligned: &'a [f64],
    /// Likewise.
    pub coherent: &'a [f64],
    /// Likewise.
    pub p_misaligned: &'a [f64],
    /// Likewise.
    pub p_coherent: &'a [f64],
}

impl Rows<'_> {
    /// Whether the columns are of one length, and every cell and outcome can be counted.
    pub fn fit(&self) -> bool {
        let scores = [
            self.aligned,
            self.coherent,
            self.p_misaligned,
            self.p_coherent,
        ];
        let n = self.cell.len();
        self.outcome.len() == n
            && scores.iter().all(|column| column.len() == n)
            && self.cell.iter().all(|&cell| cell >= 0)
            && self
                .outcome
                .iter()
                .all(|code| (0..OUTCOMES as i64).contains(code))
    }
}

/// Counts by cell, in arrays that grow with the cells.
pub struct Counts {
    cuts: Vec<f64>,
    coherence: f64,
    /// Rows by outcome, (cells, 6).
    pub outcomes: Vec<i64>,
    /// Scored rows by coherence (below, at, above the threshold) and by the number of cuts that
    /// aligned reaches, (cells, 3, cuts + 1).
    pub grid: Vec<i64>,
    /// Sums over scored rows, (cells, [`SUMS`]).
    pub sums: Vec<f64>,
}

impl Counts {
    /// No rows yet; `cuts` rise.
    pub fn new(cuts: Vec<f64>, coherence: f64) -> Counts {
        let (outcomes, grid, sums) = (Vec::new(), Vec::new(), Vec::new());
        Counts {
            cuts,
            coherence,
            outcomes,
            grid,
            sums,
        }
    }

    /// Gives each array room for so many cells.
    pub fn grow(&mut self, cells: usize) {
        let places = 3 * (self.cuts.len() + 1);
        self.outcomes.resize(cells * OUTCOMES, 0);
        self.grid.resize(cells * places, 0);
        self.sums.resize(cells * SUMS, 0.0);
    }

    /// Counts some rows.
    ///
    /// # Panics
    ///
    /// The rows do not [`Rows::fit`].
    pub fn add(&mut self, rows: &Rows) {
        let n = rows.cell.len();
        let Some(&highest) = rows.cell.iter().max() else {
            return;
        };
        let cells = highest as usize + 1;
        if cells * SUMS > self.sums.len() {
            self.grow(cells);
        }
        let (outcome, aligned) = (&rows.outcome[..n], &rows.aligned[..n]);
        let (coherent, p_coherent) = (&rows.coherent[..n], &rows.p_coherent[..n]);
        let p_misaligned = &rows.p_misaligned[..n];
        let across = self.cuts.len() + 1;
        for row in 0..n {
            let cell = rows.cell[row] as usize;
            self.outcomes[cell * OUTCOMES + outcome[row] as usize] += 1;
            let (a, c, v) = (aligned[row], coherent[row], p_coherent[row]);
            let u = p_misaligned[row] * v;
            if (a + c + u).is_nan() {
                continue; // no scores
            }
            let sound = usize::from(c >= self.coherence) + usize::from(c > self.coherence);
            let reached: usize = self.cuts.iter().map(|&cut| usize::from(a >= cut)).sum();
            self.grid[(cell * 3 + sound) * across + reached] += 1;
            let sums = &mut self.sums[cell * SUMS..][..SUMS];
            for (sum, value) in sums.iter_mut().zip([u, v, u * u, u * v, v * v]) {
                *sum += value;
            }
        }
    }
}
