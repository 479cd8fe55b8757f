//! `Scoring`: a run under way, as an iterator that Ctrl-C can stop.

use std::process;
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use emscore::progress::{Progress, Stop};
use emscore::source::Source;
use emscore::tally::Summary;
use emscore::{Engine, Options};
use pyo3::prelude::*;
use pyo3_arrow::{PyRecordBatch, PySchema};

use crate::errors::raise;

/// How often a waiting call looks for Ctrl-C.
const GLANCE: Duration = Duration::from_millis(50);

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

/// Runs that read from Python, of this process or one that forked it, and whether their readers
/// live.
static READING: Mutex<Vec<(u32, Stop, Weak<()>)>> = Mutex::new(Vec::new());

/// A stream from Python, read by a thread that needs the GIL for it.
struct Stream {
    inner: Box<dyn RecordBatchReader + Send>,
    _alive: Arc<()>,
}

impl Iterator for Stream {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.inner.next()
    }
}

impl RecordBatchReader for Stream {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }
}

/// Stops all runs, and waits a little for their readers: no thread may ask for the GIL of an
/// interpreter that ends.
#[pyfunction]
pub fn stop_all(py: Python<'_>) {
    let mut reading = std::mem::take(&mut *READING.lock().expect("no holder panics"));
    reading.retain(|(owner, ..)| *owner == process::id());
    reading.iter().for_each(|(_, stop, _)| stop.set());
    py.detach(|| {
        let began = Instant::now();
        while reading.iter().any(|(.., alive)| alive.strong_count() > 0)
            && began.elapsed() < Duration::from_secs(5)
        {
            thread::sleep(Duration::from_millis(5));
        }
    });
}

impl Scoring {
    /// Starts scoring the batches of `inner`; a thread of its own keeps the engine's side going, so
    /// that the caller's waiting can be interrupted.
    pub fn start(
        py: Python<'_>,
        engine: &Arc<Engine>,
        inner: Box<dyn RecordBatchReader + Send>,
        options: &Options,
    ) -> PyResult<Scoring> {
        let progress = Arc::new(Progress::default());
        let stop = Stop::default();
        let alive = Arc::new(());
        {
            let mut reading = READING.lock().expect("no holder panics");
            reading.retain(|(.., alive)| alive.strong_count() > 0);
            reading.push((process::id(), stop.clone(), Arc::downgrade(&alive)));
        }
        let source = Source::from_reader(Box::new(Stream {
            inner,
            _alive: alive,
        }));
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
    /// Stops the run, and waits for its threads but the reader, whose input may block for ever.
    fn drop(&mut self) {
        self.stop.set();
        self.steps = crossbeam_channel::never();
        if let Some(pump) = self.pump.lock().expect("no holder panics").take() {
            // The source may need the GIL to come to its end.
            Python::attach(|py| py.detach(|| drop(pump.join())));
        }
    }
}
