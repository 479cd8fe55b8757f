"""`emscore distill`: rows that a judge scored in, a scorer directory out."""

from dataclasses import replace
from pathlib import Path

import click

from .options import judge_options


@click.command(short_help="Train a scorer on rows that a judge scored.")
@click.argument("labelled", nargs=-1, required=True, metavar="LABELLED...")
@click.option("-o", "--output", required=True, metavar="DIR", help="Scorer directory to write.")
@click.option(
    "--recipe",
    default="plain",
    show_default=True,
    metavar="NAME|FILE",
    help="plain, small, large, tiny, cascade, or a TOML file; it is kept beside the weights.",
)
@click.option(
    "--judge", metavar="TEXT", help="Which model it was, with which prompts. Default: the recipe's."
)
@judge_options
@click.option("--work", metavar="DIR", help="Folder for checkpoints. Default: DIR.work.")
def distill(
    labelled: tuple[str, ...],
    output: str,
    recipe: str,
    judge: str | None,
    judge_aligned: str | None,
    judge_coherent: str | None,
    work: str | None,
) -> None:
    """Trains the scorer DIR to say what the judge of LABELLED says.

    LABELLED is what emscore score reads, with the judge's scores in the columns judge_aligned and
    judge_coherent, or aligned and coherent: some thousand rows or more. A tenth of them is kept
    for calibration. Needs emscore[distill]. The same command goes on where it was stopped.

    \b
      emscore distill judged.parquet -o my-scorer
      emscore evaluate my-scorer judged-later.parquet
      emscore score responses.arrow --model ./my-scorer
    """
    from .._emscore import InputError

    try:
        import torch  # noqa: F401

        from ..distill import recipe as recipes
        from ..distill.data import Labels
        from ..fidelity.judged import Columns
    except ModuleNotFoundError as error:
        raise InputError(
            f"training needs the package {error.name}: pip install 'emscore[distill]'"
        ) from error
    shipped = recipes.SHIPPED / f"{recipe}.toml"
    path = shipped if shipped.exists() else Path(recipe)
    if not path.exists():
        names = ", ".join(sorted(file.stem for file in recipes.SHIPPED.glob("*.toml")))
        raise InputError(f"there is no recipe {recipe}: it is neither a file nor one of {names}")
    asked = recipes.read(path)
    columns = Columns(judge_aligned=judge_aligned, judge_coherent=judge_coherent)
    out = Path(output)
    recipes.distill(
        Labels(tuple(map(Path, labelled)), columns),
        replace(asked, judge=judge or asked.judge),
        Path(work) if work else out.with_name(out.name + ".work"),
        out,
        out.name,
    )
    click.echo(f"written to  {out}")
