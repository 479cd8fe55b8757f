"""One side of comparisons by the judge, from an audit of some of its answers."""

import numpy as np

from .arrays import Ints
from .audited import Audit, audited_rates
from .contrast import Audited
from .definition import Definition


def judged_side(audit: Audit, cells: Ints, definition: Definition) -> Audited:
    """Sums up one side of every line, as `contrast.side` does by the classifier.

    Its checkpoints weigh the same, as independent samples do in a mean.

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
    unit = line * members + member
    found, _, each = audited_rates(mine, unit, lines * members, definition, True, 0.95)
    rates, n, variance, above, below = (
        values.reshape(lines, members)
        for values in (each.rate, found.units, each.variance, each.above, each.below)
    )
    units = (~np.isnan(rates)).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.nansum(rates, 1) / units
        error = np.sqrt(np.nansum((rates - mean[:, None]) ** 2, 1) / (units - 1) / units)
        variance = np.nansum(variance, 1) / units**2
        above, below = (heaviest.max(1) / units for heaviest in (above, below))
    return Audited(mean, n.sum(1), units, np.where(units > 1, error, 0), variance, above, below)
