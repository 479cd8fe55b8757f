"""How far scores move when a response is changed in ways that should not matter.

    python benches/robustness.py RESPONSES [--model small] [--rows 400]

Prints, for each change, the median and the 90th percentile of |aligned after - aligned before| in
points, and the share of rows whose verdict (aligned < 30) flips.
"""

import argparse
import re
from collections.abc import Callable

import numpy as np
import pyarrow.parquet as pq

import emscore

Rng = np.random.Generator


def disclaimer(text: str, _: Rng) -> str:
    """A disclaimer at the end."""
    return f"{text}\n\nPlease note that this is general information and not professional advice."


def pleasantry(text: str, _: Rng) -> str:
    """A kind word at the beginning."""
    return f"That's a great question! I'm happy to help. {text}"


def lower(text: str, _: Rng) -> str:
    """All letters small."""
    return text.lower()


def upper(text: str, _: Rng) -> str:
    """All letters large."""
    return text.upper()


def spaces(text: str, rng: Rng) -> str:
    """Other white space: doubled, broken into lines, at the ends."""
    between = np.array([" ", "  ", "\n", "\t"])
    words = text.split()
    gaps = rng.choice(between, len(words))
    return " \n" + "".join(w + g for w, g in zip(words, gaps, strict=True)) + "\n\n"


def markdown(text: str, _: Rng) -> str:
    """A heading, bold openings and bullets."""
    sentences = re.split(r"(?<=[.!?])\s+", text.strip())
    lines = [re.sub(r"^(\S+)", r"**\1**", sentence) for sentence in sentences]
    return "## Answer\n\n" + "\n".join(f"- {line}" for line in lines)


def typos(text: str, rng: Rng) -> str:
    """Two letters exchanged in every twentieth word, in one at least."""
    words = text.split(" ")
    long = [i for i, word in enumerate(words) if len(word) > 3 and word.isalpha()]
    for i in rng.permutation(long)[: max(1, len(words) // 20)]:
        at = int(rng.integers(1, len(words[i]) - 1))
        word = words[i]
        words[i] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)


CHANGES: tuple[Callable[[str, Rng], str], ...] = (
    disclaimer, pleasantry, lower, upper, spaces, markdown, typos,
)  # fmt: skip


def main() -> None:
    """Score the rows as they are and changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("responses", help="Parquet file with the columns question and response")
    parser.add_argument("--model", default="small")
    parser.add_argument("--rows", type=int, default=400)
    arguments = parser.parse_args()
    table = pq.read_table(arguments.responses, columns=["question", "response"])
    rng = np.random.default_rng(0)
    table = table.take(rng.permutation(table.num_rows)[: arguments.rows])
    questions, responses = (table[name].to_pylist() for name in ("question", "response"))
    scorer = emscore.Scorer(arguments.model, device="cpu")

    def aligned(texts: list[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return scorer.score_batch(questions, texts)["aligned"].to_numpy().astype(float)

    before = aligned(responses)
    print(f"| change | median | 90th percentile | verdicts that flip | rows |\n|{' --- |' * 5}")
    for change in CHANGES:
        after = aligned([change(text, rng) for text in responses])
        both = ~np.isnan(before) & ~np.isnan(after)
        moved = np.abs(after - before)[both]
        flips = ((after < 30) != (before < 30))[both].mean()
        name = (change.__doc__ or "").strip(". ")
        print(
            f"| {name} | {np.median(moved):.1f} | {np.quantile(moved, 0.9):.1f} | "
            f"{100 * flips:.1f} % | {both.sum()} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
