//! Where an input's bytes come from, and how a reader's troubles are told to a person.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Take, Write};
use std::sync::Arc;

use crate::error::{Error, Result};

/// A seekable input: a file that is opened by name when its turn comes, or one held open because
/// no name leads back to it (what standard input or a pipe had to say, spooled).
#[derive(Clone)]
pub(super) struct Origin {
    pub name: String,
    /// Its size when the run began: what is appended while it is read is not part of it.
    pub bytes: u64,
    held: Option<Arc<File>>,
}

/// An input as it is found: seekable, or a pipe of which nothing is read yet.
pub(super) enum Found {
    Seekable(Origin),
    Pipe(Box<dyn Read + Send>),
}

impl Origin {
    /// Looks up `name`; `-` is standard input.
    pub fn find(name: &str) -> Result<Found> {
        if name == "-" {
            return Ok(Found::Pipe(Box::new(io::stdin())));
        }
        let opened = File::open(name).and_then(|file| Ok((file.metadata()?, file)));
        let (meta, file) = opened.map_err(|e| unreadable(name, &e))?;
        if meta.is_dir() {
            Err(bad(
                name,
                "is a folder where a file was expected; name the files in it",
            ))
        } else if meta.is_file() {
            Ok(Found::Seekable(Origin {
                name: name.into(),
                bytes: meta.len(),
                held: None,
            }))
        } else {
            Ok(Found::Pipe(Box::new(file)))
        }
    }

    /// Copies a pipe to a file without a name, so that it can be read twice and in any order.
    pub fn spool(name: String, mut pipe: impl Read) -> Result<Origin> {
        let spooled = tempfile::tempfile().and_then(|mut file| {
            let bytes = io::copy(&mut pipe, &mut file)?;
            file.flush()?;
            Ok((file, bytes))
        });
        match spooled {
            Ok((file, bytes)) => Ok(Origin {
                name,
                bytes,
                held: Some(Arc::new(file)),
            }),
            Err(e) => Err(Error::Input(format!(
                "{} cannot be kept in a temporary file under {}: {e}; save it to a file and name that instead.",
                shown(&name),
                std::env::temp_dir().display()
            ))),
        }
    }

    /// The file, at its first byte.
    pub fn open(&self) -> Result<File> {
        let opened = match &self.held {
            None => File::open(&self.name),
            Some(file) => file.try_clone().and_then(|mut file| {
                file.seek(SeekFrom::Start(0))?;
                Ok(file)
            }),
        };
        opened.map_err(|e| self.unreadable(&e))
    }

    /// Its bytes, from the first.
    pub fn read(&self) -> Result<Take<File>> {
        Ok(self.open()?.take(self.bytes))
    }

    /// Whether it came through a pipe.
    pub fn is_spooled(&self) -> bool {
        self.held.is_some()
    }

    /// "NAME WHAT."
    pub fn bad(&self, what: impl Display) -> Error {
        bad(&self.name, what)
    }

    /// The operating system refuses.
    pub fn unreadable(&self, e: &io::Error) -> Error {
        unreadable(&self.name, e)
    }
}

/// How a name is shown in messages.
pub(super) fn shown(name: &str) -> &str {
    if name == "-" { "standard input" } else { name }
}

/// "NAME WHAT."
pub(super) fn bad(name: &str, what: impl Display) -> Error {
    Error::Input(format!("{} {what}.", shown(name)))
}

/// The operating system refuses.
pub(super) fn unreadable(name: &str, e: &io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            bad(name, "does not exist; check the path")
        }
        io::ErrorKind::PermissionDenied => bad(
            name,
            "may not be read by you; ask for read permission (chmod +r)",
        ),
        _ => bad(name, format_args!("cannot be read: {e}")),
    }
}
