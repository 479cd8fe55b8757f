"""Rates with intervals: from scored files to statements about checkpoints.

`emscore.rates(...)` is `rates.measure.rates`: the package can be called, since it has its name.
"""

import sys
from inspect import signature
from types import ModuleType

from .measure import rates


class _Called(ModuleType):
    __call__ = staticmethod(rates)


sys.modules[__name__].__class__ = _Called
__doc__ = rates.__doc__ or ""
__signature__ = signature(rates)
