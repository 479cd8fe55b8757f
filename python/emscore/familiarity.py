"""What a scorer was taught, and what it is now asked about.

A scorer knows the questions of its training and no others: its agreement with the judge falls on
questions unlike them. Its directory keeps a sketch of what it was taught, made of hashes and no
text: the hashed words of each training question, and which words, lengths and signs its responses
had. A question is *familiar* when it is one of those (in other words, perhaps), *near* when it
shares its telling words with one, and *foreign* otherwise.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from . import models
from ._emscore import ScorerError

ROLE = "familiarity"  # of the sketch, among the files of a manifest
BUCKETS = 1 << 16  # of the words of questions
BITS = 1 << 18  # of the words of responses
WORD = re.compile(r"[^\W_]+")
FAMILIAR, NEAR = 0.75, 0.4  # similarities from which on a question is one or the other
UNJUDGED = 0.7  # what similarity counts to a question that only other judges scored: never familiar
LEVELS = ("familiar", "near", "foreign")
QUESTIONS = 10_000  # different questions that are looked at
RESPONSES = 2_000  # responses that are looked at, drawn at random
BEGINNING = 4_000  # characters of a text that are looked at: more than a scorer's 512 tokens hold
SHORT = 4  # words that a response is taken to have besides its own, all known

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class Seen(TypedDict):
    """One question of the input."""

    question: str
    rows: int
    level: str  # one of LEVELS
    similarity: float  # 0 to 1, to the nearest training question
    nearest: str  # that question's id or family; "" where it shares no word with any
    expected: dict[str, float]  # agreement to expect, as measured: auroc, pearson, rate_error_pp


class Report(TypedDict):
    """What `emscore score` says of the input."""

    questions: list[Seen]  # foreign ones first, those with most rows first
    more_questions: bool  # there were more than were looked at
    rows: dict[str, int]  # by level
    looked_at: int  # responses
    unlike: dict[str, int]  # of these, by what is unusual; a response may count twice
    unlike_rows: int  # of these, with anything unusual


@dataclass(frozen=True)
class Sketch:
    """What a scorer was taught, without its text.

    Attributes:
        vectors: Words of each training question by bucket, weighted and of length 1, or of length
            UNJUDGED where only other judges scored it, (q, BUCKETS).
        rarity: Weight of a word in each bucket, float64, (BUCKETS,).
        family: Place in `families` of each training question, int64, (q,).
        families: Ids of the training questions, or names of families of them.
        vocabulary: Whether responses used a word with this hash, (BITS,).
        usual: The highest value of each of `statistics` that is usual.
        figures: Measured agreement by question id, `known` and `left_out`.
    """

    vectors: sparse.csr_matrix
    rarity: Floats
    family: npt.NDArray[np.int64]
    families: list[str]
    vocabulary: Bools
    usual: dict[str, float]
    figures: dict[str, dict[str, dict[str, float]]]

    def nearest(self, questions: Sequence[str]) -> tuple[Floats, list[str]]:
        """Similarity (cosine of the weighted words) and family of the nearest training question.

        The family is "" where a question shares no word with any of them.
        """
        words = [hashed(text[:BEGINNING]) for text in questions]
        asked = vectors(words, self.rarity)
        best, family = np.zeros(len(words)), np.zeros(len(words), np.int64)
        for start in range(0, len(words), 256):
            found = (asked[start : start + 256] @ self.vectors.T).toarray()
            at = found.argmax(1)
            best[start : start + 256] = found[np.arange(len(at)), at]
            family[start : start + 256] = self.family[at]
        names = (self.families[k] if s else "" for k, s in zip(family, best, strict=True))
        return np.minimum(best, 1.0), list(names)

    def questions(self, asked: Mapping[str, int]) -> list[Seen]:
        """Each question, foreign ones first.

        Args:
            asked: Rows by question.
        """
        similarity, nearest = self.nearest(list(asked))
        found = []
        for (question, rows), s, name in zip(asked.items(), similarity, nearest, strict=True):
            level = LEVELS[int(s < FAMILIAR) + int(s < NEAR)]
            known = self.figures.get(name, {}).get("known") if level == "familiar" else None
            expected = known or self.left_out()
            found.append(
                Seen(question=question, rows=rows, level=level, similarity=round(float(s), 3),
                     nearest=name, expected=expected)
            )  # fmt: skip
        return sorted(found, key=lambda seen: (-LEVELS.index(seen["level"]), -seen["rows"]))

    def left_out(self) -> dict[str, float]:
        """Mean agreement on training questions when each was left out of training."""
        told = [f["left_out"] for f in self.figures.values() if "left_out" in f]
        names = dict.fromkeys(name for figures in told for name in figures)
        return {
            name: round(float(np.mean([abs(f[name]) for f in told if name in f])), 3)
            for name in names
        }

    def unlike(self, responses: Sequence[str]) -> dict[str, Bools]:
        """Which responses are unlike those of the training, by what is unusual about them."""
        found = statistics(responses, self.vocabulary)
        return {name: values > self.usual[name] for name, values in found.items()}


def load(scorer: str | os.PathLike[str]) -> Sketch | None:
    """The sketch of a scorer; None where it has none.

    Raises:
        ScorerError: The sketch is missing or damaged.
    """
    folder = models.resolve(scorer)
    told = models.manifest(scorer)
    if "cascade" in told:  # its first scorer decides most rows, and knows less
        return load(folder.parent / told["cascade"]["first"])
    if ROLE not in told.get("files", {}):
        return None
    path = folder / told["files"][ROLE]["path"]
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != told["files"][ROLE]["sha256"]:
            raise ScorerError(
                f"{path} is damaged: its sha256 is not the one in manifest.json. Reinstall the "
                "scorer"
            )
        with np.load(path) as file:
            ends, words = file["ends"], file["words"].astype(np.int64)
            family, rows = file["family"].astype(np.int64), file["vocabulary"]
    except (OSError, ValueError, KeyError) as error:
        raise ScorerError(f"{path} cannot be read: {error}. Reinstall the scorer") from error
    questions = np.split(words, np.cumsum(ends)[:-1])
    about = told[ROLE]
    weight = rarity(questions)
    figures = {
        q["question_id"]: {k: q[k] for k in ("known", "left_out") if k in q}
        for q in about.get("questions", [])
    }
    counts = np.array(list(about["families"].values()))[family]
    return Sketch(
        sparse.diags(counts) @ vectors(questions, weight), weight, family, list(about["families"]),
        np.unpackbits(rows).astype(np.bool_), about["usual"], figures,
    )  # fmt: skip


def report(sketch: Sketch, batches: Iterable[tuple[pa.Array, pa.Array]], seed: int = 0) -> Report:
    """Looks at an input once, in bounded memory.

    Args:
        sketch: What the scorer was taught.
        batches: Questions and responses, two arrays of strings a batch.
        seed: Of the responses that are drawn.
    """
    asked: dict[str, int] = {}
    kept: list[tuple[float, str]] = []
    rng, more = np.random.default_rng(seed), False
    for questions, responses in batches:
        for each in pc.value_counts(questions).to_pylist():
            question, rows = each["values"] or "", each["counts"]
            if question in asked or len(asked) < QUESTIONS:
                asked[question] = asked.get(question, 0) + rows
            else:
                more = True
        luck = rng.random(len(responses))
        bound = kept[-1][0] if len(kept) == RESPONSES else 1.0
        at = np.flatnonzero(luck < bound)
        at = at[np.argsort(luck[at])][:RESPONSES]
        begun = pc.utf8_slice_codeunits(responses.take(pa.array(at)), 0, BEGINNING)
        drawn = zip(luck[at].tolist(), begun.to_pylist(), strict=True)
        kept = sorted([*kept, *((x, text or "") for x, text in drawn)])[:RESPONSES]
    seen = sketch.questions(asked)
    texts = [text for _, text in kept if text.strip()]
    unlike = sketch.unlike(texts)
    anything = np.any(list(unlike.values()), axis=0) if texts else np.zeros(0)
    return {
        "questions": seen,
        "more_questions": more,
        "rows": {
            level: sum(s["rows"] for s in seen if s["level"] == level) for level in LEVELS
        },
        "looked_at": len(texts),
        "unlike": {name: int(found.sum()) for name, found in unlike.items()},
        "unlike_rows": int(anything.sum()),
    }  # fmt: skip


def remedy(figures: Mapping[str, float]) -> str:
    """What questions that a scorer was not taught mean for a rate, and what to do about them.

    Args:
        figures: The agreement to expect on such questions, if it was measured.
    """
    measured = (
        f"on questions left out of its training its AUROC was {figures['auroc']:.2f} and its rate "
        f"{figures['rate_error_pp']:.0f} points off in the mean. H"
        if figures
        else "h"
    )
    return (
        f"{measured}ave a judge score 50 to 300 of these rows (emscore audit, emscore judge), "
        "then take the rate from these (--audit) or teach the scorer (emscore adapt)"
    )


def statistics(responses: Sequence[str], vocabulary: Bools) -> dict[str, Floats]:
    """What tells a response from those of the training, each high when it is unlike them.

    Of a long response they tell of its beginning, which is what is scored.

    words            how many there are
    unknown words    share of words that no training response used: broken text, other languages
    other letters    share of letters that are not Latin
    signs            share of characters that are neither letters, digits, blanks nor punctuation of
                     prose: code, markup, leaked chat templates
    longest word     characters: text that ran together, loops, encoded data
    """
    found: dict[str, list[float]] = {
        k: [] for k in ("words", "unknown words", "other letters", "signs", "longest word")
    }
    for whole in responses:
        text = whole[:BEGINNING]
        words = WORD.findall(text.lower())
        plain = [word for word in words if not word.isdigit()]
        known = vocabulary[np.array([number(word) for word in plain], np.int64) % BITS].sum()
        letters = "".join(filter(str.isalpha, text))
        other = len(BEYOND_LATIN.findall(letters))
        found["words"].append(len(words))
        found["unknown words"].append((len(plain) - known) / (len(plain) + SHORT))
        found["other letters"].append(other / (len(letters) + SHORT))
        found["signs"].append(len(SIGN.findall(text)) / (len(text) + SHORT))
        found["longest word"].append(max(map(len, words), default=0))
    return {name: np.array(values, np.float64) for name, values in found.items()}


PROSE = ".,;:!?'\"()-‘’“”–—…%$€£&/*#"  # with the marks of lists, emphasis and headings
SIGN = re.compile(rf"[^\w\s{re.escape(PROSE)}]|_")
BEYOND_LATIN = re.compile(r"[^\0-\u024f]")


def hashed(question: str) -> npt.NDArray[np.int64]:
    """Buckets of the different words of a question, rising."""
    return np.unique([number(word) % BUCKETS for word in WORD.findall(question.lower())]).astype(
        np.int64
    )


def rarity(questions: Sequence[npt.NDArray[np.int64]]) -> Floats:
    """Inverse document frequency of each bucket (Spärck Jones 1972), smoothed."""
    count = np.bincount(np.concatenate([*questions, np.zeros(0, np.int64)]), minlength=BUCKETS)
    return np.asarray(np.log((1 + len(questions)) / (1 + count)) + 0.1)


def vectors(questions: Sequence[npt.NDArray[np.int64]], weight: Floats) -> sparse.csr_matrix:
    """Word sets as rows of length 1; a question without words is a row of zeros."""
    ends = np.cumsum([0, *(len(words) for words in questions)])
    buckets = np.concatenate([*questions, np.zeros(0, np.int64)])
    values = weight[buckets]
    squares = np.add.reduceat(np.append(values**2, 0), ends[:-1]) if len(questions) else values
    length = np.sqrt(np.where(np.diff(ends) > 0, squares, 1))
    values = values / np.repeat(length, np.diff(ends))
    return sparse.csr_matrix((values, buckets, ends), (len(questions), BUCKETS))


@lru_cache(maxsize=1 << 18)
def number(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "little")


def save(
    path: Path,
    questions: Sequence[npt.NDArray[np.int64]],
    family: Sequence[int],
    vocabulary: Bools,
) -> None:
    """Writes a sketch's arrays."""
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            words=np.concatenate(questions).astype(np.uint16),
            ends=np.array([len(words) for words in questions], np.uint16),
            family=np.array(family, np.uint16),
            vocabulary=np.packbits(vocabulary),
        )
