//! Scores of an unfinished run, kept beside its output so that the run can go on.
//!
//! An append-only file: a first line, then records `length u32 | xxh3 u64 | payload`. The first
//! record says of which scorer the scores are, each further one holds those of some rows, each after
//! a digest of the row's texts. What a crash tore off at the end fails its checksum and is cut away.
//! The output itself is written anew from the input and these scores, so it comes out byte for byte
//! as if they had been computed just now.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::vec;

use xxhash_rust::xxh3::xxh3_64;

use crate::disk::sync_folder;
use crate::memo::Key;
use crate::score::Score;
use crate::{Error, Result};

const FIRST_LINE: &[u8] = b"emscore journal 2\n";
/// A record is at most one batch of scores; longer lengths are damage.
const LONGEST: usize = 1 << 26;
/// Scores are safe on the disk at least this often.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Bytes of a row: the digest of its texts, and its score.
const ROW: usize = 8 + Score::BYTES;

/// Appends rows.
pub struct Journal {
    path: PathBuf,
    file: File,
    synced: Instant,
    has_rows: bool,
}

/// Rows of the interrupted run, in order.
pub struct Rows {
    path: PathBuf,
    file: BufReader<File>,
    /// Records not read yet.
    left: u64,
    record: vec::IntoIter<[u8; ROW]>,
    met: u64,
}

impl Journal {
    /// Opens the journal at `path` for scores of `scorer`.
    ///
    /// With `resume` and a journal that is there, its rows come back with it; without a journal
    /// a new one begins. Without `resume` a journal that is there is an error, unless `discard`.
    ///
    /// # Errors
    /// [`Error::Resume`] when the journal holds scores of another scorer;
    /// [`Error::Output`] when it cannot be read or written.
    pub fn open(
        path: &Path,
        scorer: &str,
        resume: bool,
        discard: bool,
    ) -> Result<(Journal, Option<Rows>)> {
        if path.exists() && !discard && !resume {
            return Err(Error::Resume(format!(
                "{} holds the scores of an unfinished run. Go on with --resume, or start anew with --overwrite",
                path.display()
            )));
        }
        if resume && let Some((journal, rows)) = Rows::open(path, scorer)? {
            return Ok((journal, Some(rows)));
        }
        let begin = || -> io::Result<File> {
            let mut file = File::create(path)?;
            file.write_all(FIRST_LINE)?;
            append(&mut file, scorer.as_bytes())?;
            file.sync_all()?;
            sync_folder(path)?;
            Ok(file)
        };
        let file = begin().map_err(|e| {
            // Without a whole head it would only be in the way.
            let _ = fs::remove_file(path);
            cannot_write(path, &e)
        })?;
        let journal = Journal {
            path: path.into(),
            file,
            synced: Instant::now(),
            has_rows: false,
        };
        Ok((journal, None))
    }

    /// Appends rows.
    pub fn append(&mut self, keys: &[Key], scores: &[Score]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut payload = Vec::with_capacity(keys.len() * ROW);
        for (&key, score) in keys.iter().zip(scores) {
            payload.extend_from_slice(&digest(key));
            payload.extend_from_slice(&score.to_bytes());
        }
        let written = append(&mut self.file, &payload).and_then(|()| {
            if self.synced.elapsed() < SYNC_EVERY {
                return Ok(());
            }
            self.synced = Instant::now();
            self.file.sync_data()
        });
        self.has_rows = true;
        written.map_err(|e| cannot_write(&self.path, &e))
    }

    /// Whether there is anything to go on from.
    pub fn has_rows(&self) -> bool {
        self.has_rows
    }

    /// Removes the journal: the output is whole.
    pub fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).map_err(|e| cannot_write(&self.path, &e))
    }
}

