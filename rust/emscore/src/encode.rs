//! Text pairs → token ids: `[CLS] question [SEP] response [SEP]`.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::AHashMap;
use tokenizers::Tokenizer;
use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;

use crate::scorer::Template;
use crate::{Error, Result};

/// Questions whose ids are kept; a suite has tens, a finance set thousands.
const QUESTIONS: usize = 8192;
/// Words whose ids are kept, and the longest of them in bytes: a few megabytes a thread.
const WORDS: usize = 65_536;
const WORD_BYTES: usize = 64;
/// Characters per token to try first: enough for nearly all text, little enough to be quick.
const CHARS_PER_TOKEN: usize = 8;
/// Where a text may be cut: no token spans these. Other white space is not safe: BERT's normaliser
/// deletes some of it (U+000B, U+0085), which joins words.
const SPACE: [char; 4] = [' ', '\n', '\t', '\r'];
/// Letters with which a word is unknown to WordPiece, whichever they are.
const LONG_WORD: usize = 101;

/// A tokeniser and the scorer's input template; shared by all threads.
pub struct Encoder {
    tokenizer: Tokenizer,
    template: Template,
    start: i64,
    separator: i64,
    /// Whether the tokens of a text are those of its words, one after the other.
    by_word: bool,
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

/// A thread's memory. Questions repeat thousands of times, and words do so in all texts: each is
/// encoded once.
#[derive(Default)]
pub struct Memory {
    questions: HashMap<Box<str>, Arc<[i64]>>,
    words: AHashMap<Box<str>, Box<[i64]>>,
}

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
            by_word: is_bert(&tokenizer),
            tokenizer,
            template,
            start,
            separator,
        })
    }

    /// Encodes one pair.
    pub fn encode(&self, question: &str, response: &str, memory: &mut Memory) -> Result<Encoded> {
        let question = self.question(question, memory)?;
        let room = self.template.max_tokens - 3 - question.len();
        let mut response = self.tokens(response, room + 1, memory)?;
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

    fn question(&self, question: &str, memory: &mut Memory) -> Result<Arc<[i64]>> {
        if let Some(ids) = memory.questions.get(question) {
            return Ok(ids.clone());
        }
        let wanted = self.template.max_question_tokens;
        let mut ids = self.tokens(question, wanted, memory)?;
        ids.truncate(wanted);
        let ids: Arc<[i64]> = ids.into();
        if memory.questions.len() == QUESTIONS {
            memory.questions.clear();
        }
        memory.questions.insert(question.into(), ids.clone());
        Ok(ids)
    }

    /// The tokens of `text`, or of a beginning of it that has at least `wanted` of them: a text of
    /// a megabyte is not tokenised to keep 500 tokens.
    fn tokens(&self, text: &str, wanted: usize, memory: &mut Memory) -> Result<Vec<i64>> {
        if self.by_word {
            self.tokens_by_word(text, wanted, memory)
        } else {
            self.tokens_of_beginning(text, wanted)
        }
    }

    fn tokens_by_word(&self, text: &str, wanted: usize, memory: &mut Memory) -> Result<Vec<i64>> {
        let known = &mut memory.words;
        let mut ids = Vec::new();
        for word in text.split(SPACE).flat_map(parts) {
            if ids.len() >= wanted {
                break;
            }
            if let Some(same) = known.get(word) {
                ids.extend_from_slice(same);
                continue;
            }
            let new = self.tokenize(word)?;
            ids.extend_from_slice(&new);
            if word.len() <= WORD_BYTES {
                if known.len() == WORDS {
                    known.clear();
                }
                known.insert(word.into(), new.into());
            }
        }
        Ok(ids)
    }

    /// The text is cut at white space, and the cut moves out until there are enough tokens.
    fn tokens_of_beginning(&self, text: &str, wanted: usize) -> Result<Vec<i64>> {
        let mut clip = CHARS_PER_TOKEN * wanted;
        loop {
            let part = beginning(text, clip);
            let ids = self.tokenize(part)?;
            if ids.len() >= wanted || part.len() == text.len() {
                return Ok(ids);
            }
            clip *= 4;
        }
    }

    fn tokenize(&self, text: &str) -> Result<Vec<i64>> {
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(|e| Error::Scorer(format!("the tokenizer failed: {e}")))?;
        Ok(encoding.get_ids().iter().map(|&id| i64::from(id)).collect())
    }
}

/// Whether this is BERT's tokenizer, which looks at no more than a word at a time. A token that was
/// added and is not special could hold a space.
fn is_bert(tokenizer: &Tokenizer) -> bool {
    matches!(
        tokenizer.get_normalizer(),
        Some(NormalizerWrapper::BertNormalizer(bert)) if bert.handle_chinese_chars
    ) && matches!(
        tokenizer.get_pre_tokenizer(),
        Some(PreTokenizerWrapper::BertPreTokenizer(_))
    ) && matches!(
        tokenizer.get_model(),
        ModelWrapper::WordPiece(model) if model.max_input_chars_per_word < LONG_WORD
    ) && tokenizer
        .get_added_tokens_decoder()
        .values()
        .all(|token| token.special)
}

