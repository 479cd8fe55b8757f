//! Files and streams → record batches.
//!
//! [`Source::open`] looks through every input before the first batch is read, as far as that is
//! cheap: Arrow and Parquet headers, every line of JSON Lines and CSV. Damage is found then, not
//! after hours of work, and the number of rows is known.

mod arrow_ipc;
mod arrow_message;
mod batches;
mod csv;
mod guard;
mod hive;
mod json_lines;
mod json_shape;
mod origin;
mod parquet;
mod paths;
mod sniff;
mod text;
mod thrift;
mod unify;

use std::io::Read;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::{Schema, SchemaRef};

use crate::conform::conform;
use crate::error::{Error, Result};
use crate::format::Format;
use origin::{Found, Origin, bad};

type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;
/// Begins to read a file, once the common schema is known.
type Begin = Box<dyn FnOnce(&SchemaRef) -> Result<Batches> + Send>;

/// All files of one run, in order, as one stream of batches with one schema.
///
/// Batches hold at most 1,024 rows, and about 16 MiB unless a single row is larger. Small ones of
/// files are joined; those of a stream come as they are.
pub struct Source {
    /// The columns, with the first file's metadata. A column is nullable if it is so in any file.
    pub schema: SchemaRef,
    /// The rows of all files, where that is known before reading (not for a stream in a pipe).
    pub rows: Option<u64>,
    /// The files that are read; `-` for standard input.
    pub files: Vec<String>,
    /// What each JSON Lines file holds, and its place among the files.
    lines: Vec<(usize, Origin, json_shape::Object)>,
    batches: Batches,
}

/// What a look through a file found.
struct Inspected {
    schema: SchemaRef,
    rows: u64,
}

/// A file between the look through it and its turn to be read.
struct Member {
    name: String,
    schema: SchemaRef,
    rows: Option<u64>,
    read: Begin,
    /// Columns that are not in the file, and what its path says of them.
    said: Vec<(String, Option<String>)>,
}

impl Source {
    /// Opens paths, folders (every file in it with a known ending, at any depth, sorted by name),
    /// globs, and `-` for standard input.
    ///
    /// # Errors
    /// [`Error::Input`] names the file, the place in it and what to do.
    pub fn open(inputs: &[String]) -> Result<Source> {
        let files = paths::expand(inputs)?;
        let mut members = Vec::new();
        let mut lines: Vec<(usize, Origin, json_shape::Object)> = Vec::new();
        for name in &files {
            let origin = match Origin::find(name)? {
                Found::Seekable(origin) => origin,
                Found::Pipe(pipe) => match pipe_member(name.clone(), pipe)? {
                    Piped::Live(member) => {
                        members.push(member);
                        continue;
                    }
                    Piped::Spooled(origin) => origin,
                },
            };
            let (member, columns) = inspect(&origin)?;
            if let Some(columns) = columns {
                lines.push((members.len(), origin, columns));
            }
            members.push(member);
        }
        agree(&mut members, &lines);
        hive::add_columns(&mut members);
        let mut schema = members[0].schema.as_ref().clone();
        for (index, member) in members.iter().enumerate().skip(1) {
            schema = unify::merge(&schema, &member.schema).map_err(|why| {
                let first = origin::shown(&members[0].name);
                // JSON Lines files share their columns: the one that brought what does not fit.
                let shares = lines.iter().any(|(at, ..)| *at == index);
                let brought = lines
                    .iter()
                    .find(|(.., columns)| shares && unify::is_foreign(&schema, &columns.fields()));
                bad(
                    brought.map_or(&member.name, |(_, origin, _)| &origin.name),
                    format_args!(
                        "does not fit {first}: {why}; score them separately or align them"
                    ),
                )
            })?;
        }
        if schema.fields().is_empty() {
            return Err(bad(
                &members[0].name,
                "has no columns; check that it is the right file",
            ));
        }
        let schema: SchemaRef = Arc::new(schema);
        let rows = members.iter().map(|member| member.rows).sum();
        let common = schema.clone();
        let batches: Batches = Box::new(
            members
                .into_iter()
                .flat_map(move |member| member.batches(common.clone())),
        );
        // A stream in a pipe keeps its pace.
        let batches = match rows {
            Some(_) => batches::join(&schema, batches),
            None => batches,
        };
        Ok(Source {
            schema,
            rows,
            files,
            lines,
            batches,
        })
    }

