//! Files in, one file out: resumable, all or nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
/// another scorer or of other rows than the first ones, or an unfinished run is in the way.
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
    let (mut journal, rows) = if output == "-" {
        (None, None)
    } else {
        let scorer = format!(
            "the scorer {} in {} by emscore {}",
            engine.scorer().id(),
            engine.precision().role(),
            env!("CARGO_PKG_VERSION")
        );
        let discard = options.overwrite && !resume;
        let (journal, rows) = Journal::open(&journal_path, &scorer, resume, discard)?;
        (Some(journal), rows)
    };
    let began = pipeline::start(engine, source, plan, options.limit, progress, stop, rows);
    let run = began.and_then(|mut scoring| {
        while let Some(scored) = scoring.next_scored() {
            let scored = scored?;
            if let Some(journal) = &mut journal {
                let new = scored.resumed..;
                journal.append(&scored.keys[new.clone()], &scored.scores[new])?;
            }
            out.write(&scored.batch)?;
        }
        out.finish()?;
        Ok(scoring.summary())
    });
    if let Some(journal) = journal {
        // A run that scored nothing leaves nothing behind.
        if run.is_ok() || !journal.has_rows() {
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

fn refuse_own_input(source: &Source, output: &Path) -> Result<()> {
    let Ok(output) = output.canonicalize() else {
        return Ok(());
    };
    let is_output = |path: &&String| {
        Path::new(path)
            .canonicalize()
            .is_ok_and(|path| path == output)
    };
    match source.files.iter().find(is_output) {
        Some(file) => Err(Error::Output(format!(
            "{file} is both input and output. Give the output another name with -o"
        ))),
        None => Ok(()),
    }
}
