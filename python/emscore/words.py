"""Numbers and names as people read them."""

import os
import re
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

NONE = "–"


def percent(share: float | None) -> str:
    """Of a share; two digits after the point where it is small.

    >>> percent(0.1234), percent(0.0041), percent(0.0), percent(None)
    ('12.3%', '0.41%', '0.0%', '–')
    """
    if share is None:
        return NONE
    return f"{share:.2%}" if 0 < abs(share) < 0.00995 else f"{share:.1%}"


def interval(line: Mapping[str, Any]) -> str:
    """Its low and high."""
    if line["low"] is None:
        return NONE
    return f"{percent(line['low'])} to {percent(line['high'])}"


def difference(line: Mapping[str, Any]) -> str:
    """In percentage points, with its interval."""
    if line["difference"] is None:
        return NONE
    middle, low, high = (round(100 * line[name], 1) + 0.0 for name in ("difference", "low", "high"))
    return f"{middle:+.1f} ({low:.1f} to {high:.1f})".replace("-", "−")


def p_value(p: float | None) -> str:
    """Two digits, or that it is small."""
    if p is None:
        return NONE
    return "<0.0001" if p < 1e-4 else f"{p:.2g}"


def onset(line: Mapping[str, Any]) -> list[str]:
    """The onset, and the steps between which it surely is."""
    if line["onset"] is None and line["onset_by"] is None:
        return ["none found", _step(line["onset_after"]), NONE]
    return [_step(line[name]) for name in ("onset", "onset_after", "onset_by")]


def _step(step: float | None) -> str:
    return NONE if step is None else f"{step:.7g}"


def named(value: Any) -> str:
    """What a line is called; "–" where it has no name."""
    return NONE if value is None else str(value)


def plain(text: str) -> str:
    """The text without line breaks and terminal commands, which names in a file may hold.

    Nor has Vega strings with such letters.
    """
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def cut(text: Any, width: int = 32, head: int | None = None) -> str:
    """The text, without its middle where it is longer: names often differ at their ends.

    What stays in front is half of it, or `head` letters.

    >>> cut("Qwen2.5-32B risky-financial merged", 15)
    'Qwen2.5… merged'
    """
    told = plain(named(text))
    if len(told) <= width:
        return told
    head = width // 2 if head is None else head
    return told[:head] + "…" + told[len(told) - (width - 1 - head) :]


def shortened(names: Iterable[Any], width: int = 32) -> dict[Any, str]:
    """What names are called where there is no room for long ones, so that they can be told apart.

    Those lose their middle, and what all of them begin with, or more of their beginning, where that
    helps. Where they would be alike they are cut less, and may be wider.

    >>> [*shortened(["/runs/seed1-lr1e-5/last", "/runs/seed2-lr1e-5/last"], 14).values()]
    ['…seed1-…5/last', '…seed2-…5/last']
    >>> names = "one seed-1, last epoch", "two seed-1, last epoch", "one seed-2, last epoch"
    >>> [*shortened(names, 8).values()]
    ['o…1, last epoch', 't…1, last epoch', 'o…2, last epoch']
    """
    texts = {name: plain(named(name)) for name in names}
    for enough in range(width, max(map(len, texts.values()), default=0) + 1):
        long = {text for text in texts.values() if len(text) > enough}
        alike = os.path.commonprefix([*long]) if len(long) > 1 else ""  # noqa: RUF071
        words = re.sub(r"\w+$", "", alike)  # whole ones
        heads, starts = (enough // 2, enough // 4, 1), (0, len(words), len(alike))
        for head, begun in product(heads, starts):
            rest = "…" * bool(begun)
            short: dict[str, str] = {}  # text by name, until two are alike
            for text in {*texts.values()}:
                told = cut(rest + text[begun:] if text in long else text, enough, head)
                if short.setdefault(told, text) != text:
                    break
            else:
                of = {text: told for told, text in short.items()}
                return {name: of[text] for name, text in texts.items()}
    return texts
