//! Arrow IPC, file and stream.

use std::fs;
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, ArrayData, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::{FileWriter, StreamWriter};

use super::retype::{retype, retype_field};
use super::{Encoder, Trouble};
use crate::conform::conform;

/// A stream, to a file or to standard output.
pub(super) struct Stream(StreamWriter<BufWriter<Box<dyn Write + Send>>>);

impl Stream {
    pub fn new(to: impl Write + Send + 'static, schema: &SchemaRef) -> Result<Stream, Trouble> {
        let to = BufWriter::new(Box::new(to) as _);
        Ok(Stream(StreamWriter::try_new(to, schema)?))
    }
}

impl Encoder for Stream {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Trouble> {
        self.0.write(batch)?;
        Ok(self.0.flush()?) // someone may be waiting at the other end
    }

    fn finish(mut self: Box<Self>) -> Result<(), Trouble> {
        self.0.finish()?;
        Ok(self.0.flush()?)
    }
}

/// A file. It can hold only one dictionary a column: when a column comes with a second one, what is
/// written so far is written again with that column as plain values. Readers agree on those, which
/// cannot be said of growing ("delta") dictionaries.
pub(super) struct File {
    writer: FileWriter<BufWriter<fs::File>>,
    file: fs::File,
    folder: PathBuf,
    schema: SchemaRef,
    /// The dictionaries within each column, once a batch has come.
    dictionaries: Option<Vec<Vec<ArrayData>>>,
}

impl File {
    pub fn new(file: fs::File, schema: &SchemaRef, folder: PathBuf) -> Result<File, Trouble> {
        let writer = writer(&file, schema)?;
        Ok(File {
            writer,
            file,
            folder,
            schema: schema.clone(),
            dictionaries: None,
        })
    }

    /// Writes again what is written, with the columns at `changed` as plain values.
    fn restart(&mut self, changed: &[usize]) -> Result<(), Trouble> {
        self.writer.finish()?;
        let mut before = tempfile::tempfile_in(&self.folder)?;
        self.file.rewind()?;
        io::copy(&mut self.file, &mut before)?;
        before.rewind()?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        let fields = self.schema.fields().iter().enumerate();
        let fields = fields.map(|(i, f)| {
            if changed.contains(&i) {
                retype_field(f, &plain)
            } else {
                f.clone()
            }
        });
        let metadata = self.schema.metadata().clone();
        self.schema = Arc::new(Schema::new_with_metadata(
            fields.collect::<Vec<_>>(),
            metadata,
        ));
        self.writer = writer(&self.file, &self.schema)?;
        for batch in FileReader::try_new(BufReader::new(before), None)? {
            self.writer.write(&conform(&batch?, &self.schema)?)?;
        }
        Ok(())
    }
}

impl Encoder for File {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Trouble> {
        let mut batch = conform(batch, &self.schema)?;
        let new: Vec<_> = batch
            .columns()
            .iter()
            .map(|c| dictionaries(c.to_data()))
            .collect();
        let old = self.dictionaries.get_or_insert_with(|| new.clone());
        let changed: Vec<_> = (0..new.len())
            .filter(|&i| !same(&old[i], &new[i]))
            .collect();
        if !changed.is_empty() {
            changed.iter().for_each(|&i| old[i].clear());
            self.restart(&changed)?;
            batch = conform(&batch, &self.schema)?;
        }
        Ok(self.writer.write(&batch)?)
    }

    fn finish(mut self: Box<Self>) -> Result<(), Trouble> {
        self.writer.finish()?;
        Ok(self.writer.flush()?)
    }
}

fn writer(file: &fs::File, schema: &SchemaRef) -> Result<FileWriter<BufWriter<fs::File>>, Trouble> {
    let buffered = BufWriter::with_capacity(256 << 10, file.try_clone()?);
    Ok(FileWriter::try_new(buffered, schema)?)
}

/// The values of every dictionary in `data`, however deep.
fn dictionaries(data: ArrayData) -> Vec<ArrayData> {
    let inner = data.child_data().iter().cloned();
    match data.data_type() {
        DataType::Dictionary(_, _) => inner
            .flat_map(|d| {
                let within = dictionaries(d.clone());
                std::iter::once(d).chain(within)
            })
            .collect(),
        _ => inner.flat_map(dictionaries).collect(),
    }
}

fn same(old: &[ArrayData], new: &[ArrayData]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(a, b)| a.ptr_eq(b) || a == b)
}

/// `data_type` without its dictionary; [`retype`] applies it at every depth.
fn plain(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Dictionary(_, values) => Some(retype(values, &plain)),
        _ => None,
    }
}
