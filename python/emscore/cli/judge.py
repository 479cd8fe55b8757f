"""`emscore judge`: an LLM judge scores rows of a file, to audit a scorer or to make labels."""

from collections.abc import Mapping
from typing import Any

import click

from .options import Dollars, endpoint, endpoint_options
from .sample import INCOMPLETE


@click.command(short_help="Have an LLM judge score rows of a file.")
@click.argument("source", metavar="RESPONSES")
@click.option(
    "-o", "--output", required=True, metavar="OUT", help="File to write: .arrow or .parquet."
)
@endpoint_options
@click.option("--model", required=True, metavar="NAME", help="The judge's name on the server.")
@click.option(
    "--served-as",
    metavar="NAME",
    help="The judge's name in the server's answers, where it is another one.",
)
@click.option("--suite", metavar="FILE", help="Use the judge prompts of this suite.")
@click.option(
    "--rows", "n", type=click.IntRange(1), metavar="N", help="Judge a random sample of N rows."
)
@click.option("--seed", default=0, show_default=True, metavar="N", help="Of the random sample.")
@click.option("--budget", type=Dollars(), metavar="USD", help="Stop before it costs more: 20usd.")
@click.option("--price-in", type=float, metavar="USD", help="Of a million prompt tokens.")
@click.option("--price-out", type=float, metavar="USD", help="Of a million answer tokens.")
@click.option(
    "--cache",
    metavar="FILE",
    help="Keep all answers here. Default: emscore/judge.sqlite in the user's cache folder.",
)
@click.option("--question-column", metavar="NAME", help="Column with the questions.")
@click.option("--response-column", metavar="NAME", help="Column with the responses.")
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the ledger as one JSON object.")
def judge(
    source: str,
    output: str,
    budget: float | None,
    price_in: float | None,
    price_out: float | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Has the LLM judge at an endpoint score the rows of RESPONSES, twice each: aligned, coherent.

    RESPONSES is a file or a folder: Arrow, Parquet, JSON Lines or CSV, such as emscore audit draw
    writes. Without --rows all of its rows are judged.

    OUT gets every input column, judge_aligned and judge_coherent (0 to 100), judge_outcome, what
    the server says of its model, and the log-probabilities that the scores are made of. Every
    answer is kept: nothing is paid for twice, and the same command goes on where one was stopped,
    or asks again about the rows that had no answer.

    The default judge prompts are in our own words. For scores that compare with published ones give
    --suite the published suite. Suites that ask for words (TRUE, FALSE, ...) work too.
    """
    import json
    from contextlib import nullcontext

    from ..judging.judge import judge_file
    from ..judging.ledger import Prices
    from .progress import progress

    prices = None
    if price_in is not None and price_out is not None:
        prices = Prices(price_in, price_out)
    elif {budget, price_in, price_out} != {None}:
        raise click.UsageError("give both --price-in and --price-out, in USD a million tokens")
    server = endpoint(options)
    try:
        with nullcontext(None) if quiet else progress() as how_far:
            summary = judge_file(
                source,
                output,
                endpoint=server,
                budget=budget,
                prices=prices,
                progress=how_far,
                **options,
            )
    except KeyboardInterrupt:
        click.echo("emscore: stopped; the same command goes on from here", err=True)
        raise SystemExit(130) from None
    if as_json:
        click.echo(json.dumps(summary, ensure_ascii=False))
    elif not quiet:
        click.echo(text(summary, output))
    if summary["passing"]:
        click.echo(
            f"emscore: {summary['passing']:,} rows have no answer yet: "
            "the same command asks about them again",
            err=True,
        )
        raise SystemExit(INCOMPLETE)


def text(summary: Mapping[str, Any], output: str) -> str:
    """What a person wants to see."""
    from .table import described

    spent = summary["spent"]
    outcomes = ", ".join(f"{n:,} {name}" for name, n in summary["outcomes"].items())
    others = [model for model in summary["models"] if model != summary["judge"]]
    failed = ", ".join(f"{n:,} {kind}" for kind, n in spent["failed"].items())
    requests = f"{spent['requests']:,}"
    if spent["attempts"] > spent["requests"]:
        requests += f" ({spent['attempts']:,} attempts)"
    if summary["reused"]:
        requests += f"; {summary['reused']:,} answers were known already"
    told = {
        "judge": summary["judge"] + (f" (answers as {', '.join(others)})" if others else ""),
        "prompts": f"{summary['suite']} {summary['prompts']}",
        "scores": f"{', '.join(summary['score_types'])}: {summary['note']}",
        "requests": requests,
        "failed": failed,
        "tokens": f"{spent['prompt_tokens']:,} in, {spent['completion_tokens']:,} out",
        "cost": cost(summary),
        "written to": output,
    }
    return f"{summary['rows']:,} rows: {outcomes}\n\n{described(told)}"


def cost(summary: Mapping[str, Any]) -> str:
    """The money spent, where prices are known."""
    spent = summary["spent"]
    if spent["cost"] is None:
        return "not known without --price-in and --price-out"
    told = f"{round(spent['cost'], 6):,.12g} USD"
    if spent["at_most"] > spent["cost"]:
        told += f" (at most {round(spent['at_most'], 6):,.12g}, were failed attempts billed too)"
    return told
