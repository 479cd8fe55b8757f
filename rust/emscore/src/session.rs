//! One network on one device: token ids in, logits out.

use ort::ep;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session as OrtSession, SessionOutputs};
use ort::value::{Tensor, TensorRef};

use crate::batch::Padded;
use crate::device::Device;
use crate::encode::Encoded;
use crate::runtime::Runtime;
use crate::scorer::{Logits, Scorer};
use crate::{Error, Result};

const INPUTS: [&str; 3] = ["input_ids", "attention_mask", "token_type_ids"];
const OUTPUTS: [&str; 3] = ["aligned", "coherent", "outcome"];

/// An ONNX Runtime session and what it takes. Single-threaded: one a worker.
pub struct Session {
    session: OrtSession,
    /// Which of [`INPUTS`] the graph has.
    takes: [bool; 3],
    /// Widths of [`OUTPUTS`].
    widths: [usize; 3],
    /// Of the last row, so that the next one need not allocate them.
    mask: Vec<i64>,
    types: Vec<i64>,
}

impl Session {
    /// Builds a session of `model` (the bytes of an ONNX file) on `device`.
    ///
    /// # Errors
    /// [`Error::Device`] when the device cannot be used, [`Error::Scorer`] when the graph is not
    /// one of emscore's.
    pub fn new(
        runtime: &Runtime,
        device: Device,
        scorer: &Scorer,
        model: &[u8],
    ) -> Result<Session> {
        let session = build(runtime, device, model).map_err(|e| {
            let why = plain(&e.to_string());
            match device {
                // Every ONNX Runtime has a CPU: what it cannot load is the model.
                Device::Cpu => Error::Scorer(format!(
                    "ONNX Runtime cannot load the model of scorer '{}': {why}. `emscore doctor` checks both",
                    scorer.name()
                )),
                Device::Cuda(_) => Error::Device(format!(
                    "the model cannot run on {device}: {why}. `emscore doctor` says what is missing; --device cpu works without a GPU"
                )),
            }
        })?;
        let takes = INPUTS.map(|name| session.inputs().iter().any(|input| input.name() == name));
        let foreign = session
            .inputs()
            .iter()
            .find(|input| !INPUTS.contains(&input.name()));
        let gives = |name: &&str| {
            session
                .outputs()
                .iter()
                .any(|output| output.name() == *name)
        };
        if foreign.is_some() || !takes[0] || !OUTPUTS.iter().all(gives) {
            return Err(Error::Scorer(format!(
                "the model of scorer '{}' has other inputs or outputs than emscore's ({}; {})",
                scorer.name(),
                INPUTS.join(", "),
                OUTPUTS.join(", ")
            )));
        }
        let widths = [scorer.bins(), scorer.bins(), 3];
        Ok(Session {
            session,
            takes,
            widths,
            mask: Vec::new(),
            types: Vec::new(),
        })
    }

    /// Runs one unpadded row, and hands its logits to `score`.
    pub fn run_row<T>(&mut self, row: &Encoded, score: impl FnOnce(Logits) -> T) -> Result<T> {
        let length = row.ids.len();
        self.mask.resize(length, 1);
        self.types.clear();
        self.types.resize(row.response_at, 0);
        self.types.resize(length, 1);
        let shape = [1, length];
        let mut inputs = Vec::with_capacity(3);
        for (at, data) in [&row.ids, &self.mask, &self.types].into_iter().enumerate() {
            if self.takes[at] {
                let tensor = TensorRef::from_array_view((shape, data.as_slice()));
                inputs.push((INPUTS[at], tensor.map_err(failed)?));
            }
        }
        let outputs = self.session.run(inputs).map_err(failed)?;
        let widths = self.widths;
        let parts = Parts::of(&outputs, widths, 1)?;
        Ok(score(parts.row(0)))
    }

    /// Runs a padded batch through device memory, and hands each row's logits to `score`.
    pub fn run_batch(&mut self, batch: Padded, mut score: impl FnMut(usize, Logits)) -> Result<()> {
        let (rows, shape) = (batch.rows, [batch.rows, batch.length]);
        let mut binding = self.session.create_binding().map_err(failed)?;
        for (at, data) in [batch.ids, batch.mask, batch.types].into_iter().enumerate() {
            if self.takes[at] {
                let tensor = Tensor::from_array((shape, data)).map_err(failed)?;
                binding.bind_input(INPUTS[at], &tensor).map_err(failed)?;
            }
        }
        let host = MemoryInfo::new(
            AllocationDevice::CPU,
            0,
            AllocatorType::Device,
            MemoryType::CPUOutput,
        );
        let host = host.map_err(failed)?;
        for name in OUTPUTS {
            binding.bind_output_to_device(name, &host).map_err(failed)?;
        }
        binding.synchronize_inputs().map_err(failed)?;
        let outputs = self.session.run_binding(&binding).map_err(failed)?;
        let parts = Parts::of(&outputs, self.widths, rows)?;
        (0..rows).for_each(|row| score(row, parts.row(row)));
        Ok(())
    }
}

