//! Scored record batches → files.
//!
//! The bytes of a file are a function of the schema and the batches alone: no times, no random
//! names, no map order. A resumed run relies on that.

mod arrow_ipc;
mod csv;
mod json_lines;
mod parquet;
mod partial;
mod retype;
mod text;

use std::error::Error as StdError;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::errors::ParquetError;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use crate::disk;
use crate::error::{Error, Result};
use crate::format::Format;
use partial::Partial;

/// What an encoder runs into; [`failed`] makes it a sentence.
type Trouble = Box<dyn StdError + Send + Sync>;

/// Batches → the bytes of one format.
trait Encoder: Send {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Trouble>;
    /// Writes what is left, down to the operating system.
    fn finish(self: Box<Self>) -> Result<(), Trouble>;
}

/// A file that is being written. It stands under its name only when it is whole: until
/// [`Output::finish`] the bytes are in a hidden file next to it, which goes away when this is dropped.
///
/// The ending decides the format: `.arrow`, `.feather`, `.ipc` (Arrow IPC file), `.arrows` (Arrow
/// IPC stream), `.parquet`, `.jsonl`, `.ndjson`, `.csv`; the last three also with `.gz` or `.zst`.
/// `-` is an Arrow IPC stream on standard output.
///
/// An Arrow IPC *file* holds one dictionary a column. A dictionary column whose dictionary changes
/// from batch to batch (possible in Arrow streams and Parquet) is therefore written there as plain
/// values; columns whose dictionary stays the same keep it, and so do all other formats.
///
/// Text formats show times of named zones (`Europe/Paris`) in UTC.
pub struct Output {
    encoder: Box<dyn Encoder>,
    place: Place,
}

/// Where an [`Output`] goes. No other run gets it while this lives.
#[derive(Clone)]
pub struct Place {
    path: PathBuf,
    format: Format,
    compression: Option<&'static str>,
    /// `None` on standard output.
    partial: Option<Arc<Partial>>,
}

impl Output {
    /// Says before hours of work whether `path` can be written, and keeps it from other runs.
    ///
    /// # Errors
    /// [`Error::Output`] if it exists (unless `overwrite`), is a folder or a device, has an unknown
    /// ending, or its folder is missing or read-only; if another run writes it; on a terminal for `-`.
    pub fn reserve(path: &Path, overwrite: bool) -> Result<Place> {
        let (format, compression) = format(path)?;
        if is_stdout(path) && io::stdout().is_terminal() {
            return Err(Error::Output(
                "standard output is a terminal, and an Arrow stream is not for reading; \
                 redirect it, or name a file with -o."
                    .into(),
            ));
        }
        let partial = if is_stdout(path) {
            None
        } else {
            Some(Arc::new(Partial::create(path, overwrite)?))
        };
        Ok(Place {
            path: path.into(),
            format,
            compression,
            partial,
        })
    }

    /// Begins to write `path`.
    ///
    /// # Errors
    /// As [`Output::reserve`]; also if the format cannot hold a column of `schema`.
    pub fn create(path: &Path, schema: &SchemaRef, overwrite: bool) -> Result<Output> {
        Output::reserve(path, overwrite)?.begin(schema)
    }

    /// Appends the rows of `batch`, whose schema is the one that [`Output::create`] got.
    ///
    /// # Errors
    /// [`Error::Output`] if the disk is full, the reader of standard output is gone, and the like.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.encoder
            .write(batch)
            .map_err(|e| failed(&self.place.path, e.as_ref()))
    }

    /// Writes what is left, makes it durable, and gives the file its name.
    ///
    /// # Errors
    /// As [`Output::write`]; the name then still means what it meant before.
    pub fn finish(self) -> Result<()> {
        let finished = self.encoder.finish();
        finished.map_err(|e| failed(&self.place.path, e.as_ref()))?;
        match &self.place.partial {
            Some(partial) => partial.commit(),
            None => Ok(()),
        }
    }
}

impl Place {
    /// Begins to write there.
    ///
    /// # Errors
    /// [`Error::Output`] if the format cannot hold a column of `schema`, or the disk is full.
    pub fn begin(&self, schema: &SchemaRef) -> Result<Output> {
        let encoder = self.encoder(schema);
        Ok(Output {
            encoder: encoder.map_err(|e| failed(&self.path, e.as_ref()))?,
            place: self.clone(),
        })
    }

    fn encoder(&self, schema: &SchemaRef) -> Result<Box<dyn Encoder>, Trouble> {
        let Some(partial) = &self.partial else {
            return Ok(Box::new(arrow_ipc::Stream::new(io::stdout(), schema)?));
        };
        let file = partial.handle()?;
        let text = |file| text::Text::new(file, self.compression);
        Ok(match self.format {
            Format::ArrowFile => Box::new(arrow_ipc::File::new(file, schema, partial.folder())?),
            Format::ArrowStream => Box::new(arrow_ipc::Stream::new(file, schema)?),
            Format::Parquet => Box::new(parquet::Parquet::new(file, schema)?),
            Format::JsonLines => Box::new(json_lines::JsonLines::new(text(file)?, schema)?),
            Format::Csv => Box::new(csv::Csv::new(text(file)?, schema)?),
        })
    }
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// The format, and the compression's ending for text.
fn format(path: &Path) -> Result<(Format, Option<&'static str>)> {
    if is_stdout(path) {
        return Ok((Format::ArrowStream, None));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let known = Format::of(&name);
    let known = known.filter(|(format, compression)| compression.is_none() || format.is_text());
    known.ok_or_else(|| {
        Error::Output(format!(
            "{} has an ending that stands for no format; use .arrow, .feather, .ipc, .arrows, \
             .parquet, .jsonl, .ndjson or .csv (the last three also with .gz or .zst).",
            path.display()
        ))
    })
}

/// What went wrong with `path`, in a sentence.
fn failed(path: &Path, e: &(dyn StdError + 'static)) -> Error {
    use io::ErrorKind::*;
    let shown = path.display();
    Error::Output(match io_kind(e) {
        Some(StorageFull | QuotaExceeded | FileTooLarge) => format!(
            "{shown} cannot be written further: the disk is full or a size limit is reached; \
             free space and go on with --resume, or name another place with -o."
        ),
        Some(PermissionDenied | ReadOnlyFilesystem) => format!(
            "{shown} cannot be written: its folder is read-only for you; name another place with -o."
        ),
        Some(NotFound | NotADirectory) => format!(
            "{shown} cannot be written: its folder {} does not exist; make it (mkdir -p) or name another.",
            disk::folder(path).display()
        ),
        Some(BrokenPipe) => {
            "the program that reads standard output stopped before the end; check it, or write to a \
             file with -o."
                .into()
        }
        _ => format!("{shown} cannot be written: {e}."),
    })
}

/// The operating system's word, from within whatever wraps it.
fn io_kind(e: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    if let Some(e) = e.downcast_ref::<io::Error>() {
        return Some(e.kind());
    }
    match (
        e.downcast_ref::<ArrowError>(),
        e.downcast_ref::<ParquetError>(),
    ) {
        (Some(ArrowError::IoError(_, e)), _) => Some(e.kind()),
        (_, Some(ParquetError::External(inner))) => io_kind(inner.as_ref()),
        _ => e.source().and_then(io_kind),
    }
}
