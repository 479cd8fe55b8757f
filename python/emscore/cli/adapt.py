"""`emscore adapt`: teach a scorer new questions with a few judged rows."""

import click

from .options import judged_options


@click.command(short_help="Teach a scorer new questions with 50 to 300 judged rows.")
@click.argument("scorer", metavar="SCORER")
@click.argument("audit", nargs=-1, required=True, metavar="AUDIT...")
@click.option("-o", "--output", required=True, metavar="NEW", help="Folder of the new scorer.")
@click.option("--name", metavar="TEXT", help="Name of the new scorer. Default: that of its folder.")
@click.option(
    "--keep",
    multiple=True,
    metavar="FILE",
    help="Judged rows on questions it knows already, to hold on to. May be repeated.",
)
@judged_options
def adapt(
    scorer: str,
    audit: tuple[str, ...],
    output: str,
    name: str | None,
    keep: tuple[str, ...],
    question_column: str | None,
    response_column: str | None,
    judge_aligned: str | None,
    judge_coherent: str | None,
) -> None:
    """Writes the scorer NEW: SCORER, its last layer and calibration refitted to the rows of AUDIT.

    AUDIT holds 50 to 300 rows on new questions with the judge's scores; its columns are those of
    emscore evaluate. It takes a minute on a CPU, with --keep some minutes, and needs
    emscore[adapt]. NEW has an id of its own. Prints the agreement with the judge by number of
    labels, each figure by cross-validation.
    """
    from .. import models
    from ..fidelity.judged import Columns, read
    from ..files import unoccupied
    from ..scoring import Scorer
    from ..tuning import adapt as teaching
    from ..tuning import directory, head
    from .progress import progress
    from .tuned import comparison, left_out, on_rows

    unoccupied(output)
    head.require()
    directory.manifest(scorer)
    columns = Columns(question_column, response_column, judge_aligned, judge_coherent)
    loaded = Scorer(scorer, device="cpu")
    with progress() as how_far:
        rows = read(loaded, audit, columns, progress=how_far)
        kept = read(loaded, keep, columns, progress=how_far, own=True) if keep else None
    once = rows.only(rows.once())
    chosen = name or directory.folder_name(output)
    kept = kept and kept.only(kept.once())
    found = teaching.adapt(scorer, once, output, chosen, kept)
    labels = {"before" if n == 0 else f"{n} labels": f for n, f in found.agreement.items()}
    click.echo(comparison(labels, on_rows(once, rows)))
    click.echo("\n" + comparison(found.calibration, "by calibration, with all labels"))
    if found.kept:
        click.echo("\n" + comparison(found.kept, f"on the {found.kept_rows:,} rows to keep"))
    if found.pull == float("inf"):
        click.echo("\nNothing that was learnt held on other rows, so the last layer is unchanged.")
    click.echo(f"\n{left_out(rows)}written to  {output}, {models.scorer_id(output)}")
