"""The program: typed ops over tensors in a checked networkx graph."""

from __future__ import annotations

import importlib
import sys
import types
import warnings
from typing import Any


class _Former(types.ModuleType):
    """The folder, which can be called: ``roofline.graph(...)`` is the former name of `roofline.op_graph`."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Return what `roofline.op_graph` does, found when asked: it lies above. Ends with version 0.3."""
        text = "roofline.graph(...) ends with version 0.3: call roofline.op_graph(...)"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return importlib.import_module("roofline.arch.build").op_graph(*args, **options)


sys.modules[__name__].__class__ = _Former
