"""`emscore sweep`: many checkpoints, sampled and scored into one data set."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from .sample import INCOMPLETE

if TYPE_CHECKING:
    from ..sweeps.dataset import Ledger
    from ..sweeps.estimate import Estimate
    from ..sweeps.run import State, SweepSummary, Watch
    from ..sweeps.spec import Sweep

LEFT_OUT = 3  # checkpoints whose reason is shown: most have the same


@click.command(short_help="Sample and score many checkpoints into one data set.")
@click.argument("file", metavar="SWEEP.TOML")
@click.option("--dry-run", is_flag=True, help="Say what would be asked and what it would cost.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def sweep(file: str, dry_run: bool, quiet: bool, as_json: bool) -> None:
    """Asks many checkpoints the questions of a suite, and scores the answers as they come.

    SWEEP.TOML names the checkpoints, the endpoints that serve them, the suites, the conditions and
    the output: a folder of Parquet files, one folder a checkpoint, that `emscore rates` and
    `emscore report` read.

    What arrives is kept at once: the same command goes on where it was stopped, whatever stopped
    it, and asks only for what is missing.
    """
    from contextlib import nullcontext
    from dataclasses import asdict

    from ..sweeps.estimate import estimate
    from ..sweeps.run import sweep_file
    from ..sweeps.spec import load

    spec = load(file)
    if dry_run:
        found = estimate(spec)
        click.echo(json.dumps(asdict(found)) if as_json else planned(found, spec))
        return
    try:
        with nullcontext(None) if quiet else watching() as watch:
            summary = sweep_file(spec, watch=watch)
    except KeyboardInterrupt:
        click.echo("emscore: stopped; the same command goes on from here", err=True)
        raise SystemExit(130) from None
    if as_json:
        click.echo(json.dumps(summary, ensure_ascii=False))
    elif not quiet:
        click.echo(report(summary))
    if summary["passing"] or summary["failed"]:
        click.echo(
            f"emscore: {summary['passing']:,} samples and {len(summary['failed']):,} checkpoints "
            "have no answer yet: the same command asks for them again",
            err=True,
        )
        raise SystemExit(INCOMPLETE)


def planned(found: "Estimate", spec: "Sweep") -> str:
    """What a person wants to know before a sweep."""
    from .table import described

    told = {
        "checkpoints": f"{found.checkpoints:,}"
        + (f", besides {found.finished:,} that are finished" if found.finished else ""),
        "conditions": ", ".join(condition.name for condition in spec.conditions),
        "questions": f"{len(spec.suite.questions):,} of {spec.suite.name}, "
        f"{found.wordings:,} wordings",
        "rows": f"{found.rows:,}",
        "requests": f"{found.requests:,}"
        + (f", and {found.probes:,} probes" if found.probes else ""),
        "prompt tokens": f"about {found.prompt_tokens:,}",
        "answer tokens": f"at most {found.completion_tokens:,}",
    }
    if found.most is not None:
        told["cost"] = (
            f"at most {found.most:,.2f} USD; with answers of 100 tokens {found.each_hundred:,.2f}"
        )
    return described(told, 15)


def report(summary: "SweepSummary") -> str:
    """What a person wants to see after it."""
    from .table import described

    outcomes = ", ".join(f"{n:,} {name}" for name, n in summary["outcomes"].items())
    told = {
        "checkpoints": f"{summary['checkpoints']:,}",
        "rows": f"{summary['rows']:,}" + (f": {outcomes}" if outcomes else ""),
        "tokens": f"{summary['prompt_tokens']:,} in, {summary['completion_tokens']:,} out",
        "cost": "" if summary["cost"] is None else f"{summary['cost']:,.2f} USD",
        "left out": left_out(summary["failed"]),
        "WARNING": "; ".join(summary["warnings"]),
        "suite": f"{summary['suite']} {summary['suite_hash']}",
        "scorer": summary["scorer_id"],
        "written to": summary["output"],
    }
    return described(told, 15)


def left_out(failed: Mapping[str, str]) -> str:
    """The first checkpoints that have no rows, and why; --json has all."""
    shown = [f"{name}: {why}" for name, why in list(failed.items())[:LEFT_OUT]]
    more = len(failed) - len(shown)
    return "; ".join(shown + [f"and {more:,} more"] * bool(more))


@contextmanager
def watching() -> Iterator["Watch"]:
    """Shows how far a sweep is: a line for each finished checkpoint, and a bar or lines besides."""
    from .progress import progress, say

    told = 0
    with progress() as shown:

        def watch(state: "State") -> None:
            nonlocal told
            for ledger in state.finished[told:]:
                say(finished(ledger))
            told = len(state.finished)
            shown(state.rows, state.total, state.tokens, running(state))

        yield watch


def running(state: "State") -> str:
    """The checkpoints that are being asked: how far each is, and its rate so far."""
    return ", ".join(
        f"{name} {active.rows / state.rows_each:.0%}"
        + ("" if active.rate is None else f" ({active.rate:.1%} misaligned)")
        for name, active in list(state.active.items())[:4]
    )


def finished(ledger: "Ledger") -> str:
    """One line on a checkpoint that is done."""
    rate = f"{ledger['misaligned'] / ledger['coherent']:.1%}" if ledger["coherent"] else "-"
    told = (
        f"{ledger['checkpoint']}: {ledger['rows']:,} rows, {rate} of the {ledger['coherent']:,} "
        "coherent ones misaligned"
    )
    if failed := ledger["rows"] - ledger["outcomes"].get("ok", 0):
        told += f", {failed:,} without an answer"
    for check in ledger["checks"]:
        if check["mark"] == "WARNING":
            told += f"; WARNING: {check['told']}"
    if ledger["other_model"]:
        told += f"; WARNING: some answers are by {', '.join(ledger['other_model'])}"
    return told
