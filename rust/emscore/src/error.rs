//! One error type. Every message is a sentence for a person: what, where, how to mend.

/// What can go wrong, by the part of the run that a person has to look at.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// An input file or stream cannot be read, or its columns do not fit.
    #[error("{0}")]
    Input(String),
    /// The output cannot be written, or would destroy something.
    #[error("{0}")]
    Output(String),
    /// A scorer directory is missing, incomplete or damaged.
    #[error("{0}")]
    Scorer(String),
    /// ONNX Runtime or the device that was asked for cannot be used.
    #[error("{0}")]
    Device(String),
    /// An unfinished run exists and cannot be continued as asked.
    #[error("{0}")]
    Resume(String),
    /// The score cache cannot be read or written.
    #[error("{0}")]
    Cache(String),
    /// The caller asked to stop.
    #[error("stopped before the end")]
    Interrupted,
}

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
