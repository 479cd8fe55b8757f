//! The hidden file that becomes the output, whole or not at all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::failed;
use crate::disk::{self, sync_folder};
use crate::error::{Error, Result};

/// `.NAME.partial` next to NAME, locked as long as this lives. A killed run leaves one behind; the
/// next run to the same name replaces it.
pub(super) struct Partial {
    file: File,
    path: PathBuf,
    target: PathBuf,
    overwrite: bool,
    /// It has its name, and what stands under the hidden one is another run's.
    named: AtomicBool,
}

impl Partial {
    pub fn create(path: &Path, overwrite: bool) -> Result<Partial> {
        // Through a link, the file that it points to is replaced, not the link.
        let target = fs::canonicalize(path)
            .or_else(|_| fs::read_link(path).map(|to| disk::folder(path).join(to)))
            .unwrap_or(path.into());
        refuse(&target, overwrite)?;
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let partial = target.with_file_name(format!(".{name}.partial"));
        let file = begin(&partial, &target).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => Error::Output(format!(
                "{} is being written by another run; wait for it, or name another file.",
                path.display()
            )),
            _ => failed(path, &e),
        })?;
        Ok(Partial {
            file,
            path: partial,
            target,
            overwrite,
            named: AtomicBool::new(false),
        })
    }

    /// The file, for an encoder.
    pub fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// The folder that it is in.
    pub fn folder(&self) -> PathBuf {
        disk::folder(&self.path)
    }

    /// Makes the bytes durable, then the name.
    pub fn commit(&self) -> Result<()> {
        refuse(&self.target, self.overwrite)?;
        let durable = || {
            if let Ok(old) = fs::metadata(&self.target) {
                self.file.set_permissions(old.permissions())?;
            }
            self.file.sync_all()?;
            fs::rename(&self.path, &self.target)?;
            self.named.store(true, Ordering::Relaxed);
            sync_folder(&self.target)
        };
        durable().map_err(|e| failed(&self.target, &e))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.named.load(Ordering::Relaxed) {
            let _ = fs::remove_file(&self.path); // nothing can be done about a failure
        }
        // A process that is being started may hold the file for a moment longer.
        let _ = self.file.unlock();
    }
}

/// What must not be replaced is not.
fn refuse(target: &Path, overwrite: bool) -> Result<()> {
    let shown = target.display();
    let why = match fs::metadata(target) {
        Err(_) => return Ok(()),
        Ok(meta) if meta.is_dir() => "is a folder; name a file in it",
        Ok(meta) if !meta.is_file() => "is not a regular file; name one",
        Ok(_) if !overwrite => {
            "exists; name another file, or allow it to be replaced (--overwrite)"
        }
        Ok(_) => return Ok(()),
    };
    Err(Error::Output(format!("{shown} {why}.")))
}

/// Creates `path`, or empties what a killed run left there, and locks it.
fn begin(path: &Path, target: &Path) -> io::Result<File> {
    let file = loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        lock(&file)?;
        // Another run may have given it its name, or removed it, before it was locked here.
        if is_at(&file, path) {
            break file;
        }
    };
    // A run holds its lock under the new name too, until its journal is gone.
    if let Ok(target) = File::open(target) {
        lock(&target).inspect_err(|_| drop(fs::remove_file(path)))?;
    }
    file.set_len(0)?;
    Ok(file)
}

/// Whether `path` is still the name of `file`; where that cannot be told, yes.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(own), Ok(there)) => (own.dev(), own.ino()) == (there.dev(), there.ino()),
        (_, Err(e)) => e.kind() != io::ErrorKind::NotFound,
        (Err(_), _) => true,
    }
}

#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

/// File systems without locks cannot tell two runs apart; that is no reason to refuse one.
fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}
