//! How far a run is, and the word to stop it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

/// How often a waiting thread looks whether it should stop.
pub(crate) const GLANCE: Duration = Duration::from_millis(20);

/// Counters that a run moves and others watch.
#[derive(Debug, Default)]
pub struct Progress {
    scored: AtomicU64,
    known: AtomicU64,
    tokens: AtomicU64,
    escalated: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    pub(crate) fn scored(&self, rows: usize, tokens: usize) {
        self.scored.fetch_add(rows as u64, Relaxed);
        self.tokens.fetch_add(tokens as u64, Relaxed);
    }

    pub(crate) fn escalated(&self, row: bool) {
        self.escalated.fetch_add(u64::from(row), Relaxed);
    }

    pub(crate) fn known(&self, rows: usize) {
        self.known.fetch_add(rows as u64, Relaxed);
    }

    pub(crate) fn set_total(&self, rows: Option<u64>) {
        // 0 stands for "not known"; an empty input is done before anybody looks.
        self.total.store(rows.unwrap_or(0), Relaxed);
    }

    /// Rows done: scored, or known without scoring.
    pub fn rows(&self) -> u64 {
        self.scored.load(Relaxed) + self.known.load(Relaxed)
    }

    /// Tokens that went through the network.
    pub fn tokens(&self) -> u64 {
        self.tokens.load(Relaxed)
    }

    /// Rows that took the second scorer of a cascade.
    pub fn rows_escalated(&self) -> u64 {
        self.escalated.load(Relaxed)
    }

    /// Rows in all, where the input tells beforehand.
    pub fn total(&self) -> Option<u64> {
        Some(self.total.load(Relaxed)).filter(|total| *total > 0)
    }
}

/// The word to stop a run; clones are the same word.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks the run to stop soon.
    pub fn set(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether it was asked to.
    pub fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// The next item; `None` at the end, or soon after the word to stop.
pub(crate) fn next<T>(items: &Receiver<T>, stop: &Stop) -> Option<T> {
    loop {
        match items.recv_timeout(GLANCE) {
            Ok(item) => return Some(item),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) if stop.is_set() => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
