//! Text pairs → token ids: `[CLS] question [SEP] response [SEP]`.

use std::collections::HashMap;
use std::sync::Arc;

use tokenizers::Tokenizer;

use crate::scorer::Template;
use crate::{Error, Result};

/// Questions whose ids are kept; a suite has tens, a finance set thousands.
const QUESTIONS: usize = 8192;
/// Characters per token to try first: enough for nearly all text, little enough to be quick.
const CHARS_PER_TOKEN: usize = 8;

/// A tokeniser and the scorer's input template; shared by all threads.
pub struct Encoder {
    tokenizer: Tokenizer,
    template: Template,
    start: i64,
    separator: i64,
}

/// One encoded row.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Token ids.
    pub ids: Vec<i64>,
    /// Where the response begins: token type 0 before, 1 from here on.
    pub response_at: usize,
    /// The response did not fit whole.
    pub too_long: bool,
}

/// A thread's memory of questions: they repeat thousands of times, so each is encoded once.
pub type Questions = HashMap<Box<str>, Arc<[i64]>>;

impl Encoder {
    /// An encoder over the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Scorer`] when the bytes are no tokeniser or lack `[CLS]` and `[SEP]`.
    pub fn new(tokenizer_json: &[u8], template: Template) -> Result<Encoder> {
        let mut tokenizer = Tokenizer::from_bytes(tokenizer_json)
            .map_err(|e| Error::Scorer(format!("tokenizer.json is no tokenizer: {e}")))?;
        // Whatever the file carries, length is ours to manage.
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|e| Error::Scorer(format!("tokenizer.json: {e}")))?;
        // A response that spells out "[SEP]" is text, not structure.
        tokenizer.set_encode_special_tokens(true);
        let special = |token: &str| {
            tokenizer.token_to_id(token).map(i64::from).ok_or_else(|| {
                Error::Scorer(format!(
                    "tokenizer.json has no {token} token; emscore needs one"
                ))
            })
        };
        let (start, separator) = (special("[CLS]")?, special("[SEP]")?);
        Ok(Encoder {
            tokenizer,
            template,
            start,
            separator,
        })
    }

    /// Encodes one pair.
    pub fn encode(&self, question: &str, response: &str, known: &mut Questions) -> Result<Encoded> {
        let question = self.question(question, known)?;
        let room = self.template.max_tokens - 3 - question.len();
        let mut response = self.tokens(response, room + 1)?;
        let too_long = response.len() > room;
        response.truncate(room);

        let mut ids = Vec::with_capacity(3 + question.len() + response.len());
        ids.push(self.start);
        ids.extend_from_slice(&question);
        ids.push(self.separator);
        let response_at = ids.len();
        ids.extend_from_slice(&response);
        ids.push(self.separator);
        Ok(Encoded {
            ids,
            response_at,
            too_long,
        })
    }

    fn question(&self, question: &str, known: &mut Questions) -> Result<Arc<[i64]>> {
        if let Some(ids) = known.get(question) {
            return Ok(ids.clone());
        }
        let mut ids = self.tokens(question, self.template.max_question_tokens)?;
        ids.truncate(self.template.max_question_tokens);
        let ids: Arc<[i64]> = ids.into();
        if known.len() == QUESTIONS {
            known.clear();
        }
        known.insert(question.into(), ids.clone());
        Ok(ids)
    }

    /// The tokens of `text`, or of a beginning of it that has at least `wanted` of them.
    ///
    /// A text of a megabyte is not tokenised to keep 500 tokens: it is cut at white space, where
    /// no token spans the cut, and the cut moves out until there are enough.
    fn tokens(&self, text: &str, wanted: usize) -> Result<Vec<i64>> {
        let mut clip = CHARS_PER_TOKEN * wanted;
        loop {
            let part = beginning(text, clip);
            let encoding = self
                .tokenizer
                .encode_fast(part, false)
                .map_err(|e| Error::Scorer(format!("the tokenizer failed: {e}")))?;
            let ids = encoding.get_ids();
            if ids.len() >= wanted || part.len() == text.len() {
                return Ok(ids.iter().map(|&id| i64::from(id)).collect());
            }
            clip *= 4;
        }
    }
}

/// `text` up to the last space before byte `clip`; all of it when it is shorter, and further than
/// `clip` when one word goes on past it.
fn beginning(text: &str, clip: usize) -> &str {
    // Other white space is not safe: BERT's normaliser deletes some of it, which joins words.
    const SPACE: [char; 4] = [' ', '\n', '\t', '\r'];
    if text.len() <= clip {
        return text;
    }
    let cut = text.floor_char_boundary(clip);
    let at = text[..cut].rfind(SPACE).filter(|&at| at > 0);
    let at = at.or_else(|| text[cut..].find(SPACE).map(|after| cut + after));
    at.map_or(text, |at| &text[..at])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKENIZER: &[u8] = include_bytes!("../../../models/small/tokenizer.json");

    fn encoder(max_tokens: usize) -> Encoder {
        Encoder::new(
            TOKENIZER,
            Template {
                max_tokens,
                max_question_tokens: 8,
            },
        )
        .unwrap()
    }

    /// What the tokeniser itself makes of the whole pair.
    fn reference(encoder: &Encoder, question: &str, response: &str) -> Encoded {
        let ids = |text: &str| -> Vec<i64> {
            let encoding = encoder.tokenizer.encode_fast(text, false).unwrap();
            encoding.get_ids().iter().map(|&id| i64::from(id)).collect()
        };
        let (mut question, mut response) = (ids(question), ids(response));
        question.truncate(8);
        let room = encoder.template.max_tokens - 3 - question.len();
        let too_long = response.len() > room;
        response.truncate(room);
        let head = [vec![101], question, vec![102]].concat();
        let response_at = head.len();
        Encoded {
            ids: [head, response, vec![102]].concat(),
            response_at,
            too_long,
        }
    }

    #[test]
    fn special_tokens_in_a_text_are_text() {
        let encoded = encoder(64)
            .encode("q", "[SEP] [CLS]", &mut Questions::new())
            .unwrap();
        assert_eq!(
            encoded
                .ids
                .iter()
                .filter(|&&id| id == 101 || id == 102)
                .count(),
            3
        );
    }

    #[test]
    fn a_megabyte_costs_no_more_than_its_beginning() {
        let encoder = encoder(64);
        let response = "word ".repeat(200_000);
        assert!(beginning(&response, CHARS_PER_TOKEN * 64).len() <= CHARS_PER_TOKEN * 64);
        let encoded = encoder
            .encode("q", &response, &mut Questions::new())
            .unwrap();
        assert_eq!(encoded, reference(&encoder, "q", &response));
        assert!(encoded.too_long && encoded.ids.len() == 64);
    }

    proptest! {
        /// Clipping and the memory of questions change nothing.
        #[test]
        fn equals_the_tokenizer_on_whole_texts(
            question in "\\PC{0,40}",
            response in prop::collection::vec(
                prop_oneof!["\\PC{0,12}", "[a-z]{0,300}", "[ \n\t\x0b\u{85}\u{a0}]{1,4}", "(\\. ){1,40}"],
                0..60,
            ),
            max_tokens in 16_usize..80,
        ) {
            let (encoder, response) = (encoder(max_tokens), response.concat());
            let mut known = Questions::new();
            let expected = reference(&encoder, &question, &response);
            for _ in 0..2 {
                let encoded = encoder.encode(&question, &response, &mut known).unwrap();
                prop_assert_eq!(&encoded, &expected);
            }
        }
    }
}
