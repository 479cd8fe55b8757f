"""One side of comparisons by the judge, from an audit of some of its answers."""

import numpy as np

from .arrays import Ints
from .audited import Audit, audited_rates
from .contrast import Audited
from .definition import Definition


def judged_side(audit: Audit, cells: Ints, definition: Definition) -> Audited:
    """Sums up one side of every line, as `contrast.side` does by the classifier.

    Args:
        audit: By cell.
        cells: The cells of each line, by checkpoint and question, int64, (lines, checkpoints,
            questions); -1 where there is none.
        definition: What is counted.

    Returns:
        The side; its rate is NaN where no answer was audited.
    """
    lines, members, _ = cells.shape
    line, member, question = np.nonzero(cells >= 0)
    mine = audit.take(cells[line, member, question])
    found, n, _, _ = audited_rates(mine, line, lines, definition, True, 0.95)
    each = found
    if members > 1:
        unit = line * members + member
        each, _, _, _ = audited_rates(mine, unit, lines * members, definition, True, 0.95)
    rates = each.rate.reshape(lines, members)
    units = (~np.isnan(rates)).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.nansum(rates, 1) / units
        error = np.sqrt(np.nansum((rates - mean[:, None]) ** 2, 1) / (units - 1) / units)
    return Audited(
        found.rate, n, units, np.where(units > 1, error, 0),
        found.variance, found.above, found.below,
    )  # fmt: skip
