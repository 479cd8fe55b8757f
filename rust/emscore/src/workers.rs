//! The threads between reading and collecting: encode, run, answer.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::batch::{Padded, plan};
use crate::columns::Texts;
use crate::encode::{Encoded, Memory};
use crate::engine::{Engine, Layout};
use crate::progress::{GLANCE, Progress, Stop, next};
use crate::score::Score;
use crate::{Error, Result};

/// Rows among which like lengths are sought for a batch.
const WINDOW: usize = 8192;

/// Scores of some rows of a chunk.
pub(crate) type Answer = Result<Vec<(u32, Score)>>;

/// Some rows of one chunk.
pub(crate) struct Task {
    pub texts: Arc<Texts>,
    pub rows: Vec<u32>,
    pub answer: Sender<Answer>,
}

/// What all workers of a run share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub engine: Arc<Engine>,
    pub progress: Arc<Progress>,
    pub stop: Stop,
}

/// Rows of one task: small on the CPU, so that all cores stay busy to the end.
pub(crate) fn task_rows(layout: Layout) -> usize {
    match layout {
        Layout::Rows => 16,
        Layout::Batches(_) => 256,
    }
}

/// Starts the threads that turn tasks into answers.
pub(crate) fn start(shared: &Shared, tasks: &Receiver<Task>) -> Vec<JoinHandle<()>> {
    let spawn = |work: Box<dyn FnOnce(&Shared) + Send>| {
        let shared = shared.clone();
        thread::spawn(move || work(&shared))
    };
    let threads = shared.engine.threads();
    match shared.engine.layout {
        Layout::Rows => (0..threads)
            .map(|_| {
                let tasks = tasks.clone();
                spawn(Box::new(move |shared| score_rows(shared, &tasks)))
            })
            .collect(),
        Layout::Batches(budget) => {
            let (to_plan, encoded) = bounded(4 * threads);
            let (to_run, batches) = bounded(1);
            let encoders = (0..threads).map(|_| {
                let (tasks, to_plan) = (tasks.clone(), to_plan.clone());
                spawn(Box::new(move |shared| {
                    encode_tasks(shared, &tasks, &to_plan)
                }))
            });
            let planner = spawn(Box::new(move |shared| {
                plan_batches(shared, &encoded, &to_run, budget)
            }));
            let runners = (0..shared.engine.lanes()).map(|_| {
                let batches = batches.clone();
                spawn(Box::new(move |shared| run_batches(shared, &batches)))
            });
            encoders.chain([planner]).chain(runners).collect()
        }
    }
}

/// CPU: encode a row, run it, answer.
fn score_rows(shared: &Shared, tasks: &Receiver<Task>) {
    let Shared {
        engine,
        progress,
        stop,
    } = shared;
    let mut memory = Memory::default();
    while let Some(task) = next(tasks, stop) {
        let mut score = || -> Answer {
            let mut lane = engine.lane()?;
            let mut scores = Vec::with_capacity(task.rows.len());
            for &row in &task.rows {
                if stop.is_set() {
                    return Err(Error::Interrupted);
                }
                let at = row as usize;
                let encoded = engine.encoder.encode(
                    task.texts.question(at),
                    task.texts.response(at),
                    &mut memory,
                )?;
                let (score, escalated) = lane.score_row(&engine.scorer, &encoded)?;
                progress.scored(1, encoded.ids.len());
                progress.escalated(escalated);
                scores.push((row, score));
            }
            Ok(scores)
        };
        // Nobody listens any more once the run was dropped.
        let _ = task.answer.send(score());
    }
}

/// An encoded row on its way to the GPU.
struct Ready {
    row: u32,
    encoded: Encoded,
    answer: Sender<Answer>,
}

/// GPU, first: encode tasks.
fn encode_tasks(shared: &Shared, tasks: &Receiver<Task>, to_plan: &Sender<Vec<Ready>>) {
    let mut memory = Memory::default();
    while let Some(task) = next(tasks, &shared.stop) {
        let rows: Result<Vec<Ready>> = task
            .rows
            .iter()
            .map(|&row| {
                let at = row as usize;
                let encoded = shared.engine.encoder.encode(
                    task.texts.question(at),
                    task.texts.response(at),
                    &mut memory,
                )?;
                Ok(Ready {
                    row,
                    encoded,
                    answer: task.answer.clone(),
                })
            })
            .collect();
        match rows {
            Ok(rows) => drop(to_plan.send(rows)),
            Err(error) => drop(task.answer.send(Err(error))),
        }
    }
}

/// GPU, second: gather a window, sort it by length, cut it into batches.
///
/// A window is closed when it is full, or when nothing more comes for a moment: the reader may be
/// waiting for these very rows.
fn plan_batches(
    shared: &Shared,
    encoded: &Receiver<Vec<Ready>>,
    to_run: &Sender<Vec<Ready>>,
    budget: usize,
) {
    let mut window = Vec::with_capacity(WINDOW);
    loop {
        let received = encoded.recv_timeout(GLANCE);
        let ended = matches!(received, Err(RecvTimeoutError::Disconnected)) || shared.stop.is_set();
        let idle = received.is_err();
        window.extend(received.into_iter().flatten());
        if window.len() >= WINDOW || (idle && !window.is_empty()) {
            for batch in plan(std::mem::take(&mut window), budget, |row| {
                row.encoded.ids.len()
            }) {
                if to_run.send(batch).is_err() {
                    return;
                }
            }
        }
        if ended {
            return;
        }
    }
}

/// GPU, third: run batches. Each of the runners has a session of its own, so that while one waits
/// for the device the other copies.
fn run_batches(shared: &Shared, batches: &Receiver<Vec<Ready>>) {
    let Shared {
        engine,
        progress,
        stop,
    } = shared;
    while let Some(batch) = next(batches, stop) {
        let rows: Vec<&Encoded> = batch.iter().map(|row| &row.encoded).collect();
        let mut scores = Vec::with_capacity(batch.len());
        let result = engine.lane().and_then(|mut lane| {
            lane.session.run_batch(Padded::new(&rows), |row, logits| {
                scores.push(engine.scorer.score(logits, rows[row].too_long));
            })
        });
        match result {
            Ok(()) => {
                progress.scored(batch.len(), rows.iter().map(|row| row.ids.len()).sum());
                for (ready, score) in batch.iter().zip(scores) {
                    let _ = ready.answer.send(Ok(vec![(ready.row, score)]));
                }
            }
            Err(error) => {
                for ready in &batch {
                    let _ = ready.answer.send(Err(error.clone()));
                }
            }
        }
    }
}
