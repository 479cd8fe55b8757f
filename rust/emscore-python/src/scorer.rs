//! `Scorer`: an engine that stays warm.

use std::path::Path;
use std::sync::Arc;

use emscore::columns::ColumnNames;
use emscore::device::Precision;
use emscore::{Engine, EngineOptions, Options, Runtime};
use pyo3::prelude::*;
use pyo3_arrow::PyRecordBatchReader;

use crate::errors::raise;
use crate::score_file::score_file;
use crate::scoring::Scoring;

/// A scorer on a device, with warm sessions.
#[pyclass(frozen, module = "emscore._emscore")]
pub struct Scorer {
    engine: Arc<Engine>,
}

#[pymethods]
impl Scorer {
    #[new]
    #[pyo3(signature = (model, *, runtime, device="auto", precision=None, threads=None, batch_tokens=None))]
    fn new(
        py: Python<'_>,
        model: &str,
        runtime: &str,
        device: &str,
        precision: Option<&str>,
        threads: Option<usize>,
        batch_tokens: Option<usize>,
    ) -> PyResult<Scorer> {
        let options = EngineOptions {
            device: device.parse().map_err(raise)?,
            precision: precision
                .map(str::parse::<Precision>)
                .transpose()
                .map_err(raise)?,
            threads,
            batch_tokens,
        };
        let make = || {
            let runtime = Runtime::load(Path::new(runtime))?;
            Engine::new(runtime, Path::new(model), &options)
        };
        let engine = py.detach(make).map_err(raise)?;
        Ok(Scorer {
            engine: Arc::new(engine),
        })
    }

    #[getter]
    fn id(&self) -> &str {
        self.engine.scorer().id()
    }

    #[getter]
    fn name(&self) -> &str {
        self.engine.scorer().name()
    }

    #[getter]
    fn judge(&self) -> &str {
        self.engine.scorer().judge()
    }

    #[getter]
    fn device(&self) -> String {
        self.engine.device().to_string()
    }

    #[getter]
    fn device_note(&self) -> &str {
        self.engine.device_note()
    }

    #[getter]
    fn precision(&self) -> &str {
        self.engine.precision().role()
    }

    #[getter]
    fn threads(&self) -> usize {
        self.engine.threads()
    }

    /// Scores an Arrow stream; the result is an iterator of batches.
    #[pyo3(signature = (stream, *, question_column=None, response_column=None, prefix="", overwrite=false, limit=None, cache=None))]
    #[allow(clippy::too_many_arguments)] // Python's keywords
    fn score(
        &self,
        py: Python<'_>,
        stream: PyRecordBatchReader,
        question_column: Option<String>,
        response_column: Option<String>,
        prefix: &str,
        overwrite: bool,
        limit: Option<u64>,
        cache: Option<&str>,
    ) -> PyResult<Scoring> {
        let options = options(
            question_column,
            response_column,
            prefix,
            overwrite,
            limit,
            cache,
        );
        Scoring::start(py, &self.engine, stream.into_reader()?, &options)
    }

    /// Scores files into a file; the result is a summary as JSON.
    #[pyo3(signature = (inputs, output, *, question_column=None, response_column=None, prefix="", overwrite=false, limit=None, cache=None, resume=false, progress=None))]
    #[allow(clippy::too_many_arguments)] // Python's keywords
    fn score_file(
        &self,
        py: Python<'_>,
        inputs: Vec<String>,
        output: String,
        question_column: Option<String>,
        response_column: Option<String>,
        prefix: &str,
        overwrite: bool,
        limit: Option<u64>,
        cache: Option<&str>,
        resume: bool,
        progress: Option<Bound<'_, PyAny>>,
    ) -> PyResult<String> {
        let options = options(
            question_column,
            response_column,
            prefix,
            overwrite,
            limit,
            cache,
        );
        score_file(
            py,
            self.engine.clone(),
            inputs,
            output,
            options,
            resume,
            progress,
        )
    }
}

fn options(
    question: Option<String>,
    response: Option<String>,
    prefix: &str,
    overwrite: bool,
    limit: Option<u64>,
    cache: Option<&str>,
) -> Options {
    Options {
        columns: ColumnNames { question, response },
        prefix: prefix.into(),
        overwrite,
        limit,
        cache: cache.map(Into::into),
    }
}
