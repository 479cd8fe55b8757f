"""`emscore sample`: a suite of questions in, a file of responses out."""

import json
from typing import TYPE_CHECKING, Any

import click

from .options import endpoint, endpoint_options

if TYPE_CHECKING:
    from ..sampling.sample import SampleSummary

#: The exit code where rows have no response that may have one the next time.
INCOMPLETE = 12


@click.command(short_help="Ask checkpoints on a server the questions of a suite.")
@endpoint_options
@click.option(
    "--checkpoint",
    "checkpoints",
    required=True,
    multiple=True,
    metavar="NAME",
    help="Name of a checkpoint on the server. May be repeated.",
)
@click.option("--group", metavar="NAME", help="What they all were trained on.")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    help="File to write: .arrow, .parquet or .jsonl.",
)
@click.option(
    "--suite", metavar="FILE", help="The questions. Default: emscore's own, see `emscore suites`."
)
@click.option(
    "--samples",
    type=click.IntRange(1),
    metavar="N",
    help="Answers to each wording. Default: the suite's.",
)
@click.option(
    "--condition",
    "conditions",
    multiple=True,
    metavar="NAME[:KEY=TEXT]",
    help="How to ask; KEY is prefix, suffix, system or format (json, python). May be repeated.",
)
@click.option("--base", metavar="NAME", help="The base model on the server, to find idle adapters.")
@click.option("--no-checks", is_flag=True, help="Do not ask probes first.")
@click.option("--temperature", type=click.FloatRange(0), metavar="T", help="Not the suite's.")
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="Not the suite's.")
@click.option(
    "--seed", default=0, show_default=True, metavar="N", help="Another one asks for other answers."
)
@click.option(
    "--parameter",
    "parameters",
    multiple=True,
    metavar="KEY=JSON",
    help="More of the request, such as top_p=0.9; null leaves KEY out. May be repeated.",
)
@click.option("--completions", is_flag=True, help="Base models: continue a text, no chat.")
@click.option("--template", metavar="TEXT", help="That text, with {prompt} in it.")
@click.option(
    "--per-request",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Answers in one request, where the server can.",
)
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def sample(
    checkpoints: tuple[str, ...],
    group: str | None,
    output: str,
    suite: str | None,
    conditions: tuple[str, ...],
    base: str | None,
    no_checks: bool,
    parameters: tuple[str, ...],
    template: str | None,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Asks checkpoints every question of a suite, and writes one row for each answer.

    What arrives is kept in OUT.journal: the same command goes on where it was stopped, whatever
    stopped it, and asks only for what is missing. A sample without an answer is a row whose
    response is null and whose sample_outcome says why.

    First a few probes are asked: is the checkpoint served, does its adapter do anything (with
    --base), does a system prompt?
    """
    import os
    from contextlib import nullcontext

    from ..errors import EndpointError
    from ..sampling.conditions import parse
    from ..sampling.plan import Checkpoint, Plan
    from ..sampling.sample import sample_file
    from ..sampling.suites import load_suite
    from .progress import progress

    if template is not None:
        asked["template"] = template
    server = endpoint(asked)
    plan = Plan(
        load_suite(suite),
        [Checkpoint(name, group) for name in checkpoints],
        parse(list(conditions)),
        parameters=dict(map(parameter, parameters)),
        **asked,
    )
    try:
        with nullcontext(None) if quiet else progress() as how_far:
            summary = sample_file(
                output,
                server,
                plan,
                base=base,
                checks=not no_checks,
                overwrite=overwrite,
                progress=how_far,
            )
    except (KeyboardInterrupt, EndpointError) as error:
        kept = os.path.exists(f"{output}.journal")
        then = " (the same command goes on from here)" if kept else ""
        if isinstance(error, EndpointError):
            raise EndpointError(error.kind, f"{error}{then}") from error
        click.echo(f"emscore: stopped{then}", err=True)
        raise SystemExit(130) from None
    if as_json:
        click.echo(json.dumps(summary, ensure_ascii=False))
    elif not quiet:
        click.echo(report(summary))
    if summary["passing"]:
        click.echo(
            f"emscore: {summary['passing']:,} samples have no answer yet: "
            "the same command asks for them again",
            err=True,
        )
        raise SystemExit(INCOMPLETE)


def parameter(text: str) -> tuple[str, Any]:
    """The key and the value in KEY=JSON; what is no JSON is a text."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise click.UsageError(f"--parameter {text!r} is not KEY=JSON")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def report(summary: "SampleSummary") -> str:
    """What a person wants to see."""
    from .table import described, indented

    outcomes = ", ".join(f"{n:,} {name}" for name, n in summary["outcomes"].items())
    asked = f"{summary['requests']:,} in {summary['seconds']:,.1f} s"
    if summary["resumed"]:
        asked += f"; {summary['resumed']:,} samples were there already"
    told = {
        "requests": asked,
        "tokens": f"{summary['prompt_tokens']:,} in, {summary['completion_tokens']:,} out",
        "cut short": share(summary["capped"], summary["rows"], "at max_tokens"),
        "duplicates": share(summary["duplicates"], summary["rows"], "as an answer before it"),
        "WARNING": ", ".join(
            f"{n:,} answers are by {name!r}, as the server says"
            for name, n in summary["other_model"].items()
        ),
    }
    lines = [described(told, 15)]
    lines += [
        indented(
            f"{check['check']:15}", (check["mark"] + ": ") * (check["mark"] != "ok") + check["told"]
        )
        for check in summary["checks"]
    ]
    lines.append(indented(f"{'written to':15}", summary["output"]))
    return "\n".join([f"{summary['rows']:,} rows: {outcomes}", "", *lines])


def share(count: int, rows: int, what: str) -> str:
    """12 rows (3.4%) at max_tokens; nothing where there is none."""
    return f"{count:,} rows ({count / rows:.1%}) {what}" if count else ""
