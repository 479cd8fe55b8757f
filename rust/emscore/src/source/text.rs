//! Text inputs: plain, gzip or Zstandard, told apart by their first bytes.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::origin::Origin;
use crate::error::{Error, Result};

/// Bytes in a line or record, at most: an endless one must not fill the memory.
pub(super) const MAX_RECORD: usize = 64 << 20;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A frame that decoders skip, with which pzstd begins; its first byte is from 0x50 to 0x5f.
const ZSTD_SKIPPED: [u8; 3] = [0x2a, 0x4d, 0x18];
const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

/// Opens `origin`, decompresses it where needed, and leaves out a byte order mark.
pub(super) fn open(origin: &Origin) -> Result<Box<dyn BufRead + Send>> {
    let failed = |e: io::Error| trouble(origin, &e);
    let mut raw = BufReader::with_capacity(256 << 10, origin.read()?);
    let head = raw.fill_buf().map_err(failed)?;
    let mut text: Box<dyn BufRead + Send> = if head.starts_with(&GZIP) {
        Box::new(BufReader::with_capacity(
            256 << 10,
            MultiGzDecoder::new(raw),
        ))
    } else if is_zstd(head) {
        let decoder = zstd::Decoder::with_buffer(raw).map_err(failed)?;
        Box::new(BufReader::with_capacity(256 << 10, decoder))
    } else {
        Box::new(raw)
    };
    if text.fill_buf().map_err(failed)?.starts_with(&BOM) {
        text.consume(BOM.len());
    }
    Ok(text)
}

/// Whether the first bytes are those of a compressed file.
pub(super) fn is_compressed(head: &[u8]) -> bool {
    head.starts_with(&GZIP) || is_zstd(head)
}

fn is_zstd(head: &[u8]) -> bool {
    let skipped = |(first, rest): (&u8, &[u8])| first >> 4 == 5 && rest.starts_with(&ZSTD_SKIPPED);
    head.starts_with(&ZSTD) || head.split_first().is_some_and(skipped)
}

/// The first `n` bytes of the text.
pub(super) fn head(origin: &Origin, n: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = open(origin)?.take(n).read_to_end(&mut bytes);
    read.map_err(|e| trouble(origin, &e))?;
    Ok(bytes)
}

/// A failed read, in a sentence.
pub(super) fn trouble(origin: &Origin, e: &io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::UnexpectedEof => {
            origin.bad("is cut short: its compressed data ends early; copy or compress it again")
        }
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => origin
            .bad(format_args!(
                "has damaged compressed data ({e}); copy or compress it again"
            )),
        _ => origin.unreadable(e),
    }
}
