//! Messages of Arrow IPC: what a header declares, checked against the bytes that follow it.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_empty_array};
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::{read_dictionary, read_record_batch};
use arrow::ipc::{self, CompressionType, MessageHeader, root_as_message};

use super::guard::{Ratio, catch, plausible};

pub(super) const SECOND_SCHEMA: &str = "a second schema begins here";

/// What is wrong with a header.
pub(super) fn bad_header(e: &dyn Display) -> String {
    // The verifier's report spans lines; its first one says what is wrong.
    let text = e.to_string();
    format!(
        "the message header makes no sense ({})",
        text.lines().next().unwrap_or_default()
    )
}

/// The schema of a message or a footer.
pub(super) fn schema(schema: ipc::Schema<'_>) -> Result<SchemaRef, String> {
    if !schema.endianness().equals_to_target_endianness() {
        return Err("it was written on a machine of the other byte order".into());
    }
    let schema = fb_to_schema(schema);
    for field in schema.fields() {
        // Panics where a type makes no sense, such as a map without keys: here that is caught.
        new_empty_array(field.data_type());
    }
    Ok(Arc::new(schema))
}

/// What a message holds; the number is of rows.
pub(super) enum Kind {
    Schema(SchemaRef),
    Dictionary,
    Batch(u64),
}

/// Checks a message header against the length of its body.
pub(super) fn examine(metadata: &[u8], body: u64) -> Result<Kind, String> {
    catch(|| {
        let message = root_as_message(metadata).map_err(|e| bad_header(&e))?;
        match message.header_type() {
            MessageHeader::Schema => Ok(Kind::Schema(schema(
                message.header_as_schema().ok_or("it has no schema")?,
            )?)),
            MessageHeader::DictionaryBatch => {
                let dictionary = message
                    .header_as_dictionary_batch()
                    .ok_or("it has no header")?;
                check(dictionary.data().ok_or("it has no values")?, body)?;
                Ok(Kind::Dictionary)
            }
            MessageHeader::RecordBatch => {
                let batch = message.header_as_record_batch().ok_or("it has no header")?;
                Ok(Kind::Batch(check(batch, body)?))
            }
            _ => Err("it is a kind of message that does not belong here".into()),
        }
    })
}

/// Checks that the buffers lie within the body and the lengths make sense; returns the rows.
fn check(batch: ipc::RecordBatch<'_>, body: u64) -> Result<u64, String> {
    // Types without bytes (null) could otherwise promise rows without end.
    let sane = |n: i64| u64::try_from(n).ok().filter(|&n| n <= i32::MAX as u64);
    for node in batch.nodes().into_iter().flatten() {
        sane(node.length()).ok_or("a column has an impossible length")?;
        sane(node.null_count()).ok_or("a column has an impossible number of nulls")?;
    }
    for buffer in batch.buffers().into_iter().flatten() {
        let start = u64::try_from(buffer.offset()).ok();
        let length = u64::try_from(buffer.length()).ok();
        let end = start.and_then(|start| start.checked_add(length?));
        if end.is_none_or(|end| end > body) {
            return Err("a column's bytes lie outside the batch".into());
        }
    }
    sane(batch.length()).ok_or_else(|| "it has an impossible number of rows".into())
}

/// Checks that the buffers lie within the body, and the uncompressed lengths that they declare.
fn check_bytes(batch: ipc::RecordBatch<'_>, body: &[u8]) -> Result<(), String> {
    check(batch, body.len() as u64)?;
    let Some(compression) = batch.compression() else {
        return Ok(());
    };
    for buffer in batch
        .buffers()
        .into_iter()
        .flatten()
        .filter(|buffer| buffer.length() > 0)
    {
        let bytes = &body[buffer.offset() as usize..][..buffer.length() as usize];
        let (length, bytes) = bytes
            .split_first_chunk()
            .ok_or("a compressed column is too short")?;
        let ratio = match compression.codec() {
            CompressionType::LZ4_FRAME => Ratio::Lz4,
            _ => Ratio::Zstd,
        };
        // -1 says that this buffer is stored as it is.
        let length = i64::from_le_bytes(*length);
        if length != -1 && !plausible(length as u64, bytes.len() as u64, ratio) {
            return Err("a compressed column declares an impossible length".into());
        }
    }
    Ok(())
}

/// Messages → batches, remembering dictionaries.
pub(super) struct Decoder {
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
}

impl Decoder {
    pub fn new(schema: SchemaRef) -> Self {
        Decoder {
            schema,
            dictionaries: HashMap::new(),
        }
    }

    /// `None` for a dictionary.
    pub fn decode(
        &mut self,
        metadata: &[u8],
        body: Vec<u8>,
    ) -> Result<Option<RecordBatch>, String> {
        let body = Buffer::from_vec(body);
        catch(|| {
            let message = root_as_message(metadata).map_err(|e| bad_header(&e))?;
            let version = message.version();
            if let Some(batch) = message.header_as_record_batch() {
                check_bytes(batch, &body)?;
                let schema = self.schema.clone();
                read_record_batch(&body, batch, schema, &self.dictionaries, None, &version)
                    .map(Some)
                    .map_err(|e| e.to_string())
            } else if let Some(dictionary) = message.header_as_dictionary_batch() {
                check_bytes(dictionary.data().ok_or("it has no values")?, &body)?;
                read_dictionary(
                    &body,
                    dictionary,
                    &self.schema,
                    &mut self.dictionaries,
                    &version,
                )
                .map(|()| None)
                .map_err(|e| e.to_string())
            } else {
                Err(SECOND_SCHEMA.into())
            }
        })
    }
}
