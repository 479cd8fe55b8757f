//! What a worker runs rows on: a session of the scorer, and one of a cascade's first scorer.

use crate::device::Device;
use crate::encode::Encoded;
use crate::runtime::Runtime;
use crate::score::Score;
use crate::scorer::Scorer;
use crate::session::Session;
use crate::{Error, Result};

/// The bytes of the networks that lanes are made of.
pub struct Models {
    model: Vec<u8>,
    first: Option<Vec<u8>>,
}

/// Sessions that one worker has to itself.
pub struct Lane {
    first: Option<Session>,
    /// The scorer's session; in a cascade, that of its second scorer.
    pub session: Session,
}

impl Models {
    /// Reads the networks to run on `device`; `role` is the precision.
    ///
    /// # Errors
    /// [`Error::Device`] for a cascade on a GPU, where batches of all rows are quicker; those of
    /// [`Scorer::read`].
    pub fn read(scorer: &Scorer, device: Device, role: &str) -> Result<Models> {
        let first = match scorer.first() {
            Some(first) if device != Device::Cpu => {
                return Err(Error::Device(format!(
                    "the cascade '{}' runs on the CPU only. On {device} use the scorer '{}', or say --device cpu",
                    scorer.name(),
                    first.second
                )));
            }
            first => first.map(|first| first.scorer.read(role)).transpose()?,
        };
        let model = scorer.read(role)?;
        Ok(Models { model, first })
    }
}

impl Lane {
    /// Builds the sessions on `device`.
    ///
    /// # Errors
    /// Those of [`Session::new`].
    pub fn new(
        runtime: &Runtime,
        device: Device,
        scorer: &Scorer,
        models: &Models,
    ) -> Result<Lane> {
        let first = scorer.first().zip(models.first.as_ref());
        let first = first.map(|(first, model)| Session::new(runtime, device, &first.scorer, model));
        Ok(Lane {
            first: first.transpose()?,
            session: Session::new(runtime, device, scorer, &models.model)?,
        })
    }

    /// The score of one unpadded row, and whether it took the second scorer of a cascade.
    pub fn score_row(&mut self, scorer: &Scorer, row: &Encoded) -> Result<(Score, bool)> {
        if let (Some(first), Some(session)) = (scorer.first(), &mut self.first) {
            let score = session.run_row(row, |logits| first.scorer.score(logits, row.too_long))?;
            if first.decides(&score) {
                return Ok((score, false));
            }
        }
        let score = self
            .session
            .run_row(row, |logits| scorer.score(logits, row.too_long))?;
        Ok((score, self.first.is_some()))
    }
}
