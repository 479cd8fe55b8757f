//! A scorer made ready on a device: encoder, network, warm sessions.

use std::num::NonZero;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::device::{Device, DeviceChoice, Precision};
use crate::encode::Encoder;
use crate::lane::{Lane, Models};
use crate::runtime::Runtime;
use crate::scorer::Scorer;
use crate::{Error, Result};

/// Padded tokens of one batch on a GPU, unless the user says otherwise.
const BATCH_TOKENS: usize = 65_536;
/// Batches in flight on a GPU: one runs while the next is copied.
const IN_FLIGHT: usize = 2;

/// How rows meet the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One unpadded row a run: on a CPU the fastest way, and each row's score is its own.
    Rows,
    /// Padded batches of at most this many tokens.
    Batches(usize),
}

/// What an engine is made with.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Device asked for.
    pub device: DeviceChoice,
    /// Precision asked for; the device's own where `None`.
    pub precision: Option<Precision>,
    /// Worker threads; one a core where `None`.
    pub threads: Option<usize>,
    /// Padded tokens a batch, for GPUs.
    pub batch_tokens: Option<usize>,
}

/// A scorer on a device. Shared by all runs: sessions stay warm between them, and runs at the same
/// time take turns at them.
pub struct Engine {
    pub(crate) scorer: Scorer,
    pub(crate) encoder: Encoder,
    pub(crate) layout: Layout,
    device: Device,
    note: String,
    precision: Precision,
    threads: usize,
    runtime: Runtime,
    models: Models,
    lanes: Pool<Lane>,
    /// The process that last found all lanes at home.
    owner: AtomicU32,
}

impl Engine {
    /// Opens the scorer in `folder` and makes its first session.
    ///
    /// # Errors
    /// [`Error::Scorer`] for a missing or damaged scorer, [`Error::Device`] for a device that
    /// cannot be used.
    pub fn new(runtime: Runtime, folder: &Path, options: &EngineOptions) -> Result<Engine> {
        let scorer = Scorer::open(folder)?;
        let encoder = Encoder::new(&scorer.read("tokenizer")?, scorer.template())?;
        let attempt = |device: Device| {
            let precision = Precision::on(device, options.precision)?;
            let models = Models::read(&scorer, device, precision.role())?;
            let lane = Lane::new(&runtime, device, &scorer, &models)?;
            Ok((device, precision, models, lane))
        };
        let (made, note) = match options.device {
            DeviceChoice::Only(device) => (attempt(device)?, "as asked".to_string()),
            DeviceChoice::Auto if scorer.first().is_some() => (
                attempt(Device::Cpu)?,
                "a cascade runs on the CPU".to_string(),
            ),
            DeviceChoice::Auto if !runtime.has_cuda() => (
                attempt(Device::Cpu)?,
                "this onnxruntime has no CUDA".to_string(),
            ),
            DeviceChoice::Auto if options.precision == Some(Precision::Int8) => {
                (attempt(Device::Cpu)?, "int8 runs on the CPU".to_string())
            }
            DeviceChoice::Auto => match attempt(Device::Cuda(0)) {
                Ok(made) => (made, "a CUDA device works here".to_string()),
                Err(Error::Device(why)) => {
                    (attempt(Device::Cpu)?, format!("CUDA cannot be used: {why}"))
                }
                Err(other) => return Err(other),
            },
        };
        let (device, precision, models, first) = made;
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = options.threads.unwrap_or(cores).max(1);
        let (layout, lanes) = match device {
            Device::Cpu => (Layout::Rows, threads),
            Device::Cuda(_) => (
                Layout::Batches(options.batch_tokens.unwrap_or(BATCH_TOKENS)),
                IN_FLIGHT,
            ),
        };
        let lanes = Pool::new(first, lanes);
        Ok(Engine {
            scorer,
            encoder,
            layout,
            device,
            note,
            precision,
            threads,
            runtime,
            models,
            lanes,
            owner: AtomicU32::new(process::id()),
        })
    }

