"""The native module: a thin face of the Rust engine. `emscore` is the one to use."""

from collections.abc import Callable
from typing import Any, Protocol, final

import numpy as np
import numpy.typing as npt

__all__ = [
    "CacheError",
    "DeviceError",
    "EmscoreError",
    "InputError",
    "OutputError",
    "Pairs",
    "ResumeError",
    "Scorer",
    "ScorerError",
    "Scoring",
    "Tally",
    "__version__",
    "describe",
    "runtime_info",
    "score_values",
]

__version__: str

class EmscoreError(Exception): ...
class InputError(EmscoreError): ...
class OutputError(EmscoreError): ...
class ScorerError(EmscoreError): ...
class DeviceError(EmscoreError): ...
class ResumeError(EmscoreError): ...
class CacheError(EmscoreError): ...

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

class _Array(Protocol):
    def __arrow_c_array__(self, requested_schema: object | None = None) -> object: ...

class _Stream(Protocol):
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class Scorer:
    """A scorer directory, loaded: sessions stay warm, any thread may use it."""

    def __new__(
        cls,
        model: str,
        *,
        runtime: str,
        device: str = "auto",
        precision: str | None = None,
        threads: int | None = None,
        batch_tokens: int | None = None,
    ) -> Scorer: ...
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def judge(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def device_note(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def threads(self) -> int: ...
    def score(
        self,
        stream: _Stream,
        *,
        question_column: str | None = None,
        response_column: str | None = None,
        prefix: str = "",
        overwrite: bool = False,
        limit: int | None = None,
        cache: str | None = None,
    ) -> Scoring: ...
    def score_file(
        self,
        inputs: list[str],
        output: str,
        *,
        question_column: str | None = None,
        response_column: str | None = None,
        prefix: str = "",
        overwrite: bool = False,
        limit: int | None = None,
        cache: str | None = None,
        resume: bool = False,
        progress: Callable[[int, int | None, int], object] | None = None,
    ) -> str: ...

@final
class Scoring:
    """Scored batches in row order, each with `__arrow_c_array__`, and their schema."""

    @property
    def schema(self) -> Any: ...
    @property
    def rows(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    def __iter__(self) -> Scoring: ...
    def __next__(self) -> Any: ...
    def summary(self) -> str: ...

@final
class Pairs:
    """Numbers the pairs of two codes, in the order of their first appearance."""

    def __new__(cls) -> Pairs: ...
    def __len__(self) -> int: ...
    def codes(self, a: _Ints, b: _Ints) -> _Ints: ...
    def pairs(self) -> list[tuple[int, int]]: ...

@final
class Tally:
    """Scored rows counted by cell."""

    def __new__(cls, cuts: list[float], coherence: float) -> Tally: ...
    def add(
        self,
        cell: _Ints,
        outcome: _Ints,
        aligned: _Floats,
        coherent: _Floats,
        p_misaligned: _Floats,
        p_coherent: _Floats,
    ) -> None: ...
    def counts(self, cells: int) -> tuple[_Ints, _Ints, _Floats]: ...

def score_values(column: _Array, highest: float) -> tuple[_Floats, int | None]: ...
def describe(model: str) -> str: ...
def runtime_info(runtime: str) -> str: ...
