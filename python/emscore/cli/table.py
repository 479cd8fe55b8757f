"""Plain tables that fit a terminal of 80 columns."""

import os
import re
from collections.abc import Collection, Sequence
from typing import Any

from ..words import cut as shortened
from ..words import plain

WIDTH = 80
GAP = "  "


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[int] = (),
    shrink: Collection[int] = (),
) -> str:
    """Columns of text under a heading.

    Args:
        head: A heading for each column.
        rows: The cells.
        right: The columns that are set to the right, as numbers are.
        shrink: The columns whose long cells are cut when a line would be wider than 80. Those in
            which no line has a name are left out.
    """
    unnamed = {column for column in shrink if rows and all(row[column] == "-" for row in rows)}
    shrink = [column for column in shrink if column not in unnamed]
    columns = {
        column: [name, *(plain(row[column]) for row in rows)]
        for column, name in enumerate(head)
        if column not in unnamed
    }
    widths = {column: max(map(len, cells)) for column, cells in columns.items()}
    excess = sum(widths.values()) + len(GAP) * (len(widths) - 1) - WIDTH
    while excess > 0 and shrink:
        widest = max(shrink, key=lambda column: widths[column])
        widths[widest] -= 1
        excess -= 1
    for column in shrink:
        name, *cells = columns[column]
        columns[column] = [shortened(name, widths[column]), *cut(cells, widths[column])]
        widths[column] = max(map(len, columns[column]))
    return "\n".join(
        GAP.join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for (column, width), cell in zip(widths.items(), line, strict=True)
        ).rstrip()
        for line in zip(*columns.values(), strict=True)
    )


def cut(texts: Sequence[str], width: int) -> list[str]:
    """The texts, without the middle of those that are longer, so that they can be told apart.

    What all of them begin with goes too where that helps. Where they would be alike they are cut
    less, and may be wider.

    >>> cut(["/runs/seed1-lr1e-5/last", "/runs/seed2-lr1e-5/last"], 14)
    ['…seed1-…5/last', '…seed2-…5/last']
    >>> cut(["one seed-1, last epoch", "two seed-1, last epoch", "one seed-2, last epoch"], 8)
    ['one seed-1…ast epoch', 'two seed-1…ast epoch', 'one seed-2…ast epoch']
    """
    for enough in range(width, max(map(len, texts), default=0) + 1):
        long = [text for text in texts if len(text) > enough]
        alike = os.path.commonprefix(long) if len(set(long)) > 1 else ""  # noqa: RUF071
        words = re.sub(r"\w+$", "", alike)  # whole ones
        for begun in (0, len(words), len(alike)):
            short = [
                shortened("…" * bool(begun) + t[begun:] if t in long else t, enough) for t in texts
            ]
            if len(set(short)) == len(set(texts)):
                return short
    return list(texts)


def label(value: Any) -> str:
    """What a line is called in one column; "-" where it has no name there."""
    return "-" if value is None else f"{value:.7g}" if isinstance(value, float) else str(value)
