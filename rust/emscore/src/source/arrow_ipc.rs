//! Arrow IPC. A file and a stream hold the same messages; a file also has a footer that lists them.
//!
//! Nothing a message declares is believed before it is compared with the bytes that are there.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::{self, root_as_footer, root_as_message};

use super::arrow_message::{Decoder, Kind, SECOND_SCHEMA, bad_header, examine, schema};
use super::guard::catch;
use super::origin::{Origin, bad};
use super::{Batches, Inspected};
use crate::error::{Error, Result};

/// What an IPC file begins and ends with.
pub(super) const MAGIC: &[u8; 6] = b"ARROW1";
/// What a message begins with.
pub(super) const CONTINUATION: [u8; 4] = [0xff; 4];
/// Bytes between the last message of a file and its footer, at most: an end mark, aligned.
const END_MARK: u64 = 128;
/// Bytes of a body that are reserved before they have arrived.
const TRUSTED: u64 = 64 << 20;

/// Reads an IPC file's footer and every message header, so that damage is found before any work.
pub(super) fn inspect_file(origin: &Origin) -> Result<Inspected> {
    let file = origin.open()?;
    let footer = Footer::read(origin, &file)?;
    let mut input = BufReader::new(&file);
    let mut rows = 0;
    for (kind, blocks) in [
        ("dictionary", &footer.dictionaries),
        ("batch", &footer.batches),
    ] {
        for (index, block) in blocks.iter().enumerate() {
            let found = block
                .metadata(&mut input)
                .and_then(|m| examine(&m, block.body));
            match (kind, found) {
                ("batch", Ok(Kind::Batch(n))) => rows += n,
                ("dictionary", Ok(Kind::Dictionary)) => {}
                (_, Ok(_)) => {
                    let why = format!("{kind} {index} is something else");
                    return Err(damaged(&origin.name, block.start, &why));
                }
                (_, Err(why)) => {
                    let why = format!("{kind} {index}: {why}");
                    return Err(damaged(&origin.name, block.start, &why));
                }
            }
        }
    }
    Ok(Inspected {
        schema: footer.schema,
        rows,
    })
}

/// The batches of an IPC file.
pub(super) fn read_file(origin: &Origin) -> Result<Batches> {
    let file = origin.open()?;
    let footer = Footer::read(origin, &file)?;
    let mut decoder = Decoder::new(footer.schema);
    let mut next = {
        let (name, mut file) = (origin.name.clone(), file);
        move |what: &str, index: usize, block: &Block| {
            let metadata = block.metadata(&mut file);
            let body = metadata.and_then(|m| Ok((m, read_exactly(&mut file, block.body)?)));
            body.and_then(|(metadata, body)| decoder.decode(&metadata, body))
                .map_err(|why| damaged(&name, block.start, &format!("{what} {index}: {why}")))
        }
    };
    for (index, block) in footer.dictionaries.iter().enumerate() {
        next("dictionary", index, block)?;
    }
    let blocks = footer.batches.into_iter().enumerate();
    Ok(Box::new(blocks.filter_map(move |(index, block)| {
        next("batch", index, &block).transpose()
    })))
}

/// Walks the message headers of an IPC stream that is a file.
pub(super) fn inspect_stream(origin: &Origin) -> Result<Inspected> {
    let mut frames = Frames::new(origin.name.clone(), BufReader::new(origin.read()?));
    let schema = frames.schema()?;
    let mut rows = 0;
    while let Some(frame) = frames.next()? {
        let end = frames.at.saturating_add(frame.body);
        if end > origin.bytes {
            let short = end - origin.bytes;
            return Err(cut_short(
                &origin.name,
                frame.start,
                &format!("{short} bytes are missing"),
            ));
        }
        match examine(&frame.metadata, frame.body) {
            Ok(Kind::Batch(n)) => rows += n,
            Ok(Kind::Dictionary) => {}
            Ok(Kind::Schema(_)) => return Err(damaged(&origin.name, frame.start, SECOND_SCHEMA)),
            Err(why) => return Err(damaged(&origin.name, frame.start, &why)),
        }
        let skipped = frames.input.seek_relative(frame.body as i64);
        skipped.map_err(|e| origin.unreadable(&e))?;
        frames.at = end;
    }
    Ok(Inspected { schema, rows })
}

