//! What an input is: by its content first, by its ending only where text could be either.

use std::io::Read;

use super::origin::Origin;
use super::{arrow_ipc, parquet, text};
use crate::error::Result;
use crate::format::Format;

/// The format that the bytes show.
pub(super) fn by_content(origin: &Origin) -> Result<Format> {
    let mut head = Vec::new();
    let read = origin.open()?.take(8).read_to_end(&mut head);
    read.map_err(|e| origin.unreadable(&e))?;
    if head.is_empty() {
        return Err(origin.bad("is empty (0 bytes); write it again or leave it out"));
    }
    if let Some(format) = by_magic(&head) {
        return Ok(format);
    }
    if head.starts_with(b"FEA1") {
        return Err(origin.bad("is a Feather file of version 1; write it as version 2 (Arrow IPC)"));
    }
    if head.starts_with(b"PARE") {
        return Err(origin.bad("is an encrypted Parquet file; write it without encryption"));
    }
    if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
        return Err(origin.bad("is UTF-16 text; save it as UTF-8"));
    }
    let promised = Format::of(&origin.name).map(|(format, _)| format);
    let compressed = text::is_compressed(&head);
    let binary = promised.is_some_and(|format| !format.is_text());
    // Arrow streams older than 0.15 begin with a small length (its high byte is 0, which no text is).
    if binary && promised != Some(Format::Parquet) && !compressed && head.get(3) == Some(&0) {
        return Ok(Format::ArrowStream);
    }
    let head = text::head(origin, 4096)?;
    if by_magic(&head).is_some() {
        return Err(origin.bad("is a compressed Arrow or Parquet file; decompress it first"));
    }
    match head.iter().find(|byte| !byte.is_ascii_whitespace()) {
        _ if promised == Some(Format::Csv) => Ok(Format::Csv),
        Some(b'{') => Ok(Format::JsonLines),
        Some(b'[') => Err(origin.bad(
            "is one JSON array, not JSON Lines; turn it into one object a line (jq -c '.[]')",
        )),
        _ if promised == Some(Format::JsonLines) => Ok(Format::JsonLines),
        _ if binary => {
            Err(origin
                .bad("does not begin as an Arrow or Parquet file does; copy or write it again"))
        }
        // What came through a pipe has no ending; text that is not JSON is CSV.
        Some(_) if promised.is_none() && origin.is_spooled() && is_text(&head) => Ok(Format::Csv),
        _ => Err(origin.bad(
            "is neither Arrow, Parquet, JSON Lines nor CSV; CSV needs the ending .csv to be known",
        )),
    }
}

/// Whether it is UTF-8; its last character may be cut.
fn is_text(head: &[u8]) -> bool {
    str::from_utf8(head).map_or_else(|e| e.error_len().is_none(), |_| true)
}

/// Binary formats have a magic.
fn by_magic(head: &[u8]) -> Option<Format> {
    if head.starts_with(arrow_ipc::MAGIC) {
        Some(Format::ArrowFile)
    } else if head.starts_with(&arrow_ipc::CONTINUATION) {
        Some(Format::ArrowStream)
    } else if head.starts_with(parquet::MAGIC) {
        Some(Format::Parquet)
    } else {
        None
    }
}