/// The three outputs of a run, as flat slices.
struct Parts<'a> {
    data: [&'a [f32]; 3],
    widths: [usize; 3],
}

impl<'a> Parts<'a> {
    fn of(outputs: &'a SessionOutputs, widths: [usize; 3], rows: usize) -> Result<Parts<'a>> {
        let mut data: [&[f32]; 3] = [&[]; 3];
        for ((part, name), width) in data.iter_mut().zip(OUTPUTS).zip(widths) {
            (_, *part) = outputs[name].try_extract_tensor::<f32>().map_err(failed)?;
            if part.len() != rows * width {
                return Err(Error::Scorer(format!(
                    "the model's output '{name}' has {} numbers for {rows} rows; the manifest says {width} a row",
                    part.len()
                )));
            }
        }
        Ok(Parts { data, widths })
    }

    fn row(&self, row: usize) -> Logits<'a> {
        let part = |at: usize| &self.data[at][row * self.widths[at]..(row + 1) * self.widths[at]];
        Logits {
            aligned: part(0),
            coherent: part(1),
            outcome: part(2),
        }
    }
}

fn build(runtime: &Runtime, device: Device, model: &[u8]) -> ort::Result<OrtSession> {
    let builder: SessionBuilder = OrtSession::builder(&runtime.environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        // Every length would keep a pattern of its own: memory that grows for nothing.
        .with_memory_pattern(false)?;
    let mut builder = match device {
        Device::Cpu => builder,
        // TF32 would round fp32 parts to 10 bits; without error_on_failure a missing driver
        // would silently mean the CPU.
        Device::Cuda(index) => builder.with_execution_providers([ep::CUDA::default()
            .with_device_id(index)
            .with_tf32(false)
            .build()
            .error_on_failure()])?,
    };
    builder.commit_from_memory(model)
}

fn failed(error: ort::Error) -> Error {
    Error::Device(format!(
        "ONNX Runtime failed: {}",
        plain(&error.to_string())
    ))
}

/// ONNX Runtime's words on one line, without places in its source and last full stop.
fn plain(text: &str) -> String {
    const PLACE: [&str; 2] = [".cc:", ".h:"]; // file.cc:123, followed by the function
    // "file:line long signature [ONNXRuntimeError] : code : KIND : what ; GPU=... ; file=..."
    let said = match text.rsplit_once("[ONNXRuntimeError] : ") {
        Some((_, said)) => said.splitn(3, " : ").last().unwrap_or(said),
        None => text,
    };
    let said = said.split(" ; GPU=").next().unwrap_or(said);
    let mut words = Vec::new();
    let mut rest = said.split_whitespace();
    while let Some(word) = rest.next() {
        if PLACE.iter().any(|place| word.contains(place)) {
            rest.next();
        } else {
            words.push(word);
        }
    }
    words.join(" ").trim_end_matches('.').into()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn what_a_gpu_says_is_told_without_its_source() {
        let there_is_none = r#"/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider_info.cc:63 static onnxruntime::CUDAExecutionProviderInfo onnxruntime::CUDAExecutionProviderInfo::FromProviderOptions(const onnxruntime::ProviderOptions&) [ONNXRuntimeError] : 1 : FAIL : provider_options_utils.h:187 Parse Failed to parse provider option "device_id": CUDA failure 100: no CUDA-capable device is detected ; GPU=-1 ; hostname=vm ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider_info.cc ; line=70 ; expr=cudaGetDeviceCount(&num_devices);"#;
        assert_eq!(
            plain(there_is_none),
            r#"Failed to parse provider option "device_id": CUDA failure 100: no CUDA-capable device is detected"#
        );
        let no_such_one = "info.cc:63 static Info From(const Options&) [ONNXRuntimeError] : 1 : FAIL : provider_options_utils.h:187 Parse Failed to parse provider option \"device_id\": cuda_execution_provider_info.cc:71 operator() Invalid device ID: 99, must be between 0 (inclusive) and 1 (exclusive).\n";
        assert_eq!(
            plain(no_such_one),
            "Failed to parse provider option \"device_id\": Invalid device ID: 99, must be between 0 (inclusive) and 1 (exclusive)"
        );
    }
}
