//! Scores kept between runs, by scorer, precision and content: re-scoring a grown sweep costs only
//! its new rows.
//!
//! One SQLite file per scorer and precision. SQLite brings what a cache shared by several
//! processes needs (locking, crash safety), at a few microseconds a look-up. It does not notice a
//! bit that flips on the disk, so each score carries a checksum; one that fails it is scored again.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use xxhash_rust::xxh3::xxh3_64;

use crate::memo::Key;
use crate::score::Score;
use crate::{Error, Result};

/// Scores written in one transaction.
const BATCH: usize = 4096;
/// How long other processes may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The writing half.
pub(crate) struct Cache {
    path: PathBuf,
    connection: Connection,
    waiting: Vec<(Key, Score)>,
}

/// The reading half, for another thread.
pub(crate) struct Reader {
    path: PathBuf,
    connection: Connection,
}

impl Cache {
    /// Opens the cache of one scorer in `folder`, which is made where there is none.
    pub fn open(folder: &Path, scorer_id: &str, precision: &str) -> Result<Cache> {
        fs::create_dir_all(folder).map_err(|e| {
            Error::Cache(format!(
                "the cache folder {} cannot be made: {e}",
                folder.display()
            ))
        })?;
        let path = folder.join(format!("{scorer_id}-{precision}.sqlite"));
        let connection = connect(&path)?;
        write_ahead(&connection).map_err(|e| failed(&path, &e))?;
        let made = connection.execute_batch(
            "PRAGMA synchronous = NORMAL;
             BEGIN IMMEDIATE;
             CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, score BLOB NOT NULL) WITHOUT ROWID;
             COMMIT;",
        );
        made.map_err(|e| failed(&path, &e))?;
        Ok(Cache {
            path,
            connection,
            waiting: Vec::new(),
        })
    }

    /// A reader of the same cache.
    pub fn reader(&self) -> Result<Reader> {
        Ok(Reader {
            path: self.path.clone(),
            connection: connect(&self.path)?,
        })
    }

    /// Keeps a score; it is written with others, or at [`Cache::flush`].
    pub fn keep(&mut self, key: Key, score: Score) -> Result<()> {
        self.waiting.push((key, score));
        if self.waiting.len() < BATCH {
            Ok(())
        } else {
            self.flush()
        }
    }

    /// Writes what waits.
    pub fn flush(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        let connection = &mut self.connection;
        let mut write = || -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            {
                let mut insert =
                    transaction.prepare_cached("INSERT OR REPLACE INTO scores VALUES (?1, ?2)")?;
                for (key, score) in &waiting {
                    insert.execute(params![key.to_be_bytes(), sealed(*key, *score)])?;
                }
            }
            transaction.commit()
        };
        write().map_err(|e| failed(&self.path, &e))
    }
}

impl Reader {
    /// The score kept for `key`; `None` also where it was damaged.
    pub fn get(&self, key: Key) -> Result<Option<Score>> {
        let found: Option<Vec<u8>> = self
            .connection
            .prepare_cached("SELECT score FROM scores WHERE key = ?1")
            .and_then(|mut select| {
                select
                    .query_row(params![key.to_be_bytes()], |row| row.get(0))
                    .optional()
            })
            .map_err(|e| failed(&self.path, &e))?;
        Ok(found.and_then(|entry| opened(key, &entry)))
    }
}

/// A score and its checksum, as they are kept.
fn sealed(key: Key, score: Score) -> Vec<u8> {
    let score = score.to_bytes();
    [&score[..], &checksum(key, &score)].concat()
}

/// The score, unless it was damaged.
fn opened(key: Key, entry: &[u8]) -> Option<Score> {
    let (score, sum) = entry.split_last_chunk()?;
    (checksum(key, score) == *sum).then(|| Score::from_bytes(score))?
}

fn checksum(key: Key, score: &[u8]) -> [u8; 8] {
    xxh3_64(&[&key.to_be_bytes(), score].concat()).to_le_bytes()
}

fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path).map_err(|e| failed(path, &e))?;
    // Another process may be writing: wait for it rather than fail.
    connection
        .busy_timeout(PATIENCE)
        .map_err(|e| failed(path, &e))?;
    Ok(connection)
}

/// SQLite waits for other processes, but not where the journal's mode is changed.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let began = Instant::now();
    loop {
        match connection.execute_batch("PRAGMA journal_mode = WAL") {
            Err(e) if is_busy(&e) && began.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            done => return done,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(
        code,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

fn failed(path: &Path, error: &rusqlite::Error) -> Error {
    let mend = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "Free space",
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) => "Make it and its folder writable",
        _ if is_busy(error) => "Wait for the other run that uses it",
        _ => "Delete it",
    };
    Error::Cache(format!(
        "the cache {} cannot be used: {error}. {mend}, or run without --cache",
        path.display()
    ))
}