/// The schema and the batches of an IPC stream, which may be a pipe.
pub(super) fn read_stream(
    name: String,
    input: impl Read + Send + 'static,
) -> Result<(SchemaRef, Batches)> {
    let mut frames = Frames::new(name, BufReader::new(input));
    let schema = frames.schema()?;
    let mut decoder = Decoder::new(schema.clone());
    let mut index = 0;
    let mut batch = move || -> Result<Option<RecordBatch>> {
        while let Some(frame) = frames.next()? {
            let body = read_exactly(&mut frames.input, frame.body)
                .map_err(|why| cut_short(&frames.name, frame.start, &why))?;
            frames.at += frame.body;
            match decoder.decode(&frame.metadata, body) {
                Ok(None) => {}
                Ok(batch) => {
                    index += 1;
                    return Ok(batch);
                }
                Err(why) => {
                    let why = format!("batch {index}: {why}");
                    return Err(damaged(&frames.name, frame.start, &why));
                }
            }
        }
        Ok(None)
    };
    Ok((
        schema,
        Box::new(std::iter::from_fn(move || batch().transpose())),
    ))
}

fn damaged(name: &str, at: u64, why: &str) -> Error {
    bad(
        name,
        format_args!("is damaged at byte {at}: {why}; write it again or leave it out"),
    )
}

fn cut_short(name: &str, at: u64, why: &str) -> Error {
    bad(
        name,
        format_args!("is cut short in the message at byte {at}: {why}; copy or write it again"),
    )
}

/// A message header, and the length of the body that follows it.
struct Frame {
    start: u64,
    metadata: Vec<u8>,
    body: u64,
}

/// The messages of a stream, one after the other. The caller consumes the bodies.
struct Frames<R> {
    name: String,
    input: R,
    at: u64,
}

impl<R: BufRead> Frames<R> {
    fn new(name: String, input: R) -> Self {
        Frames { name, input, at: 0 }
    }

    /// The schema, which is the first message.
    fn schema(&mut self) -> Result<SchemaRef> {
        let frame = self.next()?;
        match frame
            .as_ref()
            .map(|frame| examine(&frame.metadata, frame.body))
        {
            Some(Ok(Kind::Schema(schema))) => Ok(schema),
            Some(Err(why)) => Err(damaged(&self.name, 0, &why)),
            _ => Err(damaged(
                &self.name,
                0,
                "an Arrow stream begins with a schema, this does not",
            )),
        }
    }

    /// `None` after the end mark, or where the bytes end between two messages: both are legal. What
    /// follows the mark would be lost.
    fn next(&mut self) -> Result<Option<Frame>> {
        let start = self.at;
        let short = |why: String| cut_short(&self.name, start, &why);
        let rest = self.input.fill_buf();
        if rest.map_err(|e| short(e.to_string()))?.is_empty() {
            return Ok(None);
        }
        let mut word = read_exactly(&mut self.input, 4).map_err(short)?;
        self.at += 4;
        // Streams older than Arrow 0.15 have no continuation mark.
        if word == CONTINUATION {
            word = read_exactly(&mut self.input, 4).map_err(short)?;
            self.at += 4;
        }
        let length = i32::from_le_bytes(word.try_into().expect("four bytes"));
        if length == 0 {
            let rest = self.input.fill_buf();
            if rest.map_err(|e| short(e.to_string()))?.is_empty() {
                return Ok(None);
            }
            return Err(damaged(
                &self.name,
                self.at,
                "the stream ends here, and more follows: if it is several, name each on its own",
            ));
        }
        let Ok(length) = u64::try_from(length) else {
            return Err(damaged(
                &self.name,
                start,
                "a message has a negative length",
            ));
        };
        let metadata = read_exactly(&mut self.input, length).map_err(short)?;
        self.at += length;
        let body = catch(|| {
            let message = root_as_message(&metadata).map_err(|e| bad_header(&e))?;
            u64::try_from(message.bodyLength()).map_err(|_| "its length is negative".into())
        });
        match body {
            Ok(body) => Ok(Some(Frame {
                start,
                metadata,
                body,
            })),
            Err(why) => Err(damaged(&self.name, start, &why)),
        }
    }
}