impl Rows {
    /// The journal at `path` cut back to its last whole record, if there is one with a whole head.
    fn open(path: &Path, scorer: &str) -> Result<Option<(Journal, Rows)>> {
        let failed = |e: io::Error| cannot_write(path, &e);
        let mut file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        let mut reader = BufReader::new(file.try_clone().map_err(failed)?);
        let mut first_line = Vec::new();
        let limit = FIRST_LINE.len() as u64;
        (&mut reader)
            .take(limit)
            .read_to_end(&mut first_line)
            .map_err(failed)?;
        if !FIRST_LINE.starts_with(&first_line) {
            return Err(Error::Resume(format!(
                "{} is no journal of this emscore. Move it away, or give the output another name",
                path.display()
            )));
        }
        let Some(head) = read(&mut reader) else {
            // Not even the head got to the disk: nothing had been scored.
            return Ok(None);
        };
        if head != scorer.as_bytes() {
            return Err(Error::Resume(format!(
                "{} holds scores of {}, not of {scorer}. Use the same as then, or start anew with --overwrite",
                path.display(),
                String::from_utf8_lossy(&head)
            )));
        }

        let start = reader.stream_position().map_err(failed)?;
        let (mut left, mut end) = (0, start);
        while read(&mut reader).is_some() {
            left += 1;
            end = reader.stream_position().map_err(failed)?;
        }
        file.set_len(end).map_err(failed)?;
        file.seek(SeekFrom::Start(end)).map_err(failed)?;
        // The writer moves its own offset; the reader needs a handle that does not share it.
        let mut reader = BufReader::new(File::open(path).map_err(failed)?);
        reader.seek(SeekFrom::Start(start)).map_err(failed)?;
        let journal = Journal {
            path: path.into(),
            file,
            synced: Instant::now(),
            has_rows: left > 0,
        };
        let rows = Rows {
            path: path.into(),
            file: reader,
            left,
            record: Vec::new().into_iter(),
            met: 0,
        };
        Ok(Some((journal, rows)))
    }

    /// The score of the next row, whose texts have this key: `None` once the journal is used up.
    ///
    /// # Errors
    /// [`Error::Resume`] when the row is not the one that was scored.
    pub fn next(&mut self, key: Key) -> Result<Option<Score>> {
        let row = loop {
            if let Some(row) = self.record.next() {
                break row;
            }
            if self.left == 0 {
                return Ok(None);
            }
            self.left -= 1;
            let record = read(&mut self.file).unwrap_or_default();
            self.record = record.as_chunks().0.to_vec().into_iter();
        };
        self.met += 1;
        let (digested, score) = row.split_at(8);
        let score = Score::from_bytes(score).filter(|_| *digested == digest(key));
        score.map(Some).ok_or_else(|| {
            Error::Resume(format!(
                "row {} is not the one whose score {} holds. Restore the input, or start anew with --overwrite (scores in a --cache are found again wherever their rows are)",
                self.met,
                self.path.display()
            ))
        })
    }

    /// Checks, at the end of the input, that no scores are left over.
    pub fn ended(&mut self) -> Result<()> {
        if self.left == 0 && self.record.as_slice().is_empty() {
            return Ok(());
        }
        Err(Error::Resume(format!(
            "there are fewer rows than {} holds scores for. Restore the input (or --limit), or start anew with --overwrite",
            self.path.display()
        )))
    }
}

fn digest(key: Key) -> [u8; 8] {
    (key as u64).to_le_bytes()
}

fn append(file: &mut File, payload: &[u8]) -> io::Result<()> {
    let mut record = Vec::with_capacity(12 + payload.len());
    record.extend_from_slice(
        &u32::try_from(payload.len())
            .expect("a block is small")
            .to_le_bytes(),
    );
    record.extend_from_slice(&xxh3_64(payload).to_le_bytes());
    record.extend_from_slice(payload);
    file.write_all(&record)
}

