//! Files in, one file out, with progress and Ctrl-C.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use emscore::progress::{Progress, Stop};
use emscore::{Engine, Error, Options};
use pyo3::prelude::*;

use crate::errors::raise;

/// How often progress is told, and Ctrl-C looked for.
const TELL: Duration = Duration::from_millis(100);

/// How long a stopped run may take to tidy up.
const PATIENCE: Duration = Duration::from_millis(800);

/// Runs the engine on a thread of its own while this one tells progress and watches for Ctrl-C.
pub fn score_file(
    py: Python<'_>,
    engine: Arc<Engine>,
    inputs: Vec<String>,
    output: String,
    options: Options,
    resume: bool,
    tell: Option<Bound<'_, PyAny>>,
) -> PyResult<String> {
    let progress = Arc::new(Progress::default());
    let stop = Stop::default();
    let (done, result) = bounded(1);
    let run = {
        let (progress, stop) = (progress.clone(), stop.clone());
        thread::spawn(move || {
            let summary =
                emscore::score_file(&engine, &inputs, &output, &options, resume, progress, stop);
            let _ = done.send(summary);
        })
    };
    let tell = |progress: &Progress| -> PyResult<()> {
        if let Some(tell) = &tell {
            tell.call1((progress.rows(), progress.total(), progress.tokens()))?;
        }
        Ok(())
    };
    let result = loop {
        match py.detach(|| result.recv_timeout(TELL)) {
            Ok(result) => break result,
            Err(RecvTimeoutError::Disconnected) => {
                break Err(Error::Device(
                    "the engine stopped unexpectedly; please report this".into(),
                ));
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Err(error) = py.check_signals().and_then(|()| tell(&progress)) {
                    stop.set();
                    // Not for ever: the engine may be waiting for a silent standard input.
                    let _ = py.detach(|| result.recv_timeout(PATIENCE));
                    return Err(error);
                }
            }
        }
    };
    let _ = py.detach(|| run.join());
    let summary = result.map_err(raise)?;
    tell(&progress)?;
    Ok(serde_json::to_string(&summary).expect("a summary is JSON"))
}
