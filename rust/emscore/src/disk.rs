//! What makes a file last through a power cut.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The folder that `path` is in.
pub(crate) fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.into(),
        _ => ".".into(),
    }
}

/// Makes a new name in `path`'s folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    // Elsewhere folders cannot be opened, and names are durable by themselves.
    if cfg!(unix) {
        File::open(folder(path))?.sync_all()
    } else {
        Ok(())
    }
}
