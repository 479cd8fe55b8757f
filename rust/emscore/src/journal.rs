//! Scores of an unfinished run, kept beside its output so that the run can go on.
//!
//! An append-only file: a first line, then records `length u32 | xxh3 u64 | payload`. The first
//! record says whose scores these are, each further one holds the scores of one batch and a digest
//! of its texts. What a crash tore off at the end fails its checksum and is cut away. The output
//! itself is written anew from the input and these scores, so it comes out byte for byte the same.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use crate::disk::sync_folder;
use crate::score::Score;
use crate::{Error, Result};

const FIRST_LINE: &[u8] = b"emscore journal 1\n";
/// A record is at most one batch of scores; longer lengths are damage.
const LONGEST: usize = 1 << 26;
/// Scores are safe on the disk at least this often.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// Scores of one batch.
pub struct Block {
    /// Digest of the batch's texts.
    pub digest: u64,
    /// The scores, a row each.
    pub scores: Vec<Score>,
}

/// Appends blocks.
pub struct Journal {
    path: PathBuf,
    file: File,
    synced: Instant,
    has_blocks: bool,
}

/// Blocks of the interrupted run, in order.
pub struct Blocks {
    path: PathBuf,
    file: BufReader<File>,
    left: u64,
}

impl Journal {
    /// Opens the journal at `path` for the run that `identity` describes.
    ///
    /// With `resume` and a journal that is there, its blocks come back with it; without a journal
    /// a new one begins. Without `resume` a journal that is there is an error, unless `discard`.
    ///
    /// # Errors
    /// [`Error::Resume`] when the journal belongs to another run (it says which part differs);
    /// [`Error::Output`] when it cannot be read or written.
    pub fn open(
        path: &Path,
        identity: &Map<String, Value>,
        resume: bool,
        discard: bool,
    ) -> Result<(Journal, Option<Blocks>)> {
        if path.exists() && !discard && !resume {
            return Err(Error::Resume(format!(
                "{} holds the scores of an unfinished run. Go on with --resume, or start anew with --overwrite",
                path.display()
            )));
        }
        if resume && let Some((journal, blocks)) = Blocks::open(path, identity)? {
            return Ok((journal, Some(blocks)));
        }
        let begin = || -> io::Result<File> {
            let head = serde_json::to_vec(identity)?;
            let mut file = File::create(path)?;
            file.write_all(FIRST_LINE)?;
            append(&mut file, &head)?;
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
            has_blocks: false,
        };
        Ok((journal, None))
    }

    /// Appends `block`.
    pub fn append(&mut self, block: &Block) -> Result<()> {
        let mut payload = Vec::with_capacity(8 + block.scores.len() * Score::BYTES);
        payload.extend_from_slice(&block.digest.to_le_bytes());
        block
            .scores
            .iter()
            .for_each(|score| payload.extend_from_slice(&score.to_bytes()));
        let written = append(&mut self.file, &payload).and_then(|()| {
            if self.synced.elapsed() < SYNC_EVERY {
                return Ok(());
            }
            self.synced = Instant::now();
            self.file.sync_data()
        });
        self.has_blocks = true;
        written.map_err(|e| cannot_write(&self.path, &e))
    }

    /// Whether there is anything to go on from.
    pub fn has_blocks(&self) -> bool {
        self.has_blocks
    }

    /// Removes the journal: the output is whole.
    pub fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).map_err(|e| cannot_write(&self.path, &e))
    }
}

impl Blocks {
    /// The journal at `path` cut back to its last whole record, if there is one with a whole head.
    fn open(path: &Path, identity: &Map<String, Value>) -> Result<Option<(Journal, Blocks)>> {
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
                "{} is no journal of emscore. Move it away, or give the output another name",
                path.display()
            )));
        }
        let Some(head) = read(&mut reader) else {
            // Not even the head got to the disk: nothing had been scored.
            return Ok(None);
        };
        let head: Map<String, Value> = serde_json::from_slice(&head)
            .map_err(|e| Error::Resume(format!("{} is no journal: {e}", path.display())))?;
        differences(path, &head, identity)?;

        let start = reader.stream_position().map_err(failed)?;
        let (mut blocks, mut end) = (0, start);
        while read(&mut reader).is_some() {
            blocks += 1;
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
            has_blocks: blocks > 0,
        };
        let blocks = Blocks {
            path: path.into(),
            file: reader,
            left: blocks,
        };
        Ok(Some((journal, blocks)))
    }

    /// The next batch's scores: `None` once the journal is used up.
    ///
    /// # Errors
    /// [`Error::Resume`] when the batch is not the one that was scored.
    pub fn next_block(&mut self, rows: usize, digest: u64) -> Result<Option<Block>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let changed = || {
            Error::Resume(format!(
                "the input is not the one whose scores {} holds. Restore it, or start anew with --overwrite",
                self.path.display()
            ))
        };
        let payload = read(&mut self.file).ok_or_else(changed)?;
        let (head, scores) = payload.split_first_chunk::<8>().ok_or_else(changed)?;
        let scores: Option<Vec<Score>> =
            scores.chunks(Score::BYTES).map(Score::from_bytes).collect();
        match scores {
            Some(scores) if scores.len() == rows && u64::from_le_bytes(*head) == digest => {
                Ok(Some(Block { digest, scores }))
            }
            _ => Err(changed()),
        }
    }

    /// Checks, at the end of the input, that no scores are left over.
    pub fn ended(&mut self) -> Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        Err(Error::Resume(format!(
            "the input has fewer rows than {} holds scores for. Restore it, or start anew with --overwrite",
            self.path.display()
        )))
    }
}

