//! `Scoring`: a run under way, as an iterator that Ctrl-C can stop.

use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use emscore::progress::{Progress, Stop};
use emscore::source::Source;
use emscore::tally::Summary;
use emscore::{Engine, Options};
use pyo3::prelude::*;
use pyo3_arrow::{PyRecordBatch, PySchema};

use crate::errors::raise;

/// How often a waiting call looks for Ctrl-C.
pub const GLANCE: Duration = Duration::from_millis(50);

/// Scored batches in row order.
#[pyclass(frozen, module = "emscore._emscore")]
pub struct Scoring {
    schema: SchemaRef,
    steps: Receiver<Step>,
    summary: Mutex<Option<Summary>>,
    progress: Arc<Progress>,
    stop: Stop,
    pump: Mutex<Option<JoinHandle<()>>>,
}

enum Step {
    Batch(emscore::Result<RecordBatch>),
    End(Box<Summary>),
}

impl Scoring {
    /// Starts scoring `source`; a thread of its own keeps the engine's side going, so that the
    /// caller's waiting can be interrupted.
    pub fn start(
        py: Python<'_>,
        engine: &Arc<Engine>,
        source: Source,
        options: &Options,
    ) -> PyResult<Scoring> {
        let progress = Arc::new(Progress::default());
        let stop = Stop::default();
        let start = || emscore::score(engine, source, options, progress.clone(), stop.clone());
        let mut scoring = py.detach(start).map_err(raise)?;
        let schema = scoring.schema();
        let (to_caller, steps) = bounded(1);
        let pump = thread::spawn(move || {
            for batch in scoring.by_ref() {
                let failed = batch.is_err();
                if to_caller.send(Step::Batch(batch)).is_err() || failed {
                    return;
                }
            }
            let _ = to_caller.send(Step::End(Box::new(scoring.summary())));
        });
        Ok(Scoring {
            schema,
            steps,
            summary: Mutex::new(None),
            progress,
            stop,
            pump: Mutex::new(Some(pump)),
        })
    }
}

#[pymethods]
impl Scoring {
    #[getter]
    fn schema(&self) -> PySchema {
        PySchema::new(self.schema.clone())
    }

    /// Rows done so far.
    #[getter]
    fn rows(&self) -> u64 {
        self.progress.rows()
    }

    /// Tokens done so far.
    #[getter]
    fn tokens(&self) -> u64 {
        self.progress.tokens()
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyRecordBatch>> {
        loop {
            match py.detach(|| self.steps.recv_timeout(GLANCE)) {
                Ok(Step::Batch(batch)) => {
                    return batch.map(PyRecordBatch::new).map(Some).map_err(raise);
                }
                Ok(Step::End(summary)) => {
                    *self.summary.lock().expect("no holder panics") = Some(*summary);
                    return Ok(None);
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {
                    py.check_signals().inspect_err(|_| self.stop.set())?;
                }
            }
        }
    }

    /// The run in numbers, as JSON; None until the last batch has been taken.
    fn summary(&self) -> Option<String> {
        let summary = self.summary.lock().expect("no holder panics");
        summary
            .as_ref()
            .map(|summary| serde_json::to_string(summary).expect("a summary is JSON"))
    }
}

impl Drop for Scoring {
    /// Stops the run, and waits for its threads so that none outlives the interpreter.
    fn drop(&mut self) {
        self.stop.set();
        self.steps = crossbeam_channel::never();
        if let Some(pump) = self.pump.lock().expect("no holder panics").take() {
            // The source may need the GIL to come to its end.
            Python::attach(|py| py.detach(|| drop(pump.join())));
        }
    }
}
