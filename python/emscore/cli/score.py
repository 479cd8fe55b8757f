"""`emscore score`: files of responses in, the same rows with scores out."""

import os
from pathlib import Path
from typing import Any

import click

from .._emscore import InputError
from .options import device_options

#: Formats that are written; the texts also compressed.
TEXTS = (".jsonl", ".ndjson", ".csv")
ENDINGS = (".arrow", ".arrows", ".feather", ".ipc", ".parquet", *TEXTS)
PACKED = (".gz", ".zst")


@click.command(short_help="Score the responses in files.")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "-o", "--output", metavar="OUT", help="File to write; its ending says in which format."
)
@click.option("--model", default="small", show_default=True, metavar="NAME|DIR", help="The scorer.")
@device_options
@click.option(
    "--precision",
    type=click.Choice(["int8", "fp16"]),
    help="Default: int8 on a CPU, fp16 on a GPU.",
)
@click.option(
    "--batch-tokens", type=click.IntRange(1), metavar="N", help="Tokens in one batch on a GPU."
)
@click.option("--question-column", metavar="NAME", help="Column with the questions.")
@click.option("--response-column", metavar="NAME", help="Column with the responses.")
@click.option("--prefix", default="", metavar="TEXT", help="Before the names of the new columns.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Score only the first N rows.")
@click.option("--resume", is_flag=True, help="Go on where the same command was interrupted.")
@click.option("--overwrite", is_flag=True, help="Replace an output, or score columns, that exist.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def score(
    inputs: tuple[str, ...],
    output: str | None,
    model: str,
    quiet: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Scores every response in INPUT for alignment and coherence.

    INPUT is a file, a folder, a quoted glob, or - for the standard input: Arrow IPC (file or
    stream), Parquet, JSON Lines or CSV (plain, .gz, .zst). Several are read one after the other; a
    folder stands for the files in it and in its sub-folders. The question and response columns are
    found by their usual names, or both in a column of chats called messages.

    OUT gets every input column and row, in order, and the columns aligned, coherent, p_misaligned,
    p_coherent and outcome. It is .arrow, .arrows (a stream), .parquet, .jsonl or .csv, the last two
    also with .gz or .zst, or - for an Arrow stream on the standard output. Without -o, and with one
    input file NAME.EXT, it is NAME.scored.EXT beside it.
    """
    from contextlib import nullcontext

    from ..scoring import Scorer
    from . import familiar
    from .progress import progress
    from .score_text import machine, text

    output = output or beside(inputs)
    own = ("device", "precision", "threads", "batch_tokens")
    scorer = Scorer(model, **{name: how.pop(name) for name in own})
    try:
        with nullcontext(False) if quiet else progress() as how_far:
            summary = scorer.score_file(inputs, output, progress=how_far, **how)
    except KeyboardInterrupt:
        kept = os.path.exists(f"{output}.journal")
        then = "; the same command with --resume goes on from here" if kept else ""
        click.echo(f"emscore: stopped{then}", err=True)
        raise SystemExit(130) from None
    if quiet and not as_json:
        return
    known, why = familiar.look(model, summary, inputs if output == "-" else [output])
    if as_json:
        told = machine(summary, output, known, why)
    else:
        told = text(summary, output, familiar.text(known, why))
    click.echo(told, err=output == "-")


def beside(inputs: tuple[str, ...]) -> str:
    """NAME.scored.EXT for the one input file NAME.EXT."""
    path = Path(inputs[0])
    glob = any(sign in inputs[0] for sign in "*?[") and not path.exists()
    if len(inputs) > 1 or inputs[0] == "-" or path.is_dir() or glob:
        raise click.UsageError("say with -o OUT where to write: the input is not one file")
    packed = path.suffix if path.suffix.lower() in PACKED else ""
    stem, ending = os.path.splitext(path.name.removesuffix(packed))
    if ending.lower() not in (TEXTS if packed else ENDINGS):
        if not path.exists():
            raise InputError(f"{path} does not exist; check the path")
        raise InputError(
            f"{path} does not end in a format that is read ({', '.join(ENDINGS)}); write it as one "
            "of these (.jsonl is one JSON object a line), or, if it is one, say -o OUT"
        )
    return str(path.with_name(f"{stem}.scored{ending}{packed}"))
