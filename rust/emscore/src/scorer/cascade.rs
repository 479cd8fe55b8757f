//! A cascade: two scorers as one. The first, which is quick, decides the rows that it is sure of;
//! the second decides the others.

use std::path::Path;

use serde::Deserialize;

use super::{FORMAT, Manifest, Scorer};
use crate::score::Score;
use crate::{Error, Result};

/// A manifest without files of its own: it names two scorers beside it, and pins their ids.
#[derive(Debug, Deserialize)]
pub(super) struct CascadeManifest {
    format: u32,
    name: String,
    judge: String,
    cascade: Section,
}

#[derive(Debug, Deserialize)]
struct Section {
    first: String,
    first_id: String,
    second: String,
    second_id: String,
    #[serde(flatten)]
    unsure: Unsure,
}

/// Where the first scorer is not sure.
#[derive(Debug, Clone, Deserialize)]
struct Unsure {
    /// `p_misaligned` from `low` to `high`.
    low: f64,
    high: f64,
    /// `p_coherent` below this.
    #[serde(default)]
    coherent_below: f64,
}

/// The first scorer of a cascade.
#[derive(Debug, Clone)]
pub struct First {
    /// The scorer.
    pub scorer: Scorer,
    /// Name of the second scorer.
    pub second: String,
    unsure: Unsure,
}

impl First {
    /// Whether this score of the first scorer stands: one with numbers, and sure ones.
    pub fn decides(&self, score: &Score) -> bool {
        let p = f64::from(score.p_misaligned);
        let unsure = (self.unsure.low..=self.unsure.high).contains(&p)
            || f64::from(score.p_coherent) < self.unsure.coherent_below;
        score.outcome.is_scored() && !unsure
    }
}

impl CascadeManifest {
    /// The cascade in `folder`: its second scorer under the cascade's name and id, with the first
    /// one before it.
    ///
    /// # Errors
    /// [`Error::Scorer`] when a scorer is missing or not the pinned one, or the two do not read
    /// texts alike.
    pub fn open(self, folder: &Path, id: String) -> Result<Scorer> {
        let failed =
            |why: String| Error::Scorer(format!("the cascade {}: {why}", folder.display()));
        if self.format != FORMAT {
            return Err(failed(format!(
                "format {} is not known here; update emscore",
                self.format
            )));
        }
        let Section {
            first,
            first_id,
            second,
            second_id,
            unsure,
        } = self.cascade;
        if unsure.low > unsure.high {
            return Err(failed("'low' is above 'high'; exchange them".into()));
        }
        let open = |name: &str, pinned: &str| {
            let scorer = Scorer::open(&folder.join("..").join(name))?;
            if scorer.id() != pinned {
                return Err(failed(format!(
                    "the scorer '{name}' beside it is {}, but it was made with {pinned}. Reinstall both",
                    scorer.id()
                )));
            }
            if scorer.first.is_some() {
                return Err(failed(format!(
                    "'{name}' is a cascade itself; name a scorer"
                )));
            }
            Ok(scorer)
        };
        let name = second.clone();
        let (first, second) = (open(&first, &first_id)?, open(&second, &second_id)?);
        if let Some(what) = difference(&first.manifest, &second.manifest) {
            return Err(failed(format!(
                "its scorers have different {what}; a cascade needs the same in both"
            )));
        }
        Ok(Scorer {
            folder: second.folder,
            id,
            manifest: Manifest {
                name: self.name,
                judge: self.judge,
                ..second.manifest
            },
            first: Some(Box::new(First {
                scorer: first,
                second: name,
                unsure,
            })),
        })
    }
}

/// What keeps a row from being encoded once for both, or gives their scores different meanings.
fn difference(first: &Manifest, second: &Manifest) -> Option<&'static str> {
    let tokenizer = |manifest: &Manifest| manifest.files.get("tokenizer").map(|f| f.sha256.clone());
    if tokenizer(first) != tokenizer(second) {
        Some("tokenizers")
    } else if first.template != second.template {
        Some("templates")
    } else if first.thresholds != second.thresholds {
        Some("thresholds")
    } else {
        None
    }
}
