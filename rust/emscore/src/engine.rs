//! A scorer made ready on a device: encoder, network, warm sessions.

use std::num::NonZero;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

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
    lanes: Pool,
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
        })
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
        let mut slot = self
            .lanes
            .take
            .recv()
            .expect("the pool outlives its leases");
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

/// Lanes that wait for work; those not made yet are `None`.
struct Pool {
    give: Sender<Option<Lane>>,
    take: Receiver<Option<Lane>>,
    size: usize,
}

impl Pool {
    fn new(first: Lane, size: usize) -> Pool {
        let (give, take) = bounded(size);
        let pool = Pool { give, take, size };
        pool.give_back(Some(first));
        (1..size).for_each(|_| pool.give_back(None));
        pool
    }

    fn give_back(&self, lane: Option<Lane>) {
        self.give
            .try_send(lane)
            .expect("the pool has room for every lane");
    }
}

/// A lane on loan; it goes back when dropped, also by a panic.
pub(crate) struct Lease<'a> {
    lane: Option<Lane>,
    pool: &'a Pool,
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
