"""Compares the scores in several outputs of `emscore score` to those in the first.

Ends with an error when they lie further apart than --points (of 100; probabilities: a hundredth
of that each point).
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

SCORES = {"aligned": 1.0, "coherent": 1.0, "p_misaligned": 100.0, "p_coherent": 100.0}


def columns(path: Path) -> pa.Table:
    """The table in an Arrow file."""
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def main() -> None:
    """Prints the differences of each file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=Path)
    parser.add_argument("others", type=Path, nargs="+")
    parser.add_argument("--points", type=float, required=True)
    given = parser.parse_args()
    first, worst = columns(given.first), 0.0
    for path in given.others:
        other = columns(path)
        outcomes = np.array(first["outcome"]) != np.array(other["outcome"])
        off = [
            np.nanmax(np.abs(np.array(first[name]) - np.array(other[name])), initial=0) * unit
            for name, unit in SCORES.items()
        ]
        worst = max(worst, *off)
        told = ", ".join(f"{name} {each:.3f}" for name, each in zip(SCORES, off, strict=True))
        print(f"{path.name}: {outcomes.sum()} other outcomes; greatest difference, points: {told}")
    if worst > given.points:
        sys.exit(f"that is more than the {given.points:g} points allowed")


if __name__ == "__main__":
    main()