fn differences(path: &Path, old: &Map<String, Value>, new: &Map<String, Value>) -> Result<()> {
    let differing: Vec<String> = new
        .iter()
        .filter(|(name, value)| old.get(*name) != Some(value))
        .map(|(name, value)| {
            let (before, now) = match (old.get(name), value) {
                // Of a thousand files, the first that differs.
                (Some(Value::Array(old)), Value::Array(new)) => {
                    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
                    (old.get(same), new.get(same))
                }
                (before, now) => (before, Some(now)),
            };
            let shown = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
            format!("{name} was {} and is {} now", shown(before), shown(now))
        })
        .collect();
    if differing.is_empty() {
        return Ok(());
    }
    Err(Error::Resume(format!(
        "{} belongs to another run: {}. Use the same as then, or start anew with --overwrite",
        path.display(),
        differing.join("; ")
    )))
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
    use serde_json::json;

    use super::*;
    use crate::score::Outcome;

    fn identity(scorer: &str) -> Map<String, Value> {
        json!({"scorer": scorer, "limit": null})
            .as_object()
            .unwrap()
            .clone()
    }

    fn block(number: u64) -> Block {
        let score = Score {
            aligned: number as f32,
            ..Score::without_numbers(Outcome::Ok)
        };
        Block {
            digest: number,
            scores: vec![score; 3],
        }
    }

    fn written(folder: &Path, blocks: u64) -> PathBuf {
        let path = folder.join("out.journal");
        let (mut journal, _) = Journal::open(&path, &identity("a"), true, false).unwrap();
        (0..blocks).for_each(|number| journal.append(&block(number)).unwrap());
        path
    }

    #[test]
    fn another_run_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), 1);
        let refused = Journal::open(&path, &identity("b"), true, false)
            .err()
            .unwrap();
        assert!(
            refused
                .to_string()
                .contains(r#"scorer was "a" and is "b" now"#),
            "{refused}"
        );
        let refused = Journal::open(&path, &identity("a"), false, false)
            .err()
            .unwrap();
        assert!(refused.to_string().contains("--resume"), "{refused}");
        assert!(Journal::open(&path, &identity("b"), false, true).is_ok());
    }

    #[test]
    fn other_texts_and_missing_rows_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), 2);
        let open = || {
            Journal::open(&path, &identity("a"), true, false)
                .unwrap()
                .1
                .unwrap()
        };
        assert!(open().next_block(3, 7).is_err());
        assert!(open().next_block(2, 0).is_err());
        let mut blocks = open();
        assert!(blocks.next_block(3, 0).unwrap().is_some());
        assert!(blocks.ended().is_err());
        assert!(blocks.next_block(3, 1).unwrap().is_some());
        assert!(blocks.next_block(3, 2).unwrap().is_none());
        assert!(blocks.ended().is_ok());
    }

    proptest! {
        /// Cut anywhere or with any byte changed: whole blocks before the damage come back, in
        /// order and true; appending goes on after them.
        #[test]
        fn damage_costs_only_what_follows_it(cut in 0.0_f64..1.0, flip in any::<Option<u8>>()) {
            let folder = tempfile::tempdir().unwrap();
            let path = written(folder.path(), 5);
            let mut bytes = fs::read(&path).unwrap();
            let at = (bytes.len() as f64 * cut) as usize;
            match flip {
                Some(flip) => bytes[at] ^= flip.max(1),
                None => bytes.truncate(at),
            }
            fs::write(&path, &bytes).unwrap();

            // Damage to the head may read as another run; it must never read as scores.
            let Ok((mut journal, blocks)) = Journal::open(&path, &identity("a"), true, false) else {
                return Ok(());
            };
            let mut kept = 0;
            if let Some(mut blocks) = blocks {
                while let Some(found) = blocks.next_block(3, kept).unwrap() {
                    prop_assert_eq!(found.scores[0].aligned, kept as f32);
                    kept += 1;
                }
            }
            prop_assert!(kept <= 5);
            (kept..6).for_each(|number| journal.append(&block(number)).unwrap());
            drop(journal);
            let (_, blocks) = Journal::open(&path, &identity("a"), true, false).unwrap();
            let mut blocks = blocks.unwrap();
            for number in 0..6 {
                prop_assert!(blocks.next_block(3, number).unwrap().is_some());
            }
        }
    }
}
