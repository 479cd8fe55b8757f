//! What folders called `key=value` on the way to a file say of all of its rows.

use std::path::{Component, Path};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;

use super::Member;

/// Folders called `key=value` are columns of the files that have none of that name.
pub(super) fn add_columns(members: &mut [Member]) {
    let mut keys: Vec<String> = Vec::new();
    for (key, _) in members.iter().flat_map(|member| said(&member.name)) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    for member in members {
        let own = said(&member.name);
        for key in &keys {
            if member.schema.index_of(key).is_ok() {
                continue; // it is the file's own, or of JSON Lines
            }
            let mut fields = member.schema.fields().to_vec();
            fields.push(Arc::new(Field::new(key, DataType::Utf8, true)));
            let metadata = member.schema.metadata().clone();
            member.schema = Arc::new(Schema::new_with_metadata(fields, metadata));
            let value = own.iter().find(|(name, _)| name == key);
            member
                .said
                .push((key.clone(), value.map(|(_, value)| value.clone())));
        }
    }
}

/// `batch` with what the path of its file says.
pub(super) fn with_said(
    batch: RecordBatch,
    said: &[(String, Option<String>)],
) -> Result<RecordBatch, ArrowError> {
    if said.is_empty() {
        return Ok(batch);
    }
    let rows = batch.num_rows();
    let mut fields = batch.schema().fields().to_vec();
    let mut columns = batch.columns().to_vec();
    for (key, value) in said {
        let field = Arc::new(Field::new(key, DataType::Utf8, true));
        let column: ArrayRef = match value {
            Some(value) => Arc::new(StringArray::new_repeated(value, rows)),
            None => new_null_array(&DataType::Utf8, rows),
        };
        match batch.schema().index_of(key) {
            Ok(at) => (fields[at], columns[at]) = (field, column),
            Err(_) => {
                fields.push(field);
                columns.push(column);
            }
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// Keys and values, unescaped; of a key that comes twice the last value.
pub(super) fn said(name: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let folders = Path::new(name)
        .parent()
        .into_iter()
        .flat_map(Path::components);
    for folder in folders {
        let Component::Normal(folder) = folder else {
            continue;
        };
        let Some((key, value)) = folder.to_str().and_then(|folder| folder.split_once('=')) else {
            continue;
        };
        let (key, value) = (unescaped(key), unescaped(value));
        found.retain(|(other, _)| *other != key);
        found.push((key, value));
    }
    found
}

/// `%41` is `A`, as in a URL.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| byte == b'%');
        let code = code.and_then(|code| str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
