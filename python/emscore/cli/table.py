"""Plain tables that fit a terminal of 80 columns."""

from collections.abc import Collection, Mapping, Sequence
from textwrap import wrap
from typing import Any

from ..words import cut, plain, shortened

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
        short = shortened(cells, widths[column])
        columns[column] = [cut(name, widths[column]), *(short[cell] for cell in cells)]
        widths[column] = max(map(len, columns[column]))
    return "\n".join(
        GAP.join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for (column, width), cell in zip(widths.items(), line, strict=True)
        ).rstrip()
        for line in zip(*columns.values(), strict=True)
    )


def indented(name: str, value: str) -> str:
    """A name and what there is to say about it, wrapped under itself."""
    lines = wrap(
        plain(value), WIDTH - len(name), break_long_words=False, break_on_hyphens=False
    ) or [""]
    return name + f"\n{'':{len(name)}}".join(lines)


def described(told: Mapping[str, str], width: int = 12) -> str:
    """Names, in a column of this width, and what there is to say about them, if anything."""
    return "\n".join(indented(f"{name:{width}}", value) for name, value in told.items() if value)


def label(value: Any) -> str:
    """What a line is called in one column; "-" where it has no name there."""
    return "-" if value is None else f"{value:.7g}" if isinstance(value, float) else str(value)
