//! The formats of files, by the endings of their names.

/// A format that is read and written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    ArrowFile,
    ArrowStream,
    Parquet,
    JsonLines,
    Csv,
}

impl Format {
    /// The format that a name promises, and the ending of the compression around it.
    pub fn of(name: &str) -> Option<(Format, Option<&'static str>)> {
        let name = name.to_ascii_lowercase();
        let compressed = ["gz", "zst"].into_iter().find_map(|ending| {
            let stem = name.strip_suffix(ending)?.strip_suffix('.')?;
            Some((stem, Some(ending)))
        });
        let (stem, compression) = compressed.unwrap_or((&name, None));
        let format = match stem.rsplit_once('.')?.1 {
            "arrow" | "feather" | "ipc" => Format::ArrowFile,
            "arrows" => Format::ArrowStream,
            "parquet" => Format::Parquet,
            "jsonl" | "ndjson" => Format::JsonLines,
            "csv" => Format::Csv,
            _ => return None,
        };
        Some((format, compression))
    }

    /// Whether it is text, which may be compressed as a whole.
    pub fn is_text(self) -> bool {
        matches!(self, Format::JsonLines | Format::Csv)
    }
}