/// Reads `length` bytes. Memory grows with what arrives, not with what is promised.
fn read_exactly(input: &mut impl Read, length: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(length.min(TRUSTED) as usize);
    input
        .take(length)
        .read_to_end(&mut bytes)
        .map_err(|e| e.to_string())?;
    match length - bytes.len() as u64 {
        0 => Ok(bytes),
        missing => Err(format!("{missing} bytes are missing")),
    }
}

/// Where the footer says that a message is.
struct Block {
    start: u64,
    metadata: u64,
    body: u64,
}

impl Block {
    fn new(block: &ipc::Block, limit: u64) -> Result<Block, String> {
        let field = |n: i64| u64::try_from(n).map_err(|_| "the footer is damaged".to_string());
        let start = field(block.offset())?;
        let metadata = field(block.metaDataLength().into())?;
        let body = field(block.bodyLength())?;
        let end = start
            .checked_add(metadata)
            .and_then(|end| end.checked_add(body));
        if metadata < 8 || end.is_none_or(|end| end > limit) {
            return Err(format!(
                "the footer points outside the file (to byte {start})"
            ));
        }
        Ok(Block {
            start,
            metadata,
            body,
        })
    }

    /// The message header without its length prefix; leaves `input` at the body.
    fn metadata(&self, input: &mut (impl Read + Seek)) -> Result<Vec<u8>, String> {
        input
            .seek(SeekFrom::Start(self.start))
            .map_err(|e| e.to_string())?;
        let mut bytes = read_exactly(input, self.metadata)?;
        let prefix = if bytes[..4] == CONTINUATION { 8 } else { 4 };
        bytes.drain(..prefix);
        Ok(bytes)
    }
}

struct Footer {
    schema: SchemaRef,
    dictionaries: Vec<Block>,
    batches: Vec<Block>,
}

impl Footer {
    fn read(origin: &Origin, mut file: &File) -> Result<Footer> {
        const TAIL: u64 = 10;
        let length = origin.bytes;
        let mut tail_at = |from_end: u64, n: u64| {
            file.seek(SeekFrom::Start(length - from_end))
                .map_err(|e| e.to_string())?;
            read_exactly(&mut file, n)
        };
        let tail = if length < 8 + TAIL {
            Vec::new()
        } else {
            tail_at(TAIL, TAIL).unwrap_or_default()
        };
        if !tail.ends_with(MAGIC) {
            return Err(origin.bad(format_args!(
                "is cut short or was not finished: it begins as an Arrow file but lacks the end of \
                 one (at byte {length}); copy or write it again"
            )));
        }
        let size = i32::from_le_bytes(tail[..4].try_into().expect("four bytes"));
        let Some(size) = u64::try_from(size)
            .ok()
            .filter(|&size| size <= length - 8 - TAIL)
        else {
            return Err(damaged(
                &origin.name,
                length - TAIL,
                "the footer's length is wrong",
            ));
        };
        let start = length - TAIL - size;
        let footer = tail_at(TAIL + size, size)
            .and_then(|bytes| catch(|| Footer::parse(&bytes, start)))
            .map_err(|why| damaged(&origin.name, start, &why))?;
        let blocks = footer.dictionaries.iter().chain(&footer.batches);
        let ends = blocks.map(|b| b.start + b.metadata + b.body);
        let end = ends.max().unwrap_or(8 + size); // before the first: the schema, as in the footer
        if start.saturating_sub(end) > END_MARK {
            let why = format!("the footer leaves out what follows, up to byte {start}");
            return Err(damaged(&origin.name, end, &why));
        }
        Ok(footer)
    }

    fn parse(bytes: &[u8], limit: u64) -> Result<Footer, String> {
        let footer = root_as_footer(bytes).map_err(|e| bad_header(&e))?;
        let schema = schema(footer.schema().ok_or("the footer has no schema")?)?;
        let dictionaries = footer.dictionaries().into_iter().flatten();
        let batches = footer.recordBatches().into_iter().flatten();
        Ok(Footer {
            schema,
            dictionaries: dictionaries
                .map(|b| Block::new(b, limit))
                .collect::<Result<_, _>>()?,
            batches: batches
                .map(|b| Block::new(b, limit))
                .collect::<Result<_, _>>()?,
        })
    }
}
