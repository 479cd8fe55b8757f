//! What is settled before a run begins: columns in, columns out, the cache.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use crate::cache::Cache;
use crate::columns::{ColumnNames, Columns};
use crate::engine::Engine;
use crate::score;
use crate::source::Source;
use crate::{Error, Result};

/// What a run does with its input.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Columns of question and response, where the user named them.
    pub columns: ColumnNames,
    /// Goes before the name of each appended column.
    pub prefix: String,
    /// Replace columns (and files) that exist, instead of refusing.
    pub overwrite: bool,
    /// Only this many rows.
    pub limit: Option<u64>,
    /// Folder of the score cache.
    pub cache: Option<PathBuf>,
}

/// What is settled before a run begins: all that can be refused is refused by then.
pub(crate) struct Plan {
    pub columns: Columns,
    /// The columns that stay, then the scores.
    pub schema: SchemaRef,
    /// Positions of the columns that stay.
    pub kept: Vec<usize>,
    pub cache: Option<Cache>,
}

impl Plan {
    /// Looks at the columns, and opens the cache.
    ///
    /// # Errors
    /// [`Error::Input`] when columns are missing or in the way; errors of the cache, and
    /// [`Error::Device`] where the engine's sessions were left behind by a fork.
    pub fn new(engine: &Engine, source: &Source, options: &Options) -> Result<Plan> {
        let columns = Columns::detect(&source.schema, &options.columns)?;
        for (what, keys) in columns.keys() {
            source.check_text(what, keys)?;
        }
        let (schema, kept) = output_schema(engine, &source.schema, &columns, options)?;
        engine.require_whole()?;
        let open =
            |folder: &PathBuf| Cache::open(folder, engine.scorer().id(), engine.precision().role());
        Ok(Plan {
            columns,
            schema,
            kept,
            cache: options.cache.as_ref().map(open).transpose()?,
        })
    }
}

/// The input's fields that stay, their positions, and the score fields after them.
fn output_schema(
    engine: &Engine,
    input: &SchemaRef,
    columns: &Columns,
    options: &Options,
) -> Result<(SchemaRef, Vec<usize>)> {
    let scorer = engine.scorer();
    let appended = score::fields(&options.prefix, scorer.id());
    let taken = |field: &FieldRef| appended.iter().any(|new| new.name() == field.name());
    let in_the_way: Vec<&str> = input
        .fields()
        .iter()
        .filter(|field| taken(field))
        .map(|field| field.name().as_str())
        .collect();
    if !in_the_way.is_empty() && !options.overwrite {
        return Err(Error::Input(format!(
            "the input already has the column{} {}. Give the new ones other names (--prefix, in Python prefix=), or allow them to be replaced (--overwrite, overwrite=True)",
            if in_the_way.len() == 1 { "" } else { "s" },
            in_the_way.join(", ")
        )));
    }
    let kept: Vec<usize> = (0..input.fields().len())
        .filter(|&at| !taken(&input.fields()[at]))
        .collect();
    let fields: Vec<FieldRef> = kept
        .iter()
        .map(|&at| input.fields()[at].clone())
        .chain(appended)
        .collect();
    let thresholds = scorer.thresholds();
    let mut metadata: HashMap<String, String> = input.metadata().clone();
    for (name, value) in [
        ("scorer_id", scorer.id().to_string()),
        ("scorer", scorer.name().to_string()),
        ("judge", scorer.judge().to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_string()),
        ("device", engine.device().to_string()),
        ("precision", engine.precision().role().to_string()),
        ("misaligned_below", thresholds.aligned.to_string()),
        ("coherent_above", thresholds.coherent.to_string()),
    ] {
        metadata.insert(format!("emscore.{}{name}", options.prefix), value);
    }
    // Whoever reads the scores looks for the texts, under whatever name.
    for (role, name) in columns.texts_named() {
        let key = format!("emscore.{role}_column");
        match name {
            Some(name) => metadata.insert(key, name.to_string()),
            None => metadata.remove(&key), // of an earlier run
        };
    }
    Ok((Arc::new(Schema::new_with_metadata(fields, metadata)), kept))
}
