//! Scored rows counted by cell.

use emscore::rates::{self, Counts, Rows, scores};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3_arrow::PyArray;

use crate::errors::InputError;

type Floats<'py> = Bound<'py, PyArray1<f64>>;
type Ints<'py> = Bound<'py, PyArray1<i64>>;

/// A column of scores as float64, NaN where it is null, and the first row that is neither null nor
/// from 0 to `highest`.
#[pyfunction]
pub fn score_values(
    py: Python<'_>,
    column: PyArray,
    highest: f64,
) -> PyResult<(Floats<'_>, Option<usize>)> {
    let (values, bad) = py
        .detach(|| scores(column.array(), highest))
        .map_err(|error| InputError::new_err(error.to_string()))?;
    py.check_signals()?; // the first use of numpy's interface panics where Ctrl-C falls into it
    Ok((values.into_pyarray(py), bad))
}

/// Numbers the pairs of two codes, in the order of their first appearance.
#[pyclass(module = "emscore._emscore")]
pub struct Pairs(rates::Pairs);

#[pymethods]
impl Pairs {
    #[new]
    fn new() -> Pairs {
        Pairs(rates::Pairs::default())
    }

    fn __len__(&self) -> usize {
        self.0.met.len()
    }

    /// The number of each pair.
    fn codes<'py>(
        &mut self,
        py: Python<'py>,
        a: PyReadonlyArray1<'_, i64>,
        b: PyReadonlyArray1<'_, i64>,
    ) -> PyResult<Ints<'py>> {
        let (a, b) = (a.as_slice()?, b.as_slice()?);
        if a.len() != b.len() {
            return Err(PyValueError::new_err("the codes differ in length"));
        }
        Ok(py.detach(|| self.0.codes(a, b)).into_pyarray(py))
    }

    /// The pairs, by number.
    fn pairs(&self) -> Vec<(i64, i64)> {
        self.0.met.clone()
    }
}

/// Counts by cell, in arrays that grow with the cells.
#[pyclass(module = "emscore._emscore")]
pub struct Tally(Counts);

#[pymethods]
impl Tally {
    #[new]
    fn new(cuts: Vec<f64>, coherence: f64) -> Tally {
        Tally(Counts::new(cuts, coherence))
    }

    /// Counts some rows; the scores are NaN where there are none.
    #[allow(clippy::too_many_arguments)] // the columns
    fn add(
        &mut self,
        py: Python<'_>,
        cell: PyReadonlyArray1<'_, i64>,
        outcome: PyReadonlyArray1<'_, i64>,
        aligned: PyReadonlyArray1<'_, f64>,
        coherent: PyReadonlyArray1<'_, f64>,
        p_misaligned: PyReadonlyArray1<'_, f64>,
        p_coherent: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<()> {
        let rows = Rows {
            cell: cell.as_slice()?,
            outcome: outcome.as_slice()?,
            aligned: aligned.as_slice()?,
            coherent: coherent.as_slice()?,
            p_misaligned: p_misaligned.as_slice()?,
            p_coherent: p_coherent.as_slice()?,
        };
        if !rows.fit() {
            let text = "the columns differ in length, or a cell or an outcome is none";
            return Err(PyValueError::new_err(text));
        }
        py.detach(|| self.0.add(&rows));
        Ok(())
    }

    /// What so many cells have: outcomes (cells, 6), grid (cells, 3, cuts + 1), sums (cells, 5),
    /// each flat.
    fn counts<'py>(
        &mut self,
        py: Python<'py>,
        cells: usize,
    ) -> (Ints<'py>, Ints<'py>, Floats<'py>) {
        self.0.grow(cells);
        let Counts {
            outcomes,
            grid,
            sums,
            ..
        } = &self.0;
        (
            PyArray1::from_slice(py, outcomes),
            PyArray1::from_slice(py, grid),
            PyArray1::from_slice(py, sums),
        )
    }
}
