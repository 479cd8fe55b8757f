//! Which device and precision a run uses.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// Where a network runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The CPU: one row a run, one single-threaded session a core.
    Cpu,
    /// A CUDA device by its index: padded batches.
    Cuda(i32),
}

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A CUDA device where one can be used, else the CPU; the run says which and why.
    Auto,
    /// This one, or an error.
    Only(Device),
}

/// Numbers that a network computes with: a file of the scorer each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Dynamically quantised to 8 bits; for the CPU.
    Int8,
    /// 16-bit floats; for the GPU (it runs on a CPU too, slowly).
    Fp16,
}

impl Precision {
    /// The role of the file in the scorer's manifest.
    pub fn role(self) -> &'static str {
        match self {
            Precision::Int8 => "int8",
            Precision::Fp16 => "fp16",
        }
    }

    /// The precision to use on `device`: the given one, else the device's own.
    ///
    /// # Errors
    /// [`Error::Device`] for int8 on a GPU: ONNX Runtime has no fast kernels for it there, and
    /// batches would break the promise that a row's score depends on that row alone.
    pub fn on(device: Device, given: Option<Precision>) -> Result<Precision> {
        match (device, given) {
            (Device::Cuda(_), Some(Precision::Int8)) => Err(Error::Device(
                "int8 runs on the CPU only; leave --precision out, or say --precision fp16".into(),
            )),
            (_, Some(precision)) => Ok(precision),
            (Device::Cpu, None) => Ok(Precision::Int8),
            (Device::Cuda(_), None) => Ok(Precision::Fp16),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<DeviceChoice> {
        let index = |index: &str| index.parse().ok().filter(|index| *index >= 0);
        match text {
            "auto" => Some(DeviceChoice::Auto),
            "cpu" => Some(DeviceChoice::Only(Device::Cpu)),
            "cuda" => Some(DeviceChoice::Only(Device::Cuda(0))),
            _ => text
                .strip_prefix("cuda:")
                .and_then(index)
                .map(|index| DeviceChoice::Only(Device::Cuda(index))),
        }
        .ok_or_else(|| {
            Error::Device(format!(
                "'{text}' is no device; say auto, cpu, cuda or cuda:N"
            ))
        })
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Precision> {
        match text {
            "int8" => Ok(Precision::Int8),
            "fp16" => Ok(Precision::Fp16),
            _ => Err(Error::Device(format!(
                "'{text}' is no precision; say int8 or fp16"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_and_others_refused() {
        assert_eq!("auto".parse::<DeviceChoice>().unwrap(), DeviceChoice::Auto);
        let only = |text: &str| text.parse::<DeviceChoice>().unwrap();
        assert_eq!(only("cpu"), DeviceChoice::Only(Device::Cpu));
        assert_eq!(only("cuda"), DeviceChoice::Only(Device::Cuda(0)));
        assert_eq!(only("cuda:3"), DeviceChoice::Only(Device::Cuda(3)));
        for wrong in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn precision_follows_the_device_and_int8_is_refused_on_a_gpu() {
        assert_eq!(Precision::on(Device::Cpu, None).unwrap(), Precision::Int8);
        assert_eq!(
            Precision::on(Device::Cuda(0), None).unwrap(),
            Precision::Fp16
        );
        assert_eq!(
            Precision::on(Device::Cpu, Some(Precision::Fp16)).unwrap(),
            Precision::Fp16
        );
        assert!(Precision::on(Device::Cuda(1), Some(Precision::Int8)).is_err());
    }
}