    /// Refuses to run where threads that a fork left behind hold lanes.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub(crate) fn require_whole(&self) -> Result<()> {
        let now = process::id();
        if self.owner.load(Ordering::Relaxed) == now {
            return Ok(());
        }
        if !self.lanes.is_whole() {
            return Err(Error::Device(
                "this scorer was at work when its process forked, and the work stayed behind. Make a new Scorer in the new process, or start that by spawn".into(),
            ));
        }
        self.owner.store(now, Ordering::Relaxed);
        Ok(())
    }

    /// The same engine with another layout. Batches on a CPU exist for tests of the GPU's path.
    #[doc(hidden)]
    pub fn with_layout(mut self, layout: Layout) -> Engine {
        self.layout = layout;
        self
    }

    /// The scorer.
    pub fn scorer(&self) -> &Scorer {
        &self.scorer
    }

    /// The device in use.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Why this device.
    pub fn device_note(&self) -> &str {
        &self.note
    }

    /// The precision in use.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Worker threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Lanes that exist at most.
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.size
    }

    /// A lane, once one is free. Made now if it was never needed before.
    pub(crate) fn lane(&self) -> Result<Lease<'_>> {
        let mut slot = self.lanes.take();
        if slot.is_none() {
            match Lane::new(&self.runtime, self.device, &self.scorer, &self.models) {
                Ok(lane) => slot = Some(lane),
                Err(error) => {
                    self.lanes.give_back(None);
                    return Err(error);
                }
            }
        }
        Ok(Lease {
            lane: slot,
            pool: &self.lanes,
        })
    }
}

/// What waits for work, warm ones last, since the last is taken first; those not made yet are
/// `None`.
struct Pool<T> {
    idle: Mutex<Vec<Option<T>>>,
    more: Condvar,
    size: usize,
}

impl<T> Pool<T> {
    fn new(first: T, size: usize) -> Pool<T> {
        let mut idle: Vec<Option<T>> = (1..size).map(|_| None).collect();
        idle.push(Some(first));
        Pool {
            idle: Mutex::new(idle),
            more: Condvar::new(),
            size,
        }
    }

    fn take(&self) -> Option<T> {
        let mut idle = self.idle();
        loop {
            match idle.pop() {
                Some(one) => return one,
                None => idle = self.more.wait(idle).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn give_back(&self, one: Option<T>) {
        let mut idle = self.idle();
        let at = if one.is_some() { idle.len() } else { 0 };
        idle.insert(at, one);
        self.more.notify_one();
    }

    fn is_whole(&self) -> bool {
        let idle = self.idle.try_lock();
        idle.is_ok_and(|idle| idle.len() == self.size)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Option<T>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lane on loan; it goes back when dropped, also by a panic.
pub(crate) struct Lease<'a> {
    lane: Option<Lane>,
    pool: &'a Pool<Lane>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.pool.give_back(self.lane.take());
    }
}

impl Deref for Lease<'_> {
    type Target = Lane;
    fn deref(&self) -> &Lane {
        self.lane
            .as_ref()
            .expect("a lease holds a lane until it is dropped")
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut Lane {
        self.lane
            .as_mut()
            .expect("a lease holds a lane until it is dropped")
    }
}

#[cfg(test)]
mod tests {
    use super::Pool;

    #[test]
    fn warm_ones_are_taken_first() {
        let pool = Pool::new(1, 3);
        let one = pool.take();
        assert_eq!((one, pool.is_whole()), (Some(1), false));
        pool.give_back(one);
        assert_eq!((pool.take(), pool.take()), (Some(1), None));
        pool.give_back(Some(2));
        pool.give_back(Some(1));
        assert!(pool.is_whole());
        assert_eq!(
            (pool.take(), pool.take(), pool.take()),
            (Some(1), Some(2), None)
        );
    }
}
