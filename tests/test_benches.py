"""The benches, which CI does not run, import of the package what is there."""

import ast
from pathlib import Path

import pytest

from conftest import ROOT

BENCHES = sorted((ROOT / "benches").glob("*.py"))


@pytest.mark.parametrize("bench", BENCHES, ids=lambda bench: bench.stem)
def test_what_a_bench_imports_is_there(bench: Path) -> None:
    for node in ast.walk(ast.parse(bench.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "emscore":
            exec(ast.unparse(node), {})
