//! Files in, one file out: resumable, all or nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::engine::Engine;
use crate::journal::Journal;
use crate::pipeline;
use crate::plan::{Options, Plan};
use crate::progress::{Progress, Stop};
use crate::sink::Output;
use crate::source::Source;
use crate::tally::Summary;
use crate::{Error, Result};

/// Scores `inputs` into `output`.
///
/// While the run is under way the output's partial file and its journal stand beside it. Where it
/// ends early, the journal stays, and the same call with `resume` goes on from there.
///
/// # Errors
/// Those of reading, scoring and writing; [`Error::Resume`] when `resume` meets a journal of
/// another run, or an unfinished run is in the way.
pub fn score_file(
    engine: &Arc<Engine>,
    inputs: &[String],
    output: &str,
    options: &Options,
    resume: bool,
    progress: Arc<Progress>,
    stop: Stop,
) -> Result<Summary> {
    let path = Path::new(output);
    let journal_path = journal_path(path);
    // A run that was killed after its output got its name, but before its journal went, may
    // replace that output.
    let replace = options.overwrite || (resume && journal_path.exists());
    // Held to the end: what stands beside the output is this run's alone.
    let place = Output::reserve(path, replace)?;
    let source = Source::open(inputs)?;
    refuse_own_input(&source, path)?;
    // What can be refused is refused before an earlier journal may go.
    let plan = Plan::new(engine, &source, options)?;
    let mut out = place.begin(&plan.schema)?;
    let (mut journal, blocks) = if output == "-" {
        (None, None)
    } else {
        let identity = identity(engine, &source, output, options);
        let discard = options.overwrite && !resume;
        let (journal, blocks) = Journal::open(&journal_path, &identity, resume, discard)?;
        (Some(journal), blocks)
    };
    let began = pipeline::start(engine, source, plan, options.limit, progress, stop, blocks);
    let run = began.and_then(|mut scoring| {
        while let Some(scored) = scoring.next_scored() {
            let scored = scored?;
            if let Some(journal) = journal.as_mut().filter(|_| !scored.resumed) {
                journal.append(&scored.block)?;
            }
            out.write(&scored.batch)?;
        }
        out.finish()?;
        Ok(scoring.summary())
    });
    if let Some(journal) = journal {
        // A run that scored nothing leaves nothing behind.
        if run.is_ok() || !journal.has_blocks() {
            journal.remove()?;
        }
    }
    run
}

/// Beside the output, so that both stand on the same disk and are found together.
fn journal_path(output: &Path) -> PathBuf {
    let mut name = OsString::from(output);
    name.push(".journal");
    name.into()
}

/// All that decides what the output holds; not how fast it is made.
fn identity(
    engine: &Engine,
    source: &Source,
    output: &str,
    options: &Options,
) -> Map<String, Value> {
    let files: Vec<Value> = source
        .files
        .iter()
        .map(|file| json!([file.path, file.bytes]))
        .collect();
    let format = Path::new(output)
        .extension()
        .map(|ending| ending.to_string_lossy().to_string());
    let identity = json!({
        "scorer": engine.scorer().id(),
        "precision": engine.precision().role(),
        "version": env!("CARGO_PKG_VERSION"),
        "input": files,
        "output format": format,
        "question column": options.columns.question,
        "response column": options.columns.response,
        "prefix": options.prefix,
        "overwrite": options.overwrite,
        "limit": options.limit,
    });
    match identity {
        Value::Object(map) => map,
        _ => unreachable!("json! of braces is an object"),
    }
}

fn refuse_own_input(source: &Source, output: &Path) -> Result<()> {
    let Ok(output) = output.canonicalize() else {
        return Ok(());
    };
    let is_output = |path: &str| {
        Path::new(path)
            .canonicalize()
            .is_ok_and(|path| path == output)
    };
    match source.files.iter().find(|file| is_output(&file.path)) {
        Some(file) => Err(Error::Output(format!(
            "{} is both input and output. Give the output another name with -o",
            file.path
        ))),
        None => Ok(()),
    }
}
