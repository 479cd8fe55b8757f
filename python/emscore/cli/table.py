"""Plain tables that fit a terminal of 80 columns."""

from collections.abc import Collection, Sequence

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
        shrink: The columns whose long cells are cut when a line would be wider than 80.
    """
    lines = [list(head), *([plain(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - WIDTH
    while excess > 0 and shrink:
        widest = max(shrink, key=lambda column: widths[column])
        widths[widest] -= 1
        excess -= 1
    return "\n".join(
        GAP.join(
            cut(cell, width).rjust(width) if column in right else cut(cell, width).ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def cut(text: str, width: int) -> str:
    """The text, without its middle where it is longer: names often differ at their ends."""
    if len(text) <= width:
        return text
    return text[: width // 2] + "…" + text[len(text) - (width - 1) // 2 :]


def plain(text: str) -> str:
    """The text without line breaks and terminal commands, which names in a file may hold."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)