    /// Refuses JSON Lines files that never mention the text at `keys`, or hold JSON there.
    ///
    /// # Errors
    /// [`Error::Input`] names the file and the column.
    pub(crate) fn check_text(&self, what: &str, keys: &[String]) -> Result<()> {
        let name = keys.join(".");
        let files = self
            .lines
            .iter()
            .filter(|(.., columns)| !columns.is_empty());
        let mut common = json_shape::Object::default();
        for (_, origin, columns) in files {
            if columns.at(keys).is_none() {
                return Err(origin.bad(format_args!(
                    "does not fit the other files: it has no column {name:?}, which is the {what}; \
                         score it separately or align them"
                )));
            }
            common.merge(columns.clone());
            if common.at(keys).is_some_and(json_shape::Shape::holds_json) {
                return Err(origin.bad(
                    format_args!(
                        "holds JSON where the text of the {what} is looked for ({name:?} is a list or \
                         an object in some rows); make it text in all rows, or name another column with \
                         --{what}-column"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Reads a stream that someone else opened, such as one from Python.
    pub fn from_reader(mut reader: Box<dyn RecordBatchReader + Send>) -> Source {
        let schema = reader.schema();
        let mut rows = 0;
        let batches = std::iter::from_fn(move || {
            let next = guard::catch(|| reader.next().transpose().map_err(|e| e.to_string()));
            next.map_err(|why| Error::Input(format!("the stream of batches broke off: {why}.")))
                .transpose()
        });
        Source {
            schema,
            rows: None,
            files: Vec::new(),
            lines: Vec::new(),
            batches: Box::new(pieces(Box::new(batches)).map(move |batch| {
                let batch = batch?;
                guard::check_text(&batch, rows)?;
                rows += batch.num_rows() as u64;
                Ok(batch)
            })),
        }
    }
}

impl Iterator for Source {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.batches.next();
        if matches!(next, Some(Err(_))) {
            // What follows the damage is not to be trusted.
            self.batches = Box::new(std::iter::empty());
        }
        next
    }
}

fn pieces(batches: Batches) -> Batches {
    Box::new(batches.flat_map(|batch| -> Batches {
        match batch {
            Ok(batch) => Box::new(batches::split(batch).map(Ok)),
            Err(e) => Box::new(std::iter::once(Err(e))),
        }
    }))
}

/// Looks through one file; of JSON Lines, also returns the columns.
fn inspect(origin: &Origin) -> Result<(Member, Option<json_shape::Object>)> {
    type Read = fn(&Origin) -> Result<Batches>;
    let (found, read): (Inspected, Read) = match sniff::by_content(origin)? {
        Format::ArrowFile => (arrow_ipc::inspect_file(origin)?, arrow_ipc::read_file),
        Format::ArrowStream => (arrow_ipc::inspect_stream(origin)?, |origin| {
            arrow_ipc::read_stream(origin.name.clone(), origin.read()?).map(|(_, batches)| batches)
        }),
        Format::Parquet => (parquet::inspect(origin)?, parquet::read),
        Format::Csv => (csv::inspect(origin)?, csv::read),
        Format::JsonLines => {
            let (columns, rows) = json_lines::inspect(origin)?;
            let member = Member {
                name: origin.name.clone(),
                schema: Arc::new(Schema::empty()),
                rows: Some(rows),
                read: Box::new(|_| Ok(Box::new(std::iter::empty()))),
                said: Vec::new(),
            };
            return Ok((member, Some(columns)));
        }
    };
    let origin = origin.clone();
    let member = Member {
        name: origin.name.clone(),
        schema: found.schema,
        rows: Some(found.rows),
        read: Box::new(move |_| read(&origin)),
        said: Vec::new(),
    };
    Ok((member, None))
}

/// All JSON Lines files share their columns: what one never mentions is null in it.
fn agree(members: &mut [Member], lines: &[(usize, Origin, json_shape::Object)]) {
    let mut common = json_shape::Object::default();
    for (index, origin, columns) in lines {
        common.merge(columns.clone());
        for (key, value) in hive::said(&origin.name) {
            if columns.at(std::slice::from_ref(&key)).is_none() {
                common.has_text(&key);
                members[*index].said.push((key, Some(value)));
            }
        }
    }
    let schema: SchemaRef = Arc::new(Schema::new(common.fields()));
    for (index, origin, _) in lines {
        let (origin, own) = (origin.clone(), schema.clone());
        members[*index].schema = schema.clone();
        members[*index].read = Box::new(move |_| json_lines::read(&origin, own));
    }
}

/// A pipe is read as it comes if it holds an Arrow stream, and spooled otherwise.
enum Piped {
    Live(Member),
    Spooled(Origin),
}

fn pipe_member(name: String, mut pipe: Box<dyn Read + Send>) -> Result<Piped> {
    let mut head = Vec::new();
    let read = pipe
        .by_ref()
        .take(arrow_ipc::CONTINUATION.len() as u64)
        .read_to_end(&mut head);
    read.map_err(|e| origin::unreadable(&name, &e))?;
    let live = head == arrow_ipc::CONTINUATION;
    let pipe = std::io::Cursor::new(head).chain(pipe);
    if !live {
        return Ok(Piped::Spooled(Origin::spool(name, pipe)?));
    }
    let (schema, batches) = arrow_ipc::read_stream(name.clone(), pipe)?;
    Ok(Piped::Live(Member {
        name,
        schema,
        rows: None,
        read: Box::new(|_| Ok(batches)),
        said: Vec::new(),
    }))
}

impl Member {
    /// Its batches, with the common schema; ends with an error if there are fewer or more rows than
    /// its headers promised.
    fn batches(self, schema: SchemaRef) -> Batches {
        let (name, promised, said) = (self.name, self.rows, self.said);
        let mut batches = match (self.read)(&schema) {
            Ok(batches) => batches.fuse(),
            Err(e) => return Box::new(std::iter::once(Err(e))),
        };
        let mut rows = 0;
        let checked = std::iter::from_fn(move || match batches.next() {
            Some(Ok(batch)) => {
                rows += batch.num_rows() as u64;
                let batch = hive::with_said(batch, &said);
                Some(
                    batch
                        .and_then(|batch| conform(&batch, &schema))
                        .map_err(|why| {
                            bad(
                                &name,
                                format_args!("has a batch that does not fit its schema: {why}"),
                            )
                        }),
                )
            }
            None if promised.is_some_and(|promised| promised != rows) => {
                let promised = promised.unwrap_or_default();
                let why = format_args!("promises {promised} rows and holds {rows}; write it again");
                let e = bad(&name, why);
                rows = promised;
                Some(Err(e))
            }
            end => end,
        });
        pieces(Box::new(checked))
    }
}