/// A word in parts that the tokenizer never joins: a text may be one long word. Usual words stay
/// whole, and of a word that is unknown for its length no more is kept than makes it so.
fn parts(word: &str) -> impl Iterator<Item = &str> {
    let whole = word.len() <= WORD_BYTES && word.is_ascii();
    let mut rest = word;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = if whole {
            rest.len()
        } else if stands_alone(first) {
            first.len_utf8()
        } else {
            rest.find(stands_alone).unwrap_or(rest.len())
        };
        let (part, after) = rest.split_at(end);
        rest = after;
        if end > LONG_WORD
            && part.chars().all(joins)
            && let Some((beyond, _)) = part.char_indices().nth(LONG_WORD)
        {
            return Some(&part[..beyond]);
        }
        Some(part)
    })
}

/// Whether BERT's tokenizer takes `c` by itself, whatever is beside it: punctuation and ideographs,
/// not all of them, since tables of Unicode differ.
fn stands_alone(c: char) -> bool {
    match c {
        '\0'..='\x7f' => c.is_ascii_punctuation(),
        '\u{2010}'..='\u{2027}' | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' => true,
        '！' | '，' | '．' | '：' | '；' | '？' => true,
        '\u{3400}'..='\u{4db5}' | '\u{4e00}'..='\u{9fa5}' | '\u{20000}'..='\u{2a6d6}' => true,
        _ => false,
    }
}

/// Whether BERT's tokenizer takes `c` for a letter, whatever is beside it: not all of them, but those
/// that come in words without end.
fn joins(c: char) -> bool {
    matches!(c, '0'..='9' | 'A'..='Z' | 'a'..='z' | 'À'..='ɏ' | 'Ѐ'..='ҁ')
        || matches!(c, 'ぁ'..='ゖ' | 'ァ'..='ヺ' | 'ー' | '가'..='힣')
}

