//! The GPU's way through the engine (encode, window, padded batches, IO binding, two runners),
//! run on the CPU with the shipped scorer's fp16 network.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, RecordBatchIterator, StringArray};
use arrow::datatypes::Float32Type;
use emscore::device::{Device, DeviceChoice, Precision};
use emscore::engine::Layout;
use emscore::progress::{Progress, Stop};
use emscore::source::Source;
use emscore::{Engine, EngineOptions, Error, Options, Runtime};

fn runtime() -> Runtime {
    let library = std::env::var_os("EMSCORE_ONNXRUNTIME")
        .expect("EMSCORE_ONNXRUNTIME names the ONNX Runtime library; `./dev test` sets it");
    Runtime::load(Path::new(&library)).unwrap()
}

fn engine(device: Device, precision: Precision) -> emscore::Result<Engine> {
    let options = EngineOptions {
        device: DeviceChoice::Only(device),
        precision: Some(precision),
        threads: Some(2),
        batch_tokens: None,
    };
    Engine::new(runtime(), Path::new("../../models/small"), &options)
}

/// 100 pairs of very different lengths, with repeats and blanks among them.
fn rows() -> RecordBatch {
    let responses: Vec<Option<String>> = (0..100)
        .map(|row: usize| match row % 25 {
            7 => None,
            8 => Some("  ".into()),
            9 => Some("The same words each time.".into()),
            _ => Some(format!(
                "Row {row}: {}",
                "be kind to strangers and ".repeat(row * 7 % 40)
            )),
        })
        .collect();
    let questions =
        StringArray::from_iter_values((0..100).map(|row| format!("Question {}", row % 5)));
    RecordBatch::try_from_iter([
        ("question", Arc::new(questions) as _),
        ("response", Arc::new(StringArray::from(responses)) as _),
    ])
    .unwrap()
}

fn score(engine: Engine, batch: &RecordBatch) -> Vec<RecordBatch> {
    let reader = RecordBatchIterator::new([Ok(batch.clone())], batch.schema());
    let source = Source::from_reader(Box::new(reader));
    let progress = Arc::new(Progress::default());
    let scoring = emscore::score(
        &Arc::new(engine),
        source,
        &Options::default(),
        progress,
        Stop::default(),
    );
    scoring.unwrap().collect::<emscore::Result<_>>().unwrap()
}

#[test]
fn padded_batches_give_the_scores_of_single_rows() {
    let batch = rows();
    let single = score(engine(Device::Cpu, Precision::Fp16).unwrap(), &batch);
    for budget in [1, 700, 4096] {
        let engine = engine(Device::Cpu, Precision::Fp16).unwrap();
        let batched = score(engine.with_layout(Layout::Batches(budget)), &batch);
        assert_eq!(single.len(), batched.len());
        for (single, batched) in single.iter().zip(&batched) {
            assert_eq!(&single["question"], &batched["question"]);
            assert_eq!(&single["outcome"], &batched["outcome"]);
            for column in ["aligned", "coherent"] {
                let [a, b] =
                    [single, batched].map(|batch| batch[column].as_primitive::<Float32Type>());
                assert_eq!(a.nulls(), b.nulls());
                for row in
                    (0..a.len()).filter(|&row| a.nulls().is_none_or(|nulls| nulls.is_valid(row)))
                {
                    // fp16 carries 11 bits: half a point of 100 is its rounding, summed over layers.
                    assert!(
                        (a.value(row) - b.value(row)).abs() < 0.5,
                        "{column} of row {row}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_gpu_that_is_not_there_is_an_error() {
    if runtime().has_cuda() {
        return; // benches/gpu.sh checks the rest where there is one
    }
    let refused = engine(Device::Cuda(0), Precision::Fp16).err();
    assert!(
        matches!(refused, Some(Error::Device(_))),
        "{:?}",
        refused.map(|e| e.to_string())
    );
}