/// The next record's payload; `None` at the end, and at a record that is torn or damaged.
fn read(file: &mut impl Read) -> Option<Vec<u8>> {
    let mut head = [0; 12];
    file.read_exact(&mut head).ok()?;
    let (length, checksum) = head.split_at(4);
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    if length > LONGEST {
        return None;
    }
    let mut payload = vec![0; length];
    file.read_exact(&mut payload).ok()?;
    (xxh3_64(&payload).to_le_bytes() == checksum).then_some(payload)
}

fn cannot_write(path: &Path, error: &io::Error) -> Error {
    Error::Output(format!(
        "the journal {} cannot be written: {error}. What was scored before is kept; make room and go on with --resume",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::score::Outcome;

    fn score(number: u32) -> Score {
        Score {
            aligned: number as f32,
            ..Score::without_numbers(Outcome::Ok)
        }
    }

    /// Rows in records of three; the key of each is its number.
    fn append(journal: &mut Journal, rows: std::ops::Range<u32>) {
        let rows: Vec<u32> = rows.collect();
        for rows in rows.chunks(3) {
            let keys: Vec<Key> = rows.iter().map(|&row| row.into()).collect();
            let scores: Vec<Score> = rows.iter().map(|&row| score(row)).collect();
            journal.append(&keys, &scores).unwrap();
        }
    }

    fn written(folder: &Path, rows: u32) -> PathBuf {
        let path = folder.join("out.journal");
        let (mut journal, _) = Journal::open(&path, "a", true, false).unwrap();
        append(&mut journal, 0..rows);
        path
    }

    #[test]
    fn another_scorer_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), 3);
        let refused = |scorer, resume| {
            let opened = Journal::open(&path, scorer, resume, false);
            opened.err().unwrap().to_string()
        };
        assert!(refused("b", true).contains("holds scores of a, not of b."));
        assert!(refused("a", false).contains("--resume"));
        assert!(Journal::open(&path, "b", false, true).is_ok());
    }

    #[test]
    fn other_texts_and_missing_rows_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), 5);
        let open = || {
            let (_, rows) = Journal::open(&path, "a", true, false).unwrap();
            rows.unwrap()
        };
        let mut rows = open();
        assert!(rows.next(0).unwrap().is_some());
        let refused = rows.next(7).unwrap_err().to_string();
        assert!(refused.starts_with("row 2 is not the one"), "{refused}");
        let mut rows = open();
        for row in 0..5 {
            assert!(rows.ended().is_err());
            assert!(rows.next(row).unwrap().is_some());
        }
        assert!(rows.next(5).unwrap().is_none());
        assert!(rows.ended().is_ok());
    }

    proptest! {
        /// Cut anywhere or with any byte changed: the rows of whole records before the damage come
        /// back, in order and true; appending goes on after them.
        #[test]
        fn damage_costs_only_what_follows_it(cut in 0.0_f64..1.0, flip in any::<Option<u8>>()) {
            let folder = tempfile::tempdir().unwrap();
            let path = written(folder.path(), 15);
            let mut bytes = fs::read(&path).unwrap();
            let at = (bytes.len() as f64 * cut) as usize;
            match flip {
                Some(flip) => bytes[at] ^= flip.max(1),
                None => bytes.truncate(at),
            }
            fs::write(&path, &bytes).unwrap();

            // Damage to the first line reads as no journal; it must never read as scores.
            let Ok((mut journal, rows)) = Journal::open(&path, "a", true, false) else {
                return Ok(());
            };
            let mut kept = 0;
            if let Some(mut rows) = rows {
                while let Some(found) = rows.next(kept.into()).unwrap() {
                    prop_assert_eq!(found.aligned, kept as f32);
                    kept += 1;
                }
            }
            prop_assert!(kept <= 15 && kept % 3 == 0);
            append(&mut journal, kept..20);
            drop(journal);
            let (_, rows) = Journal::open(&path, "a", true, false).unwrap();
            let mut rows = rows.unwrap();
            for row in 0..20 {
                prop_assert!(rows.next(row).unwrap().is_some());
            }
        }
    }
}
