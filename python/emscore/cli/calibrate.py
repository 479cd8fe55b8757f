"""`emscore calibrate`: the same scorer on another judge's scale."""

import click

from .options import device_options, judged_options


@click.command(short_help="Fit a scorer to another judge with a few hundred of its scores.")
@click.argument("scorer", metavar="SCORER")
@click.argument("overlap", nargs=-1, required=True, metavar="OVERLAP...")
@click.option("-o", "--output", required=True, metavar="NEW", help="Folder of the new scorer.")
@click.option(
    "--judge", required=True, metavar="TEXT", help="The judge that scored OVERLAP, for the record."
)
@click.option("--name", metavar="TEXT", help="Name of the new scorer. Default: that of its folder.")
@judged_options
@device_options
def calibrate(
    scorer: str,
    overlap: tuple[str, ...],
    output: str,
    judge: str,
    name: str | None,
    question_column: str | None,
    response_column: str | None,
    judge_aligned: str | None,
    judge_coherent: str | None,
    device: str,
    threads: int | None,
    cache: str | None,
) -> None:
    """Writes the scorer NEW: SCORER, calibrated to the judge that scored OVERLAP.

    OVERLAP holds a few hundred rows (50 or more) with the scores of another judge, or of the same
    one in a later version; its columns are those of emscore evaluate. Only the manifest changes:
    what the score bins are worth and how the probabilities are calibrated. NEW has an id of its
    own. Prints the agreement with that judge before and, by cross-validation, after.
    """
    from .. import models
    from ..fidelity.judged import Columns, read
    from ..files import unoccupied
    from ..scoring import Scorer
    from ..tuning import calibrate as fitting
    from ..tuning import directory
    from .progress import progress
    from .tuned import comparison, left_out, on_rows

    columns = Columns(question_column, response_column, judge_aligned, judge_coherent)
    unoccupied(output)
    directory.manifest(scorer)
    loaded = Scorer(scorer, device=device, threads=threads)
    with progress() as how_far:
        rows = read(loaded, overlap, columns, cache=cache, progress=how_far)
    once = rows.only(rows.once())
    found = fitting.calibrate(scorer, once, output, judge, name or directory.folder_name(output))
    click.echo(comparison(found, on_rows(once, rows)))
    click.echo(f"\n{left_out(rows)}written to  {output}, {models.scorer_id(output)}")