/// `text` up to the last space before byte `clip`; all of it when it is shorter, and further than
/// `clip` when one word goes on past it.
fn beginning(text: &str, clip: usize) -> &str {
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
    use std::path::Path;
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::columns::{ColumnNames, Columns};
    use crate::source::Source;

    const TOKENIZER: &[u8] = include_bytes!("../../../models/small/tokenizer.json");
    const VALIDATION: &str = "../../../shared/data/judged/validation.parquet";

    fn encoder(max_tokens: usize, max_question_tokens: usize) -> Encoder {
        let template = Template {
            max_tokens,
            max_question_tokens,
        };
        Encoder::new(TOKENIZER, template).unwrap()
    }

    /// What the tokeniser itself makes of the whole pair.
    fn reference(encoder: &Encoder, question: &str, response: &str) -> Encoded {
        let whole = |text: &str| encoder.tokenize(text).unwrap();
        let (mut question, mut response) = (whole(question), whole(response));
        question.truncate(encoder.template.max_question_tokens);
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
        let encoded = encoder(64, 8)
            .encode("q", "[SEP] [CLS]", &mut Memory::default())
            .unwrap();
        let special = |id: &&i64| [101, 102].contains(*id);
        assert_eq!(encoded.ids.iter().filter(special).count(), 3);
    }

    #[test]
    fn a_megabyte_costs_no_more_than_its_beginning() {
        let response = "word ".repeat(200_000);
        assert!(beginning(&response, CHARS_PER_TOKEN * 64).len() <= CHARS_PER_TOKEN * 64);
        let mut encoder = encoder(64, 8);
        let expected = reference(&encoder, "q", &response);
        for by_word in [true, false] {
            encoder.by_word = by_word;
            let encoded = encoder.encode("q", &response, &mut Memory::default());
            assert_eq!(encoded.unwrap(), expected);
        }
        assert!(expected.too_long && expected.ids.len() == 64);
    }

    #[test]
    fn a_megabyte_without_a_space_costs_no_more_than_its_beginning() {
        let (encoder, mut memory) = (encoder(64, 8), Memory::default());
        for part in [
            ".,",
            "漢字",
            "……",
            "a",
            "ж",
            "ひらがナー",
            "글",
            "don't-",
            "\u{301}漢\u{301}.\u{301}",
        ] {
            let text = part.repeat(1 << 20);
            let encoded = encoder.encode("q", &text, &mut memory).unwrap();
            let beginning = reference(&encoder, "q", &part.repeat(300));
            assert_eq!(encoded, beginning, "{part}");
            let seen: usize = parts(&text).take(64).map(str::len).sum();
            assert!(seen < 1000, "{part}");
        }
    }

    #[test]
    fn what_stands_alone_does_so_to_the_tokenizer() {
        let (encoder, mut memory) = (encoder(512, 8), Memory::default());
        let alone: Vec<char> = ('\0'..=char::MAX).filter(|c| stands_alone(*c)).collect();
        for some in alone.chunks(50) {
            let beside = |c: &char| format!("a{c}{c}\u{301}{c}ö\u{327}{c}\u{200d}");
            let text: String = some.iter().map(beside).collect();
            let encoded = encoder.encode("q", &text, &mut memory).unwrap();
            assert_eq!(encoded, reference(&encoder, "q", &text), "{text}");
            assert!(!encoded.too_long);
        }
    }

    #[test]
    fn what_joins_does_so_to_the_tokenizer() {
        let encoder = encoder(512, 8);
        let letters: Vec<char> = ('\0'..=char::MAX).filter(|c| joins(*c)).collect();
        let unknown = [i64::from(encoder.tokenizer.token_to_id("[UNK]").unwrap())];
        assert_ne!(
            encoder.tokenize(&"a".repeat(LONG_WORD - 1)).unwrap(),
            unknown
        );
        for letter in &letters {
            let word = letter.to_string().repeat(LONG_WORD);
            assert_eq!(encoder.tokenize(&word).unwrap(), unknown, "{letter}");
        }
        let all: String = letters.into_iter().collect();
        assert_eq!(encoder.tokenize(&all).unwrap(), unknown);
    }

    #[test]
    fn other_tokenizers_see_whole_texts() {
        let text = str::from_utf8(TOKENIZER).unwrap();
        let plain = |from: &str, to: &str| {
            assert!(text.contains(from));
            let other = text.replacen(from, to, 1);
            let template = encoder(64, 8).template;
            !Encoder::new(other.as_bytes(), template).unwrap().by_word
        };
        assert!(encoder(64, 8).by_word);
        assert!(plain("BertPreTokenizer", "Whitespace"));
        assert!(plain(r#""special":true"#, r#""special":false"#));
        assert!(plain("_chars\":true", "_chars\":false"));
        assert!(plain("word\":100", "word\":200"));
    }

    #[test]
    fn more_words_than_are_kept() {
        let (encoder, mut memory) = (encoder(512, 8), Memory::default());
        for text in 0..(WORDS / 100 + 100) {
            let words: Vec<String> = (0..100).map(|n| format!("{:x}", text * 100 + n)).collect();
            let response = words.join(" ");
            let encoded = encoder.encode("q", &response, &mut memory).unwrap();
            assert_eq!(encoded, reference(&encoder, "q", &response));
        }
        assert!(memory.words.len() < WORDS);
    }

    #[test]
    fn equals_the_tokenizer_on_real_texts() {
        if !Path::new(VALIDATION).exists() {
            let asked = std::env::var("CI").is_ok_and(|value| value == "true");
            assert!(!asked, "there are no judged responses in {VALIDATION}");
            return;
        }
        let source = Source::open(&[VALIDATION.to_string()]).unwrap();
        let columns = Columns::detect(&source.schema, &ColumnNames::default()).unwrap();
        let (encoder, mut memory) = (encoder(512, 128), Memory::default());
        for batch in source {
            let batch = batch.unwrap();
            let texts = columns.texts(&batch).unwrap();
            for row in 0..batch.num_rows() {
                let (question, response) = (texts.question(row), texts.response(row));
                let encoded = encoder.encode(question, response, &mut memory).unwrap();
                assert_eq!(
                    encoded,
                    reference(&encoder, question, response),
                    "row {row}"
                );
            }
        }
    }

    static ENCODERS: LazyLock<[Encoder; 2]> = LazyLock::new(|| {
        [true, false].map(|by_word| Encoder {
            by_word,
            ..encoder(48, 8)
        })
    });

    fn text() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            "\\PC{0,12}",
            "(?s:.){0,6}",
            "[ \n\t\r\x0b\x0c\u{85}\u{a0}\u{2028}]{1,4}",
            "[a-z]{0,300}",
            "[0-9a-f]{60,68}",
            "[жéん가-각]{95,110}",
            "(\\. ){1,40}",
            "[.,-a漢。…\u{301}\u{200d}]{40,90}",
            "([a-zA-Z]{1,9} ){1,9}",
            "[eaEnü\u{300}-\u{30a}\u{327}ǆΣς ]{0,12}",
            "[\u{4e00}-\u{4e20}가-각ぁ-ん漢 a]{0,9}",
            "[\\p{Cc}\\p{Cf}\\p{Co}\u{fffd}a ]{0,9}",
            prop::sample::select(vec![
                "[SEP]", " [MASK] ", "[CLS]a", "[PAD]", "[UNK]", "##ing", "don't", "U.S.",
            ])
            .prop_map(String::from),
        ];
        prop::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        /// Neither the memory of questions and words nor the cut changes anything.
        #[test]
        fn equals_the_tokenizer_on_whole_texts(
            question in text(),
            responses in prop::collection::vec(text(), 1..4),
        ) {
            for encoder in &*ENCODERS {
                let mut memory = Memory::default();
                for response in responses.iter().chain(&responses) {
                    let encoded = encoder.encode(&question, response, &mut memory).unwrap();
                    prop_assert_eq!(encoded, reference(encoder, &question, response));
                }
            }
        }
    }
}
