//! Text outputs: plain, gzip or Zstandard.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use flate2::write::GzEncoder;

use super::retype::retype_schema;

/// Zstandard's own default; fast and good on text.
const ZSTD_LEVEL: i32 = 3;

/// A text file, compressed as its ending says.
pub(super) enum Text {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

impl Text {
    pub fn new(file: File, compression: Option<&str>) -> io::Result<Text> {
        let file = BufWriter::with_capacity(256 << 10, file);
        Ok(match compression {
            Some("gz") => Text::Gzip(GzEncoder::new(file, flate2::Compression::default())),
            Some(_) => Text::Zstd(zstd::Encoder::new(file, ZSTD_LEVEL)?),
            None => Text::Plain(file),
        })
    }

    /// Ends the compression and writes out what is buffered.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Text::Plain(mut file) => file.flush(),
            Text::Gzip(encoder) => encoder.finish()?.flush(),
            Text::Zstd(encoder) => encoder.finish()?.flush(),
        }
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Text::Plain(file) => file.write(bytes),
            Text::Gzip(encoder) => encoder.write(bytes),
            Text::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Text::Plain(file) => file.flush(),
            Text::Gzip(encoder) => encoder.flush(),
            Text::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// `schema` as text shows it: in UTC where a time zone is a name, since its rules are not at hand.
pub(super) fn shown(schema: &SchemaRef) -> SchemaRef {
    retype_schema(schema, &|data_type| match data_type {
        DataType::Timestamp(unit, Some(zone)) if !zone.starts_with(['+', '-']) => {
            Some(DataType::Timestamp(*unit, Some("+00:00".into())))
        }
        _ => None,
    })
}

/// Readers of text would keep one of two columns of one name.
pub(super) fn named_once(schema: &SchemaRef, format: &str) -> Result<(), String> {
    let mut seen = HashSet::new();
    let twice = schema
        .fields()
        .iter()
        .find(|field| !seen.insert(field.name()));
    twice.map_or(Ok(()), |field| {
        let name = field.name();
        Err(format!(
            "{format} cannot hold two columns called {name:?}; rename one, or write .arrow instead"
        ))
    })
}

/// What is said of a column with a value that has no text, such as a date beyond all calendars.
pub(super) fn unshown(column: &str, e: &ArrowError) -> String {
    format!("a value of the column {column:?} has no text ({e}); write .parquet or .arrow instead")
}
