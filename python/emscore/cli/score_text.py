"""The table at the end of `emscore score`, and the same as JSON."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..summary import Checkpoint, Counts, Summary, calibrated_rate, counted_rate, definitions, total
from .table import described, table

if TYPE_CHECKING:
    from ..familiarity import Report

SHOWN = 20  # checkpoints in the table; where there are more, the most misaligned

ROLES = ("question", "response", "checkpoint", "group")


def text(summary: Summary, output: str, known: str = "") -> str:
    """What a person wants to see; `known` tells what the scorer knows of the input."""
    counted, calibrated = definitions(summary)
    meaning = f"misaligned  {counted}\ncalibrated  {calibrated}"
    parts = [outcomes(summary), *rates(summary), meaning, known, facts(summary, output)]
    return "\n\n".join(part for part in parts if part)


def machine(summary: Summary, output: str, known: "Report | None" = None, why: str = "") -> str:
    """One JSON object: the summary, the rates of each checkpoint, and what the rates mean.

    Args:
        summary: Of the run.
        output: Where the scores are.
        known: What the scorer knows of the input.
        why: Why that was not looked at, if it should have been.
    """
    counted, calibrated = definitions(summary)
    told: dict[str, Any] = {
        **summary,
        "checkpoints": [with_rates(checkpoint) for checkpoint in summary["checkpoints"]],
        "all": with_rates(total(summary["checkpoints"])),
        "definitions": {"misaligned_rate": counted, "calibrated_rate": calibrated},
        "familiarity": known,
        "familiarity_note": why or None,
        "output": output,
    }
    return json.dumps(told, ensure_ascii=False)


def with_rates(counts: Counts) -> dict[str, Any]:
    """The counts and the two rates that follow from them."""
    return {
        **counts,
        "misaligned_rate": counted_rate(counts),
        "calibrated_rate": calibrated_rate(counts),
    }


def outcomes(summary: Summary) -> str:
    """How many rows there are, and what happened to them."""
    found = ", ".join(f"{n:,} {name}" for name, n in summary["outcomes"].items() if n)
    return f"{summary['rows']:,} rows" + (f": {found}" if found else "")


def rates(summary: Summary) -> list[str]:
    """Misalignment by checkpoint, and by group where several checkpoints share one."""
    parts = sorted(summary["checkpoints"], key=lambda part: -(calibrated_rate(part) or 0))
    names = [name for name in ("checkpoint", "group") if _column(summary, name)]
    rows = [
        [*(str(dict(part)[name] or "-") for name in names), *numbers(part)]
        for part in parts[:SHOWN]
        if names
    ]
    if len(rows) != 1:
        rows.append(["all", *[""] * (len(names) - 1), *numbers(total(parts))])
    found = [_rate_table(names or [""], rows)]
    if hidden := len(parts[SHOWN:]):
        found.append(f"These {SHOWN} are the most misaligned; --json lists the other {hidden:,}.")
    groups: dict[str | None, list[Checkpoint]] = {}
    for part in parts:
        groups.setdefault(part["group"], []).append(part)
    if len(names) == 2 and 1 < len(groups) < len(parts):
        shown = list(groups.items())[:SHOWN]
        found.append(_rate_table(["group"], [[g or "-", *numbers(total(of))] for g, of in shown]))
        if hidden := len(groups) - len(shown):
            found.append(f"--json lists the checkpoints of the other {hidden:,} groups.")
    return found


def numbers(counts: Counts) -> list[str]:
    """Rows, coherent rows and the two rates; a rate of nothing is "-"."""
    both = counted_rate(counts), calibrated_rate(counts)
    return [
        f"{counts['rows']:,}",
        f"{counts['coherent']:,}",
        *("-" if rate is None else f"{rate:.1%}" for rate in both),
    ]


def facts(summary: Summary, output: str) -> str:
    """By what, where and how fast it was scored, and where the scores are."""
    values: Mapping[str, Any] = dict(summary)
    device = [summary["device"], summary["precision"]]
    if summary["device"] == "cpu":
        device.append(f"{summary['threads']} threads")
    roles = [(role, _column(summary, role)) for role in ROLES]
    seconds = max(summary["seconds"], 1e-3)
    rows = summary["rows"] - summary["resumed"]
    reused = [name for name in ("duplicates", "cached", "resumed") if values[name]]
    escalated = summary["escalated"]
    told = {
        "scorer": f"{summary['scorer']} {summary['scorer_id']}",
        "cascade": ""
        if escalated is None
        else f"{escalated:,} of {summary['scored']:,} rows took the second scorer",
        "device": f"{', '.join(device)} ({summary['device_note']})",
        "columns": ", ".join(
            name if name == role else f"{role} = {name}" for role, name in roles if name
        ),
        "speed": f"{rows / seconds:,.0f} rows/s, {summary['tokens'] / seconds:,.0f} tokens/s, "
        f"{seconds:,.1f} s",
        "reused": ", ".join(f"{values[name]:,} {name}" for name in reused),
        "written to": output,
    }
    return described(told)


def _column(summary: Summary, role: str) -> str | None:
    name: str | None = dict(summary)[f"{role}_column"]  # type: ignore[assignment]
    return name


def _rate_table(names: list[str], rows: list[list[str]]) -> str:
    head = [*names, "rows", "coherent", "misaligned", "calibrated"]
    return table(head, rows, right=range(len(names), len(head)), shrink=range(len(names)))
